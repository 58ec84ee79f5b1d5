# Starts, watches and restarts other VMs: see supervisor.toml. Run it: cargo xtask run images/supervisor.toml
import sys

import hv

PATIENCE_MS = 2000
ATTEMPTS = 5


def run(name, attempt):
    """Runs a VM once. Returns its exit code; a VM that takes too long is killed."""
    hv.spawn(name, [name + ".py", str(attempt)])
    code = hv.wait(name, PATIENCE_MS)
    if code is None:
        print(name, "takes too long")
        try:
            hv.kill(name)
        except OSError:
            pass  # It has ended meanwhile.
        code = hv.wait(name)
    return code


def supervise(name):
    for attempt in range(1, ATTEMPTS + 1):
        code = run(name, attempt)
        print(name, "ended with exit code", code)
        if code == 0:
            return True
    return False


good = [supervise(name) for name in sys.argv[1:]]
for vm in hv.vms():
    print("%d %-12s %-9s restarts %d" % (vm.id, vm.name, vm.state, vm.restarts))
sys.exit(0 if all(good) else 1)
