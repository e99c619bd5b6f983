"""This machine's profile: read from its file, or the target's defaults."""

from __future__ import annotations

from pathlib import Path

from ..planner.pricing.profile import DEFAULTS, Profile
from ..runtime.cache import default_folder
from .kernels import target

_known: list[Profile] = []


def path() -> Path | None:
    """Where this machine's measured profile is kept."""
    folder = default_folder()
    return None if folder is None else folder / f"profile-{target().name}.json"


def profile() -> Profile:
    """The measured profile of this machine, or the defaults of its target."""
    if not _known:
        file = path()
        found = None if file is None else Profile.load(file)
        _known.append(found or DEFAULTS[target().name])
    return _known[0]


def forget() -> None:
    """Read the profile anew when it is next asked for."""
    _known.clear()
