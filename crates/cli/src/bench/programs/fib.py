from time import perf_counter


def fib(n):
    return n if n < 2 else fib(n - 1) + fib(n - 2)


began = perf_counter()
assert fib(25) == 75025
print(perf_counter() - began)
