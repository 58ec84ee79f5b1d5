# Computes with what programs are made of: numbers, lists, dictionaries, strings. Prints the nanoseconds it took.
import time


def primes(limit):
    sieve = [True] * limit
    for n in range(2, limit):
        if sieve[n]:
            yield n
            for multiple in range(n * n, limit, n):
                sieve[multiple] = False


def words(count):
    seen = {}
    for n in range(count):
        word = "w" + str(n * 7919 % 1009)
        seen[word] = seen.get(word, 0) + len(word)
    return ",".join(sorted(seen))


def orbit(steps):
    x, y = 1.0, 0.0
    for _ in range(steps):
        x, y = x - 0.001 * y, y + 0.001 * x
    return x * x + y * y


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


# The kernel has things to do for a while after its boot.
time.sleep(10)
start = time.monotonic_ns()
result = sum(primes(400_000)), len(words(300_000)), orbit(800_000), fibonacci(24)
print("figure linux_cpu", time.monotonic_ns() - start, 1)
