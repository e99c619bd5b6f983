"""Amounts of memory as users write them."""

from __future__ import annotations

from numbers import Integral

from .errors import LamellaError

_UNITS = {"B": 1, "KIB": 1 << 10, "MIB": 1 << 20, "GIB": 1 << 30, "TIB": 1 << 40,
          "KB": 10 ** 3, "MB": 10 ** 6, "GB": 10 ** 9, "TB": 10 ** 12}


def parse_bytes(text: str | int) -> int:
    """`"64 MiB"`, `"1.5GB"` or a number as bytes."""
    if isinstance(text, Integral) and not isinstance(text, bool) and text >= 0:
        return int(text)
    written = text.strip() if isinstance(text, str) else ""
    number = written.rstrip("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ ")
    unit = written[len(number):].strip().upper() or "B"
    try:
        found = int(float(number) * _UNITS[unit])
    except (ValueError, KeyError, OverflowError):
        found = -1
    if found < 0:
        raise LamellaError(f"cannot read {text!r} as bytes; write for example '64 MiB'")
    return found
