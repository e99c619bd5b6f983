"""Elementwise functions, in the array API's names. Operands broadcast; dtypes promote; Python
numbers follow the arrays. Functions marked float take integers as float32."""

from __future__ import annotations

import math

from ...base import dtypes
from ...base.errors import DTypeError
from ...ir.node import make
from ...ops.move import zeros_like
from ...ops.pointwise import STOP, apply, cast
from ..arrays.array import Array, asarray, divide, floor_divide, operands, power, remainder, wrap
from ..arrays.kinds import floating
from ..arrays.values import error

__all__ = ["abs", "acos", "acosh", "add", "angle", "asin", "asinh", "atan", "atan2", "atanh",
           "ceil", "clip", "complex", "conj", "copysign", "cos", "cosh", "divide", "equal", "erf",
           "exp", "exp2", "expm1", "floor", "floor_divide", "greater", "greater_equal", "hypot",
           "imag", "isfinite", "isinf", "isnan", "less", "less_equal", "log", "log10", "log1p",
           "log2", "logaddexp", "maximum", "minimum", "multiply", "negative", "nextafter",
           "not_equal", "positive", "pow", "real", "reciprocal", "remainder", "round", "rsqrt",
           "sigmoid", "sign", "signbit", "sin", "sinh", "sqrt", "square", "stop_gradient",
           "subtract", "tan", "tanh", "trunc", "where"]


def unary(name: str, x) -> Array:
    """The pointwise op of that name over an array or number."""
    return wrap(apply(name, asarray(x).node))


def _float(name: str, x) -> Array:
    return wrap(apply(name, floating(asarray(x).node)))


def _rounded(name: str, x) -> Array:
    """A rounding, which leaves integers as they are."""
    x = asarray(x)
    return x if x.dtype.is_int or x.dtype is dtypes.bool_ else wrap(apply(name, x.node))


def _floats(name: str, a, b) -> Array:
    return wrap(apply(name, *map(floating, operands(name, (a, b)))))


def binary(name: str, a, b) -> Array:
    """The pointwise op of that name over two operands in their common dtype."""
    return wrap(apply(name, *operands(name, (a, b))))


# ---- arithmetic ---------------------------------------------------------------------------------

def add(a, b, /) -> Array:
    """a + b."""
    return binary("add", a, b)


def subtract(a, b, /) -> Array:
    """a - b."""
    return binary("sub", a, b)


def multiply(a, b, /) -> Array:
    """a * b."""
    return binary("mul", a, b)


def pow(a, b, /) -> Array:
    """a to the b; constant integer exponents become multiplications."""
    return power(a if isinstance(a, Array) else asarray(a), b)


def negative(x, /) -> Array:
    """-x."""
    return unary("neg", x)


def positive(x, /) -> Array:
    """x."""
    return asarray(x)


def abs(x, /) -> Array:
    """|x|."""
    return unary("abs", x)


def sign(x, /) -> Array:
    """-1, 0 or 1; NaN for NaN. Of complex numbers x / |x|, and 0 for 0."""
    x = asarray(x)
    if not x.dtype.is_complex:
        return unary("sign", x)
    size = abs(x)
    return where(size == 0, 0, x / where(size == 0, 1, size).astype(x.dtype))


def square(x, /) -> Array:
    """x * x."""
    x = asarray(x)
    return x * x


def reciprocal(x, /) -> Array:
    """1 / x, float."""
    return divide(1, asarray(x))


def maximum(a, b, /) -> Array:
    """The larger; NaN if either is. Ties share the gradient."""
    return binary("max", a, b)


def minimum(a, b, /) -> Array:
    """The smaller; NaN if either is. Ties share the gradient."""
    return binary("min", a, b)


def clip(x, /, min=None, max=None) -> Array:
    """x kept within min..max; None leaves a side open."""
    x = asarray(x)
    x = x if min is None else maximum(x, min)
    return x if max is None else minimum(x, max)


def copysign(a, b, /) -> Array:
    """|a| with b's sign, float."""
    return _floats("copysign", a, b)


def hypot(a, b, /) -> Array:
    """sqrt(a*a + b*b), float; neither overflows nor underflows on the way."""
    return _floats("hypot", a, b)


def logaddexp(a, b, /) -> Array:
    """log(exp(a) + exp(b)), float, without overflow."""
    return _floats("logaddexp", a, b)


def nextafter(a, b, /) -> Array:
    """The number next to a in the direction of b, float; b itself where they are equal."""
    return _floats("nextafter", a, b)


# ---- rounding -----------------------------------------------------------------------------------

def floor(x, /) -> Array:
    """The largest integer <= x."""
    return _rounded("floor", x)


def ceil(x, /) -> Array:
    """The smallest integer >= x."""
    return _rounded("ceil", x)


def round(x, /) -> Array:
    """The nearest integer, ties to even."""
    return _rounded("round", x)


def trunc(x, /) -> Array:
    """The integer part."""
    return _rounded("trunc", x)


# ---- exponentials and powers, float -------------------------------------------------------------

def exp(x, /) -> Array:
    """e to the x."""
    return _float("exp", x)


def exp2(x, /) -> Array:
    """2 to the x, exact at integers."""
    return _float("exp2", x)


def expm1(x, /) -> Array:
    """exp(x) - 1, exact near 0."""
    return _float("expm1", x)


def log(x, /) -> Array:
    """The natural logarithm; NaN below 0, -inf at 0."""
    return _float("log", x)


def log1p(x, /) -> Array:
    """log(1 + x), exact near 0."""
    return _float("log1p", x)


def log2(x, /) -> Array:
    """The logarithm to base 2, exact at powers of two."""
    return _float("log2", x)


def log10(x, /) -> Array:
    """The logarithm to base 10."""
    return _float("log10", x)


def sqrt(x, /) -> Array:
    """The square root; NaN below 0."""
    return _float("sqrt", x)


def rsqrt(x, /) -> Array:
    """1 / sqrt(x)."""
    return _float("rsqrt", x)


def sigmoid(x, /) -> Array:
    """1 / (1 + exp(-x))."""
    return _float("sigmoid", x)


def erf(x, /) -> Array:
    """The error function."""
    return _float("erf", x)


# ---- circular and hyperbolic, float -------------------------------------------------------------

def sin(x, /) -> Array:
    """Sine."""
    return _float("sin", x)


def cos(x, /) -> Array:
    """Cosine."""
    return _float("cos", x)


def tan(x, /) -> Array:
    """Tangent."""
    return _float("tan", x)


def asin(x, /) -> Array:
    """Inverse of sin; NaN outside of -1..1."""
    return _float("asin", x)


def acos(x, /) -> Array:
    """Inverse of cos, within 0..pi; NaN outside of -1..1."""
    return _float("acos", x)


def atan(x, /) -> Array:
    """Inverse of tan, within -pi/2..pi/2."""
    return _float("atan", x)


def atan2(a, b, /) -> Array:
    """The angle of the point (b, a), within -pi..pi, float; the signs of zeros count."""
    return _floats("atan2", a, b)


def tanh(x, /) -> Array:
    """Hyperbolic tangent."""
    return _float("tanh", x)


def sinh(x, /) -> Array:
    """Hyperbolic sine."""
    return _float("sinh", x)


def cosh(x, /) -> Array:
    """Hyperbolic cosine."""
    return _float("cosh", x)


def asinh(x, /) -> Array:
    """Inverse of sinh."""
    return _float("asinh", x)


def acosh(x, /) -> Array:
    """Inverse of cosh; NaN below 1."""
    return _float("acosh", x)


def atanh(x, /) -> Array:
    """Inverse of tanh; NaN outside of -1..1."""
    return _float("atanh", x)


# ---- complex numbers ----------------------------------------------------------------------------

def complex(real, imag) -> Array:
    """real + imag i of two real arrays: complex64, or complex128 where one is float64."""
    a, b = map(floating, operands("complex", (real, imag)))
    if a.dtype.is_float and a.dtype.bits < 32:
        a, b = cast(a, dtypes.float32), cast(b, dtypes.float32)
    return wrap(apply("complex", a, b))


def real(x, /) -> Array:
    """The real part; x itself where it is real."""
    x = asarray(x)
    return unary("real", x) if x.dtype.is_complex else x


def imag(x, /) -> Array:
    """The imaginary part; 0 where x is real."""
    x = asarray(x)
    return unary("imag", x) if x.dtype.is_complex else wrap(zeros_like(x.node))


def conj(x, /) -> Array:
    """The complex conjugate; x itself where it is real."""
    x = asarray(x)
    return unary("conj", x) if x.dtype.is_complex else x


def angle(x) -> Array:
    """The argument of complex numbers, in -pi..pi; of real ones 0 or pi (NaN for NaN)."""
    x = asarray(x)
    return unary("angle", x if x.dtype.is_complex else complex(x, 0))


# ---- comparison ---------------------------------------------------------------------------------

def equal(a, b, /) -> Array:
    """a == b, bool."""
    return binary("eq", a, b)


def not_equal(a, b, /) -> Array:
    """a != b, bool."""
    return binary("ne", a, b)


def less(a, b, /) -> Array:
    """a < b, bool."""
    return binary("lt", a, b)


def less_equal(a, b, /) -> Array:
    """a <= b, bool."""
    return binary("le", a, b)


def greater(a, b, /) -> Array:
    """a > b, bool."""
    return binary("lt", b, a)


def greater_equal(a, b, /) -> Array:
    """a >= b, bool."""
    return binary("le", b, a)


def isnan(x, /) -> Array:
    """Where x is NaN, bool."""
    return binary("ne", x := asarray(x), x)


def isinf(x, /) -> Array:
    """Where x is infinite, bool."""
    x = asarray(x)
    if x.dtype.is_complex:
        return isinf(real(x)) | isinf(imag(x))
    return abs(x) == math.inf if x.dtype.is_float else binary("ne", x, x)


def isfinite(x, /) -> Array:
    """Where x is neither infinite nor NaN, bool."""
    x = asarray(x)
    if x.dtype.is_complex:
        return isfinite(real(x)) & isfinite(imag(x))
    return abs(x) < math.inf if x.dtype.is_float else binary("eq", x, x)


def signbit(x, /) -> Array:
    """Where the sign bit is set (of -0.0 too), bool."""
    x = asarray(x)
    return unary("signbit", x) if x.dtype.is_float else x < 0


def where(condition, a, b, /) -> Array:
    """a where the bool condition holds, else b; all broadcast."""
    condition = asarray(condition)
    if condition.dtype is not dtypes.bool_:
        raise error(DTypeError,
            f"where: the condition is {condition.dtype}; compare it to get bool")
    return wrap(apply("where", condition.node, *operands("where", (a, b))))


def stop_gradient(x) -> Array:
    """x, whose derivative is taken as zero."""
    return wrap(make(STOP, (asarray(x).node,)))
