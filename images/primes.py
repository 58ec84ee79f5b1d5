# The prime numbers below a limit. Run it: cargo xtask run images/primes.py [LIMIT]
import sys

import hv


def primes(limit):
    """The sieve of Eratosthenes: one byte for each number, 0 once it is known to be a product."""
    sieve = bytearray(b"\x01" * limit)
    for number in range(2, limit):
        if sieve[number]:
            yield number
            for multiple in range(number * number, limit, number):
                sieve[multiple] = 0


limit = int(sys.argv[1]) if len(sys.argv) > 1 else 10_000
start = hv.ticks()
found = list(primes(limit))
print(*found[:10], "...", *found[-3:])
print(f"{len(found)} primes below {limit}, in {hv.ticks() - start} ticks")
