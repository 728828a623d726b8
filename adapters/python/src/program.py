"""Running one piece of code in the namespace that lasts.

No part of this module knows of components, so it is tested with any Python.
"""

import ast
import builtins
import io
import linecache
import os
import sys
import tokenize
import traceback
import types
from dataclasses import dataclass

# Longest printed value of a last expression, and longest message, in characters.
MAX_TEXT = 100_000

HERE = os.path.dirname(__file__)

main = types.ModuleType("__main__")
main.__builtins__ = builtins

# What is to be done before every program, after each that did not fail, and after each however it ended.
before = []
after = []
always = []

# What is to be done with the value of a last expression at the prompt; None is one, too.
at_prompt = []


# What of this folder is for programs to import; `app` is the bindings'.
PUBLIC = {"app", "rlm", "ukernel"}


def free_names():
    """Forgets our modules by name: a program may have some of its own that are called the same."""
    for name, module in list(sys.modules.items()):
        if name not in PUBLIC and os.path.dirname(getattr(module, "__file__", None) or "") == HERE:
            del sys.modules[name]


@dataclass
class Exited:
    """Ran to its end, or exited."""

    code: int
    value: str | None


@dataclass
class Raised:
    """An exception nobody caught; its traceback is on stderr."""

    kind: str
    message: str


@dataclass
class Interrupted:
    """Ended by the host."""


def run(name, source, args, interactive):
    """Runs `source` (bytes) and says how it ended. Never raises."""
    sys.modules["__main__"] = main
    main.__file__ = name
    sys.argv = [name, *args]
    try:
        try:
            code, last = compile_program(name, source, interactive)
            each(before)
            exec(code, main.__dict__)
            value = eval(last, main.__dict__) if last is not None else None
            each(after)
            if interactive:
                for look in at_prompt:
                    look(value)
            shown = None if value is None else clip(repr(value))
            return Exited(0, shown)
        finally:
            # Before a failure is reported: the report has to be heard.
            each(always)
            flush()
    except SystemExit as exit_:
        return exited(exit_.code)
    except KeyboardInterrupt as error:
        report(error)
        return Interrupted()
    except BaseException as error:  # noqa: BLE001 - whatever a program raises ends here
        report(error)
        return Raised(type(error).__name__, message_of(error))


def check(name, source):
    """Compiles `source` (bytes) and runs nothing. Never raises."""
    try:
        compile(source, name, "exec", dont_inherit=True)
        return Exited(0, None)
    except KeyboardInterrupt:
        return Interrupted()
    except BaseException as error:  # noqa: BLE001 - SyntaxError, ValueError, MemoryError, RecursionError
        return Raised(type(error).__name__, message_of(error))


def each(calls):
    """Calls all of them."""
    for call in calls:
        call()


def compile_program(name, source, interactive):
    """The program's code, and that of a last expression whose value is wanted."""
    remember(name, source)
    tree = compile(source, name, "exec", ast.PyCF_ONLY_AST, dont_inherit=True)
    last = None
    if interactive and tree.body and isinstance(tree.body[-1], ast.Expr):
        last = compile(ast.Expression(tree.body.pop().value), name, "eval", dont_inherit=True)
    return compile(tree, name, "exec", dont_inherit=True), last


def remember(name, source):
    """Lets tracebacks show the program's lines."""
    try:
        encoding, _ = tokenize.detect_encoding(io.BytesIO(source).readline)
    except SyntaxError:
        encoding = "utf-8"
    text = source.decode(encoding, "replace")
    lines = [line + "\n" for line in text.split("\n")]
    linecache.cache[name] = (len(source), None, lines, name)


def exited(code):
    """The exit code of `sys.exit(code)`, by the interpreter's own rules."""
    if code is None:
        return Exited(0, None)
    if isinstance(code, int):
        return Exited(max(-(2**31), min(2**31 - 1, code)), None)
    print(code, file=sys.stderr)
    flush()
    return Exited(1, None)


def report(error):
    """Prints the traceback as the interpreter would, without this module's frames."""
    try:
        trace = programs_part(error.__traceback__)
        if isinstance(error, SyntaxError) and error.text is None and error.lineno is not None:
            # The compiler looks the line up in a file; here it is in memory only.
            error.text = linecache.getline(error.filename or "", error.lineno) or None
        hook = sys.excepthook
        if hook is sys.__excepthook__:
            traceback.print_exception(type(error), error, trace)
        else:
            hook(type(error), error, trace)
    except BaseException:  # noqa: BLE001 - a hook or a __str__ that fails must not end the VM
        write_raw(f"{type(error).__name__} (and its report failed)\n")
    flush()


def programs_part(trace):
    """The traceback without our frames: those that run the program, and those it called last."""
    while trace is not None and is_ours(trace):
        trace = trace.tb_next
    last, step = trace, trace
    while step is not None:
        if not is_ours(step):
            last = step
        step = step.tb_next
    if last is not None:
        last.tb_next = None
    return trace


def is_ours(trace):
    """Whether a frame of a traceback runs a module of this folder."""
    return os.path.dirname(trace.tb_frame.f_code.co_filename) == HERE


def message_of(error):
    """The exception's text, whatever its `__str__` does."""
    try:
        return clip(str(error))
    except BaseException:  # noqa: BLE001
        return ""


def clip(text):
    """Text that fits a message and has no lone surrogates."""
    if len(text) > MAX_TEXT:
        text = text[:MAX_TEXT] + f"... ({len(text)} characters)"
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_raw(text):
    try:
        sys.__stderr__.write(text)
    except BaseException:  # noqa: BLE001 - there is nobody left to tell
        pass


def flush():
    """Sends what was printed on, whatever the program made of its streams."""
    for name in ("stdout", "stderr"):
        try:
            getattr(sys, name).flush()
        except BaseException:  # noqa: BLE001 - closed, deleted or replaced by something odd
            pass
