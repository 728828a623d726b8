"""The host, as a program of the Linux guest reaches it: `call`, as in the other guest."""

import json
import os
import select
import signal
import socket
import struct
import threading

MAX_CALL_BYTES = 16 << 20
MAX_NAME_BYTES = 64

_control = socket.socket(fileno=int(os.environ.pop("UKERNEL_CONTROL")))
_control.set_inheritable(False)
_lock = threading.Lock()
_serial = 0


class HostError(RuntimeError):
    """The host did not do what it was asked for, and says why."""


def call(name, payload=b""):
    """Asks the host for something by name, and gives its answer (bytes). What there is to ask for,
    and whether anything is, is the host's affair. Payload and answer have at most 16 MiB."""
    global _serial
    if len(payload) > MAX_CALL_BYTES:
        raise HostError("a host call carries at most 16 MiB")
    if not 0 < len(name.encode()) <= MAX_NAME_BYTES:
        raise HostError("the name of a host call has 1 to 64 bytes")
    with _lock:
        _serial += 1
        serial = _serial
        with _Undisturbed():
            send({"call": name, "serial": serial}, payload)
        while True:
            header, answer, _ = receive()
            if header.get("answer") == serial:
                break
    if header["is_result"]:
        return answer
    raise HostError(answer.decode("utf-8", "replace"))


def send(header, payload=b""):
    """Says something to the agent."""
    head = json.dumps(header).encode()
    _control.sendall(struct.pack("<II", len(head), len(payload)) + head + payload)


def receive():
    """What the agent says next: a header, bytes, files. An interrupt ends the waiting, never the reading."""
    select.select([_control], [], [])
    with _Undisturbed():
        first, files, _, _ = socket.recv_fds(_control, 8, 3)
        first += _read(8 - len(first)) if first else _gone()
        head, length = struct.unpack("<II", first)
        return json.loads(_read(head)), _read(length), files


def _read(count):
    parts = []
    while count:
        part = _control.recv(min(count, 1 << 20))
        if not part:
            _gone()
        parts.append(part)
        count -= len(part)
    return b"".join(parts)


def _gone():
    os._exit(0)


class _Undisturbed:
    """Interrupts that come meanwhile are raised at its end."""

    def __enter__(self):
        self._came = False
        self._before = None
        if threading.current_thread() is threading.main_thread():
            self._before = signal.signal(signal.SIGINT, self._note)

    def _note(self, number, frame):
        self._came = True

    def __exit__(self, *_):
        if self._before is not None:
            signal.signal(signal.SIGINT, self._before)
            if self._came and callable(self._before):
                self._before(signal.SIGINT, None)
