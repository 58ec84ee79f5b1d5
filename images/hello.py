# Run it: cargo xtask run images/hello.py [NAME...]
import sys

names = sys.argv[1:] or ["world"]
for name in names:
    print(f"Hello, {name}!")

print(f"This is {sys.implementation.name} in a virtual machine of its own.")
print("Powers of two:", [2**n for n in range(11)])
