"""What one piece of code finds around it: environment variables and a working folder.

No part of this module knows of components, so it is tested with any Python.
"""

import contextlib
import os


@contextlib.contextmanager
def of(variables, folder):
    """Goes to a folder, where the code stays, and adds variables for as long as this is open.

    OSError if there is no such folder; nothing has changed then."""
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
