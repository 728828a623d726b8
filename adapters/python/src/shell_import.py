"""Loads just-bash without the packages it names but does not need here.

It imports a network client and helpers for files and nested loops when it is imported. They are
not bundled: there is no network, files come from shell_files.py, and loops are not nested.
"""

import importlib
import pkgutil
import sys
import types

ABSENT = {
    "aiofiles": [],
    "aiofiles.os": [],
    "aiohttp": [],
    "aiohttp.abc": ["AbstractResolver", "ResolveResult"],
    "bz2": [],
    "lzma": [],
    "nest_asyncio": [],
}


def load():
    """Imports all of just-bash: what is not loaded now cannot be loaded in a VM."""
    stand_ins = [name for name in ABSENT if name not in sys.modules]
    for name in stand_ins:
        module = sys.modules[name] = types.ModuleType(name)
        module.__path__ = []
        for member in ABSENT[name]:
            setattr(module, member, type(member, (), {}))
    try:
        package = importlib.import_module("just_bash")
        for module in pkgutil.walk_packages(package.__path__, "just_bash."):
            importlib.import_module(module.name)
    finally:
        # A program that asks for one of these must hear that it is not there.
        for name in stand_ins:
            del sys.modules[name]


load()
