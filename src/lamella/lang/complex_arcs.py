"""The inverse circular and hyperbolic functions of complex numbers; importing installs them.

Kahan's formulas ("Branch cuts for complex elementary functions", 1987), all of them in float64:
square roots on both sides of a cut meet without cancellation, and the signs of zeros choose the
side. At infinities the angle of the operand decides, as C99 and the array API standard have it.
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..base.dtypes import float64
from . import scalar
from .complex import Pair, installs, root
from .expr import lit
from .math import INF, NAN
from .scalar import asinh, atan2, cast, copysign, hypot, log1p, where


def _wide(name: str) -> Callable:
    """Install a function of a float64 pair as the parts of the scalar of that name."""
    def install(f: Callable) -> Callable:
        def parts(z: Pair) -> Pair:
            re, im = f((cast(z[0], float64), cast(z[1], float64)))
            return cast(re, z[0].dtype), cast(im, z[0].dtype)
        installs(name)(parts)
        return f
    return install


def _infinite(z: Pair):
    return scalar.eq(abs(z[0]), INF) | scalar.eq(abs(z[1]), INF)


def _chosen(cond, a: Pair, b: Pair) -> Pair:
    return where(cond, a[0], b[0]), where(cond, a[1], b[1])


def _roots(z: Pair) -> tuple[Pair, Pair]:
    """sqrt(1 - z) and sqrt(1 + z)."""
    return root((1 - z[0], -z[1])), root((z[0] + 1, z[1]))


def _imaginary_zero(z: Pair):
    """Whether z is 0 + NaN i, whose real or imaginary result is known."""
    return scalar.eq(z[0], 0.0) & scalar.ne(z[1], z[1])


@_wide("acos")
def _acos(z: Pair) -> Pair:
    """2 atan2(re sqrt(1-z), re sqrt(1+z)) and asinh(im(conj(sqrt(1+z)) sqrt(1-z)))."""
    low, high = _roots(z)
    re = atan2(low[0], high[0]) * 2
    im = asinh(high[0] * low[1] - high[1] * low[0])
    re = where(_imaginary_zero(z), math.pi / 2, re)
    far = atan2(abs(z[1]), z[0]), copysign(lit(INF, float64), -z[1])
    return _chosen(_infinite(z), far, (re, im))


def _asin_parts(z: Pair) -> Pair:
    """atan2(x, re(sqrt(1-z) sqrt(1+z))) and asinh(im(conj(sqrt(1-z)) sqrt(1+z)))."""
    low, high = _roots(z)
    re = atan2(z[0], low[0] * high[0] - low[1] * high[1])
    im = asinh(low[0] * high[1] - low[1] * high[0])
    re = where(scalar.eq(z[0], 0.0), z[0], re)
    far = atan2(z[0], abs(z[1])), copysign(lit(INF, float64), z[1])
    return _chosen(_infinite(z), far, (re, im))


@_wide("asin")
def _asin(z: Pair) -> Pair:
    return _asin_parts(z)


@_wide("asinh")
def _asinh(z: Pair) -> Pair:
    """-i asin(i z)."""
    re, im = _asin_parts((-z[1], z[0]))
    return im, -re


@_wide("acosh")
def _acosh(z: Pair) -> Pair:
    """asinh(re(conj(sqrt(z-1)) sqrt(z+1))) and 2 atan2(im sqrt(z-1), re sqrt(z+1))."""
    low, high = root((z[0] - 1, z[1])), root((z[0] + 1, z[1]))
    re = asinh(low[0] * high[0] + low[1] * high[1])
    im = atan2(low[1], high[0]) * 2
    im = where(_imaginary_zero(z), math.pi / 2, im)
    far = lit(INF, float64), atan2(z[1], z[0])
    return _chosen(_infinite(z), far, (re, im))


def _atanh_parts(z: Pair) -> Pair:
    """log1p(4 x / |1 - z|^2) / 4 and the angle of (1-x)(1+x) - y^2 + 2 y i, halved; x >= 0."""
    x, y = abs(z[0]), z[1]
    gap = hypot(1 - x, y)
    re = copysign(log1p(x * 4 / gap / gap) * 0.25, z[0])
    im = atan2(y * 2, (1 - x) * (x + 1) - y * y) * 0.5
    re = where(_imaginary_zero(z), z[0], re)
    none = copysign(lit(0, float64), z[0])
    right = copysign(lit(math.pi / 2, float64), y)
    return _chosen(_infinite(z), (none, where(scalar.ne(y, y), NAN, right)), (re, im))


@_wide("atanh")
def _atanh(z: Pair) -> Pair:
    return _atanh_parts(z)


@_wide("atan")
def _atan(z: Pair) -> Pair:
    """-i atanh(i z)."""
    re, im = _atanh_parts((-z[1], z[0]))
    return im, -re
