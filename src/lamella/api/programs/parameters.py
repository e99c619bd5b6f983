"""Parameters: those of a Python function that go by position, and a call's arguments for them."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from ...base.errors import LamellaError
from ..arrays.values import error

ANY = -1        # said of a count: *args or **kwargs


class Parameters:
    """The `names` of a function's positional parameters, and how many arguments it takes for them:
    `count`, or any number."""

    __slots__ = ("count", "f", "name", "names")

    def __init__(self, f: Callable):
        if not callable(f):
            raise error(LamellaError, f"compile: takes a function, got {type(f).__name__}")
        self.f, self.name = f, getattr(f, "__name__", type(f).__name__)
        self.names, any_number = _read(f)
        self.count = ANY if any_number else len(self.names)

    def position(self, parameter: str | int) -> int:
        """Where a parameter, named or numbered, stands."""
        if isinstance(parameter, int) and (self.count == ANY or 0 <= parameter < self.count):
            return parameter
        if parameter in self.names:
            return self.names.index(parameter)  # type: ignore[arg-type]
        known = f"it has {', '.join(self.names)}" if self.names else "it has none that are named"
        raise error(LamellaError, f"{self.name} has no parameter {parameter!r}; {known}")

    def arguments(self, args: tuple, kwargs: dict) -> tuple:
        """Positional arguments, keywords put in their places and defaults filled in."""
        if not kwargs and self.count in (ANY, len(args)):
            return args
        if self.count == ANY:
            raise error(LamellaError, f"{self.name} takes *args or **kwargs: pass its arguments by "
                                      "position when it is compiled")
        fixed = [n for n in kwargs if n not in self.names]
        if fixed:
            raise error(LamellaError, f"{self.name}: {', '.join(fixed)} is not positional; "
                                      "fix it with functools.partial before compiling")
        try:
            bound = inspect.signature(self.f).bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"{self.name}: {e}") from None
        bound.apply_defaults()
        return tuple(bound.arguments[n] for n in self.names)


def _read(f: Callable) -> tuple[list[str], bool]:
    """The names of f's positional parameters, and whether it takes any number of them."""
    try:
        found = inspect.signature(f).parameters
    except (TypeError, ValueError):
        return [], True
    kinds = {p.kind for p in found.values()}
    names = [n for n, p in found.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    return names, bool(kinds & {inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD})
