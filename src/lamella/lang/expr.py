"""Scalar expressions over axes and operands: one node class for index notation and loops alike.

Structural kinds (`op` is a string): "axis" (attr name, extent), "lit" (attr value), "size" (attr
extent, a symbolic size as a number), "read" (attr (operand, fill); args the indices), "reduce"
(attr (monoid, axes); args the body, two for "dot"), "var" (attr (name, lanes), a register or loop
variable) and "load" (attr (buffer, lanes, fill); args element offset and optional condition).
Otherwise `op` is a `scalar.Scalar`, applied to `args` (attr: the target dtype of a cast).
Expressions are interned: equal structure is the same object.
"""

from __future__ import annotations

from typing import Any
from weakref import WeakValueDictionary

import numpy as np

from ..base import dtypes
from ..base.dtypes import DType
from ..base.errors import NotationError
from ..base.extents import Extent
from ..ir.arithmetic import Arithmetic

_interned: WeakValueDictionary[tuple, Expr] = WeakValueDictionary()


class Expr(Arithmetic):
    """One interned expression; see the module's docstring for the kinds."""

    __slots__ = ("__weakref__", "_free", "_parts", "args", "attr", "dtype", "op")

    op: Any
    args: tuple[Expr, ...]
    attr: Any
    dtype: DType
    _free: frozenset[Expr] | None
    _parts: tuple[Expr, ...] | None

    def apply(self, name: str, *args) -> Expr:
        from_scalars = _scalars[name]
        return from_scalars(*args)

    @property
    def kind(self) -> str:
        """The structural kind, or "apply" for a scalar operation."""
        return self.op if isinstance(self.op, str) else "apply"

    def __repr__(self) -> str:
        return show(self)

    def __bool__(self) -> bool:
        raise NotationError("an index-notation expression has no truth value; "
                            "use where(cond, a, b)")


_references = _interned.data  # type: ignore[attr-defined]  # spares a call
_scalars: dict[str, Any] = {}  # filled by scalar.py: the functions behind Python's operators


def make(op: Any, args: tuple[Expr, ...], attr: Any, dtype: DType) -> Expr:
    """The interned expression of that structure."""
    key = (op, args, attr, type(attr), dtype.name)
    reference = _references.get(key)
    found = None if reference is None else reference()
    if found is None:
        found = Expr.__new__(Expr)
        found.op, found.args, found.attr, found.dtype = op, args, attr, dtype
        found._free = found._parts = None
        _interned[key] = found
    return found


def axis(name: str, extent: Extent) -> Expr:
    """An axis that runs over 0..extent-1."""
    return make("axis", (), (name, extent), dtypes.index)


_BY_BITS = ("float", "complex", "float8")  # kinds whose literals are text in hexadecimal


def lit(value, dtype: DType) -> Expr:
    """A number; floats are told apart by their bits (-0.0 is not 0.0, nan is itself)."""
    if dtype.kind in _BY_BITS:
        with np.errstate(over="ignore"):
            number = dtype.numpy.type(value)
        if dtype.is_complex:
            attr = f"{float(number.real).hex()} {float(number.imag).hex()}"
            return make("lit", (), attr, dtype)
        return make("lit", (), float(number).hex(), dtype)
    return make("lit", (), bool(value) if dtype is dtypes.bool_ else int(value), dtype)


def value_of(e: Expr):
    """The Python number of a literal."""
    if e.dtype.kind not in _BY_BITS:
        return e.attr
    parts = [float.fromhex(part) for part in e.attr.split()]
    return complex(*parts) if e.dtype.is_complex else parts[0]


def size(extent: Extent) -> Expr:
    """An extent as an index expression."""
    return lit(extent, dtypes.index) if isinstance(extent, int) else given(extent)


def given(number: Extent) -> Expr:
    """A number that a kernel is given, and that does not tell it from others."""
    return make("size", (), number, dtypes.index)


def read(operand: int, indices: tuple[Expr, ...], dtype: DType, fill=None) -> Expr:
    """operand[indices]; with `fill`, an index outside of the extents reads that number."""
    return make("read", indices, (operand, fill), dtype)


def reduce(monoid: str, axes: tuple[Expr, ...], *body: Expr) -> Expr:
    """The reduction of the body over the axes; "dot" sums the product of two bodies."""
    return make("reduce", body, (monoid, axes), body[0].dtype)


def var(name: str, dtype: DType, lanes: int = 1) -> Expr:
    """A register or loop variable."""
    return make("var", (), (name, lanes), dtype)


def load(buffer: str, offset: Expr, dtype: DType, lanes: int = 1, cond: Expr | None = None,
         fill=0) -> Expr:
    """buffer[offset] (element offset), or `fill` where `cond` is false. Lanes of int32 of a buffer
    of shorter integers are the words that begin at that element, each of several elements."""
    args = (offset,) if cond is None else (offset, cond)
    return make("load", args, (buffer, lanes, fill), dtype)


def free_axes(e: Expr) -> frozenset[Expr]:
    """Axes and variables that `e` depends on and does not bind."""
    if e._free is None:
        if e.op in ("axis", "var"):
            e._free = frozenset((e,))
        else:
            found = frozenset().union(*map(free_axes, e.args)) if e.args else frozenset()
            e._free = found - frozenset(e.attr[1]) if e.op == "reduce" else found
    return e._free


def substitute(e: Expr, mapping: dict[Expr, Expr], memo: dict | None = None) -> Expr:
    """`e` with each key of the mapping replaced; bound axes of a reduction stay as they are."""
    memo = {} if memo is None else memo
    found = mapping.get(e, memo.get(e))
    if found is not None:
        return found
    if not e.args:
        return e
    inner, inner_memo = mapping, memo
    if e.op == "reduce" and any(a in mapping for a in e.attr[1]):
        inner, inner_memo = {k: v for k, v in mapping.items() if k not in e.attr[1]}, {}
    args = tuple(substitute(a, inner, inner_memo) for a in e.args)
    out = e if args == e.args else rebuild(e, args)
    memo[e] = out
    return out


def rebuild(e: Expr, args: tuple[Expr, ...]) -> Expr:
    """The same operation over other arguments; scalar operations simplify as they are built."""
    if isinstance(e.op, str):
        return make(e.op, args, e.attr, e.dtype)
    return e.op.build(args, e.attr, e.dtype)


def depth(e: Expr) -> int:
    """The levels of an expression, itself included."""
    found: dict[Expr, int] = {}
    for x in walk(e):
        found[x] = 1 + max((found[a] for a in x.args), default=0)
    return found[e]


def walk(e: Expr) -> tuple[Expr, ...]:
    """All distinct subexpressions, arguments first (remembered by the expression)."""
    if e._parts is None:
        seen: dict[Expr, None] = {}

        def visit(x: Expr) -> None:
            if x in seen:
                return
            for a in x.args:
                visit(a)
            seen[x] = None

        visit(e)
        seen.pop(e)
        e._parts = tuple(seen)
    return (*e._parts, e)


def affine(e: Expr) -> dict[Any, int]:
    """Coefficients of `e` as a sum: {term: coefficient, None: constant}.

    Terms are axes, variables, sizes and opaque subexpressions that no literal scales further.
    """
    if e.op == "lit":
        return {None: e.attr} if e.attr else {}
    if isinstance(e.op, str) or e.op.name not in ("add", "sub", "mul", "neg"):
        return {e: 1}
    parts = [affine(a) for a in e.args]
    if e.op.name == "neg":
        return _scaled(parts[0], -1)
    a, b = parts
    if e.op.name == "mul":
        for x, y in ((a, b), (b, a)):
            if not set(x) - {None}:
                return _scaled(y, x.get(None, 0))
        return {e: 1}
    out = dict(a)
    for term, c in _scaled(b, -1 if e.op.name == "sub" else 1).items():
        out[term] = out.get(term, 0) + c
    return {t: c for t, c in out.items() if c}


def _scaled(terms: dict, k: int) -> dict:
    return {t: c * k for t, c in terms.items()} if k else {}


_INFIX = {"add": "+", "sub": "-", "mul": "*", "div": "/", "lt": "<", "le": "<=", "eq": "==",
          "ne": "!=", "and": "&", "or": "|", "xor": "^", "shl": "<<", "shr": ">>",
          "floordiv": "//", "mod": "%"}


def show(e: Expr, names: list[str] | None = None) -> str:
    """Readable text; `names` are the operands' names (x0, x1, ... by default)."""
    def operand(i: int) -> str:
        return names[i] if names else f"x{i}"

    if e.op == "axis":
        return e.attr[0]
    if e.op == "var":
        return e.attr[0]
    if e.op == "lit":
        return repr(value_of(e))
    if e.op == "size":
        return f"({e.attr})"
    args = [show(a, names) for a in e.args]
    if e.op == "read":
        fill = "" if e.attr[1] is None else f" else {e.attr[1]}"
        return f"{operand(e.attr[0])}[{', '.join(args)}{fill}]"
    if e.op == "reduce":
        bound = ", ".join(a.attr[0] for a in e.attr[1])
        return f"{e.attr[0]}({bound} : {' . '.join(args)})"
    if e.op == "load":
        between = " rows by " if e.attr[1] > 16 else " if "     # a matrix, or a condition
        return f"{e.attr[0]}<{e.attr[1]}>[{between.join(args)}]"
    if e.op == "fold":
        return f"fold.{e.attr[0]}({show(e.attr[1])} : {args[0]})"
    if e.op == "product":
        return f"({args[2]} + product({show(e.attr)} : {args[0]} . {args[1]}))"
    if isinstance(e.op, str):
        return f"{e.op}{'.' + str(e.attr) if e.attr else ''}({', '.join(args)})"
    if e.op.name in _INFIX:
        return f"({args[0]} {_INFIX[e.op.name]} {args[1]})"
    return f"{e.op.name}{'.' + str(e.attr) if e.attr else ''}({', '.join(args)})"
