"""`cat` that gives back the bytes it was given: just-bash's own ends every file with a new line."""

from just_bash.commands.cat.cat import CatCommand
from just_bash.types import ExecResult


class ExactCat:
    """Files one after another; with options, lines as just-bash shows them."""

    name = "cat"

    async def execute(self, args, ctx):
        if any(arg.startswith("-") and arg != "-" for arg in args):
            return await CatCommand().execute(args, ctx)
        parts, errors = [], ""
        for name in args or ["-"]:
            try:
                parts.append(await content(name, ctx))
            except OSError as error:
                errors += f"cat: {name}: {error.strerror or error}\n"
        return ExecResult("".join(parts), errors, 1 if errors else 0)


async def content(name, ctx):
    if name in ("-", "/dev/stdin"):
        return ctx.stdin
    return await ctx.fs.read_file(ctx.fs.resolve_path(ctx.cwd, name))
