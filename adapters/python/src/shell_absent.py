"""What a shell elsewhere has and this guest has not, and saying so."""

from just_bash.types import ExecResult

REASONS = {
    "it has no network": ["curl", "git", "nc", "ping", "scp", "ssh", "wget"],
    "it has no processes": ["bg", "disown", "fg", "jobs", "kill", "nohup", "ps", "top"],
    "packages are fixed when the image is built": ["apt", "apt-get", "npm", "pip", "pip3"],
    "a package it needs is not bundled": ["html-to-markdown"],
    "the interpreter does not do it": ["trap"],
}

BACKGROUND = ExecResult(stderr="bash: &: background jobs are not available in this guest\n", exit_code=1)


class AbsentCommand:
    """A command that says why it is not there."""

    def __init__(self, name, reason):
        self.name = name
        self.reason = reason

    async def execute(self, args, ctx):
        return ExecResult(stderr=f"{self.name}: not available in this guest: {self.reason}\n", exit_code=127)


def commands():
    """All of them, by name."""
    return {name: AbsentCommand(name, reason) for reason, names in REASONS.items() for name in names}
