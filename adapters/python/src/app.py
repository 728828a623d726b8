"""The adapter: what the kernel calls, and nothing else.

Importing this module happens once, when the image is built; the memory it leaves is what every
VM starts with. So everything a program may import is imported here.
"""

import gc

import absent
import event_loop
import identity
import interrupt
import library
import program
import shell
import shown
import streams
import surroundings
from wit_world import exports
from wit_world.exports import runtime

library.load()
absent.install()
event_loop.install()
interrupt.install()
streams.install()
program.always.append(streams.reopen)
shown.install()


class Runtime(exports.Runtime):
    """The `runtime` interface of the ABI."""

    def exec(self, request):
        streams.restore()
        ended = self.run(request)
        match ended:
            case program.Exited(code, value):
                return runtime.Outcome_Exited((code, value))
            case program.Raised(kind, message):
                return runtime.Outcome_Raised((kind, message))
            case program.Interrupted():
                return runtime.Outcome_Interrupted()

    @staticmethod
    def run(request):
        try:
            interrupt.begin()
            with surroundings.of(request.environment, request.folder):
                if request.mode == runtime.Mode.SHELL:
                    return shell.run(request.source, request.args, request.environment)
                if request.mode == runtime.Mode.CHECK:
                    return program.check(request.name, request.source)
                return program.run(request.name, request.source, request.args, request.mode == runtime.Mode.PROMPT)
        except (OSError, ValueError) as error:
            # No such folder, or no variable that could be one.
            program.report(error)
            return program.Raised(type(error).__name__, program.message_of(error))
        except KeyboardInterrupt:
            # It came while the program's end was being reported.
            return program.Interrupted()
        finally:
            # An assignment, not a call: the interpreter looks for interrupts at calls.
            interrupt.running = False
            interrupt.install()

    def resume(self):
        identity.renew()


program.free_names()

# What is here now stays: the collector need not look at it, and forks do not write to it.
gc.collect()
gc.freeze()
