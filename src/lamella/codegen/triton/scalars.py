"""The scalar operations that Triton has, as its text: the device's own table.

TABLE maps (name of the scalar, kind of its first value's dtype) to a template, or to a function of
(scope, dtype, *operands) that may write lines of its own. A scalar that is not here is replaced by
its `expand`, as on the processor; all of them are defined for all operands, and round as there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import numpy as np

from ...base import dtypes
from ...base.dtypes import DType

NAMES = {dtypes.bool_: "int1"} | {d: d.name for d in dtypes.NATIVE if d.is_int} | {
    dtypes.float16: "float16", dtypes.bfloat16: "bfloat16", dtypes.float32: "float32",
    dtypes.float64: "float64", dtypes.float8_e4m3fn: "float8e4nv", dtypes.float8_e5m2: "float8e5"}


class Scope(Protocol):
    """Where an operation is written: `let` names a value by a line of its own."""

    def let(self, text: str) -> str: ...


Rule = str | Callable[..., str]


def register(dtype: DType) -> DType:
    """The dtype in which values of `dtype` are held: 16-bit floats as float32, as everywhere."""
    return dtypes.float32 if dtype.is_float and dtype.bits == 16 else dtype


def type_name(dtype: DType) -> str:
    """Triton's name of a dtype."""
    return f"tl.{NAMES[dtype]}"


# ---- floats -------------------------------------------------------------------------------------

def _precise(single: str, double: str) -> Callable:
    """Correctly rounded: float32 has a form of its own for it."""
    def rule(scope: Scope, dtype: DType, *operands: str) -> str:
        return (double if dtype is dtypes.float64 else single).format(*operands)
    return rule


def _with_sign_of(scope: Scope, dtype: DType, size: str, x: str) -> str:
    """`size`, which is not negative, with the sign bit of x."""
    word = "tl.int64" if dtype is dtypes.float64 else "tl.int32"
    least = -(1 << (63 if dtype is dtypes.float64 else 31))
    sign = f"({x}.to({word}, bitcast=True) & {least})"
    bits = scope.let(f"{size}.to({word}, bitcast=True) | {sign}")
    return f"{bits}.to({type_name(register(dtype))}, bitcast=True)"


def _round(scope: Scope, dtype: DType, x: str) -> str:
    """To the nearest integer, ties to even: the sum with a number whose last place is 1."""
    whole = f"{2.0 ** 52 if dtype is dtypes.float64 else 2.0 ** 23}"
    size = scope.let(f"tl.abs({x})")
    near = scope.let(f"({size} + {whole}) - {whole}")
    return f"tl.where({size} < {whole}, {_with_sign_of(scope, dtype, near, x)}, {x})"


_FLOAT: dict[str, Rule] = {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "neg": "{0} * -1.0",
    "div": _precise("tl.div_rn({0}, {1})", "{0} / {1}"),
    "sqrt": _precise("tl.sqrt_rn({0})", "tl.sqrt({0})"),
    "fma": "tl.fma({0}, {1}, {2})", "abs": "tl.abs({0})",
    "eq": "{0} == {1}", "ne": "{0} != {1}", "lt": "{0} < {1}", "le": "{0} <= {1}",
    "max": "tl.maximum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "min": "tl.minimum({0}, {1}, propagate_nan=tl.PropagateNan.ALL)",
    "floor": "tl.floor({0})", "ceil": "tl.ceil({0})", "round": _round,
    "trunc": "tl.where({0} < 0, tl.ceil({0}), tl.floor({0}))",
    "where": "tl.where({0}, {1}, {2})",
}

# ---- integers -----------------------------------------------------------------------------------

def positive(operand: str) -> int:
    """The value of an operand that is a positive literal, else 0."""
    return int(operand) if operand.isdigit() else 0


def _divisor(scope: Scope, dtype: DType, b: str) -> str:
    """b with 1 in place of 0."""
    return scope.let(f"tl.where({b} == 0, {b} * 0 + 1, {b})")


def _quotient(scope: Scope, dtype: DType, a: str, b: str) -> tuple[str, str]:
    """(quotient, divisor without 0 and -1): whichever way `//` rounds, one step from the floor.
    -1 is left out because the least number has no opposite."""
    d = scope.let(f"tl.where(({b} == 0) | ({b} == -1), {b} * 0 + 1, {b})")
    return scope.let(f"{a} // {d}"), d


def _floordiv(scope: Scope, dtype: DType, a: str, b: str) -> str:
    n = positive(b)
    if n and n & (n - 1) == 0:
        return f"{a} >> {n.bit_length() - 1}"
    if n:
        q = scope.let(f"{a} // {n}")
        return f"{q} - ({a} < {q} * {n})"
    q, d = _quotient(scope, dtype, a, b)
    r = scope.let(f"{a} - {q} * {d}")
    q = scope.let(f"{q} - (({r} != 0) & (({r} ^ {d}) < 0))")
    return f"tl.where({b} == 0, 0, tl.where({b} == -1, 0 - {a}, {q}))"


def _mod(scope: Scope, dtype: DType, a: str, b: str) -> str:
    n = positive(b)
    if n and n & (n - 1) == 0:
        return f"{a} & {n - 1}"
    if n:
        r = scope.let(f"{a} - {a} // {n} * {n}")
        return f"tl.where({r} < 0, {r} + {n}, {r})"
    q, d = _quotient(scope, dtype, a, b)
    r = scope.let(f"{a} - {q} * {d}")
    r = scope.let(f"tl.where(({r} != 0) & (({r} ^ {d}) < 0), {r} + {d}, {r})")
    return f"tl.where(({b} == 0) | ({b} == -1), 0, {r})"


def _unsigned(word: str) -> Callable:
    def rule(scope: Scope, dtype: DType, a: str, b: str) -> str:
        if positive(b):
            return f"{a} {word} {b}"
        return f"tl.where({b} == 0, 0, {a} {word} {_divisor(scope, dtype, b)})"
    return rule


def _shift(word: str) -> Callable:
    def rule(scope: Scope, dtype: DType, a: str, b: str) -> str:
        bits = dtype.bits
        if b == "0" or 0 < positive(b) < bits:
            return f"{a} {word} {b}"
        inside = f"{b} < {bits}" if dtype.kind == "uint" else f"({b} >= 0) & ({b} < {bits})"
        inside = scope.let(inside)
        safe = scope.let(f"tl.where({inside}, {b}, 0)")
        filled = f"{a} >> {bits - 1}" if word == ">>" and dtype.kind == "int" else "0"
        return f"tl.where({inside}, {a} {word} {safe}, {filled})"
    return rule


_BITS: dict[str, Rule] = {
    "eq": "{0} == {1}", "ne": "{0} != {1}", "and": "{0} & {1}", "or": "{0} | {1}",
    "xor": "{0} ^ {1}", "not": "~{0}", "where": "tl.where({0}, {1}, {2})",
}
_INTEGER: dict[str, Rule] = _BITS | {
    "add": "{0} + {1}", "sub": "{0} - {1}", "mul": "{0} * {1}", "neg": "0 - {0}",
    "lt": "{0} < {1}", "le": "{0} <= {1}", "max": "tl.maximum({0}, {1})",
    "min": "tl.minimum({0}, {1})", "shl": _shift("<<"), "shr": _shift(">>"),
}
_INT = _INTEGER | {"abs": "tl.abs({0})", "floordiv": _floordiv, "mod": _mod}
_UINT = _INTEGER | {"abs": "{0}", "floordiv": _unsigned("//"), "mod": _unsigned("%")}
_BOOL = _BITS | {"lt": "(~{0}) & {1}", "le": "(~{0}) | {1}", "max": "{0} | {1}",
                 "min": "{0} & {1}"}

TABLE: dict[tuple[str, str], Rule] = {
    (name, kind): rule
    for kind, rules in (("float", _FLOAT), ("int", _INT), ("uint", _UINT), ("bool", _BOOL))
    for name, rule in rules.items()}

# ---- conversions --------------------------------------------------------------------------------

def narrowed(text: str, dtype: DType) -> str:
    """A float32 rounded to a 16-bit float, as a float32 again."""
    return f"{text}.to({type_name(dtype)}).to(tl.float32)"


def cast(scope: Scope, a: DType, b: DType, x: str) -> str:
    """x as the nearest value of b; saturates, NaN to an integer is 0."""
    if b is dtypes.bool_:
        return f"{x} != 0"
    if a.is_float and b.is_int:
        return _to_integer(scope, register(a), b, x)
    if a is dtypes.float64 and b.is_float and b.bits == 16:
        return narrowed(_round_to_odd(scope, x), b)
    to = type_name(register(b))
    out = x if register(a) is register(b) else f"{x}.to({to})"
    return narrowed(out, b) if b.is_float and b.bits == 16 and a is not b else out


def _round_to_odd(scope: Scope, x: str) -> str:
    """The float32 of a float64, rounded to odd, so that rounding it again rounds once."""
    near = scope.let(f"{x}.to(tl.float32)")
    back = scope.let(f"{near}.to(tl.float64)")
    bits = scope.let(f"{near}.to(tl.int32, bitcast=True)")
    over = scope.let(f"tl.abs({back}) > tl.abs({x})")
    odd = scope.let(f"tl.where({over}, {bits} - 1, {bits}) | 1")
    inexact = scope.let(f"({back} != {x}) & ({x} == {x})")
    return scope.let(f"tl.where({inexact}, {odd}, {bits}).to(tl.float32, bitcast=True)")


def _to_integer(scope: Scope, a: DType, b: DType, x: str) -> str:
    """Clamped first, since instructions differ outside of the range."""
    info = np.iinfo(b.numpy)
    kind = a.numpy.type
    high = kind(info.max)
    exact = int(high) == info.max
    if not exact:
        high = np.nextafter(high, kind(0))
    low, top = repr(float(info.min)), repr(float(high))
    inside = scope.let(f"tl.where({x} > {low}, tl.where({x} < {top}, {x}, {top}), {low})")
    via = b if b.bits >= 32 else dtypes.int32
    y = scope.let(f"{inside}.to({type_name(via)})")
    if via is not b:
        y = scope.let(f"{y}.to({type_name(b)})")
    if not exact:
        y = scope.let(f"tl.where({x} > {top}, {info.max}, {y})")
    return f"tl.where({x} == {x}, {y}, 0)"


def bitcast(scope: Scope, a: DType, b: DType, x: str) -> str:
    """x's bits as another dtype of the same width."""
    if register(a) is not a:
        x = f"{x}.to({type_name(a)})"
    out = f"{x}.to({type_name(b)}, bitcast=True)"
    return out if register(b) is b else f"{out}.to(tl.float32)"


# Operations whose result in a 16-bit float has to be rounded: the others are exact.
ROUNDED = frozenset(("add", "sub", "mul", "div", "fma", "sqrt"))
