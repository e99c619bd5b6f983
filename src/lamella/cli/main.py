"""The `lamella` command: errors are one line each, a signal ends it with what is written whole."""

from __future__ import annotations

import sys

from . import signals


def main(arguments: list[str] | None = None) -> None:
    """Run the command; an error of ours is one line and exit status 1, Ctrl-C is 130, SIGTERM 143,
    a command that is not understood 2."""
    try:
        with signals.caught():
            code = _run(arguments)
    except KeyboardInterrupt:
        code = _say("interrupted", 130)
    sys.exit(code or 0)


def _run(arguments: list[str] | None) -> int:
    """The exit status; libraries load here, so that Ctrl-C while they do is an ordinary end."""
    from ..base.errors import LamellaError
    from .commands import app
    try:
        code = app(arguments, standalone_mode=False)
        if code == 130:  # the argument parser turns Ctrl-C into this
            _say("interrupted", code)
    except LamellaError as e:
        code = _say(str(e), 1)
    except OSError as e:
        code = _say(f"{e.filename}: {e.strerror}" if e.filename else str(e), 1)
    except MemoryError as e:
        code = _say(str(e) or type(e).__name__, 1)
    except Exception as e:
        shown = getattr(e, "format_message", None)  # a usage error of the argument parser
        if shown is None:
            raise
        code = _say(shown(), 2) if shown() else 2    # without a command, the help was shown
    return code


def _say(message: str, code: int) -> int:
    print(f"lamella: {message}", file=sys.stderr)
    return code
