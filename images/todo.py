# A list of things to do, in a file. Run it: cargo xtask run images/todo.py
import json

FILE = "/todo.json"
HELP = "add TEXT, done NUMBER, list, quit"


def load():
    try:
        with open(FILE) as file:
            return json.load(file)
    except OSError:
        return []


def save(items):
    with open(FILE, "w") as file:
        json.dump(items, file)


def show(items):
    for number, (text, done) in enumerate(items, 1):
        print("%2d [%s] %s" % (number, "x" if done else " ", text))
    print(sum(not done for _, done in items), "to do")


def command(line):
    """Carries out a line. Returns whether the user wants to go on."""
    word, _, rest = line.strip().partition(" ")
    items = load()
    if word == "add" and rest:
        save(items + [[rest, False]])
    elif word == "done" and rest.isdigit() and 0 < int(rest) <= len(items):
        items[int(rest) - 1][1] = True
        save(items)
    elif word == "list":
        show(items)
    elif word == "quit":
        return False
    else:
        print(HELP)
    return True


print(HELP)
try:
    while command(input("> ")):
        pass
except EOFError:
    print()
