"""Standard output of programs that print much: in blocks, and still prompt.

A line costs two ways out of the VM, so a program's first lines are sent one by one, and the rest are
gathered. What is gathered is sent when the program waits or ends, when a block is full, and when
the runtime's alarm rings, which it also does while the program computes.
"""

import functools
import signal
import time

import interrupt
from wit_world.imports import io

# Writes of one program that are sent at once.
PROMPT_WRITES = 128

# How long printed text may be kept, in nanoseconds: people see no delay, and an alarm costs little beside it.
KEPT_NS = 2_000_000


class Flood:
    """Decides for a text stream when it is sent. `stream.write` is ours only while something is to be
    decided; else `print` meets the stream's own."""

    def __init__(self, stream):
        self.stream = stream
        self.left = PROMPT_WRITES
        # Whether lines go into blocks, and whether an alarm is set for the one there is.
        self.is_gathering = False
        self.is_timed = False
        stream.write = self._write

    def begin(self):
        """A program begins: it is prompt again."""
        self.left = PROMPT_WRITES
        if self.is_gathering:
            self.is_gathering = False
            self.stream.reconfigure(line_buffering=True)
        self.is_timed = False
        self.stream.write = self._write

    def send(self):
        """Sends what was gathered."""
        if self.is_gathering:
            self.stream.flush()
            self.is_timed = False
            self.stream.write = self._write

    def _write(self, text):
        """Writes while the program is prompt, and the first text since all was sent: the alarm is set, and
        what follows goes into the block without us."""
        if self.left > 0:
            self.left -= 1
        elif not self.is_timed:
            self.is_timed = True
            self.stream.__dict__.pop("write", None)
            if io.alarm(KEPT_NS) and not self.is_gathering:
                self.is_gathering = True
                self.stream.reconfigure(line_buffering=False)
            interrupt.settle()
        return type(self.stream).write(self.stream, text)


current = None

_sleep = time.sleep


def install(stream):
    """Makes `stream` the one that is gathered."""
    global current
    current = Flood(stream)
    time.sleep = sleep


def begin():
    """A program begins. The one before may have taken the alarm's signal, or the stream apart."""
    signal.signal(signal.SIGVTALRM, ring)
    try:
        current.begin()
    except ValueError:
        pass


def ring(_number, _frame):
    """The alarm. It may come while the stream is at work: then it is set again."""
    try:
        current.send()
    except RuntimeError:
        io.alarm(KEPT_NS)
        interrupt.settle()
    except (OSError, ValueError):
        # A stream the program closed. Whoever prints next hears of it.
        pass


def send():
    """Sends what was gathered: before whatever waits, and before other text is sent."""
    if current.is_timed:
        ring(None, None)


@functools.wraps(_sleep)
def sleep(seconds):
    send()
    _sleep(seconds)
