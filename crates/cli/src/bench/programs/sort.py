from time import perf_counter

state = 12345
numbers = []
for _ in range(100_000):
    state = (state * 1103515245 + 12345) % (1 << 31)
    numbers.append(state)
began = perf_counter()
for _ in range(3):
    ordered = sorted(numbers)
    by_tail = sorted(numbers, key=lambda number: number % 1000)
assert ordered[0] <= ordered[-1] and by_tail[0] % 1000 == 0
print(perf_counter() - began)
