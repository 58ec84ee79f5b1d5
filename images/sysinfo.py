# Shows the virtual machine and what it runs on. Run it: cargo xtask run images/sysinfo.py
import gc
import os
import sys

import hv

PARTS = {
    (0x41, 0xD03): "Cortex-A53",
    (0x41, 0xD05): "Cortex-A55",
    (0x41, 0xD07): "Cortex-A57",
    (0x41, 0xD08): "Cortex-A72",
    (0x41, 0xD0B): "Cortex-A76",
    (0x41, 0xD0C): "Neoverse-N1",
}


def processor():
    cpu = hv.cpu()
    name = PARTS.get((cpu.implementer, cpu.part), "part 0x%03x of 0x%02x" % (cpu.part, cpu.implementer))
    return "%s r%dp%d" % (name, cpu.variant, cpu.revision)


def kib(size):
    return "%d KiB" % (size // 1024)


def rows():
    vm = hv.vm()
    gc.collect()
    files = os.statvfs("/")
    yield "VM", "%s (number %d), %s" % (vm.name, vm.id, vm.state)
    yield "processor", "%s, %d vCPU(s)" % (processor(), vm.vcpus)
    yield "memory", kib(vm.memory)
    yield "heap", "%s used, %s free" % (kib(hv.mem_used()), kib(hv.mem_free()))
    yield "files", "%s free of %s" % (kib(files[0] * files[3]), kib(files[0] * files[2]))
    yield "may", ", ".join(vm.capabilities) or "nothing special"
    yield "uptime", "%d ms, %d ms of it on a core, %d ms waiting for one" % (hv.uptime_ms(), vm.time_ms, vm.steal_ms)
    yield "exits", "%d, restarts %d" % (vm.exits, vm.restarts)
    yield "terminal", "%d rows, %d columns" % hv.size()
    yield "hypervisor", "ABI %d.%d" % hv.version()
    yield "Python", "%s on %s" % (sys.version, sys.platform)


for name, value in rows():
    hv.set_color(hv.CYAN)
    print("%12s" % name, end="  ")
    hv.set_color()
    print(value)
