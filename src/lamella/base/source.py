"""The user's source line of a call: file:line outside of the package."""

from __future__ import annotations

import os
import sys

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_USER, _OURS, _MODEL, _COMMAND = range(1, 5)
_KIND_OF = {"nn": _MODEL, "optim": _MODEL, "cli": _COMMAND}     # by our packages; others: _OURS
_kinds: dict[str, int] = {}     # of files


def here() -> tuple[str, int]:
    """(file, line) of the innermost frame outside of the package. Under the command line, which has
    none, that of the layer, loss or optimizer; ("", 0) when there is neither."""
    frame = sys._getframe(2)    # this function is called inside the package
    model = ("", 0)
    while frame is not None:
        file = frame.f_code.co_filename
        kind = _kinds.get(file) or _kind(file)
        if kind == _USER:
            return file, frame.f_lineno
        if kind == _COMMAND:
            break
        if kind == _MODEL and not model[0]:
            model = file, frame.f_lineno
        frame = frame.f_back  # type: ignore[assignment]
    return model


def _kind(file: str) -> int:
    kind = _USER
    if file.startswith(_PACKAGE):
        kind = _KIND_OF.get(file[len(_PACKAGE):].split(os.sep)[0], _OURS)
    _kinds[file] = kind
    return kind


def at_line(text: str) -> str:
    """The text, ending with the user's line (once)."""
    where = render(here())
    return text if not where or text.endswith(f"({where})") else f"{text} ({where})"


def render(source: tuple[str, int] | None) -> str:
    """`file.py:12`, or an empty string."""
    if not source or not source[0]:
        return ""
    return f"{os.path.basename(source[0])}:{source[1]}"
