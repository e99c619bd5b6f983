"""All array functions in one namespace, in the names of the Python array API standard (2024.12)."""

from __future__ import annotations

from math import e, inf, nan, pi  # noqa: F401

from .arrays.array import Array, asarray, from_numpy  # noqa: F401
from .functions.bits import *  # noqa: F403
from .functions.creation import *  # noqa: F403
from .functions.datatypes import *  # noqa: F403
from .functions.devices import *  # noqa: F403
from .functions.elementwise import *  # noqa: F403
from .functions.manipulation import *  # noqa: F403
from .functions.products import *  # noqa: F403
from .functions.reductions import *  # noqa: F403
from .functions.repetition import *  # noqa: F403
from .functions.scans import *  # noqa: F403
from .functions.scatters import *  # noqa: F403
from .functions.segments import *  # noqa: F403
from .functions.sets import *  # noqa: F403
from .functions.sorting import *  # noqa: F403
from .mathematics.iterated import *  # noqa: F403
from .mathematics.special import *  # noqa: F403
from .networks.activations import *  # noqa: F403
from .networks.attention import *  # noqa: F403
from .networks.convolution import *  # noqa: F403
from .networks.losses import *  # noqa: F403
from .networks.normalization import *  # noqa: F403
from .networks.pooling import *  # noqa: F403
from .networks.resampling import *  # noqa: F403

newaxis = None
