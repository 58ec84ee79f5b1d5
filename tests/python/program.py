# A program of the size that people write, with a bit of everything. The test runs it in a VM and with the
# host's CPython and compares what they print; it avoids what MicroPython documents as different.
import binascii
import hashlib
import heapq
import json
import math
import random
import re
import struct
import sys
import time
from collections import OrderedDict, deque, namedtuple


def section(title):
    print("---", title, "---")


# Classes

class Shape:
    count = 0

    def __init__(self, name):
        self.name = name
        Shape.count += 1

    def area(self):
        raise NotImplementedError

    def __repr__(self):
        return "<%s %s %.2f>" % (type(self).__name__, self.name, self.area())

    def __lt__(self, other):
        return self.area() < other.area()

    def __gt__(self, other):
        return self.area() > other.area()

    @classmethod
    def unit(cls):
        return cls("unit", 1)

    @staticmethod
    def describe():
        return "a shape has an area"


class Square(Shape):
    def __init__(self, name, side):
        super().__init__(name)
        self.side = side

    def area(self):
        return self.side * self.side

    @property
    def diagonal(self):
        return self.side * math.sqrt(2)


class Circle(Shape):
    def __init__(self, name, radius):
        super().__init__(name)
        self.radius = radius

    def area(self):
        return math.pi * self.radius ** 2


class Loud:
    def speak(self):
        return self.name.upper() + "!"


class LoudSquare(Loud, Square):
    pass


def classes():
    section("classes")
    shapes = [Square("a", 3), Circle("b", 1.5), Square("c", 2.5), Circle.unit(), LoudSquare("d", 1.1)]
    print(sorted(shapes))
    print(min(shapes), max(shapes), Shape.count)
    print(Shape.describe(), "%.4f" % shapes[0].diagonal, shapes[4].speak())
    print(isinstance(shapes[4], Shape), issubclass(LoudSquare, Circle))
    print(hasattr(shapes[1], "side"), getattr(shapes[1], "radius"))
    try:
        Shape("plain").area()
    except NotImplementedError:
        print("a plain shape has no area")


class Matrix:
    def __init__(self, rows):
        self.rows = [list(row) for row in rows]

    def __getitem__(self, at):
        row, column = at
        return self.rows[row][column]

    def __setitem__(self, at, value):
        self.rows[at[0]][at[1]] = value

    def __mul__(self, other):
        columns = list(zip(*other.rows))
        return Matrix([[sum(a * b for a, b in zip(row, column)) for column in columns] for row in self.rows])

    def __eq__(self, other):
        return self.rows == other.rows

    def __len__(self):
        return len(self.rows)

    def __contains__(self, value):
        return any(value in row for row in self.rows)

    def __iter__(self):
        for row in self.rows:
            yield from row

    def __call__(self, scale):
        return Matrix([[scale * value for value in row] for row in self.rows])

    def __str__(self):
        return "\n".join(" ".join("%4d" % value for value in row) for row in self.rows)


def operators():
    section("operators")
    a = Matrix([(1, 2), (3, 4)])
    b = Matrix([(0, 1), (1, 0)])
    print(a * b)
    print(a * b == Matrix([[2, 1], [4, 3]]), a[1, 0], len(a), 4 in a, 7 in a, list(a(10)))
    a[0, 0] = 100
    print(sum(a), sorted(a, reverse=True))


# Generators

def primes():
    found = []
    candidate = 2
    while True:
        if all(candidate % prime for prime in found):
            found.append(candidate)
            yield candidate
        candidate += 1


def take(count, iterable):
    for _, item in zip(range(count), iterable):
        yield item


def averager():
    total = count = 0
    average = None
    try:
        while True:
            total += yield average
            count += 1
            average = total / count
    except GeneratorExit:
        print("averaged", count, "values")
        raise


def tree(depth):
    if depth:
        yield from tree(depth - 1)
        yield depth
        yield from tree(depth - 1)


def generators():
    section("generators")
    print(list(take(15, primes())))
    print(sum(square for square in (n * n for n in range(100)) if square % 3 == 1))
    average = averager()
    next(average)
    print([average.send(value) for value in (10, 20, 60)])
    average.close()
    print(list(tree(4)))
    print([(i, j) for i in range(4) for j in range(i) if (i + j) % 2])
    print({n: n ** 3 for n in range(5)} == {0: 0, 1: 1, 2: 8, 3: 27, 4: 64}, sorted({n % 4 for n in range(20)}))


# Exceptions

class Refused(Exception):
    def __init__(self, code, reason):
        super().__init__(code, reason)
        self.code = code


class Resource:
    def __init__(self, log):
        self.log = log

    def __enter__(self):
        self.log.append("open")
        return self

    def __exit__(self, kind, value, traceback):
        self.log.append("close after " + (kind.__name__ if kind else "nothing"))
        return kind is ValueError


def attempt(action):
    log = []
    try:
        with Resource(log):
            action()
    except (ZeroDivisionError, Refused) as error:
        log.append("caught " + type(error).__name__)
    except LookupError:
        log.append("caught a lookup error")
    else:
        log.append("no exception")
    finally:
        log.append("finally")
    return log


def refuse():
    raise Refused(42, "not today")


def deep(level):
    if level == 0:
        raise KeyError("deep down")
    try:
        deep(level - 1)
    finally:
        if level % 10 == 0:
            print("unwinding", level)


def exceptions():
    section("exceptions")
    for action in (lambda: 1 // 0, refuse, lambda: [][1], lambda: {}["x"], lambda: int("x"), lambda: None):
        print(attempt(action))
    try:
        refuse()
    except Refused as error:
        print(error.code, error.args)
    try:
        deep(30)
    except KeyError as error:
        print("caught", repr(error.args[0]))
    for bad in ("1 +", "def f(:", "x = = 1"):
        try:
            exec(bad)
        except SyntaxError:
            print("syntax error in", repr(bad))
    try:
        try:
            raise ValueError("first")
        except ValueError:
            raise TypeError("second")
    except TypeError as error:
        print(error)


# Closures and functions

def counter(start=0, *, step=1):
    value = start

    def advance(times=1):
        nonlocal value
        value += times * step
        return value

    return advance


def cached(function):
    known = {}

    def wrapper(*args):
        if args not in known:
            known[args] = function(*args)
        return known[args]

    return wrapper


@cached
def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def signature(first, second=2, *rest, key=None, **others):
    return first, second, rest, key, sorted(others.items())


def compose(*functions):
    def composed(value):
        for function in functions:
            value = function(value)
        return value

    return composed


def closures():
    section("closures")
    by_one, by_ten = counter(), counter(100, step=10)
    print(by_one(), by_one(), by_ten(), by_one(3), by_ten(2))
    print(fibonacci(60))
    print(signature(1), signature(1, 3, 5, 7, key="k", z=26, a=1), signature(*[9, 8], **{"key": 0}))
    print(compose(lambda x: x + 1, lambda x: x * 10, str, len)(99))
    print([f(3) for f in [lambda x, n=n: x ** n for n in range(5)]])
    print(sorted(["pear", "fig", "banana"], key=len), list(map(max, [1, 5], [3, 2])))
    print(list(filter(None, [0, 1, "", "x"])), list(enumerate("abc", 1)), list(reversed(range(4))))


# Numbers and text

def numbers():
    section("numbers")
    print(2 ** 200, -(7 ** 77) // 10 ** 30, pow(3, 10 ** 20, 10 ** 9 + 7))
    print([divmod(a, b) for a in (7, -7) for b in (3, -3)])
    print(0xFF ^ 0b1010 | 0o17, ~5 & 0xFF, 1 << 70 >> 68, -1 >> 3)
    print(int("ff", 16), int("-101", 2), hex(255), bin(10), oct(8), abs(-3), round(2.5), round(-1.567, 2))
    print(1 / 3, 1e10, 2.5e-7, float("1e100"), 100.0, 0.1, 1.5 // 0.4, 7.5 % 2)
    print("%.10f %.3e %g" % (math.e, 12345.678, 0.0001), math.floor(-2.5), math.ceil(2.1), math.trunc(-2.9))
    print(float("inf") > 10 ** 300, math.isnan(float("nan")), 0.1 + 0.2 == 0.3, (1 + 2j) * (3 - 1j))
    number = 1
    for n in range(1, 61):
        number *= n
    print(number, sum(int(digit) for digit in str(number)))
    print((12345).to_bytes(4, "big"), int.from_bytes(b"\x01\x02", "little"))


def text():
    section("text")
    words = "the quick brown fox jumps over the lazy dog".split()
    print(" ".join(word[0].upper() + word[1:] for word in words))
    print(sorted(set(words)), words.count("the"), words.index("fox"))
    print("{:>8}|{:<8}|{:^8}|{:08.3f}|{:+d}|{:x}|{:,}".format("right", "left", "mid", math.pi, 5, 255, 1234567))
    name, value = "pi", math.pi
    print(f"{name} = {value:.3f} = {value!r:.6}; {name!r} {len(name):03d}")
    print("a,b,,c".split(","), "  strip me ".strip(), "x=1=2".partition("="), "x=1=2".rpartition("="))
    print("abc" * 3, "".join(reversed("hello")), "hello"[1:-1], "hello".replace("l", "L"), "hello".find("lo"), "b" in "abc")
    print(repr("tab\t, newline\n, quote', \\ and \x07"), "é".encode(), len("日本"), ord("€"), chr(8364))
    print("line one\nline two\r\nthree".splitlines())
    print(bytes([72, 105]), bytearray(b"abc")[1], b"a\x00\xff", bytes(3), bytes(memoryview(b"hello")[1:3]))
    print("abc" < "abd", "Z" < "a", "10" < "9", "%s %r %5d %-5s| %%" % ("s", "r", 42, "x"))


def containers():
    section("containers")
    numbers = [5, 3, 8, 1, 9, 2]
    numbers.sort(key=lambda n: -n)
    print(numbers, numbers[::2], numbers[-3:], numbers[10:])
    numbers[1:3] = [70, 60, 50]
    del numbers[0]
    numbers.insert(1, "x")
    print(numbers, numbers.pop(), numbers)
    ordered = OrderedDict([("one", 1), ("two", 2)])
    ordered["three"] = 3
    print(list(ordered.items()), ordered.pop("one"), list(ordered))
    Point = namedtuple("Point", ["x", "y"])
    point = Point(3, y=4)
    print(point, point.x, point[1], math.sqrt(sum(c * c for c in point)))
    queue = deque((), 4)
    for n in range(6):
        queue.append(n)
    print(queue.popleft(), len(queue))
    heap = []
    for n in (5, 1, 4, 2, 3):
        heapq.heappush(heap, n)
    print([heapq.heappop(heap) for _ in range(5)])
    evens, squares = {0, 2, 4, 6, 8}, {0, 1, 4, 9}
    print(sorted(evens & squares), sorted(evens | squares), sorted(evens - squares), sorted(evens ^ squares))
    table = {"a": 1}
    table.update(b=2)
    table.setdefault("c", []).append(3)
    print(sorted(table), table.get("z", "none"), "b" in table, table.pop("a"), len(table))
    first, *middle, last = range(5)
    print(first, middle, last, (1, 2) + (3,), [1, [2, [3]]] == [1, [2, [3]]], (1, 2) < (1, 3))


# Modules

def modules():
    section("modules")
    data = {"list": [1, 2.5, None, True], "text": "quote \" and \n line", "nested": {"empty": {}}}
    assert json.loads(json.dumps(data)) == data
    print(json.dumps([1, "two", None, {"k": [False]}]), json.loads("[1e3, -2, {\"a\": {}}]"), json.loads("\"\\u20ac\""))
    try:
        json.loads("[1, nothing]")
    except ValueError:
        print("bad JSON is a ValueError")
    match = re.match(r"(\w+)@(\w+)\.com", "user@example.com and more")
    print(match.group(0), match.group(1), match.group(2), re.search("[0-9]+", "abc 123 def").group(0))
    print(re.compile("[ ,;]+").split("a, b;c  d"), re.sub("o+", lambda m: str(len(m.group(0))), "foo boo look"))
    print(re.match("a*?b", "aab").group(0), re.match("(x|y)+z$", "xyxz") is not None, re.match("q", "x"))
    packed = struct.pack("<hIqd4s", -2, 0xDEADBEEF, -(1 << 40), 0.5, b"ab")
    print(len(packed), binascii.hexlify(packed), struct.unpack("<hIqd4s", packed), struct.calcsize(">bHi"))
    print(binascii.hexlify(hashlib.sha256(b"TinyVMM").digest()), binascii.b2a_base64(b"any bytes \xff"))
    random.seed(12)
    dice = [random.randint(1, 6) for _ in range(600)]
    print(min(dice), max(dice), all(50 < dice.count(face) < 150 for face in range(1, 7)))
    print(0 <= random.random() < 1, random.choice("x"), 10 <= random.uniform(10, 11) <= 11)
    random.seed(5)
    again = [random.getrandbits(16) for _ in range(5)]
    random.seed(5)
    print(again == [random.getrandbits(16) for _ in range(5)])
    start = time.time()
    time.sleep(0.02)
    print(0 <= time.time() - start < 10)
    print(len(sys.argv), sys.argv[1:], sys.byteorder, sys.maxsize >= 2 ** 62, sys.version_info[0])


# Something larger: a tokenizer, a parser and an interpreter for arithmetic

def tokenize(source):
    position = 0
    while position < len(source):
        character = source[position]
        if character.isdigit():
            start = position
            while position < len(source) and source[position].isdigit():
                position += 1
            yield "number", int(source[start:position])
            continue
        if character.isalpha():
            yield "name", character
        elif not character.isspace():
            yield "operator", character
        position += 1
    while True:
        yield "end", None


class Parser:
    OPERATORS = [{"+": lambda a, b: a + b, "-": lambda a, b: a - b},
                 {"*": lambda a, b: a * b, "/": lambda a, b: a // b, "%": lambda a, b: a % b}]

    def __init__(self, source, names):
        self.tokens = tokenize(source)
        self.names = names
        self.advance()

    def advance(self):
        self.kind, self.value = next(self.tokens)

    def parse(self):
        result = self.binary(0)
        if self.kind != "end":
            raise SyntaxError("unexpected %s" % self.value)
        return result

    def binary(self, level):
        if level == len(self.OPERATORS):
            return self.atom()
        left = self.binary(level + 1)
        while self.kind == "operator" and self.value in self.OPERATORS[level]:
            operator = self.OPERATORS[level][self.value]
            self.advance()
            left = operator(left, self.binary(level + 1))
        return left

    def atom(self):
        kind, value = self.kind, self.value
        self.advance()
        if kind == "number":
            return value
        if kind == "name":
            return self.names[value]
        if value == "-":
            return -self.atom()
        if value == "(":
            result = self.binary(0)
            if self.value != ")":
                raise SyntaxError("expected )")
            self.advance()
            return result
        raise SyntaxError("unexpected %s" % value)


def interpreter():
    section("interpreter")
    names = {"x": 7, "y": 3}
    for source in ("1 + 2 * 3", "(1 + 2) * 3", "-x * (y - 10) % 5", "100 / 7 / 2", "x *", "2 $ 2", "(1", "z + 1"):
        try:
            print(source, "=", Parser(source, names).parse())
        except SyntaxError as error:
            print(source, "is wrong:", error)
        except KeyError as error:
            print(source, "has no", error.args[0])


def life():
    section("life")
    cells = {(1, 0), (2, 1), (0, 2), (1, 2), (2, 2)}
    for _ in range(20):
        neighbours = {}
        for x, y in cells:
            for dx in (-1, 0, 1):
                for dy in (-1, 0, 1):
                    if dx or dy:
                        at = x + dx, y + dy
                        neighbours[at] = neighbours.get(at, 0) + 1
        cells = {at for at, count in neighbours.items() if count == 3 or count == 2 and at in cells}
    print(sorted(cells))


def garbage():
    section("garbage")
    kept = []
    for n in range(3000):
        block = [n] * 50
        if n % 500 == 0:
            kept.append(block)
    print([block[0] for block in kept], sum(len(block) for block in kept))


def main():
    for part in (classes, operators, generators, exceptions, closures, numbers, text, containers, modules, interpreter,
                 life, garbage):
        part()
    print("done")


if __name__ == "__main__":
    main()
