"""The host's interrupt as KeyboardInterrupt.

It arrives in two ways. A call that waits gives the error `interrupted`. To a program that
computes, the kernel does what a signal handler in C would do: it marks SIGINT as tripped in
CPython's own memory, and the interpreter calls our handler at the next safe point, also
from inside a long regular expression or multiplication.
"""

import signal

from wit_world.imports import task

# Whether a program runs. An interrupt that reaches the adapter before or after it must not
# unwind the adapter, which would trap. One that came early is kept by the kernel: `begin` finds it.
running = False

# An interrupt that came while the bindings were turning values: they are not made to be
# unwound, so it is raised when they are done.
deferred = False


def install():
    """Makes ours the handler of SIGINT, also for those who restore the default (asyncio does).

    Done again after every program, which may have left a handler of its own.
    """
    global deferred
    deferred = False
    signal.default_int_handler = _on_interrupt
    signal.signal(signal.SIGINT, _on_interrupt)


def _on_interrupt(_number, frame):
    global deferred
    if not running:
        return
    # One interrupt, one KeyboardInterrupt: the next call that waits need not tell it again.
    task.take_interrupt(True)
    if is_bindings(frame):
        deferred = True
    else:
        raise KeyboardInterrupt


def begin():
    """A program begins; an interrupt that is there already ends it."""
    global running
    running = True
    if task.take_interrupt(False):
        raise KeyboardInterrupt


def is_bindings(frame):
    """Whether this code was called by the generated bindings, or is part of them."""
    while frame is not None:
        if frame.f_globals.get("__name__", "").startswith(("wit_world", "componentize_py")):
            return True
        frame = frame.f_back
    return False


def settle():
    """Raises the interrupt that came while the bindings were at work."""
    global deferred
    if deferred:
        deferred = False
        raise KeyboardInterrupt
