"""Says clearly that a module of the standard library is not in this guest."""

import sys


class AbsentFinder:
    """The last finder asked: it knows what a reader would expect to find."""

    @staticmethod
    def find_spec(name, path=None, target=None):
        if name.partition(".")[0] in sys.stdlib_module_names:
            raise ModuleNotFoundError(f"module {name!r} is part of Python but not of this guest", name=name)
        return None


def install():
    """Puts the finder behind all others."""
    sys.meta_path.append(AbsentFinder)
