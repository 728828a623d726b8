from time import perf_counter


def work():
    total = 0
    for number in range(1_000_000):
        total += number & 7
    return total


began = perf_counter()
assert work() == 3_500_000
print(perf_counter() - began)
