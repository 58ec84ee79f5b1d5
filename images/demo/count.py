# The Python VM of the demonstration: shares the core with its neighbours.
import time

for number in range(1, 4):
    print(f"Python counts {number}")
    time.sleep_ms(20)
