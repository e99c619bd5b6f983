"""All array functions in one namespace, in the names of the Python array API standard (2024.12)."""

from __future__ import annotations

from math import e, inf, nan, pi  # noqa: F401

from .activations import *  # noqa: F403
from .array import Array, asarray, from_numpy  # noqa: F401
from .attention import *  # noqa: F403
from .bits import *  # noqa: F403
from .convolution import *  # noqa: F403
from .creation import *  # noqa: F403
from .datatypes import *  # noqa: F403
from .elementwise import *  # noqa: F403
from .iterated import *  # noqa: F403
from .linalg import *  # noqa: F403
from .losses import *  # noqa: F403
from .manipulation import *  # noqa: F403
from .normalization import *  # noqa: F403
from .pooling import *  # noqa: F403
from .reductions import *  # noqa: F403
from .repetition import *  # noqa: F403
from .resampling import *  # noqa: F403
from .scans import *  # noqa: F403
from .scatters import *  # noqa: F403
from .segments import *  # noqa: F403
from .sets import *  # noqa: F403
from .sorting import *  # noqa: F403
from .special import *  # noqa: F403

newaxis = None
