"""`python3` in the shell: the same interpreter, with a `__main__` of its own."""

import asyncio
import contextlib
import io
import os
import sys
import types

import program
from just_bash.types import ExecResult
from shell_files import to_bytes

USAGE = "use python3 FILE, python3 -c CODE or python3 - (other options are not available in this guest)\n"


class PythonCommand:
    """Runs a file, an argument or its input."""

    def __init__(self, name):
        self.name = name

    async def execute(self, args, ctx):
        if args[:1] in (["--version"], ["-V"]):
            return ExecResult(stdout=f"Python {sys.version.split()[0]}\n")
        stdin = to_bytes(ctx.stdin)
        match args:
            case ["-c", code, *rest]:
                name, source, folder = "-c", to_bytes(code), ctx.cwd
            case ["-c"]:
                return ExecResult(stderr=f"{self.name}: {USAGE}", exit_code=2)
            case [] | ["-", *_]:
                name, source, rest, stdin, folder = "-", stdin, args[1:], b"", ctx.cwd
            case [option, *_] if option.startswith("-"):
                return ExecResult(stderr=f"{self.name}: {USAGE}", exit_code=2)
            case [name, *rest]:
                path = ctx.fs.resolve_path(ctx.cwd, name)
                folder = os.path.dirname(path)
                try:
                    source = await ctx.fs.read_file_bytes(path)
                except OSError as error:
                    text = f"{self.name}: can't open file {path!r}: {error.strerror}\n"
                    return ExecResult(stderr=text, exit_code=2)
        return run(name, source, rest, stdin, folder, ctx)


def run(name, source, args, stdin, folder, ctx):
    """Runs it, and puts back what belongs to the session."""
    out, err = captured(b""), captured(b"")
    with apart(folder, ctx), contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        sys.stdin = captured(stdin)
        ended = program.run(name, source, args, False)
        out.flush()
        err.flush()
    if isinstance(ended, program.Interrupted):
        raise KeyboardInterrupt
    code = ended.code & 0xFF if isinstance(ended, program.Exited) else 1
    return ExecResult(text_of(out), text_of(err), code)


@contextlib.contextmanager
def apart(folder, ctx):
    """Gives a program its own `__main__`, arguments, environment and imports."""
    loop = asyncio.get_running_loop()
    session = program.main, sys.modules["__main__"], sys.argv, sys.stdin, sys.path[:], dict(os.environ)
    modules, cwd = set(sys.modules), os.getcwd()
    exported = exports_of(ctx.env)
    try:
        program.main = types.ModuleType("__main__")
        program.main.__builtins__ = program.builtins
        sys.path.insert(0, folder)
        os.environ.clear()
        os.environ.update(exported)
        os.chdir(ctx.cwd)
        # The program may run a loop of its own while the shell's waits.
        asyncio._set_running_loop(None)
        yield
    finally:
        asyncio._set_running_loop(loop)
        os.chdir(cwd)
        program.main, sys.modules["__main__"], sys.argv, sys.stdin, sys.path[:], environment = session
        os.environ.clear()
        os.environ.update(environment)
        for name in set(sys.modules) - modules:
            del sys.modules[name]


def exports_of(env):
    """The variables a process would get."""
    metadata = getattr(env, "_metadata", None)
    if metadata is None:
        return {name: value for name, value in env.items() if name.isidentifier()}
    return {n: v for n, v in env.items() if n.isidentifier() and n in metadata and "x" in metadata[n].attributes}


def captured(content):
    """A text stream in memory that keeps any bytes."""
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="surrogateescape", newline="\n")


def text_of(stream):
    return stream.buffer.getvalue().decode("utf-8", "surrogateescape")
