"""The scalar operations: each one's meaning, derivative, algebraic facts and samples, once.

A tensor-level pointwise op is made of each of them (ops/pointwise.py), index notation applies them
to expressions, and a target either has an instruction for one or uses its `expand`, which states
the operation in simpler ones (lang/math.py, circular.py, hyperbolic.py and ieee.py).

`rule(g, y, *args)` gives the cotangent of each argument for the cotangent g of y = f(*args);
being linear in g, the same rule gives tangents. None stands for zero. Over complex numbers it is
the transpose, nothing conjugated (docs/numerics.md); `fitted` then takes the real part of what is
for a real argument, or for tangents a real result.

`parts(*args)`, of scalars that take complex numbers, gives the (real, imaginary) expressions of the
result, or the one expression of a result that is real. An argument is such a pair where it is
complex, else an expression. lang/complex.py installs them.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from ..base import dtypes
from ..base.dtypes import DType
from ..base.errors import DTypeError
from ..ir.arithmetic import Arithmetic
from . import expr
from .expr import Expr, lit

NUMBER = ("float", "int", "uint")
FIELD = (*NUMBER, "complex")
INEXACT = ("float", "complex")
INTEGER = ("int", "uint")
BITS = ("int", "uint", "bool")


class Scalar:
    """One scalar operation; see the module's docstring."""

    __slots__ = ("arity", "doc", "expand", "facts", "identity", "kinds", "name", "on_indices",
                 "parts", "reference", "result", "rule", "samples")

    def __init__(self, name: str, arity: int, doc: str, reference: Any,
                 rule: Callable | None = None, *, kinds: tuple[str, ...] = ("float",),
                 result: str = "same", facts: str = "", identity=None,
                 expand: Callable | None = None, samples: tuple[float, float] = (-4.0, 4.0)):
        self.name, self.arity, self.doc = name, arity, doc
        self.reference, self.rule = reference, rule
        self.kinds, self.result, self.facts = kinds, result, frozenset(facts.split())
        self.identity, self.expand, self.samples = identity, expand, samples
        self.parts: Callable | None = None
        found = dtypes.bool_ if result == "bool" else dtypes.index
        self.on_indices = found if arity == 2 and "int" in kinds else None
        ALL[name] = self
        expr._scalars[name] = self

    def __call__(self, *args):
        """Apply to expressions (or nodes, or arrays): numbers take the others' dtype."""
        if len(args) == 2 and self.on_indices:
            a, b = args
            if type(a) is Expr and a.dtype is dtypes.index:
                if type(b) is int:
                    b = lit(b, dtypes.index)
                if type(b) is Expr and b.dtype is dtypes.index:
                    return self.build((a, b), None, self.on_indices)
        return self._apply(args)

    def _apply(self, args: tuple):
        first = next((a for a in args if isinstance(a, Arithmetic)), None)
        if first is None:
            raise TypeError(f"{self.name} needs at least one expression or array")
        if not isinstance(first, Expr):
            return first.apply(self.name, *args)
        dtype = next(a.dtype for a in (args[1:] if self.name == "where" else args)
                     if isinstance(a, Expr))
        exprs = tuple(a if isinstance(a, Expr) else lit(a, dtype) for a in args)
        return self.build(exprs, None, self.result_dtype([e.dtype for e in exprs]))

    def result_dtype(self, given: list[DType]) -> DType:
        """The result's dtype; raises where dtypes are mixed or of a kind it does not take."""
        values = given[1:] if self.name == "where" else given
        for d in values:
            if d is not values[0]:
                raise DTypeError(f"{self.name}: dtypes differ, {' and '.join(map(str, given))}; "
                                 f"cast one with astype")
        if values[0].kind not in self.kinds:
            raise DTypeError(f"{self.name}: takes {' or '.join(self.kinds)} values, "
                             f"got {values[0]}; cast with astype")
        return _RESULTS[self.result](values[0])

    def build(self, args: tuple[Expr, ...], attr: Any, dtype: DType) -> Expr:
        """The application, simplified where the value stays the same (integers only)."""
        if dtype is dtypes.index and self.name in _INDEX_RULES:
            found = _INDEX_RULES[self.name](*args)
            if found is not None:
                return found
        return expr.make(self, args, attr, dtype)

    def __repr__(self) -> str:
        return self.name


ALL: dict[str, Scalar] = {}
_RESULTS: dict[str, Callable] = {"same": lambda d: d, "bool": lambda d: dtypes.bool_,
                                 "real": lambda d: d.real, "complex": dtypes.complex_of}
LN2, LN10 = math.log(2), math.log(10)


# ---- index arithmetic keeps itself simple -------------------------------------------------------

def _both(a: Expr, b: Expr) -> bool:
    return a.op == "lit" and b.op == "lit"


def _index_add(a: Expr, b: Expr) -> Expr | None:
    if _both(a, b):
        return lit(a.attr + b.attr, dtypes.index)
    if a.op == "lit" and a.attr == 0:
        return b
    return a if b.op == "lit" and b.attr == 0 else None


def _index_sub(a: Expr, b: Expr) -> Expr | None:
    if _both(a, b):
        return lit(a.attr - b.attr, dtypes.index)
    return a if b.op == "lit" and b.attr == 0 else None


def _index_mul(a: Expr, b: Expr) -> Expr | None:
    if _both(a, b):
        return lit(a.attr * b.attr, dtypes.index)
    for x, y in ((a, b), (b, a)):
        if x.op == "lit" and x.attr in (0, 1):
            return x if x.attr == 0 else y
    return None


def _index_floordiv(a: Expr, b: Expr) -> Expr | None:
    if b.op == "lit" and b.attr == 1:
        return a
    return lit(a.attr // b.attr, dtypes.index) if _both(a, b) and b.attr else None


def _index_mod(a: Expr, b: Expr) -> Expr | None:
    if b.op == "lit" and b.attr == 1:
        return lit(0, dtypes.index)
    return lit(a.attr % b.attr, dtypes.index) if _both(a, b) and b.attr else None


_INDEX_RULES: dict[str, Callable] = {"add": _index_add, "sub": _index_sub, "mul": _index_mul,
                                     "floordiv": _index_floordiv, "mod": _index_mod}


# ---- references that NumPy leaves undefined -----------------------------------------------------

def _divided(floats: Callable, integers: Callable) -> Callable:
    def reference(a, b):
        with np.errstate(all="ignore"):
            if a.dtype.kind not in "iu":
                return floats(a, b)
            zero = b == 0
            return np.where(zero, np.zeros_like(a), integers(a, np.where(zero, np.ones_like(b), b)))
    return reference


def _floor_quotient(a, b):
    """floor(a / b), less one where the division rounds up to an integer; infinities stay."""
    q, r = np.floor(a / b), np.remainder(a, b)
    exact = np.round((a - r) / b)
    return np.where(np.isfinite(q) & np.isfinite(exact) & np.isfinite(b), exact, q)


def _integer_power(a, b):
    """Modulo 2^bits; of a negative exponent the integer part."""
    with np.errstate(all="ignore"):
        if a.dtype.kind not in "iu":
            return np.power(a, b)
        small = (b < 0) & ~((a == 1) | (a == -1)) if a.dtype.kind == "i" else b < 0
        return np.where(small, np.zeros_like(a), np.power(a, np.abs(b)))


def _shift(f: Callable, overflow: Callable) -> Callable:
    def reference(a, b):
        bits = a.dtype.itemsize * 8
        wide = (b < 0) | (b >= bits)
        return np.where(wide, overflow(a), f(a, np.where(wide, np.zeros_like(b), b)))
    return reference


def cast_array(x: np.ndarray, to: DType) -> np.ndarray:
    """NumPy's cast with the undefined cases defined: saturating, NaN gives 0."""
    if to.kind == "float8" or x.dtype in _FLOAT8:
        return _cast_float8(x, to)
    if to.is_int and x.dtype.kind in "fV":
        wide = np.asarray(x, np.float64)
        info = np.iinfo(to.numpy)
        with np.errstate(all="ignore"):
            safe = np.where(np.isnan(wide), 0.0, np.clip(wide, float(info.min), float(info.max)))
            exact = np.where(safe >= float(info.max), info.max, np.trunc(safe).astype(
                np.uint64 if to is dtypes.uint64 else np.int64, casting="unsafe"))
        return exact.astype(to.numpy)
    with np.errstate(all="ignore"):
        return x.astype(to.numpy)


_FLOAT8 = tuple(d.numpy for d in dtypes.ALL if d.kind == "float8")


def _cast_float8(x: np.ndarray, to: DType) -> np.ndarray:
    """By way of float32, which holds every float8; float64 is rounded to odd before, so once."""
    with np.errstate(all="ignore"):
        if x.dtype in _FLOAT8:
            return cast_array(x.astype(np.float32), to) if to.numpy != x.dtype else x.copy()
        if x.dtype != np.float64:
            return x.astype(np.float32).astype(to.numpy)
        near = x.astype(np.float32)
        bits = near.view(np.uint32) if near.ndim else near.reshape(1).view(np.uint32).reshape(())
        toward = np.where(np.abs(near.astype(np.float64)) > np.abs(x), bits - 1, bits)
        inexact = np.isfinite(x) & np.isfinite(near) & (near != x)
        odd = np.where(inexact, toward | 1, bits).astype(np.uint32)
        return odd.view(np.float32).reshape(x.shape).astype(to.numpy)


# ---- arithmetic ---------------------------------------------------------------------------------

add = Scalar("add", 2, "a + b", np.add, lambda g, y, a, b: (g, g), kinds=FIELD,
             facts="commutative associative", identity=0)
sub = Scalar("sub", 2, "a - b", np.subtract, lambda g, y, a, b: (g, -g), kinds=FIELD)
mul = Scalar("mul", 2, "a * b", np.multiply, lambda g, y, a, b: (g * b, g * a), kinds=FIELD,
             facts="commutative associative", identity=1)
div = Scalar("div", 2, "a / b", np.divide, lambda g, y, a, b: (g / b, -(g * (y / b))),
             kinds=INEXACT, samples=(0.5, 4.0))
neg = Scalar("neg", 1, "-x", np.negative, lambda g, y, x: (-g,), kinds=FIELD)
abs_ = Scalar("abs", 1, "|x|, real", np.abs, lambda g, y, x: (fitted(g, x) * _direction(x, y),),
              kinds=FIELD, result="real")
fma = Scalar("fma", 3, "a * b + c, rounded once", None, lambda g, y, a, b, c: (g * b, g * a, g))
maximum = Scalar("max", 2, "the larger; NaN if either is; ties share the gradient", np.maximum,
                 lambda g, y, a, b: (_share(g, a, b), _share(g, b, a)), kinds=NUMBER + ("bool",),
                 facts="commutative associative idempotent")
minimum = Scalar("min", 2, "the smaller; NaN if either is; ties share the gradient", np.minimum,
                 lambda g, y, a, b: (_share(g, b, a), _share(g, a, b)), kinds=NUMBER + ("bool",),
                 facts="commutative associative idempotent")
floordiv = Scalar("floordiv", 2, "floor(a / b); 0 where an integer b is 0",
                  _divided(_floor_quotient, np.floor_divide), kinds=NUMBER, samples=(1, 7))
mod = Scalar("mod", 2, "a - b floor(a / b), of b's sign; 0 where an integer b is 0",
             _divided(np.remainder, np.remainder),
             lambda g, y, a, b: (g, -(g * floor(a / b))), kinds=NUMBER, samples=(1, 7))


def _share(g, a, b):
    """The part of g that goes to a where max(a, b) was taken: all, half on a tie, or none."""
    return where(b < a, g, where(eq(a, b), g * 0.5, 0.0))


# ---- rounding and sign --------------------------------------------------------------------------

floor: Scalar = Scalar("floor", 1, "the largest integer <= x", np.floor)
ceil = Scalar("ceil", 1, "the smallest integer >= x", np.ceil)
round_ = Scalar("round", 1, "the nearest integer, ties to even", np.round, kinds=INEXACT)
trunc = Scalar("trunc", 1, "the integer part", np.trunc)
sign: Scalar = Scalar("sign", 1, "-1, 0 or 1; NaN for NaN", np.sign, kinds=NUMBER,
              expand=lambda x: where(x < 0, -1 if x.dtype.kind != "uint" else 0,
                                     where(x > 0, lit(1, x.dtype), where(eq(x, x), 0, x))))

# ---- comparison, logic and bits -----------------------------------------------------------------

eq: Scalar = Scalar("eq", 2, "a == b", np.equal, kinds=FIELD + ("bool",), result="bool",
            facts="commutative")
ne = Scalar("ne", 2, "a != b", np.not_equal, kinds=FIELD + ("bool",), result="bool",
            facts="commutative")
lt = Scalar("lt", 2, "a < b", np.less, kinds=NUMBER + ("bool",), result="bool")
le = Scalar("le", 2, "a <= b", np.less_equal, kinds=NUMBER + ("bool",), result="bool")
and_ = Scalar("and", 2, "bitwise or logical and", np.bitwise_and, kinds=BITS,
              facts="commutative associative idempotent")
or_ = Scalar("or", 2, "bitwise or logical or", np.bitwise_or, kinds=BITS,
             facts="commutative associative idempotent")
xor = Scalar("xor", 2, "bitwise or logical exclusive or", np.bitwise_xor, kinds=BITS,
             facts="commutative associative")
not_ = Scalar("not", 1, "bitwise or logical not", np.invert, kinds=BITS)
shl = Scalar("shl", 2, "a << b; 0 where b is outside of the word",
             _shift(np.left_shift, np.zeros_like),
             kinds=INTEGER, samples=(0, 7))
shr = Scalar("shr", 2, "a >> b, filling with the sign; all sign where b is outside of the word",
             _shift(np.right_shift, lambda a: np.where(a < 0, np.full_like(a, -1), np.zeros_like(a))
                    if a.dtype.kind == "i" else np.zeros_like(a)),
             kinds=INTEGER, samples=(0, 7))
where: Scalar = Scalar("where", 3, "a where the condition holds, else b", np.where,
               lambda g, y, c, a, b: (None, where(c, g, 0.0), where(c, 0.0, g)),
               kinds=FIELD + ("bool", "float8"))

# ---- complex numbers: their parts in lang/complex.py --------------------------------------------

complex_ = Scalar("complex", 2, "a + b i", lambda a, b: a + b * a.dtype.type(1) * 1j,
                  lambda g, y, a, b: (fitted(g, y), fitted(g, y) * 1j), result="complex")
real = Scalar("real", 1, "the real part", np.real, lambda g, y, x: (fitted(g, x),),
              kinds=("complex",), result="real")
imag = Scalar("imag", 1, "the imaginary part", np.imag, lambda g, y, x: (fitted(g, x) * -1j,),
              kinds=("complex",), result="real")
conj: Scalar = Scalar("conj", 1, "the complex conjugate", np.conj, lambda g, y, x: (conj(g),),
                      kinds=("complex",))
angle = Scalar("angle", 1, "the argument, in -pi..pi", np.angle,
               lambda g, y, x: (fitted(g, x) * -1j / x,), kinds=("complex",), result="real")


def fitted(g, like):
    """g as a value of like's kind: the real part of a complex g, or a real g with no imaginary."""
    if g.dtype.is_complex == like.dtype.is_complex:
        return g
    return real(g) if g.dtype.is_complex else complex_(g, 0.0)


def _direction(x, size):
    """What |x| grows along: the sign, conjugated; 0 at 0."""
    if not x.dtype.is_complex:
        return sign(x)
    zero = eq(size, 0.0)
    return where(zero, 0.0, conj(x) / fitted(where(zero, 1.0, size), x))

# ---- elementary functions: polynomials in lang/math.py -----------------------------------------

sqrt = Scalar("sqrt", 1, "square root, correctly rounded; a complex one has a real part >= 0",
              np.sqrt, lambda g, y, x: (g * 0.5 / y,), kinds=INEXACT, samples=(0.01, 4.0))
rsqrt = Scalar("rsqrt", 1, "1 / sqrt(x)", lambda x: (1 / np.sqrt(x)).astype(x.dtype),
               lambda g, y, x: (g * (y * y * y * -0.5),), samples=(0.05, 4.0),
               expand=lambda x: lit(1, x.dtype) / sqrt(x))
exp = Scalar("exp", 1, "e to the x", np.exp, lambda g, y, x: (g * y,), kinds=INEXACT)
expm1 = Scalar("expm1", 1, "exp(x) - 1", np.expm1, lambda g, y, x: (g * (y + 1),),
               kinds=INEXACT)
log = Scalar("log", 1, "natural logarithm", np.log, lambda g, y, x: (g / x,),
             kinds=INEXACT, samples=(0.05, 8.0))
log1p = Scalar("log1p", 1, "log(1 + x)", np.log1p, lambda g, y, x: (g / (x + 1),),
               kinds=INEXACT, samples=(-0.9, 8.0))
sin = Scalar("sin", 1, "sine", np.sin, lambda g, y, x: (g * cos(x),), kinds=INEXACT)
cos: Scalar = Scalar("cos", 1, "cosine", np.cos, lambda g, y, x: (-(g * sin(x)),), kinds=INEXACT)
tanh = Scalar("tanh", 1, "hyperbolic tangent", np.tanh, lambda g, y, x: (g * (1 - y * y),),
              kinds=INEXACT)
sigmoid = Scalar("sigmoid", 1, "1 / (1 + exp(-x))",
                 lambda x: (1 / (1 + np.exp(-x.astype(np.float64)))).astype(x.dtype),
                 lambda g, y, x: (g * (y * (1 - y)),))
erf = Scalar("erf", 1, "error function", None,
             lambda g, y, x: (g * (exp(-(x * x)) * 1.1283791670955126),))
pow_: Scalar = Scalar("pow", 2, "a to the b; of integers modulo 2^bits", _integer_power,
              lambda g, y, a, b: (g * (b * pow_(a, b - 1)), _by_exponent(g, y, a)),
              kinds=FIELD, samples=(0.2, 3.0))


def _by_exponent(g, y, a):
    """The cotangent of b in a to the b: 0 where a has no logarithm."""
    outside = eq(a, 0.0) if a.dtype.is_complex else a <= 0
    return where(outside, 0.0, g * (y * log(where(outside, 1.0, a))))


exp2 = Scalar("exp2", 1, "2 to the x", np.exp2, lambda g, y, x: (g * (y * LN2),))
log2 = Scalar("log2", 1, "logarithm to base 2", np.log2, lambda g, y, x: (g / (x * LN2),),
              samples=(0.05, 8.0), kinds=INEXACT)
log10 = Scalar("log10", 1, "logarithm to base 10", np.log10, lambda g, y, x: (g / (x * LN10),),
               samples=(0.05, 8.0), kinds=INEXACT)
logaddexp = Scalar("logaddexp", 2, "log(exp(a) + exp(b))", np.logaddexp,
                   lambda g, y, a, b: (g * sigmoid(a - b), g * sigmoid(b - a)),
                   facts="commutative")
hypot = Scalar("hypot", 2, "sqrt(a^2 + b^2) without overflow", np.hypot,
               lambda g, y, a, b: (g * _ratio(a, y), g * _ratio(b, y)), facts="commutative")


def _ratio(a, b):
    """a / b, 0 where b is."""
    return a / where(eq(b, 0.0), 1.0, b)


def _root(x):
    """sqrt(x^2 + 1); of real numbers without overflow."""
    return sqrt(x * x + 1) if x.dtype.is_complex else hypot(x, where(eq(x, x), 1.0, x))


# ---- circular and hyperbolic functions ----------------------------------------------------------

tan = Scalar("tan", 1, "tangent", np.tan, lambda g, y, x: (g * (y * y + 1),),
             samples=(-1.4, 1.4), kinds=INEXACT)
asin = Scalar("asin", 1, "inverse of sin; NaN outside of -1..1", np.arcsin,
              lambda g, y, x: (g / sqrt((1 - x) * (x + 1)),), samples=(-0.9, 0.9), kinds=INEXACT)
acos = Scalar("acos", 1, "inverse of cos; NaN outside of -1..1", np.arccos,
              lambda g, y, x: (-(g / sqrt((1 - x) * (x + 1))),), samples=(-0.9, 0.9), kinds=INEXACT)
atan = Scalar("atan", 1, "inverse of tan", np.arctan, lambda g, y, x: (g / (x * x + 1),),
              kinds=INEXACT)
atan2 = Scalar("atan2", 2, "the angle of the point (b, a)", np.arctan2,
               lambda g, y, a, b: (g * _ratio(b, a * a + b * b), -(g * _ratio(a, a * a + b * b))))
sinh = Scalar("sinh", 1, "hyperbolic sine", np.sinh, lambda g, y, x: (g * cosh(x),), kinds=INEXACT)
cosh: Scalar = Scalar("cosh", 1, "hyperbolic cosine", np.cosh, lambda g, y, x: (g * sinh(x),),
                      kinds=INEXACT)
asinh = Scalar("asinh", 1, "inverse of sinh", np.arcsinh,
               lambda g, y, x: (g / _root(x),), kinds=INEXACT)
acosh = Scalar("acosh", 1, "inverse of cosh; NaN below 1", np.arccosh,
               lambda g, y, x: (g / (sqrt(x - 1) * sqrt(x + 1)),), samples=(1.1, 8.0),
               kinds=INEXACT)
atanh = Scalar("atanh", 1, "inverse of tanh; NaN outside of -1..1", np.arctanh,
               lambda g, y, x: (g / ((1 - x) * (x + 1)),), samples=(-0.9, 0.9), kinds=INEXACT)

# ---- bits of floats: lang/ieee.py ---------------------------------------------------------------

copysign: Scalar = Scalar("copysign", 2, "|a| with b's sign", np.copysign,
                          lambda g, y, a, b: (g * (sign(a) * copysign(1.0, b)), None))
signbit = Scalar("signbit", 1, "whether the sign bit is set", np.signbit, result="bool")
nextafter = Scalar("nextafter", 2, "the number next to a towards b", np.nextafter,
                   lambda g, y, a, b: (g, None))

# ---- conversions (the target dtype is the attribute) --------------------------------------------

cast_ = Scalar("cast", 1, "the nearest value of another dtype; saturates, NaN to an integer is 0",
               None, kinds=FIELD + ("bool", "float8"))
bitcast_ = Scalar("bitcast", 1, "the same bits as another dtype of the same width", None,
                  kinds=(*NUMBER, "float8"))


def cast(x: Expr, dtype: DType) -> Expr:
    """x converted to dtype; DTypeError where that would drop an imaginary part."""
    if x.dtype.is_complex and not dtype.is_complex and dtype is not dtypes.bool_:
        raise DTypeError(f"cast: {x.dtype} to {dtype} would drop the imaginary part; take real(x)")
    return x if x.dtype is dtype else cast_.build((x,), dtype, dtype)


def bitcast(x: Expr, dtype: DType) -> Expr:
    """x's bits seen as dtype."""
    if x.dtype.bits != dtype.bits:
        raise DTypeError(f"bitcast: {x.dtype} and {dtype} differ in width")
    return x if x.dtype is dtype else bitcast_.build((x,), dtype, dtype)
