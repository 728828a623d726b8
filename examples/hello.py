"""Says hello from inside a microVM."""

import platform
import sys

print(f"Hello from CPython {platform.python_version()} on {sys.platform}, in a VM of its own.")
