# Some of CPython's own tests, by CPython's own means.
import runpy
import sys

NAMES = ["json", "math", "struct", "re", "dict", "list", "asyncio"]
sys.argv = ["test", *("test_" + name for name in NAMES)]
runpy.run_module("test", run_name="__main__")
