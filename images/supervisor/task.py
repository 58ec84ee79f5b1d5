# What supervisor.py watches: fails at its first attempt, hangs at its second, and then does its work.
import sys

attempt = int(sys.argv[1])
print("attempt", attempt)
if attempt == 1:
    raise RuntimeError("something went wrong")
while attempt == 2:
    pass
print("work done")
