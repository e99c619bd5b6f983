"""Random numbers from explicit keys: keys and uniform draws, distributions, orders and choices."""

from __future__ import annotations

from .choices import *  # noqa: F403
from .distributions import *  # noqa: F403
from .draws import *  # noqa: F403
