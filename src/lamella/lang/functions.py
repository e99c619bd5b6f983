"""Every file that states a scalar's expansion; importing this one installs them all."""

from . import circular, complex, complex_arcs, hyperbolic, ieee, math, special  # noqa: F401
