# Programs that handle data: text, records, JSON, regular expressions, numbers.

import json
import re
import struct

WORDS = "the quick brown fox jumps over the lazy dog while seven wizards brew potions".split()


def words(count):
    state = 1
    for _ in range(count):
        state = state * 1103515245 + 12345 & 0x7FFFFFFF
        yield WORDS[state % len(WORDS)]


def count_words(count):
    counts = {}
    for word in words(count):
        counts[word] = counts.get(word, 0) + 1
    return sorted(counts.items(), key=lambda item: (-item[1], item[0]))


def table(rows):
    lines = []
    for number, (word, count) in enumerate(rows):
        lines.append("%3d %-10s %6d" % (number, word, count))
        lines.append("{:>3} {:<10} {:6.2f}".format(number, word, count / 7))
        lines.append(f"{number} {word!r}: {count}")
    return "\n".join(lines)


def records(count):
    return [{"id": i, "name": "name%d" % i, "on": i % 2 == 0, "values": [i, i / 3, None]} for i in range(count)]


def through_json(count):
    text = json.dumps(records(count))
    return sum(len(record["name"]) for record in json.loads(text))


def through_struct(count):
    packed = b"".join(struct.pack("<IhB", i, -i % 30000, i & 255) for i in range(count))
    return sum(struct.unpack_from("<IhB", packed, i * 7)[0] for i in range(count))


def parse(text):
    number = re.compile(r"^\s*(\d+) ([a-z]+)")
    matches = (number.match(line) for line in text.split("\n"))
    return {match.group(2): int(match.group(1)) for match in matches if match}


def primes(limit):
    sieve = bytearray(b"\x01" * limit)
    for i in range(2, limit):
        if sieve[i]:
            for j in range(i * i, limit, i):
                sieve[j] = 0
    return [i for i in range(2, limit) if sieve[i]]


text = table(count_words(2000))
print(len(text), len(parse(text)), through_json(60), through_struct(300), len(primes(3000)))
print(text.upper().replace("FOX", "cat").find("cat"), text.strip().startswith("x"), sum(text.encode()))
