"""Memory as the system has it."""

from __future__ import annotations

import ctypes


def give_back() -> None:
    """Hand what was freed back to the system, as far as the C library can: glibc keeps it for later, however much that is."""
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim:
        trim(0)
