"""What a program can ask of the kernel, beyond what Python offers.

    import ukernel
    ukernel.log.info("starting")
    with ukernel.span("work"):
        ukernel.event("half way", "50 %")
    channel = ukernel.Channel("results")
    channel.send(b"done")
"""

import asyncio
import contextlib
import os as _os
import tempfile as _tempfile
import types as _types

import calls as _calls
from wit_world.imports import host as _host
from wit_world.imports import ipc as _ipc
from wit_world.imports import log as _log
from wit_world.imports import task as _task
from wit_world.imports import trace as _trace

_spans = []


def _logger(level):
    def write(message):
        text = str(message)
        _calls.raising(lambda: _log.write(level, text))

    return write


log = _types.SimpleNamespace(
    debug=_logger(_log.Level.DEBUG),
    info=_logger(_log.Level.INFO),
    warn=_logger(_log.Level.WARN),
    error=_logger(_log.Level.ERROR),
)


@contextlib.contextmanager
def span(name):
    """A span of the trace, inside the one that is open."""
    parent = _spans[-1] if _spans else None
    number = _calls.raising(lambda: _trace.span_begin(name, parent))
    _spans.append(number)
    try:
        yield number
    finally:
        _spans.remove(number)
        _calls.raising(lambda: _trace.span_end(number))


def event(name, detail=""):
    """An event of the trace, in the open span."""
    text = str(detail)
    _calls.raising(lambda: _trace.event(_spans[-1] if _spans else None, name, text))


def sleep(seconds):
    """Rests; other tasks of this VM run meanwhile."""
    _calls.raising(lambda: _task.sleep(max(0, int(seconds * 1e9))))


def spawn(path, *args):
    """Runs a file of the tree as a task of its own, with an interpreter of its own."""
    return _calls.raising(lambda: _task.spawn(path, list(args)))


def join(task):
    """Waits for a task and gives its exit code."""
    return _calls.raising(lambda: _task.join(task))


class HostError(RuntimeError):
    """The host did not do what it was asked for, and says why."""


def call(name, payload=b""):
    """Asks the host for something by name, and gives its answer (bytes). What there is to ask for,
    and whether anything is, is the host's affair. Payload and answer have at most 16 MiB.

    They cross as a file, because what the generated bindings copy they never free. It has no name, so no
    other code can read or change it."""
    with _tempfile.TemporaryFile() as file:
        file.write(payload)
        file.flush()
        scratch = _os.fstat(file.fileno()).st_ino
        _calls.raising(lambda: _host.call(name, scratch), _host_error)
        file.seek(0)
        return file.read()


def _host_error(error):
    if isinstance(error, _host.CallError_Refused):
        return HostError(error.value)
    return HostError("the connection to the host ended")


class Channel:
    """A named queue of messages (bytes) that all tasks of this VM can reach."""

    def __init__(self, name):
        self._handle = _calls.raising(lambda: _ipc.channel_create(name))

    def send(self, message):
        """Adds a message; OSError when 64 are waiting."""
        _calls.raising(lambda: _ipc.send(self._handle, bytes(message)))

    def recv(self):
        """The oldest message, None if nothing waits."""
        return _calls.raising(lambda: _ipc.recv(self._handle))

    async def get(self):
        """The oldest message, waiting for it."""
        while (message := self.recv()) is None:
            await asyncio.get_running_loop().channel_ready(self._handle)
        return message

    def close(self):
        """Gives the channel back; its messages are gone when nobody holds it."""
        _ipc.close(self._handle)
