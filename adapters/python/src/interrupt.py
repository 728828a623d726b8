"""The host's interrupt as KeyboardInterrupt.

It arrives in two ways. A call that waits gives the error `interrupted`. To a program that
computes, the kernel does what a signal handler in C would do: it marks SIGINT as tripped in
CPython's own memory, and the interpreter calls our handler at the next safe point, also
from inside a long regular expression or multiplication.
"""

import signal

from componentize_py_types import Err
from wit_world.imports import task, types

# Whether a program runs. An interrupt that comes a moment too late must not end the next
# program, nor unwind the adapter, which would trap.
running = False


def install():
    """Makes ours the handler of SIGINT, also for those who restore the default (asyncio does).

    Done again after every program, which may have left a handler of its own.
    """
    signal.default_int_handler = _on_interrupt
    signal.signal(signal.SIGINT, _on_interrupt)


def _on_interrupt(_number, _frame):
    # One interrupt, one KeyboardInterrupt: the next call that waits need not tell it again.
    task.take_interrupt()
    if running:
        raise KeyboardInterrupt


def raising(call):
    """Calls into the ABI; an interrupt becomes KeyboardInterrupt, other errors OSError."""
    try:
        return call()
    except Err as error:
        if error.value == types.Error.INTERRUPTED:
            task.take_interrupt()
            raise KeyboardInterrupt from None
        raise OSError(error.value.name.lower().replace("_", " ")) from None
