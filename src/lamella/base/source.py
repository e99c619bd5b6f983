"""The user's source line of a call: file:line outside of the package."""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep


def here() -> tuple[str, int]:
    """(file, line) of the innermost frame outside of the package; ("", 0) when there is none."""
    frame = sys._getframe(2)    # this function is called inside the package
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        frame = frame.f_back  # type: ignore[assignment]
    return ("", 0) if frame is None else (frame.f_code.co_filename, frame.f_lineno)


def at_line(text: str) -> str:
    """The text, ending with the user's line (once)."""
    where = render(here())
    return text if not where or text.endswith(f"({where})") else f"{text} ({where})"


def render(source: tuple[str, int] | None) -> str:
    """`file.py:12`, or an empty string."""
    if not source or not source[0]:
        return ""
    return f"{os.path.basename(source[0])}:{source[1]}"
