"""Standard input, output and error: output is whole, prompt and cheap; input is each program's own.

CPython found no terminal when the image was built and left the streams without a buffer.
Such a stream loses what the system does not take at once (one write takes 64 KiB at most)
and calls the kernel twice for every `print`.
"""

import builtins
import contextlib
import functools
import io
import os
import sys

import flood

# Room for output that has no end of line yet.
BUFFER_BYTES = 64 * 1024


def install():
    """Puts fresh streams in place of the interpreter's."""
    sys.stdout = sys.__stdout__ = fresh(1, "<stdout>", "surrogateescape")
    sys.stderr = sys.__stderr__ = fresh(2, "<stderr>", "backslashreplace")
    sys.stdin = sys.__stdin__ = fresh_input()
    flood.install(sys.__stdout__)
    builtins.input = read_line


@functools.wraps(builtins.input)
def read_line(prompt="", /):
    """`input()`. The interpreter's own takes no notice of whatever is raised while it sends what was
    printed; an interrupt that comes just then would be lost."""
    given, out = (stream_of(name) for name in ("stdin", "stdout"))
    flush(stream_of("stderr"))
    if prompt != "":
        out.write(str(prompt))
    flush(out)
    line = given.readline()
    if not isinstance(line, str):
        raise TypeError("object.readline() returned non-string")
    if not line:
        raise EOFError("EOF when reading a line")
    return line.removesuffix("\n")


def flush(stream):
    """Sends what was printed, if the stream can: a program may have put anything in its place."""
    with contextlib.suppress(Exception):
        stream.flush()


def stream_of(name):
    stream = getattr(sys, name, None)
    if stream is None:
        raise RuntimeError(f"input(): lost sys.{name}")
    return stream


class Errors(io.FileIO):
    """Standard error: what was printed before it is sent before it."""

    def write(self, data):
        flood.send()
        return super().write(data)


class Input(io.RawIOBase):
    """Standard input, read by Python code: an interrupt that ends a read is then raised there."""

    name = "<stdin>"
    mode = "r"

    # Whether it was read from: what is buffered then is not meant for the next program.
    is_used = False

    def readable(self):
        return True

    def fileno(self):
        return 0

    def readinto(self, buffer):
        self.is_used = True
        flood.send()
        data = os.read(0, min(len(buffer), BUFFER_BYTES))
        buffer[: len(data)] = data
        return len(data)


def fresh_input():
    """A text stream over the standard input of the program that begins now."""
    stream = io.TextIOWrapper(io.BufferedReader(Input(), BUFFER_BYTES), encoding="utf-8", errors="surrogateescape")
    stream.mode = "r"
    return stream


def fresh(descriptor, name, errors):
    """A text stream that sends each line once it is complete."""
    raw = (Errors if descriptor == 2 else io.FileIO)(descriptor, "w", closefd=False)
    raw.name = name
    buffer = io.BufferedWriter(raw, BUFFER_BYTES)
    stream = io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, newline="\n", line_buffering=True)
    stream.mode = "w"
    return stream


def restore():
    """Replaces the streams a program closed, because the next program must be heard, and an input
    that was read from, because what is left of it is not meant for the next program."""
    ours = getattr(sys, "__stdin__", None)
    if is_closed(ours) or is_used(ours):
        is_ours = getattr(sys, "stdin", ours) is ours or is_lost("stdin")
        sys.__stdin__ = fresh_input()
        if is_ours:
            sys.stdin = sys.__stdin__
    elif is_lost("stdin"):
        sys.stdin = ours
    reopen()
    flood.begin()


def reopen():
    """Replaces the outputs a program closed or deleted: else its own traceback is not heard."""
    if is_lost("__stdout__"):
        sys.__stdout__ = fresh(1, "<stdout>", "surrogateescape")
        flood.install(sys.__stdout__)
    if is_lost("__stderr__"):
        sys.__stderr__ = fresh(2, "<stderr>", "backslashreplace")
    if is_lost("stdout"):
        sys.stdout = sys.__stdout__
    if is_lost("stderr"):
        sys.stderr = sys.__stderr__


def is_lost(name):
    """Whether a stream of `sys` is closed, or not there at all."""
    return not hasattr(sys, name) or is_closed(getattr(sys, name))


def is_used(stream):
    """Whether a standard input was read from. One that a program took apart counts as used."""
    try:
        return stream.buffer.raw.is_used
    except Exception:  # noqa: BLE001 - detached, or something odd in its place
        return True


def is_closed(stream):
    """Whether writing to it must fail. An odd object in its place is the program's affair."""
    try:
        return bool(getattr(stream, "closed", False))
    except Exception:  # noqa: BLE001 - the object decides what it raises
        return False
