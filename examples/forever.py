"""Never ends by itself: for trying --timeout and Ctrl-C."""

print("counting", flush=True)
number = 0
while True:
    number += 1
