"""LLVM text: types, literals, and a writer of nested blocks.

Scopes nest as the kernel's loops and conditions do. Each holds its own lines until it is closed,
when they are appended to the enclosing scope's; so an instruction can be put into any open scope
at any time, and stands before whatever is still being written inside of it: that is how loop
invariants are hoisted.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from functools import lru_cache

import numpy as np

from ..base import dtypes
from ..base.dtypes import DType
from ..lang.expr import Expr, value_of
from ..lang.loops import MATRIX

# Registers hold a bool as one bit and the 16-bit floats as the float of the same value.
_WIDE = {"float16": "float", "bfloat16": "float", "float32": "float", "float64": "double",
         "bool": "i1"}
_STORED = {"float32": "float", "float64": "double"}
MATRIX_TYPE = "x86_amx"


def register_type(dtype: DType, lanes: int = 1) -> str:
    """The LLVM type of a value in registers."""
    if lanes == MATRIX:
        return MATRIX_TYPE
    return vector(_WIDE.get(dtype.name) or f"i{dtype.bits}", lanes)


def memory_type(dtype: DType, lanes: int = 1) -> str:
    """The LLVM type of a value in memory."""
    return vector(_STORED.get(dtype.name) or f"i{dtype.bits}", lanes)


def vector(scalar: str, lanes: int) -> str:
    """`lanes` values of an LLVM scalar type."""
    return scalar if lanes == 1 else f"<{lanes} x {scalar}>"


_SUFFIX = {"float": "f32", "double": "f64", "half": "f16"}


def suffix(scalar: str, lanes: int) -> str:
    """A type as the names of intrinsics spell it."""
    short = _SUFFIX.get(scalar, scalar)
    return short if lanes == 1 else f"v{lanes}{short}"


def splat(scalar: str, text: str, lanes: int) -> str:
    """A constant for every lane."""
    return text if lanes == 1 else f"splat ({scalar} {text})"


@lru_cache(4096)
def float_literal(value: str, dtype: DType) -> str:
    """A float, in Python's hexadecimal, rounded to a dtype."""
    with np.errstate(all="ignore"):
        number = float(np.float64(float.fromhex(value)).astype(dtype.numpy))
    return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"


def literal(e: Expr) -> str:
    """A literal as an LLVM constant of its register type."""
    if e.dtype.is_float:
        return float_literal(e.attr, e.dtype)
    return str(int(value_of(e))) if e.dtype is not dtypes.bool_ else str(bool(e.attr)).lower()


@lru_cache(4096)
def memory_literal(value: float, dtype: DType) -> str:
    """A number as an LLVM constant of its memory type."""
    if not dtype.is_float:
        return str(int(value))
    with np.errstate(all="ignore"):
        number = np.float64(value).astype(dtype.numpy)
    if dtype.bits == 16:
        return str(int(number.view(np.uint16)))
    return float_literal(float(value).hex(), dtype)


# Kinds of scope: what may be moved out of it.
PLAIN = "plain"  # runs whenever the enclosing scope does, as far as moving goes
GUARD = "guard"  # around a loop that may have no iterations: loads stay inside
BODY = "body"    # of a loop: invariants move out
WHEN = "when"    # runs on a condition: loads stay, the rest moves only if it leaves a loop


class Scope:
    """An open block: its lines, the label that the lines end in, and the memo keys it owns."""

    __slots__ = ("keys", "kind", "label", "lines", "start")

    def __init__(self, kind: str, label: str):
        self.kind, self.label, self.start = kind, label, label
        self.lines: list[str] = []
        self.keys: list = []


class Writer:
    """Writes one function; `memo` maps whatever has been computed to its value."""

    def __init__(self):
        self.count = 0
        self.scopes = [Scope(PLAIN, "entry")]
        self.memo: dict = {}
        self.declarations: dict[str, None] = {}

    # ---- instructions --------------------------------------------------------------------------

    def name(self, prefix: str = "v") -> str:
        self.count += 1
        return f"{prefix}{self.count}"

    @property
    def top(self) -> int:
        """The depth of the innermost scope."""
        return len(self.scopes) - 1

    def op(self, text: str, depth: int) -> str:
        """An instruction with a result, at the end of an open scope."""
        self.count += 1
        name = f"%v{self.count}"
        self.scopes[depth].lines.append(f"  {name} = {text}")
        return name

    def once(self, text: str, depth: int) -> str:
        """The result of a pure instruction, written only if it is not yet at hand there."""
        found = self.memo.get(text)
        if found is None or found[1] > depth:
            found = self.memo[text] = (self.op(text, depth), depth)
            self.scopes[depth].keys.append(text)
        return found[0]

    def do(self, text: str) -> None:
        """An instruction without a result, in the innermost scope."""
        self.scopes[-1].lines.append("  " + text)

    def declare(self, text: str) -> None:
        self.declarations[text] = None

    def place(self, depth: int) -> int:
        """Where to put pure code whose operands are at hand at `depth`.

        Out of every loop it does not depend on; but it leaves a condition only with a loop.
        """
        if depth < 0:
            depth = 0
        for k in range(depth + 1, len(self.scopes)):
            kind = self.scopes[k].kind
            if kind is BODY:
                break
            if kind is WHEN:
                depth = k
        return depth

    def place_load(self, depth: int) -> int:
        """Where to put a load: as `place`, but inside of every guard."""
        depth = self.place(depth)
        for k in range(self.top, depth, -1):
            if self.scopes[k].kind in (GUARD, WHEN):
                return k
        return depth

    # ---- blocks --------------------------------------------------------------------------------

    def open(self, kind: str) -> Scope:
        """Begin a nested block."""
        scope = Scope(kind, self.name("b"))
        self.scopes.append(scope)
        return scope

    def close(self) -> Scope:
        """End the innermost block: what was computed in it is no longer at hand."""
        scope = self.scopes.pop()
        for key in scope.keys:
            self.memo.pop(key, None)
        return scope

    def label(self, label: str) -> None:
        """Go on in a new basic block of the innermost scope."""
        self.scopes[-1].lines.append(f"{label}:")
        self.scopes[-1].label = label

    def phi(self, type_text: str, a: str, from_a: str, b: str, from_b: str) -> str:
        """The value that came from either of two blocks, at the start of the current one."""
        if a == b:
            return a
        return self.op(f"phi {type_text} [{a}, %{from_a}], [{b}, %{from_b}]", self.top)

    def enter(self, scope: Scope, first: Iterable[str] = ()) -> None:
        """Append a closed scope's lines, with its label, to the current scope."""
        lines = self.scopes[-1].lines
        lines.append(f"{scope.start}:")
        lines += first
        lines += scope.lines
