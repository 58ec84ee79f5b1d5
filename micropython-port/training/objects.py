# Programs with objects: classes, closures, generators, exceptions, coroutines, and much garbage.

import asyncio
import gc


class Shape:
    count = 0

    def __init__(self, name):
        self.name = name
        Shape.count += 1

    def area(self):
        raise NotImplementedError

    def __repr__(self):
        return "<%s %s>" % (type(self).__name__, self.name)

    def __lt__(self, other):
        return self.area() < other.area()


class Rectangle(Shape):
    def __init__(self, name, width, height):
        super().__init__(name)
        self.width = width
        self.height = height

    def area(self):
        return self.width * self.height

    @property
    def is_square(self):
        return self.width == self.height


class Stack:
    def __init__(self):
        self.items = []

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.items.clear()

    def push(self, item):
        self.items.append(item)

    def pop(self):
        if not self.items:
            raise IndexError("empty")
        return self.items.pop()

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        return self.items[index]


def shapes(count):
    made = [Rectangle("r%d" % i, i % 17, i % 13) for i in range(count)]
    squares = sum(1 for shape in made if shape.is_square)
    return repr(sorted(made)[-1]), squares, isinstance(made[0], Shape)


def stack(count):
    failures = 0
    with Stack() as stack:
        for i in range(count):
            stack.push((i, [i]))
            if i % 3 == 0:
                stack.pop()
        while True:
            try:
                stack.pop()
            except IndexError as error:
                failures += len(str(error))
                break
            finally:
                failures += 1
    return failures


def counter(step):
    total = 0

    def add(*numbers, scale=1, **more):
        nonlocal total
        for number in numbers:
            total += number * step * scale
        return total

    return add


def fibonacci(n):
    return n if n < 2 else fibonacci(n - 1) + fibonacci(n - 2)


def tree(depth):
    return None if depth == 0 else (tree(depth - 1), depth, tree(depth - 1))


def walk(node):
    if node:
        yield from walk(node[0])
        yield node[1]
        yield from walk(node[2])


async def producer(queue, count):
    for i in range(count):
        queue.append(i)
        await asyncio.sleep_ms(0)


async def consumer(queue, count):
    total = 0
    while count:
        if queue:
            total += queue.pop(0)
            count -= 1
        await asyncio.sleep_ms(0)
    return total


async def tasks(count):
    queue = []
    results = await asyncio.gather(producer(queue, count), consumer(queue, count))
    return results[1]


add = counter(3)
for i in range(300):
    add(i, i + 1, scale=2)
    add(*(1, 2, 3), **{"scale": i})
print(shapes(300), stack(300), add(), fibonacci(15), sum(walk(tree(9))), asyncio.run(tasks(100)))
for i in range(20):
    kept = [object() for _ in range(200)]
    gc.collect()
