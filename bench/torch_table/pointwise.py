"""Elementwise entries."""

from __future__ import annotations

import math

from .common import Different, L, called, words


def _alpha(f):
    return lambda a, b, *, alpha=1: f(a, b if alpha == 1 else L.asarray(b) * alpha)


def _clamp(x, min=None, max=None):
    return L.clip(x, min, max)


def _div(a, b, *, rounding_mode=None):
    q = L.divide(a, b)
    return q if rounding_mode is None else getattr(L, rounding_mode)(q)


def _floor_divide(a, b):
    return L.floor_divide(L.asarray(a), b)


def _fmod(a, b):
    a = L.asarray(a)
    q = L.stop_gradient(L.trunc(a / b))
    return a - q * b


def _remainder(a, b):
    return L.remainder(L.asarray(a) if not isinstance(a, L.Array) else a, b)


def _heaviside(x, values):
    x, values = L.stop_gradient(x), L.stop_gradient(values)
    zero = L.zeros_like(x)
    return L.where(x > 0, zero + 1, L.where(x < 0, zero, values + zero))


def _nan_to_num(x, nan=None, posinf=None, neginf=None):
    if not x.dtype.is_float:
        return x
    top = float(L.finfo(x.dtype).max)
    x = L.where(L.isnan(x), 0.0 if nan is None else nan, x)
    x = L.where(x == math.inf, top if posinf is None else posinf, x)
    return L.where(x == -math.inf, -top if neginf is None else neginf, x)


def _round(x, *, decimals=0):
    if not decimals:
        return L.round(x)
    scale = 10.0 ** abs(decimals)
    return L.round(x * scale) / scale if decimals > 0 else L.round(x / scale) * scale


def _logit(x, eps=None):
    return L.logit(x if eps is None else L.clip(x, eps, 1 - eps))


def _isclose(a, b, rtol=1e-5, atol=1e-8, equal_nan=False):
    near = (a == b) | (L.isfinite(a) & L.isfinite(b) & (L.abs(a - b) <= atol + rtol * L.abs(b)))
    return near | (L.isnan(a) & L.isnan(b)) if equal_nan else near


def _allclose(a, b, **kwargs):
    return bool(L.all(_isclose(a, b, **kwargs)))


def _bool(x):
    return x if x.dtype == L.bool else x != 0


def _logical(f):
    return lambda *xs: f(*map(_bool, xs))


def _int(x):
    if not isinstance(x, L.Array):
        return L.asarray(x)
    return x


def _mvlgamma(x, p):
    total = p * (p - 1) / 4 * math.log(math.pi)
    return sum((L.lgamma(x - j / 2) for j in range(p)), 0 * x + total)


def _pow(a, b):
    if not isinstance(a, L.Array):
        return L.asarray(a, dtype=b.dtype) ** b
    return a ** b


def _rpow(a, b):
    if isinstance(b, L.Array):
        if bool(L.any(b < 0)):
            raise Different("the derivative of a^b by b is 0 for negative a, not NaN")
        return b ** a
    return L.asarray(b, dtype=a.dtype) ** a


def _cast(name):
    return lambda x, **kwargs: L.astype(x, name)


TABLE = {
    **{name: getattr(L, name) for name in words(
        "abs acosh asinh atanh ceil copysign cos cosh erf exp exp2 expm1 floor hypot "
        "isfinite isinf isnan log log10 log1p log2 logaddexp maximum minimum reciprocal "
        "rsqrt sigmoid sign signbit sin sinh sqrt square tan tanh trunc")},
    **{name: called(name) for name in words(
        "acos asin atan atan2 digamma erfc erfinv floor_divide frexp gcd i0 igamma "
        "igammac lcm lgamma logaddexp2 nextafter sinc xlogy real imag angle conj")},
    "add": _alpha(L.add), "sub": _alpha(L.subtract),
    "rsub": lambda a, b, *, alpha=1: L.subtract(b, a * alpha),
    "mul": L.multiply, "div/no_rounding_mode": _div, "div/floor_rounding": _div,
    "div/trunc_rounding": _div, "true_divide": L.divide, "floor_divide": _floor_divide,
    "fmod": _fmod, "remainder": _remainder, "neg": L.negative, "positive": L.positive,
    "pow": _pow, "float_power": lambda a, b: _pow(
        a.astype("float64") if isinstance(a, L.Array) else a,
        b.astype("float64") if isinstance(b, L.Array) else b),
    "square": L.square, "__radd__": lambda a, b: b + a, "__rsub__": lambda a, b: b - a,
    "__rmul__": lambda a, b: b * a, "__rdiv__": lambda a, b: b / a,
    "__rpow__": _rpow,
    "__rmod__": lambda a, b: _remainder(L.asarray(b, dtype=a.dtype) if not isinstance(b, L.Array)
                                        else b, a),
    "__rand__": lambda a, b: L.bitwise_and(a, b), "__ror__": lambda a, b: L.bitwise_or(a, b),
    "__rxor__": lambda a, b: L.bitwise_xor(a, b), "__rmatmul__": lambda a, b: b @ a,
    "addcmul": lambda x, a, b, *, value=1: x + a * b * value,
    "addcdiv": lambda x, a, b, *, value=1: x + a / b * value,
    "lerp": lambda a, b, w: a + (b - a) * w,
    "fmax": lambda a, b: L.where(L.isnan(a), b, L.where(L.isnan(b), a, L.maximum(a, b))),
    "fmin": lambda a, b: L.where(L.isnan(a), b, L.where(L.isnan(b), a, L.minimum(a, b))),
    "max/binary": L.maximum, "min/binary": L.minimum,
    "clamp": _clamp, "clamp_min": lambda x, m: L.maximum(x, m),
    "clamp_max": lambda x, m: L.minimum(x, m),
    "frac": lambda x: x - L.stop_gradient(L.trunc(x)), "heaviside": _heaviside,
    "nan_to_num": _nan_to_num, "round": _round, "round/decimals_0": _round,
    "round/decimals_3": _round, "round/decimals_neg_3": _round, "sgn": L.sign,
    "deg2rad": lambda x: x * (math.pi / 180), "rad2deg": lambda x: x * (180 / math.pi),
    "logit": _logit, "isclose": _isclose, "allclose": _allclose,
    "equal": lambda a, b: a.shape == b.shape and bool(L.all(a == b)),
    "isposinf": lambda x: x == math.inf, "isneginf": lambda x: x == -math.inf,
    "isreal": lambda x: L.equal(x, x) | L.not_equal(x, x),
    "eq": L.equal, "ne": L.not_equal, "lt": L.less, "le": L.less_equal, "gt": L.greater,
    "ge": L.greater_equal, "logical_and": _logical(L.logical_and),
    "logical_or": _logical(L.logical_or), "logical_xor": _logical(L.logical_xor),
    "logical_not": _logical(L.logical_not), "bitwise_and": lambda a, b: L.bitwise_and(_int(a), b),
    "bitwise_or": lambda a, b: L.bitwise_or(_int(a), b),
    "bitwise_xor": lambda a, b: L.bitwise_xor(_int(a), b), "bitwise_not": L.bitwise_invert,
    "bitwise_left_shift": lambda a, b: L.bitwise_left_shift(_int(a), b),
    "bitwise_right_shift": lambda a, b: L.bitwise_right_shift(_int(a), b),
    "where": lambda c, a, b: L.where(a, c, b), "conj_physical": L.positive,
    "ldexp": lambda x, n: x * L.exp2(n if n.dtype.is_float else L.astype(n, "float32")),
    "complex": lambda a, b: L.complex(a, b),
    "polar": lambda r, t: L.complex(r * L.cos(t), r * L.sin(t)),
    "isin": lambda *a, **k: L.isin(*a, **k), "clone": L.positive, "contiguous": L.positive,
    "bfloat16": _cast("bfloat16"), "half": _cast("float16"), "float": _cast("float32"),
    "double": _cast("float64"), "byte": _cast("uint8"), "char": _cast("int8"),
    "short": _cast("int16"), "int": _cast("int32"), "long": _cast("int64"), "bool": _cast("bool"),
    "cfloat": _cast("complex64"), "cdouble": _cast("complex128"),
    "mvlgamma/mvlgamma_p_1": _mvlgamma, "mvlgamma/mvlgamma_p_3": _mvlgamma,
    "mvlgamma/mvlgamma_p_5": _mvlgamma,
    "fill": lambda x, value: L.zeros_like(x) + value,
}
