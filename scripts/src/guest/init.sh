#!/bin/busybox sh
# The first program of the guest: Python's /main.py with the words after "--" on the command line, else a shell. The VM
# ends with its exit code.
/bin/busybox mkdir -p /usr/sbin
/bin/busybox --install -s
export PATH=/usr/sbin:/usr/bin:/sbin:/bin HOME=/root TERM=vt100 LANG=C.UTF-8
mount -t proc proc /proc
mount -t sysfs sys /sys
mount -t devtmpfs dev /dev
mkdir -p /dev/pts /tmp /root
mount -t devpts devpts /dev/pts
mount -t tmpfs tmp /tmp
hostname tinyvmm
ip link set lo up
if [ -e /main.py ]; then
    python3 /main.py "$@"
else
    cd
    setsid cttyhack sh
fi
code=$?
# What was written last is to be seen, too: this waits for it.
stty -F /dev/console sane
# The exit register (docs/guest-abi.md); PSCI has no exit codes.
devmem 0x09020000 32 $code
poweroff -f
