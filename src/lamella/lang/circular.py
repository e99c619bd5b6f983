"""The circular functions and their inverses; see lang/math.py for the method and the errors."""

from __future__ import annotations

import math

from ..base.dtypes import float64
from . import scalar
from .expr import Expr, lit
from .forms import F32, F64, PI, Form, clamp, expands, polynomial, with_sign
from .scalar import bitcast, cast, fma, where

INF, NAN = math.inf, math.nan


def _half_turns(form: Form, x: Expr, shift: float) -> Expr:
    """(-1)^n r in float64, x = (n - shift) pi + r, |r| <= pi / 2, |x| < 2^51.

    As in `reduced`, n pi's high part is subtracted without an error; n's parity becomes a sign.
    pi's parts are positive, so that -0 stays -0.
    """
    biased = fma(x, 1 / math.pi, F64.magic) if not shift else fma(x, 1 / math.pi, shift) + F64.magic
    n = biased - F64.magic if not shift else biased - F64.magic - shift
    for part in PI[:2] if form is F32 else PI:
        x = fma(n, -part, x)
    return bitcast(bitcast(x, F64.word) ^ (bitcast(biased, F64.word) << 63), float64)


def _sine(form: Form, x: Expr, shift: float) -> Expr:
    """sin(x + shift pi): reduced in float64, r + r^3 q(r^2) in the function's own format.

    The bounds keep the promise |sin| <= 1, also for arguments too large to be reduced.
    """
    r = cast(_half_turns(form, cast(x, float64), shift), form.dtype)
    y = fma(r * r * r, polynomial(r * r, form.sin), r)
    return clamp(with_sign(form, y, r), -1.0, 1.0)


@expands("sin")
def sin(form: Form, x: Expr) -> Expr:
    """(-1)^n sin(r), x = n pi + r.

    float32: 1.74 ulp for |x| < 2^44; float64: 1.6 for |x| < 2^30. Beyond, the error grows
    (docs/functions.md), to no meaning from 2^52, but the result stays within -1..1.
    """
    return _sine(form, x, 0)


@expands("cos")
def cos(form: Form, x: Expr) -> Expr:
    """(-1)^n sin(r), x + pi/2 = n pi + r, without that sum. Errors as sin's: 1.74; 1.7 ulp."""
    return _sine(form, x, 0.5)


@expands("tan")
def tan(form: Form, x: Expr) -> Expr:
    """sin(x) / cos(x). float32: 3.83 ulp; float64: 3.8; arguments as sin's."""
    return _sine(form, x, 0) / _sine(form, x, 0.5)


# ---- inverses -----------------------------------------------------------------------------------

@expands("atan")
def atan(form: Form, x: Expr) -> Expr:
    """b + t + t^3 q(t^2), |t| <= tan(pi/8): t = x, (x-1)/(x+1) or -1/x and b = 0, pi/4 or pi/2.

    float32: 2.11 ulp; float64: 1.9.
    """
    a = abs(x)
    steep, middle = a > math.tan(3 * math.pi / 8), a > math.tan(math.pi / 8)
    t = where(steep, -1, where(middle, a - 1, a)) / where(steep, a, where(middle, a + 1, 1))
    high, low = (where(steep, c, where(middle, lit(c / 2, form.dtype), 0)) for c in form.half_pi)
    square = t * t
    y = high + fma(t * square, polynomial(square, form.atan), low + t)
    return with_sign(form, abs(y), x)


def _arc(form: Form, x: Expr) -> tuple[Expr, Expr, Expr]:
    """(|x| <= 1/2, s, asin(s)): s = x there, else sqrt((1 - |x|) / 2), NaN outside of -1..1."""
    a = abs(x)
    small = a <= 0.5
    s = where(small, x, scalar.sqrt(fma(a, -0.5, 0.5)))
    square = s * s
    return small, s, fma(s * square, polynomial(square, form.asin), s)


@expands("asin")
def asin(form: Form, x: Expr) -> Expr:
    """asin(s) for |x| <= 1/2, else pi/2 - 2 asin(s). float32: 2.34 ulp; float64: 2.3."""
    small, _, y = _arc(form, x)
    high, low = form.half_pi
    far = fma(y, -2, low) + high
    return where(small, y, with_sign(form, far, x))


@expands("acos")
def acos(form: Form, x: Expr) -> Expr:
    """pi/2 - asin(s) for |x| <= 1/2, else 2 asin(s), or pi - 2 asin(s) for x < -1/2.

    float32: 1.11 ulp; float64: 1.2.
    """
    small, _, y = _arc(form, x)
    high, low = form.half_pi
    middle = high + (low - y)
    far = where(x < 0, 2 * high + fma(y, -2, 2 * low), y + y)
    return where(small, middle, far)


@expands("atan2")
def atan2(form: Form, y: Expr, x: Expr) -> Expr:
    """The angle of (x, y): atan of the smaller over the larger, in its octant.

    float32: 2.60 ulp; float64: 2.6.
    """
    a, b = abs(y), abs(x)
    steep = a > b
    low, high = where(steep, b, a), where(steep, a, b)
    both = scalar.eq(low, INF)
    t = where(both, 1, low / where(scalar.eq(high, 0), 1, where(both, 1, high)))
    angle = scalar.atan(t)
    angle = where(steep, form.half_pi[0] - (angle - form.half_pi[1]), angle)
    left = bitcast(x, form.word) < 0
    angle = where(left, 2 * form.half_pi[0] - (angle - 2 * form.half_pi[1]), angle)
    bad = scalar.ne(x, x) | scalar.ne(y, y)
    return where(bad, NAN, with_sign(form, angle, y))
