"""Standard output and error, so that output is whole, prompt and cheap.

CPython found no terminal when the image was built and left the streams without a buffer.
Such a stream loses what the system does not take at once (one write takes 64 KiB at most)
and calls the kernel twice for every `print`.
"""

import io
import sys

# Room for output that has no end of line yet.
BUFFER_BYTES = 64 * 1024


def install():
    """Puts fresh streams in place of the interpreter's."""
    sys.stdout = sys.__stdout__ = fresh(1, "<stdout>", "surrogateescape")
    sys.stderr = sys.__stderr__ = fresh(2, "<stderr>", "backslashreplace")


def fresh(descriptor, name, errors):
    """A text stream that sends each line once it is complete."""
    raw = io.FileIO(descriptor, "w", closefd=False)
    raw.name = name
    buffer = io.BufferedWriter(raw, BUFFER_BYTES)
    stream = io.TextIOWrapper(buffer, encoding="utf-8", errors=errors, newline="\n", line_buffering=True)
    stream.mode = "w"
    return stream


def restore():
    """Replaces the streams a program closed: the next program must be heard."""
    if is_closed(sys.__stdout__):
        sys.__stdout__ = fresh(1, "<stdout>", "surrogateescape")
    if is_closed(sys.__stderr__):
        sys.__stderr__ = fresh(2, "<stderr>", "backslashreplace")
    if is_closed(sys.stdout):
        sys.stdout = sys.__stdout__
    if is_closed(sys.stderr):
        sys.stderr = sys.__stderr__


def is_closed(stream):
    """Whether writing to it must fail. An odd object in its place is the program's affair."""
    try:
        return bool(getattr(stream, "closed", False))
    except Exception:  # noqa: BLE001 - the object decides what it raises
        return False
