# A ball in a box, until a key is pressed. Run it: cargo xtask run images/bounce.py [FRAMES]
import sys

import hv

FRAME_MS = 40
ROWS, COLUMNS = hv.size()
COLORS = (hv.RED, hv.GREEN, hv.YELLOW, hv.BLUE, hv.MAGENTA, hv.CYAN)


def put(row, column, text):
    hv.set_cursor(row, column)
    print(text, end="")


def draw_box():
    edge = "+" + "-" * (COLUMNS - 2) + "+"
    hv.clear()
    put(0, 0, edge)
    for row in range(1, ROWS - 2):
        put(row, 0, "|")
        put(row, COLUMNS - 1, "|")
    put(ROWS - 2, 0, edge)
    put(ROWS - 1, 0, "any key ends it")


def step(place, speed, last):
    """Moves by one step between 1 and `last`, and turns around at the ends."""
    if not 1 <= place + speed <= last:
        speed = -speed
    return place + speed, speed


def bounce(frames):
    row, down, column, right, hits = 1, 1, 1, 1, 0
    next_frame = hv.uptime_ms()
    while frames != 0 and not hv.has_key():
        hv.set_color(COLORS[hits % len(COLORS)])
        put(row, column, "O")
        next_frame += FRAME_MS
        hv.sleep_until(next_frame)
        put(row, column, " ")
        before = down, right
        row, down = step(row, down, ROWS - 3)
        column, right = step(column, right, COLUMNS - 2)
        hits += (down, right) != before
        frames -= 1
    put(row, column, "O")


draw_box()
bounce(int(sys.argv[1]) if len(sys.argv) > 1 else -1)
hv.set_color()
hv.set_cursor(ROWS - 1, 0)
print()
