# Prints what the kernel thinks is at least worth a warning.
import re
import subprocess

WARNING = 4
dmesg = subprocess.run(["busybox", "dmesg", "-r"], stdout=subprocess.PIPE, check=True, text=True)
lines = [re.match(r"<(\d+)>\[[^]]*\] (.*)", line) for line in dmesg.stdout.splitlines()]
texts = [line[2] for line in lines if line and int(line[1]) % 8 <= WARNING]
for text in texts:
    print("message:", text[:200])
print("messages:", len(texts))
