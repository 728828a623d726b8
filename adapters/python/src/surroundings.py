"""What one piece of code finds around it: environment variables and a working folder.

No part of this module knows of components, so it is tested with any Python.
"""

import contextlib
import os

NOTHING = contextlib.nullcontext()


def of(variables, folder):
    """Goes to a folder, where the code stays, and adds variables for as long as this is open.

    OSError if there is no such folder; nothing has changed then."""
    # Most code asks for neither, and then it costs nothing.
    return added(variables, folder) if variables or folder is not None else NOTHING


@contextlib.contextmanager
def added(variables, folder):
    if folder is not None:
        os.chdir(folder)
    before = {name: os.environ.get(name) for name, _ in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
