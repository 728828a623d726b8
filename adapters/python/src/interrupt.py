"""The host's interrupt as KeyboardInterrupt."""

from componentize_py_types import Err
from wit_world.imports import task, types


def raising(call):
    """Calls into the ABI; an interrupt becomes KeyboardInterrupt, other errors OSError."""
    try:
        return call()
    except Err as error:
        if error.value == types.Error.INTERRUPTED:
            task.take_interrupt()
            raise KeyboardInterrupt from None
        raise OSError(error.value.name.lower().replace("_", " ")) from None


def check():
    """Raises KeyboardInterrupt if the host asked for it."""
    if task.take_interrupt():
        raise KeyboardInterrupt
