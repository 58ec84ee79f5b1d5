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
echo "127.0.0.1 localhost tinyvmm" > /etc/hosts
echo "root:x:0:0:root:/root:/bin/sh" > /etc/passwd
ip link set lo up
# Drivers for the virtio devices of the board, if it has any.
if grep -qs virtio,mmio /proc/device-tree/*/compatible; then
    modprobe virtio_mmio
    cat /sys/bus/virtio/devices/*/modalias 2> /dev/null | xargs -r modprobe -a -q
fi
# "ip=" of the kernel's command line, as the kernel would take it if it could set addresses itself
# (Documentation/admin-guide/nfs/nfsroot.rst): ADDRESS::GATEWAY:NETMASK::DEVICE.
if [ -n "$ip" ]; then
    IFS=: read -r address _ gateway netmask _ device _ << END
$ip
END
    ifconfig "${device:-eth0}" "$address" ${netmask:+netmask "$netmask"} up
    [ -z "$gateway" ] || route add default gw "$gateway"
fi
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
