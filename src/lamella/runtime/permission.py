"""What the system grants only to processes that ask: registers for matrices."""

from __future__ import annotations

import ctypes
from functools import lru_cache

_ARCH_PRCTL, _REQUEST, _TILES = 158, 0x1023, 18     # Linux on x86-64, asm/prctl.h


@lru_cache(None)
def matrices_granted() -> bool:
    """Ask for the registers of AMX, for all threads of the process (Linux's documentation,
    arch/x86/xstate); whether they may be used."""
    try:
        return ctypes.CDLL(None).syscall(_ARCH_PRCTL, _REQUEST, _TILES) == 0
    except (OSError, AttributeError):
        return False
