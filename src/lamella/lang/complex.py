"""Complex numbers in real scalars: the `parts` of every scalar that takes them.

Importing installs them. Each rule gets (real, imaginary) pairs and gives one, or one expression
where the result is real. They are free of branches. complex64 goes through float64 where a sum of
squares or a quotient of parts would lose digits or overflow. Special values (infinities, NaNs,
signed zeros) are those of the array API standard, which are C99's (annex G), where the formula at
hand gives them or a comment says so. Kahan, "Branch cuts for complex elementary functions" (1987).
"""

from __future__ import annotations

import math
from collections.abc import Callable

from ..base.dtypes import DType, float32, float64, int32, int64
from . import scalar
from .expr import Expr, lit
from .math import INF, NAN
from .scalar import (
    atan2,
    bitcast,
    cast,
    cos,
    exp,
    fma,
    hypot,
    log,
    log1p,
    maximum,
    minimum,
    sin,
    sqrt,
    where,
)

Pair = tuple[Expr, Expr]

def installs(name: str) -> Callable:
    """Install a function as the parts of the scalar of that name."""
    def install(f: Callable) -> Callable:
        scalar.ALL[name].parts = f
        return f
    return install


# ---- real helpers -------------------------------------------------------------------------------

def _wide(x: Expr) -> Expr:
    return cast(x, float64)


def _signed(magnitude: Expr, x: Expr) -> Expr:
    """A magnitude >= 0 (or NaN) with the sign of x, that of -0 too."""
    word = int32 if x.dtype is float32 else int64
    return where(bitcast(x, word) < 0, -magnitude, magnitude)


def _finite(x: Expr) -> Expr:
    return abs(x) < INF


def _infinite(x: Expr) -> Expr:
    return scalar.eq(abs(x), INF)


def _either(test: Callable, a: Expr, b: Expr) -> Expr:
    return test(a) | test(b)


# ---- what they are made of ----------------------------------------------------------------------

@installs("complex")
def _complex(a: Expr, b: Expr) -> Pair:
    return a, b


@installs("real")
def _real(z: Pair) -> Expr:
    return z[0]


@installs("imag")
def _imag(z: Pair) -> Expr:
    return z[1]


@installs("conj")
def _conj(z: Pair) -> Pair:
    return z[0], -z[1]


@installs("abs")
def _abs(z: Pair) -> Expr:
    return hypot(*z)


@installs("angle")
def _angle(z: Pair) -> Expr:
    return atan2(z[1], z[0])


# ---- arithmetic ---------------------------------------------------------------------------------

@installs("add")
def _add(a: Pair, b: Pair) -> Pair:
    return a[0] + b[0], a[1] + b[1]


@installs("sub")
def _sub(a: Pair, b: Pair) -> Pair:
    return a[0] - b[0], a[1] - b[1]


@installs("neg")
def _neg(z: Pair) -> Pair:
    return -z[0], -z[1]


@installs("mul")
def multiplied(a: Pair, b: Pair) -> Pair:
    """(ac - bd) + (ad + bc) i, each operation rounded."""
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


@installs("div")
def divided(a: Pair, b: Pair) -> Pair:
    """Smith's quotient ("Algorithm 116: complex division", CACM 1962): no square overflows.

    A divisor of 0 divides each part by its real part's size, so that x / 0 is infinite.
    """
    swap = abs(b[1]) > abs(b[0])
    big, small = where(swap, b[1], b[0]), where(swap, b[0], b[1])
    zero = scalar.eq(big, 0.0)
    ratio = where(zero, 0.0, small / where(zero, 1.0, big))
    x, y = where(swap, a[1], a[0]), where(swap, a[0], a[1])
    scale = where(zero, abs(big), big + small * ratio)
    re, im = (x + y * ratio) / scale, (y - x * ratio) / scale
    return re, where(swap, -im, im)


@installs("eq")
def _eq(a: Pair, b: Pair) -> Expr:
    return scalar.eq(a[0], b[0]) & scalar.eq(a[1], b[1])


@installs("ne")
def _ne(a: Pair, b: Pair) -> Expr:
    return scalar.ne(a[0], b[0]) | scalar.ne(a[1], b[1])


@installs("where")
def _where(c: Expr, a: Pair, b: Pair) -> Pair:
    return where(c, a[0], b[0]), where(c, a[1], b[1])


# ---- exponentials and logarithms ----------------------------------------------------------------

def _split_exp(x: Expr) -> Pair:
    """e^x as a product of two factors, of which the second is 1 unless e^x may overflow."""
    limit = 80.0 if x.dtype is float32 else 700.0
    large = x > limit
    half = exp(where(large, x - limit, x))
    return half, where(large, lit(math.exp(limit), x.dtype), 1.0)


def _turned(x: Expr, y: Expr) -> Pair:
    """e^x times (cos y, sin y); exact on the real axis, and with no angle where x is infinite and
    y is not finite."""
    first, second = _split_exp(x)
    size = first * second
    lost = ~_finite(y)
    re = where(lost & scalar.eq(x, INF), INF, first * cos(y) * second)
    im = first * sin(y) * second
    gone = lost & scalar.eq(x, -INF)
    return (where(gone, 0.0, where(scalar.eq(y, 0.0), size, re)),
            where(gone, 0.0, where(scalar.eq(y, 0.0), y, im)))


@installs("exp")
def _exp(z: Pair) -> Pair:
    """e^x (cos y + i sin y)."""
    return _turned(*z)


@installs("expm1")
def _expm1(z: Pair) -> Pair:
    """e^x cos y - 1 = expm1(x) cos y - 2 sin^2(y/2): right near 0."""
    re, im = _exp(z)
    half = sin(z[1] * 0.5)
    near = scalar.expm1(z[0]) * cos(z[1]) - half * half * 2.0
    return where(abs(z[0]) < 1.0, near + 0.0, re - 1.0), im  # of zeros +0, as the standard has it


def _log_size(x: Expr, y: Expr) -> Expr:
    """log|z|: near the unit circle by log1p of |z|^2 - 1, else without overflow."""
    dtype = x.dtype
    a, b = abs(_wide(x)), abs(_wide(y))
    top, low = maximum(a, b), minimum(a, b)
    near = (top < 2.0) & (top > 0.5)
    outside = fma(low, low, (top - 1.0) * (top + 1.0))
    close = log1p(where(near, outside, 0.0)) * 0.5
    ratio = low / where(scalar.eq(top, 0.0), 1.0, top)
    far = log(top) + log1p(ratio * ratio) * 0.5
    found = where(_either(_infinite, a, b), INF, where(near, close, far))
    return cast(where(scalar.eq(top, 0.0), -INF, found), dtype)


@installs("log")
def _log(z: Pair) -> Pair:
    """log|z| + i angle(z)."""
    return _log_size(*z), atan2(z[1], z[0])


def _in_base(name: str, base: float) -> None:
    """log z / log(base) in float64."""
    def parts(z: Pair) -> Pair:
        re, im = _log((_wide(z[0]), _wide(z[1])))
        dtype, scale = z[0].dtype, 1 / math.log(base)
        return cast(re * scale, dtype), cast(im * scale, dtype)
    installs(name)(parts)


_in_base("log2", 2)
_in_base("log10", 10)


@installs("log1p")
def _log1p(z: Pair) -> Pair:
    """log(1 + z); near 0 the real part is log1p(2x + x^2 + y^2) / 2."""
    x, y = z
    a, b = _wide(x), _wide(y)
    small = (abs(a) < 0.5) & (abs(b) < 0.5)
    near = log1p(where(small, fma(b, b, (a + 2.0) * a), 0.0)) * 0.5
    one = _log_size(a + 1.0, b)
    return cast(where(small, near, one), x.dtype), atan2(y, cast(a + 1.0, x.dtype))


@installs("sqrt")
def root(z: Pair) -> Pair:
    """t = sqrt((|x| + |z|) / 2); (t, y / 2t) to the right, (|y| / 2t, t with y's sign) to the left.

    In float64, scaled by a power of 4 where the sum would overflow or be denormal.
    """
    dtype = z[0].dtype
    x, y = map(_wide, z)
    top = maximum(abs(x), abs(y))
    up, down = top < 2.0**-900, top > 2.0**1000
    factor = where(up, 2.0**200, where(down, 2.0**-200, lit(1.0, float64)))
    back = where(up, 2.0**-100, where(down, 2.0**100, lit(1.0, float64)))
    a, b = x * factor, y * factor
    t = sqrt((abs(a) + hypot(a, b)) * 0.5)
    zero = scalar.eq(t, 0.0)
    other = abs(b) / (where(zero, 1.0, t) * 2.0)
    right = bitcast(x, int64) >= 0
    re, im = where(right, t, other) * back, where(right, other, t) * back
    flat = _infinite(x) & _finite(y)    # inf / inf would be NaN
    re = where(flat, where(right, INF, lit(0.0, float64)), re)
    im = where(flat, where(right, 0.0, lit(INF, float64)), im)
    lost = _infinite(x) & scalar.ne(y, y)
    re = where(lost, where(right, INF, lit(NAN, float64)), re)
    im = where(lost, where(right, NAN, lit(INF, float64)), im)
    steep = _infinite(y)
    re, im = where(steep, INF, re), where(steep, INF, im)
    return cast(re, dtype), cast(_signed(im, y), dtype)


@installs("pow")
def _pow(a: Pair, b: Pair) -> Pair:
    """e^(b log a) in float64; 1 for b = 0, and 0 for a = 0 where b's real part is positive."""
    dtype = a[0].dtype
    wide = [(_wide(x), _wide(y)) for x, y in (b, a)]
    re, im = (cast(p, dtype) for p in _exp(multiplied(wide[0], _log(wide[1]))))
    none = _eq(b, (lit(0, b[0].dtype), lit(0, b[0].dtype)))
    empty = scalar.eq(a[0], 0.0) & scalar.eq(a[1], 0.0) & (b[0] > 0.0)
    return (where(none, 1.0, where(empty, 0.0, re)),
            where(none | empty, 0.0, im))


# ---- circular and hyperbolic functions ----------------------------------------------------------

def _hyperbolic(x: Expr, y: Expr, first: bool) -> Pair:
    """(sinh x, cosh x) or (cosh x, sinh x), times (cos y, sin y), without early overflow."""
    a = abs(x)
    one, two = _split_exp(a)
    e = one * 0.5
    rest = where(a < 20.0, 0.25 / where(a < 20.0, e, 1.0), 0.0)
    grow = scalar.expm1(where(a < 1.0, a, 0.0))
    near = (grow + grow / (grow + 1.0)) * 0.5
    sinh = _signed(where(a < 1.0, near, e - rest), x)
    cosh = e + rest
    left, right = (sinh, cosh) if first else (cosh, sinh)
    flat = scalar.eq(y, 0.0)
    alone = _infinite(x) | scalar.eq(x, 0.0) if first else _infinite(x)
    re = where(flat | (alone & ~_finite(y)), left, left * cos(y)) * two
    lost = flat | scalar.eq(right, 0.0)      # 0 * inf is 0 here: the functions are real there
    im = where(lost, _signed(lit(0, x.dtype), y) if first else _product_sign(right, y),
               right * sin(y) * two)
    return re, im


def _product_sign(a: Expr, b: Expr) -> Expr:
    """0 with the sign of a * b."""
    zero = lit(0, a.dtype)
    return _signed(_signed(zero, a), b)


@installs("sinh")
def _sinh(z: Pair) -> Pair:
    """sinh x cos y + i cosh x sin y."""
    return _hyperbolic(*z, first=True)


@installs("cosh")
def _cosh(z: Pair) -> Pair:
    """cosh x cos y + i sinh x sin y."""
    return _hyperbolic(*z, first=False)


@installs("sin")
def _sin(z: Pair) -> Pair:
    """-i sinh(i z)."""
    re, im = _sinh((-z[1], z[0]))
    return im, -re


@installs("cos")
def _cos(z: Pair) -> Pair:
    """cosh(i z)."""
    return _cosh((-z[1], z[0]))


@installs("tanh")
def _tanh(z: Pair) -> Pair:
    """(t (1 + s^2) + i s (1 - t^2)) / (1 + s^2 t^2), t = tanh x, s = tan y, multiplied by cos^2 y:
    no tangent is infinite. Kahan's, with 1 - t^2 = 1 / cosh^2 x; +-1 where x is large; in float64.
    """
    dtype = z[0].dtype
    x, y = map(_wide, z)
    t = scalar.tanh(x)
    c, s = cos(y), sin(y)
    a = abs(x)
    small = exp(where(a < 40.0, a, lit(40.0, float64)) * -1.0)
    sech = small * 2.0 / (small * small + 1.0)
    below = fma(c, c, t * t * s * s)
    far = a > 25.0
    re = where(far, _signed(lit(1.0, float64), x), t / where(far, 1.0, below))
    wave = where(_finite(y), s * c, 0.0)
    im = where(far, _signed(lit(0, float64), wave), s * c * sech * sech / below)
    flat, lost = scalar.eq(y, 0.0), ~(_finite(y) | _infinite(x))
    re = where(flat | (lost & scalar.eq(x, 0.0)), t, where(lost, NAN, re))
    return cast(re, dtype), cast(where(flat, y, where(lost, NAN, im)), dtype)


@installs("tan")
def _tan(z: Pair) -> Pair:
    """-i tanh(i z)."""
    re, im = _tanh((-z[1], z[0]))
    return im, -re


@installs("round")
def _round(z: Pair) -> Pair:
    """Each part to the nearest integer."""
    return scalar.round_(z[0]), scalar.round_(z[1])


def converted(z: Pair | Expr, source: DType, to: DType) -> Pair | Expr:
    """A cast of which one side at least is complex; to bool, whether it is not 0."""
    if isinstance(z, Expr):
        part = cast(z, to.real)
        return part, lit(0, to.real)
    if to.is_complex:
        return cast(z[0], to.real), cast(z[1], to.real)
    return scalar.ne(z[0], 0.0) | scalar.ne(z[1], 0.0)
