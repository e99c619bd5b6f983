"""The scalar operations that the targets have instructions for, as LLVM text.

TABLE maps (name of the scalar, kind of its first value's dtype) to a template or to a function of
(site, *operands). A scalar that is not here is replaced by its `expand`. All of them are defined
for all operands, and give the same bits on every target.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable

from ..base.dtypes import DType
from .text import Writer, register_type, splat, suffix, vector


class Site:
    """Where an operation is being written: its depth, its lanes and its operands' dtype."""

    __slots__ = ("depth", "dtype", "lanes", "result", "scalar", "type", "writer")

    def __init__(self, writer: Writer, depth: int, lanes: int, dtype: DType, result: DType):
        self.writer, self.depth, self.lanes = writer, depth, lanes
        self.dtype, self.result = dtype, result
        self.scalar = register_type(dtype)
        self.type = vector(self.scalar, lanes)

    def op(self, text: str) -> str:
        return self.writer.op(text, self.depth)

    def call(self, intrinsic: str, operands: list[str], result: str = "", scalar: str = "",
             flags: tuple[str, ...] = ()) -> str:
        """A call of an intrinsic over operands of one type; `result` is another result's scalar."""
        scalar = scalar or self.scalar
        kind = vector(scalar, self.lanes)
        out = vector(result, self.lanes) if result else kind
        mark = f".{suffix(result, self.lanes)}" if result else ""
        name = f"@llvm.{intrinsic}{mark}.{suffix(scalar, self.lanes)}"
        types = [kind] * len(operands) + ["i1"] * len(flags)
        self.writer.declare(f"declare {out} {name}({', '.join(types)})")
        given = ", ".join(f"{t} {x}" for t, x in zip(types, (*operands, *flags)))
        return self.op(f"call {out} {name}({given})")

    def constant(self, text: str | int, scalar: str = "") -> str:
        return splat(scalar or self.scalar, str(text), self.lanes)

    def compare(self, how: str, a: str, b: str, scalar: str = "") -> str:
        scalar = scalar or self.scalar
        word = "fcmp" if scalar in ("float", "double") else "icmp"
        return self.op(f"{word} {how} {vector(scalar, self.lanes)} {a}, {b}")

    def select(self, c: str, a: str, b: str, scalar: str = "") -> str:
        kind = vector(scalar or self.scalar, self.lanes)
        return self.op(f"select {vector('i1', self.lanes)} {c}, {kind} {a}, {kind} {b}")


def positive_constant(operand: str) -> int:
    """The value of an operand that is a positive integer constant, else 0."""
    if operand.startswith("splat ("):
        operand = operand[7:-1].split()[1]
    return int(operand) if operand.isdigit() else 0


Rules = dict[str, str | Callable]

# ---- integer division, shifts -------------------------------------------------------------------

def _divide_unsigned(word: str) -> Callable:
    def rule(site: Site, a: str, b: str) -> str:
        if positive_constant(b):
            return site.op(f"{word} {site.type} {a}, {b}")
        zero = site.compare("eq", b, site.constant(0))
        q = site.op(f"{word} {site.type} {a}, {site.select(zero, site.constant(1), b)}")
        return site.select(zero, site.constant(0), q)
    return rule


def _safe_divisor(site: Site, a: str, b: str) -> tuple[str, str]:
    """(whether b is 0, b with 1 in place of 0 and of the -1 that overflows)."""
    zero = site.compare("eq", b, site.constant(0))
    least = site.compare("eq", a, site.constant(-(1 << (site.dtype.bits - 1))))
    minus = site.compare("eq", b, site.constant(-1))
    mask = vector("i1", site.lanes)
    unsafe = site.op(f"or {mask} {zero}, {site.op(f'and {mask} {least}, {minus}')}")
    return zero, site.select(unsafe, site.constant(1), b)


def _opposite(site: Site, r: str, b: str) -> str:
    """Whether the remainder r is not zero and its sign differs from b's."""
    mask = vector("i1", site.lanes)
    sign = site.compare("slt", site.op(f"xor {site.type} {r}, {b}"), site.constant(0))
    return site.op(f"and {mask} {site.compare('ne', r, site.constant(0))}, {sign}")


def _floordiv(site: Site, a: str, b: str) -> str:
    n = positive_constant(b)
    if n and n & (n - 1) == 0:
        return site.op(f"ashr {site.type} {a}, {site.constant(n.bit_length() - 1)}")
    zero, d = ("", b) if n else _safe_divisor(site, a, b)
    q = site.op(f"sdiv {site.type} {a}, {d}")
    r = site.op(f"sub {site.type} {a}, {site.op(f'mul {site.type} {q}, {d}')}")
    down = site.compare("slt", r, site.constant(0)) if n else _opposite(site, r, d)
    extended = site.op(f"sext {vector('i1', site.lanes)} {down} to {site.type}")
    q = site.op(f"add {site.type} {q}, {extended}")
    return q if n else site.select(zero, site.constant(0), q)


def _mod(site: Site, a: str, b: str) -> str:
    n = positive_constant(b)
    if n and n & (n - 1) == 0:
        return site.op(f"and {site.type} {a}, {site.constant(n - 1)}")
    zero, d = ("", b) if n else _safe_divisor(site, a, b)
    r = site.op(f"srem {site.type} {a}, {d}")
    down = site.compare("slt", r, site.constant(0)) if n else _opposite(site, r, d)
    r = site.op(f"add {site.type} {r}, {site.select(down, d, site.constant(0))}")
    return r if n else site.select(zero, site.constant(0), r)


def _shift(word: str) -> Callable:
    def rule(site: Site, a: str, b: str) -> str:
        bits = site.dtype.bits
        if 0 < positive_constant(b) < bits:
            return site.op(f"{word} {site.type} {a}, {b}")
        if word == "ashr":
            most = site.call("umin", [b, site.constant(bits - 1)])
            return site.op(f"ashr {site.type} {a}, {most}")
        inside = site.compare("ult", b, site.constant(bits))
        return site.select(inside, site.op(f"{word} {site.type} {a}, {b}"), site.constant(0))
    return rule


# ---- small rules --------------------------------------------------------------------------------

def _intrinsic(name: str, *flags: str) -> Callable:
    return lambda site, *operands: site.call(name, list(operands), flags=flags)


def float_constant(operand: str) -> float:
    """The value of an operand that is a float constant in every lane, else NaN."""
    if not operand.startswith("splat ("):
        return math.nan
    return struct.unpack("<d", int(operand[7:-1].split()[1], 16).to_bytes(8, "little"))[0]


def _extreme(word: str, how: str) -> Callable:
    """max and min of floats: `c ? a : b` on a comparison is one x86 instruction, which takes b if
    either is NaN or both are zeros. A constant goes to a; else both orders are combined, and
    their common bits decide the sign of a zero."""
    def pick(site: Site, a: str, b: str) -> str:
        return site.select(site.compare(how, a, b), a, b)

    def rule(site: Site, a: str, b: str) -> str:
        if site.lanes == 1:
            return site.call(word, [a, b])
        x, c = (b, a) if float_constant(a) == float_constant(a) else (a, b)
        number = float_constant(c)
        if number != number or str(number) == "-0.0":
            return both(site, a, b)
        out = pick(site, c, x)
        if word == "maximum" and number == 0:  # of zeros, x was taken: -0 has to become 0
            out = site.op(f"fadd {site.type} {out}, {site.constant('0.0')}")
        return out

    def both(site: Site, a: str, b: str) -> str:
        width = 64 if site.scalar == "double" else 32
        integer, bits = f"i{width}", vector(f"i{width}", site.lanes)
        one, other = (site.op(f"bitcast {site.type} {v} to {bits}")
                      for v in (pick(site, a, b), pick(site, b, a)))
        out = site.op(f"or {bits} {one}, {other}")
        if word == "maximum":
            out = site.op(f"and {bits} {out}, {site.constant((1 << (width - 1)) - 1, integer)}")
            out = site.op(f"or {bits} {out}, {site.op(f'and {bits} {one}, {other}')}")
        return site.op(f"bitcast {bits} {out} to {site.type}")
    return rule


def _where(site: Site, c: str, a: str, b: str) -> str:
    return site.select(c, a, b)


_FLOAT: Rules = {
    "add": "fadd {t} {0}, {1}", "sub": "fsub {t} {0}, {1}", "mul": "fmul {t} {0}, {1}",
    "div": "fdiv {t} {0}, {1}", "neg": "fneg {t} {0}", "eq": "fcmp oeq {t} {0}, {1}",
    "ne": "fcmp une {t} {0}, {1}", "lt": "fcmp olt {t} {0}, {1}", "le": "fcmp ole {t} {0}, {1}",
    "abs": _intrinsic("fabs"), "fma": _intrinsic("fma"), "sqrt": _intrinsic("sqrt"),
    "max": _extreme("maximum", "ogt"), "min": _extreme("minimum", "olt"),
    "floor": _intrinsic("floor"), "ceil": _intrinsic("ceil"),
    "round": _intrinsic("roundeven"), "trunc": _intrinsic("trunc"), "where": _where,
}
_BITS: Rules = {
    "eq": "icmp eq {t} {0}, {1}", "ne": "icmp ne {t} {0}, {1}", "and": "and {t} {0}, {1}",
    "or": "or {t} {0}, {1}", "xor": "xor {t} {0}, {1}", "where": _where,
    "not": lambda site, a: site.op(f"xor {site.type} {a}, {site.constant(-1)}"),
}
_INTEGER = _BITS | {
    "add": "add {t} {0}, {1}", "sub": "sub {t} {0}, {1}", "mul": "mul {t} {0}, {1}",
    "neg": lambda site, a: site.op(f"sub {site.type} {site.constant(0)}, {a}"),
    "shl": _shift("shl"),
}
_INT = _INTEGER | {
    "lt": "icmp slt {t} {0}, {1}", "le": "icmp sle {t} {0}, {1}", "max": _intrinsic("smax"),
    "min": _intrinsic("smin"), "abs": _intrinsic("abs", "false"), "shr": _shift("ashr"),
    "floordiv": _floordiv, "mod": _mod,
}
_UINT = _INTEGER | {
    "lt": "icmp ult {t} {0}, {1}", "le": "icmp ule {t} {0}, {1}", "max": _intrinsic("umax"),
    "min": _intrinsic("umin"), "abs": lambda site, a: a, "shr": _shift("lshr"),
    "floordiv": _divide_unsigned("udiv"), "mod": _divide_unsigned("urem"),
}
_BOOL = _BITS | {
    "lt": "icmp ult {t} {0}, {1}", "le": "icmp ule {t} {0}, {1}", "max": "or {t} {0}, {1}",
    "min": "and {t} {0}, {1}",
    "not": lambda site, a: site.op(f"xor {site.type} {a}, {site.constant('true')}"),
}

TABLE: dict[tuple[str, str], str | Callable] = {
    (name, kind): rule
    for kind, rules in (("float", _FLOAT), ("int", _INT), ("uint", _UINT), ("bool", _BOOL))
    for name, rule in rules.items()}

# Operations whose result in a 16-bit float has to be rounded: the others are exact.
ROUNDED = frozenset(("add", "sub", "mul", "div", "fma", "sqrt"))


def write(rule: str | Callable, site: Site, operands: list[str]) -> str:
    """One operation at its site."""
    if isinstance(rule, str):
        return site.op(rule.format(*operands, t=site.type))
    return rule(site, *operands)
