"""Calls into the ABI: what was printed is sent before them, and an interrupt is raised after them."""

import flood
import interrupt
from componentize_py_types import Err
from wit_world.imports import host, task, types


def raising(call, failure=None):
    """Calls into the ABI; an interrupt becomes KeyboardInterrupt, other errors what `failure`
    makes of them, else OSError."""
    flood.send()
    try:
        return call()
    except Err as error:
        if error.value == types.Error.INTERRUPTED or isinstance(error.value, host.CallError_Interrupted):
            task.take_interrupt(False)
            interrupt.deferred = True
            return None
        raise (failure or as_os_error)(error.value) from None
    finally:
        interrupt.settle()


def as_os_error(error):
    """An error of the ABI as an exception."""
    return OSError(error.name.lower().replace("_", " "))
