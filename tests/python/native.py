# Functions as native or viper code against the same functions as bytecode.
import micropython
from array import array

failed = False


def compare(source, *argument_lists, kind="native"):
    global failed
    namespaces = {"micropython": micropython}, {"micropython": micropython}
    exec("@micropython." + kind + "\n" + source, namespaces[0])
    # What viper needs to be told, bytecode must not see.
    for word in ": int", ": uint", ": ptr8", ": ptr16", ": ptr32", " -> int", " -> uint", " -> bool":
        source = source.replace(word, "")
    exec(source, namespaces[1])
    for arguments in argument_lists:
        results = [outcome(names["f"], arguments) for names in namespaces]
        if results[0] != results[1]:
            failed = True
            print(source, arguments, *results)


def outcome(function, arguments):
    arguments = [a[:] if isinstance(a, (list, array, bytearray)) else a for a in arguments]
    try:
        return function(*arguments), arguments
    except Exception as error:
        return type(error), arguments


NUMBERS = 0, 1, -1, 7, -4096, (1 << 61) + 5, -(1 << 61)
PAIRS = [(a, b) for a in NUMBERS for b in NUMBERS]
LARGE = (1 << 62) - 1, -(1 << 62), 1 << 62, 1.5, True, None, "a"
OBJECTS = PAIRS + [(a, b) for a in LARGE for b in LARGE + (1, -1)]

for operator in "+", "-", "*", "&", "|", "^", "<", ">", "==", "<=", ">=", "!=", "is", "is not", "in", "//", "%":
    compare(f"def f(a, b): return a {operator} b", *OBJECTS)
    compare(f"def f(a, b):\n if a {operator} b: return 1\n return 2", *OBJECTS)
    compare(f"def f(a, b):\n return [a {operator} b or b, not a {operator} b, (a {operator} b and a)]", *OBJECTS)
for operator in "+=", "-=", "*=", "|=":
    compare(f"def f(a, b):\n a {operator} b\n return a, b", *OBJECTS)

# Viper's integers are those of the machine: only numbers that do not overflow mean the same.
SMALL = [(a, b) for a in (0, 1, -1, 5, -7, 100, -4096, 70000) for b in (0, 1, 3, -3, 4095, -4095, 4096, 65535)]
for operator in "+", "-", "*", "&", "|", "^":
    compare(f"def f(a: int, b: int) -> int: return a {operator} b", *SMALL, kind="viper")
    for constant in 0, 1, -1, 7, 4095, 4096, -4095, -4096, 65535, 65536, 1 << 32, 0x123456789ABC:
        compare(f"def f(a: int) -> int:\n b = a {operator} {constant}\n return b {operator} a", (9,), (-3,), kind="viper")
        compare(f"def f(a: int) -> int: return {constant} {operator} a", (9,), (-3,), kind="viper")
for operator in "<", ">", "==", "<=", ">=", "!=":
    compare(f"def f(a: int, b: int) -> bool: return a {operator} b", *SMALL, kind="viper")
    compare(f"def f(a: int, b: int) -> int:\n if a {operator} b: return 1\n return 2", *SMALL, kind="viper")
    for constant in 0, 1, -1, 4095, -4095, 4096, -4096, 1 << 40:
        compare(f"def f(a: int, b: int) -> int:\n if a {operator} {constant}: return a\n return b", *SMALL, kind="viper")
    unsigned = [pair for pair in SMALL if min(pair) >= 0]
    compare(f"def f(a: uint, b: uint) -> int:\n while a {operator} b: return 1\n return 2", *unsigned, kind="viper")
for shift in 0, 1, 31, 40:
    compare(f"def f(a: int) -> int: return a << {shift} >> {shift}", (1,), (-5,), (1000,), kind="viper")
    compare("def f(a: int, b: int) -> int: return a << b >> b", (1, shift), (-5, shift), kind="viper")
compare("def f(a: int, b: int) -> int: return (a + b) * (a - b) - -a ^ ~b", *SMALL, kind="viper")
compare("def f(a: int, b: int) -> int:\n a = b = a + b\n b += a\n a, b = b, a\n return a * 3 + b", *SMALL, kind="viper")
compare("def f(n: int) -> int:\n s = 0\n for i in range(n):\n  s += i\n  if i == 7: continue\n  s ^= i << 3\n return s", (0,), (1,), (50,), kind="viper")
compare("def f(n: int) -> int:\n s = t = u = v = w = 1\n while n > 0:\n  s += t; t += u; u += v; v += w; n -= 1\n return s * t - u * v", (0,), (9,), kind="viper")

# Memory, by constants and by variables.
for kind, code in ("ptr8", "B"), ("ptr16", "H"), ("ptr32", "I"):
    data = array(code, (i * 37 & 0xFF for i in range(64)))
    for index in 0, 1, 5, 63:
        compare(f"def f(p: {kind}) -> int: return p[{index}] + p[{index}]", (data,), kind="viper")
        compare(f"def f(p: {kind}):\n p[{index}] = 77\n p[{index} + 0] = p[0]", (data,), kind="viper")
        compare(f"def f(p: {kind}, i: int) -> int: return p[i] * p[i]", (data, index), kind="viper")
        compare(f"def f(p: {kind}, i: int) -> int: return p[i + 1 - 1] + p[(i & 3) + 1]", (data, index), kind="viper")
        compare(f"def f(p: {kind}, i: int, v: int):\n p[i] = v\n p[i ^ 1] = p[i] + i", (data, index, 9), kind="viper")
    compare(f"def f(p: {kind}, n: int) -> int:\n s = 0\n for i in range(n): s += p[i]\n return s", (data, 64), kind="viper")
    compare(f"def f(p: {kind}, q: {kind}, n: int):\n for i in range(n):\n  p[i] = q[n - 1 - i]\n  q[i] = i", (data, data, 64), kind="viper")

# Functions of every shape.
compare("def f(a, b=2, *c, d=4, **e): return a, b, c, d, sorted(e)", (1,), (1, 3, 5), ())
compare("def f(n):\n def g(x):\n  nonlocal n\n  n += x\n  return n\n return [g(i) for i in range(n)] + [n]", (5,), (0,))
compare("def f(n): return list((lambda: ((yield), (yield n), (yield from range(n))))())", (3,))
compare("def f(n):\n for i in range(n):\n  try:\n   if i == 2: continue\n   if i == 5: raise KeyError(i)\n   n += 1\n  except KeyError as e: return e.args, n\n  finally: n += 10\n return n", (3,), (9,))
compare("def f(a):\n x, *y, z = a\n return {x: y, z: {x, z}}, a[1:], a[-1], [i for i in a if i in y]", ([1, 2, 3, 4],), ([1],), (5,))
compare("def f(o):\n return o.count(1), o.index(2), o.nothing", ([1, 2],), ((1, 2),), ("12",))
compare("def f(a, b, c, d, e, g): return [a + b < c, d - e == g, a if b else c, (a, b) < (c, d) and e]", (1, 2, 3, 4, 5, 6), (0, 0, 0, 0, 0, 0))

print("some differ" if failed else "all the same")
