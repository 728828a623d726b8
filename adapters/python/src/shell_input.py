"""Standard input for just-bash, which hands whole texts from command to command.

Input is read when a command first looks at it, so that commands that do not need it never wait
for an input that does not end.
"""

import errno
import sys

import shell_import  # noqa: F401 - before anything else of just_bash
from just_bash import types


# Most standard input a command line may look at, in bytes: it is one text in memory.
MAX_BYTES = 64 << 20

PIECE_BYTES = 64 << 10


class Unread(str):
    """Stands for standard input until it is read. True, as a text that is not empty would be."""

    is_read = False

    def __bool__(self):
        return not self.is_read

    def take(self):
        """All of it, once."""
        if self.is_read:
            return ""
        self.is_read = True
        data = bytearray()
        # In pieces: one read of so much would need that much memory, however short the input is.
        while piece := sys.stdin.buffer.read(PIECE_BYTES):
            data += piece
            if len(data) > MAX_BYTES:
                raise OSError(errno.EFBIG, f"standard input has more than {MAX_BYTES >> 20} MiB; read it from a program")
        return data.decode("utf-8", "surrogateescape")


class Context(types.CommandContext):
    """What a command gets. Its input is read when it looks at it."""

    @property
    def stdin(self):
        if isinstance(self._stdin, Unread):
            self._stdin = self._stdin.take()
        return self._stdin

    @stdin.setter
    def stdin(self, text):
        self._stdin = text


# The interpreter takes the class from there at every command.
types.CommandContext = Context
