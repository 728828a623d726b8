"""The guest's own file tree, as the shell's interpreter wants to see one.

Text is UTF-8 with bytes that are not kept as surrogates, so that `cat` and `>` change nothing.
"""

import contextlib
import os
import posixpath
import shutil
import stat
from dataclasses import dataclass

from just_bash.types import FsStat

# Permissions shown where the system keeps none (WASI): everything may be done.
ALL_ALLOWED = 0o755

NOWHERE = "/dev/null"


@dataclass
class Entry:
    """One name of a folder."""

    name: str
    is_file: bool
    is_directory: bool
    is_symbolic_link: bool


class CannotWrite(BaseException):
    """Output has nowhere to go. Not an `Exception`: the interpreter would catch those."""


class TreeFiles:
    """`IFileSystem` of just-bash over `os`. Nothing here waits, so nothing here awaits."""

    def __init__(self):
        self._is_output = False

    @contextlib.contextmanager
    def writing_output(self):
        """What is written meanwhile is output of a command, which must not get lost in silence."""
        self._is_output = True
        try:
            yield
        finally:
            self._is_output = False

    async def read_file(self, path, encoding="utf-8"):
        return (await self.read_file_bytes(path)).decode("utf-8", "surrogateescape")

    async def read_file_bytes(self, path):
        if path == NOWHERE:
            return b""
        with open(path, "rb") as file:
            return file.read()

    async def write_file(self, path, content, encoding="utf-8"):
        self._put(path, content, "wb")

    async def append_file(self, path, content, encoding="utf-8"):
        self._put(path, content, "ab")

    def _put(self, path, content, mode):
        if path == NOWHERE:
            return
        try:
            with open(path, mode) as file:
                file.write(to_bytes(content))
        except OSError as error:
            if self._is_output:
                raise CannotWrite(f"{path}: {error.strerror}") from None
            raise

    async def exists(self, path):
        return path == NOWHERE or os.path.exists(path)

    async def is_file(self, path):
        return os.path.isfile(path)

    async def is_directory(self, path):
        return os.path.isdir(path)

    async def stat(self, path):
        if path == NOWHERE:
            return FsStat(is_file=True, mode=0o666)
        return status(os.stat(path))

    async def lstat(self, path):
        return status(os.lstat(path))

    async def mkdir(self, path, recursive=False):
        if recursive:
            os.makedirs(path, exist_ok=True)
        else:
            os.mkdir(path)

    async def readdir(self, path):
        return sorted(os.listdir(path))

    async def readdir_with_file_types(self, path):
        with os.scandir(path) as entries:
            found = [Entry(e.name, e.is_file(), e.is_dir(), e.is_symlink()) for e in entries]
        return sorted(found, key=lambda entry: entry.name)

    async def rm(self, path, recursive=False, force=False):
        try:
            if not os.path.isdir(path) or os.path.islink(path):
                os.unlink(path)
            elif recursive:
                shutil.rmtree(path)
            else:
                os.rmdir(path)
        except FileNotFoundError:
            if not force:
                raise

    async def cp(self, src, dest, recursive=False):
        if not os.path.isdir(src):
            shutil.copyfile(src, dest)
        elif recursive:
            shutil.copytree(src, dest, copy_function=shutil.copyfile, dirs_exist_ok=True)
        else:
            raise IsADirectoryError(f"is a directory: {src}")

    async def mv(self, src, dest):
        os.replace(src, dest)

    async def chmod(self, path, mode):
        os.stat(path)
        try:
            os.chmod(path, mode)
        except (AttributeError, NotImplementedError, OSError):
            # The guest keeps no permissions: everything is allowed already.
            pass

    async def utimes(self, path, atime, mtime):
        os.utime(path, (atime, mtime))

    async def symlink(self, target, link_path):
        os.symlink(target, link_path)

    async def link(self, existing_path, new_path):
        os.link(existing_path, new_path)

    async def readlink(self, path):
        return os.readlink(path)

    async def realpath(self, path):
        return os.path.realpath(path, strict=True)

    def resolve_path(self, base, path):
        return "/" + posixpath.normpath(posixpath.join(base, path)).lstrip("/")

    def get_all_paths(self):
        return [os.path.join(at, name) for at, folders, files in os.walk("/") for name in folders + files]


def status(found):
    """What the shell wants to know of a file."""
    return FsStat(
        is_file=stat.S_ISREG(found.st_mode),
        is_directory=stat.S_ISDIR(found.st_mode),
        is_symbolic_link=stat.S_ISLNK(found.st_mode),
        mode=stat.S_IMODE(found.st_mode) or ALL_ALLOWED,
        size=found.st_size,
        mtime=found.st_mtime,
        nlink=found.st_nlink,
    )


def to_bytes(content):
    """The bytes that were read as this text."""
    if isinstance(content, bytes):
        return content
    try:
        return content.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return content.encode("utf-8", "replace")
