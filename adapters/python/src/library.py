"""What programs may import. There is no library on disk in a VM: what is not loaded when the
image is built cannot be imported later."""

import importlib
import pkgutil
import sys

# Packages bundled beside the standard library (build/requirements.txt), and our own.
BUNDLED = [
    "dateutil",
    "dateutil.easter",
    "dateutil.parser",
    "dateutil.relativedelta",
    "dateutil.rrule",
    "dateutil.tz",
    "dateutil.utils",
    "jinja2",
    "jinja2.ext",
    "jinja2.sandbox",
    "just_bash",
    "markupsafe",
    "more_itertools",
    "rlm",
    "six",
    "tabulate",
    "ukernel",
    "yaml",
]

# Not loaded: they start something, need what is not there, or are of no use without a person.
LEFT_OUT = {
    "__hello__",
    "__phello__",
    "_aix_support",
    "_android_support",
    "_apple_support",
    "_ios_support",
    "_osx_support",
    "_pyrepl",
    "antigravity",
    "ensurepip",
    "idlelib",
    "lib2to3",
    "pip",
    "pydoc_data",
    "site",
    "sitecustomize",
    "test",
    "this",
    "tkinter",
    "turtle",
    "turtledemo",
    "usercustomize",
    "venv",
    "webbrowser",
}

# Packages of the standard library loaded with all that is in them.
WHOLE = [
    "asyncio",
    "collections",
    "compression",
    "concurrent",
    "ctypes",
    "dbm",
    "email",
    "encodings",
    "html",
    "http",
    "importlib",
    "json",
    "logging",
    "pathlib",
    "re",
    "sqlite3",
    "string",
    "tomllib",
    "unittest",
    "urllib",
    "wsgiref",
    "xml",
    "xmlrpc",
    "zipfile",
    "zoneinfo",
]


def load():
    """Imports all of it. What this build of Python lacks is skipped; what is bundled must be there."""
    for name in sorted(sys.stdlib_module_names - LEFT_OUT):
        attempt(name)
    for name in WHOLE:
        package = sys.modules.get(name)
        for module in pkgutil.walk_packages(getattr(package, "__path__", []), name + "."):
            if not module.name.endswith("__main__"):
                attempt(module.name)
    # First: of just-bash only this module knows how.
    importlib.import_module("shell_import")
    for name in BUNDLED:
        importlib.import_module(name)


def attempt(name):
    """Imports a module that may need what is not in this build."""
    try:
        importlib.import_module(name)
    except (ImportError, AttributeError, NotImplementedError, OSError, RuntimeError):
        sys.modules.pop(name, None)
