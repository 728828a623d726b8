"""Running shell commands in the session that lasts, over the guest's files.

The interpreter is just-bash. Its functions, variables and options stay in this module's memory,
and so in snapshots. The working folder is the process's own: `cd` and `os.chdir` are one thing.
No part of this module knows of components, so it is tested with any Python.
"""

import asyncio
import dataclasses
import os
import sys

import shell_import  # noqa: F401 - before anything else of just_bash
import shell_absent
from just_bash import Bash, ExecResult, ExecutionLimits
from just_bash.interpreter import ExitError, Interpreter
from just_bash.interpreter import errors
from just_bash.parser import parse
from program import Exited, Interrupted
from shell_cat import ExactCat
from shell_input import Unread
from shell_files import CannotWrite, TreeFiles, to_bytes
from shell_python import PythonCommand

# Time is limited by the host. Calls stay limited: the stack is.
UNLIMITED = 2**62
LIMITS = ExecutionLimits(
    max_call_depth=100,
    max_command_count=UNLIMITED,
    max_loop_iterations=UNLIMITED,
    max_awk_iterations=UNLIMITED,
    max_sed_iterations=UNLIMITED,
)

# What sends errors along with output, for each way to send output to a file.
BOTH = {">": "&>", ">|": "&>", ">>": "&>>"}

# What ends a script, other than its last statement; all carry output that was made before.
ENDINGS = (ExitError, errors.ErrexitError, errors.NounsetError, errors.BadSubstitutionError, errors.ReturnError)


class Session(Interpreter):
    """just-bash's interpreter, but for three things it does wrong without a word.

    It would run `command &` in the foreground, send errors of `> FILE 2>&1` past the file, and
    print what was meant for a file that cannot be written.
    """

    async def _process_output_redirections(self, redirections, result):
        with self._fs.writing_output():
            try:
                return await super()._process_output_redirections(redirections, result)
            except CannotWrite as error:
                return ExecResult(stderr=f"{result.stderr}bash: {error}\n", exit_code=1)

    async def execute_command(self, node, stdin):
        redirections = getattr(node, "redirections", None)
        if redirections:
            node = dataclasses.replace(node, redirections=type(redirections)(merged(redirections)))
        return await super().execute_command(node, stdin)

    async def _execute_builtin(self, name, node, stdin, *rest):
        if name in ("mapfile", "readarray") and isinstance(stdin, Unread):
            stdin = stdin.take()
        return await super()._execute_builtin(name, node, stdin, *rest)

    async def execute_statement(self, node):
        if node.background:
            return shell_absent.BACKGROUND
        return await super().execute_statement(node)


def merged(redirections):
    """The same with `&> FILE` for `> FILE 2>&1`."""
    result = []
    for redirection in redirections:
        last = result[-1] if result else None
        if is_error_to_output(redirection) and last is not None and last.fd in (None, 1) and last.operator in BOTH:
            result[-1] = dataclasses.replace(last, operator=BOTH[last.operator], fd=None)
        else:
            result.append(redirection)
    return result


def is_error_to_output(redirection):
    """Whether it is `2>&1`."""
    if redirection.fd != 2 or redirection.operator != ">&":
        return False
    return [getattr(part, "value", None) for part in getattr(redirection.target, "parts", ())] == ["1"]


def new_session():
    """A shell nobody has used."""
    python = {name: PythonCommand(name) for name in ("python", "python3")}
    bash = Bash(fs=TreeFiles(), cwd="/", limits=LIMITS, env={"HOME": "/"})
    commands = {**bash._commands, **shell_absent.commands(), **python, ExactCat.name: ExactCat()}
    return Session(fs=bash._fs, commands=commands, limits=LIMITS, state=bash._initial_state)


session = new_session()


def run(source, args, variables=()):
    """Runs commands (bytes), with environment variables, and says how they ended. Never raises."""
    undo = with_variables(variables)
    try:
        settle()
        loop = asyncio.new_event_loop()
        try:
            return Exited(wait(loop, script(source, args)), None)
        finally:
            loop.close()
            os.chdir(session.state.cwd)
    except KeyboardInterrupt:
        return Interrupted()
    except UnicodeEncodeError:
        # Bytes are kept by cat, cp, mv and redirection; the other commands are given text.
        write(ExecResult(stderr="bash: a command that reads text was given bytes that are not UTF-8\n"))
        return Exited(1, None)
    except BaseException as error:  # noqa: BLE001 - a fault of the interpreter must not end the VM
        write(ExecResult(stderr=f"bash: {type(error).__name__}: {error}\n"))
        return Exited(1, None)
    finally:
        undo()


def wait(loop, coroutine):
    """Runs it to its end. Not `asyncio.run`: that takes interrupts away from loops that never wait."""
    task = loop.create_task(coroutine)
    try:
        return loop.run_until_complete(task)
    except BaseException:
        if not task.done():
            task.cancel()
            loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
        elif not task.cancelled():
            # Looked at, so that asyncio does not report it a second time.
            task.exception()
        raise


def settle():
    """Forgets where the last commands were when they were interrupted."""
    state = session.state
    state.call_depth = state.source_depth = state.loop_depth = state.command_count = 0
    state.in_condition = False
    state.group_stdin = Unread()
    state.local_scopes.clear()
    state.env._local_meta_scopes.clear()
    state.cwd = state.env["PWD"] = os.getcwd()


def with_variables(variables):
    """Adds environment variables; what takes them away again."""
    env = session.state.env
    before = {name: env.get(name) for name, _ in variables}
    env.update(variables)

    def undo():
        for name, value in before.items():
            if value is None:
                env.pop(name, None)
            else:
                env[name] = value

    return undo


async def script(source, args):
    """Runs statement by statement, so that output is seen before the end."""
    try:
        tree = parse(source.decode("utf-8", "surrogateescape"))
    except Exception as error:  # noqa: BLE001 - the parser and its lexer have errors of their own
        write(ExecResult(stderr=f"bash: {error}\n"))
        return 2
    if args:
        for number, value in enumerate(args, 1):
            session.state.env[str(number)] = value
        session.state.env["#"] = str(len(args))
    code = 0
    session.state.alias_snapshot_line = None
    for statement in tree.statements:
        try:
            result = await session.execute_statement(statement)
        except (errors.BreakError, errors.ContinueError) as error:
            result = ExecResult(error.stdout, error.stderr, 0)
        except ENDINGS as error:
            write(error)
            return remember(getattr(error, "exit_code", 1))
        write(result)
        code = remember(result.exit_code)
    return code


def remember(code):
    """Makes it `$?`."""
    session.state.last_exit_code = code
    session.state.env["?"] = str(code)
    return code


def write(result):
    """Sends what a statement wrote."""
    for stream, text in ((sys.__stdout__, result.stdout), (sys.__stderr__, result.stderr)):
        if text:
            stream.flush()
            stream.buffer.write(to_bytes(text))
            stream.buffer.flush()
