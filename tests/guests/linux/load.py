# Keeps all CPUs busy for ten minutes in several ways at once, each with a process for each CPU. Tells each minute, and at
# the end what the kernel complains about and on which CPUs its timer has gone on.
import os
import re
import sys
import time

MINUTES = 10
START = time.monotonic()


def computing():
    sum(n * n for n in range(10_000))


def memory():
    pages = bytearray(8 << 20)
    for at in range(0, len(pages), 4096):
        pages[at] = 1


def system_calls():
    read, write = os.pipe()
    for _ in range(1000):
        os.write(write, b"x" * 512)
        os.read(read, 512)
    os.close(read)
    os.close(write)


def processes():
    child = os.fork()
    if child == 0:
        os._exit(0)
    os.waitpid(child, 0)


def waiting():
    time.sleep(0.001)


def work(act):
    while time.monotonic() < START + 60 * MINUTES:
        act()
    os._exit(0)


def start(act):
    child = os.fork()
    if child == 0:
        work(act)
    return child


def timers():
    with open("/proc/interrupts") as file:
        line = next(line for line in file if "arch_timer" in line)
    return [int(count) for count in re.findall(r"\s(\d+)(?=\s)", line)][: os.cpu_count()]


before = timers()
children = [start(act) for act in (computing, memory, system_calls, processes, waiting) for _ in range(os.cpu_count())]
for minute in range(1, MINUTES + 1):
    time.sleep(max(0, START + 60 * minute - time.monotonic()))
    print("minute", minute, flush=True)
failed = sum(os.waitpid(child, 0)[1] != 0 for child in children)
gone_on = sum(now - then > 60 * MINUTES for then, now in zip(before, timers()))
complaints = os.popen("busybox dmesg").read().splitlines()
complaints = [line for line in complaints if re.search("(?i)stall|lockup|hung|warning:|bug:", line)]
print("failed", failed, "timers", gone_on, "complaints", complaints)
sys.exit(bool(failed or complaints))
