# Files and directories, by what CPython has too: both have to print the same. Starts in an empty directory, but for
# this file.

import os
import sys


def attempt(function, *args):
    try:
        print(args, "gave", function(*args))
    except OSError as error:
        print(args, "failed:", error.errno)


def content(name):
    with open(name, "rb") as file:
        return file.read()


def put(name, data, mode="wb"):
    with open(name, mode) as file:
        print(name, mode, file.write(data))


put("a", b"first\nsecond\n\nlast")
put("a", b"!", "ab")
with open("text", "w") as file:
    file.write("ünï\ncode")
print(content("a"), content("text"))
with open("a") as file:
    print([line for line in file])
with open("a") as file:
    print(repr(file.readline()), repr(file.read(4)), repr(file.read()), repr(file.read()))
with open("a", "rb") as file:
    print(file.seek(-4, 2), file.read(), file.seek(2), file.read(3), file.tell())
    buffer = bytearray(4)
    print(file.readinto(buffer), buffer)

with open("a", "r+b") as file:
    file.seek(6)
    file.write(b"SECOND")
    file.seek(10000)
    file.write(b"far")
data = content("a")
print(len(data), data[:20], data[20:10000] == bytes(9980), data[10000:])
with open("a", "r+b") as file:
    print(file.truncate(9), file.seek(0, 2))
with open("a", "w+b") as file:
    file.write(b"x" * 100000)
    file.seek(99999)
    print(file.read(10))
print(os.stat("a")[6], os.stat("a")[0] & 0xF000 == 0x8000)

os.mkdir("d")
os.mkdir("d/e")
put("d/f", b"1")
print(sorted(os.listdir("d")), os.stat("d")[0] & 0xF000 == 0x4000)
attempt(os.mkdir, "d")
attempt(os.mkdir, "none/x")
attempt(os.mkdir, "a/x")
attempt(os.rmdir, "d")
attempt(os.rmdir, "a")
attempt(os.rmdir, "none")
attempt(os.remove, "none")
attempt(os.rename, "none", "x")
attempt(os.rename, "d", "d/e/d")
attempt(os.rename, "a", "d")
attempt(os.rename, "d", "a")
attempt(os.listdir, "none")
attempt(os.listdir, "a")
attempt(open, "d", "w")
attempt(open, "none")
attempt(open, "a", "x")
attempt(open, "d/" + "n" * 256, "w")
attempt(os.chdir, "a")

os.rename("d/f", "d/e/g")
os.rename("d", "moved")
put("other", b"2")
os.rename("other", "moved/e/g")
print(content("moved/e/g"), sorted(os.listdir("moved")), sorted(os.listdir()))
os.chdir("moved/e")
print(sorted(os.listdir()), sorted(os.listdir("..")), content("../../text")[:1], content("./g"))
os.chdir("../..")

file = open("gone", "wb+")
file.write(b"still here")
file.flush()
os.remove("gone")
attempt(os.stat, "gone")
file.seek(0)
print(file.read())
file.close()
try:
    file.read()
except (OSError, ValueError):
    print("closed")

sys.path.insert(0, "moved")
put("moved/module.py", b"import package.inner\nname = __name__ + package.inner.name\n")
os.mkdir("moved/package")
put("moved/package/__init__.py", b"")
put("moved/package/inner.py", b"name = __name__\n")
import module

print(module.name)

for number in range(50):
    put("moved/e/%d" % number, b"%d" % number)
os.remove("moved/e/g")
for name in sorted(os.listdir("moved/e")):
    os.remove("moved/e/" + name)
os.rmdir("moved/e")
attempt(os.listdir, "moved/e")
