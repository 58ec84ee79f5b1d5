# In a Linux guest: sends a file to another VM and to the host by nc, and takes theirs, all at the same time. The words are the
# address of the other VM, the port of the host, and the size in MiB.
import subprocess, sys

SCRIPT = r"""
other=$1 port=$2 size=$3
cd /tmp
dd if=/dev/urandom of=sent bs=1M count=$size 2> /dev/null
# An input that ends would end the connection, however much was still to come from the other side.
mkfifo quiet
nc -l -p 7000 <> quiet > vm &
nc -l -p 7001 <> quiet > host &
sleep 1
echo listening
# Until the other one listens as well.
until nc $other 7000 < sent; do sleep 1; done
until nc 10.0.2.2 $port < sent; do sleep 1; done
wait
for file in sent vm host; do
    echo $file $(wc -c < $file) $(sha256sum < $file)
done
"""
sys.exit(subprocess.run(["sh", "-c", SCRIPT, "sh"] + sys.argv[1:]).returncode)
