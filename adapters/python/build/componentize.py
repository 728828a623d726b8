"""Runs componentize-py with the file status it sees evened out (determinism.rs)."""

import ctypes
import sys

ctypes.CDLL(None).determinism_install()

import componentize_py  # noqa: E402

sys.exit(componentize_py.script())
