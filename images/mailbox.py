# Shares work out by messages: see mailbox.toml. Run it: cargo xtask run images/mailbox.toml
import json
import sys

import hv

WORKERS = "worker-1", "worker-2"
PARTS = 8
SIZE = 250


def send(vm, message):
    """Waits while the other's mailbox is full."""
    hv.send(vm, json.dumps(message), -1)


def boss():
    for part in range(PARTS):
        send(WORKERS[part % len(WORKERS)], [part * SIZE, (part + 1) * SIZE])
    total = 0
    for part in range(PARTS):
        sender, message = hv.recv()
        total += json.loads(message)
    for worker in WORKERS:
        send(worker, None)
    print("the sum of all squares below", PARTS * SIZE, "is", total)


def worker():
    while True:
        sender, message = hv.recv()
        job = json.loads(message)
        if job is None:
            return
        send(sender, sum(number * number for number in range(*job)))


boss() if sys.argv[1] == "boss" else worker()
print("done")
