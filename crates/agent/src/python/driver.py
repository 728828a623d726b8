"""The persistent interpreter of the Linux guest: carries out what the agent says, keeps its variables.

How code is run, and what a model's program finds (`rlm`), are the adapter's modules, the same as in the other guest.
"""

import ctypes
import os
import signal
import struct
import sys
import warnings

sys.path.append(os.path.dirname(__file__))

import program  # noqa: E402
import rlm  # noqa: E402, F401 - in memory before a template is made
import shown  # noqa: E402
import ukernel  # noqa: E402

program.free_names()

LIBC = ctypes.CDLL(None)
NULL = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)

shown.install()
# Figures are shown when the code has ended: that `show` has no window is no news.
warnings.filterwarnings("ignore", message=".*is non-interactive, and thus cannot be shown")


# An interrupt came for the next execution before it ran.
came_early = False


def note_interrupt(number, frame):
    global came_early
    came_early = True


def serve():
    signal.signal(signal.SIGINT, note_interrupt)
    while True:
        asked, source, files = ukernel.receive()
        if "answer" in asked:
            # Of a call that was interrupted.
            continue
        if asked["op"] == "reseed":
            reseed()
            ukernel.send({"end": "exited", "code": 0, "value": None})
            continue
        for target, file in enumerate(files):
            os.dup2(file, target)
            os.close(file)
        ended = carry_out(asked, source)
        LIBC.fflush(None)
        for target in (0, 1, 2):
            os.dup2(NULL, target)
        ukernel.send(ended)


def carry_out(asked, source):
    """Runs or compiles a source and says how it ended."""
    global came_early
    if asked["may_be_late"]:
        # The execution before was interrupted when it had ended.
        came_early = False
    open_streams()
    name = asked["name"] or "<input>"
    if asked["op"] == "check":
        return describe(program.check(name, source))
    try:
        if asked["folder"] is not None:
            os.chdir(asked["folder"])
    except OSError as error:
        return {"end": "exception", "kind": type(error).__name__, "message": str(error)}
    environment = dict(asked["environment"])
    before = {variable: os.environ.get(variable) for variable in environment}
    os.environ.update(environment)
    try:
        signal.signal(signal.SIGINT, signal.default_int_handler)
        try:
            if came_early:
                raise KeyboardInterrupt
            ended = program.run(name, source, asked["args"], asked["op"] == "prompt")
        finally:
            signal.signal(signal.SIGINT, note_interrupt)
    except KeyboardInterrupt:
        # It came before the program had begun, or when it had ended.
        signal.signal(signal.SIGINT, note_interrupt)
        ended = program.Interrupted()
    came_early = False
    for variable, value in before.items():
        if value is None:
            os.environ.pop(variable, None)
        else:
            os.environ[variable] = value
    program.flush()
    return describe(ended)


def describe(ended):
    if isinstance(ended, program.Exited):
        return {"end": "exited", "code": ended.code, "value": ended.value}
    if isinstance(ended, program.Raised):
        return {"end": "exception", "kind": ended.kind, "message": ended.message}
    return {"end": "interrupted"}


def open_streams():
    """Each execution has streams of its own; a program may have replaced or closed those before."""
    text = {"encoding": "utf-8", "closefd": False}
    sys.stdin = sys.__stdin__ = open(0, errors="surrogateescape", **text)
    # By lines: what is printed is seen while the program goes on.
    sys.stdout = sys.__stdout__ = open(1, "w", errors="surrogateescape", buffering=1, **text)
    sys.stderr = sys.__stderr__ = open(2, "w", errors="backslashreplace", buffering=1, **text)


def reseed():
    """Draws new randomness: this process is a twin of others."""
    import random

    seed = os.urandom(32)
    random.seed(seed)
    numpy = sys.modules.get("numpy")
    if numpy is not None and hasattr(numpy, "random"):
        numpy.random.seed(list(struct.unpack("<8I", seed)))
    tls = sys.modules.get("_ssl")
    if tls is not None:
        tls.RAND_add(os.urandom(32), 32.0)


serve()
