"""Definitions as text: one line, a Python expression that is read with `ast` and never executed.

    define(axes(i=4, j=T*2), dot(axes(k=3), x0[i, k], x1[k, j]))

An axis is written by its name where an `axes(...)` around it declares it, else as axis("k", 3).
Plain integers are indices; other numbers are lit(3, "int32") and lit("0x1.8p+0", "float32").
`size(T*2)` is an extent as a number, x0.get(i, fill=0) a read with a fill, and any scalar operation
a call by its name; cast and bitcast name the dtype first. What occurs more than once, or deep
inside, stands after the body as a keyword, which later keywords and the body may name.

All of it is checked, also that reads stay in range. Every fault is a ProgramError.
"""

from __future__ import annotations

import ast
import itertools
import keyword
import operator
import re
from collections import Counter
from collections.abc import Mapping
from typing import Any

from ..base import dtypes
from ..base.dtypes import DType
from ..base.errors import LamellaError, ProgramError
from ..base.extents import Extent, Size
from ..ir.types import TensorType
from . import expr, scalar
from .definition import MONOIDS, Definition
from .expr import Expr, free_axes
from .interpret import in_range

MOST_CHARACTERS, MOST_NESTING, MOST_TERMS = 1 << 20, 300, 64
_DEEPEST = 24  # deeper subexpressions are written apart


# ---- writing ------------------------------------------------------------------------------------

def extent_text(e: Extent) -> str:
    """An extent as a Python expression over its symbols' names."""
    return str(e)


def to_text(d: Definition) -> str:
    """The definition as text; `from_text` gives back an equal one."""
    scope = {a.attr[0]: a for a in d.axes}
    if len(scope) < len(d.axes):
        raise ProgramError(f"{d} has two axes of one name; rename one")
    nodes = expr.walk(d.body)
    axes = (a for e in nodes for a in (e.attr[1] if e.op == "reduce" else (e,)) if a.op == "axis")
    names = {a.attr[0] for a in axes} | set(scope)
    labels: dict[Expr, str] = {}
    apart = []
    for e in _shared(d.body):
        text = _text(e, scope, labels)
        labels[e] = next(n for k in itertools.count() if (n := f"e{k}") not in names)
        names.add(labels[e])
        apart.append(f", {labels[e]}={text}")
    body = _text(d.body, scope, labels)
    return f"define({_axes_text(d.axes)}, {body}{''.join(apart)})"


def _shared(body: Expr) -> list[Expr]:
    """Subexpressions to write apart, inner ones first: large ones used again, and deep ones."""
    nodes = expr.walk(body)
    uses = Counter(a for e in nodes for a in e.args)
    found: list[Expr] = []
    measure: dict[Expr, tuple[int, int]] = {}  # nodes and depth, as written
    for e in nodes:
        inner = [measure[a] for a in e.args]
        size, depth = 1 + sum(n for n, _ in inner), 1 + max((d for _, d in inner), default=0)
        if e is not body and (depth > _DEEPEST or (uses[e] > 1 and size > 6)):
            found.append(e)
            size = depth = 1
        measure[e] = size, depth
    return found


def _text(e: Expr, scope: dict[str, Expr], labels: dict[Expr, str]) -> str:
    if e in labels:
        return labels[e]
    if e.op == "axis":
        name, known = _checked_name(e.attr[0]), scope.get(e.attr[0]) is e
        return name if known else f'axis("{name}", {extent_text(e.attr[1])})'
    if e.op == "lit":
        if e.dtype is dtypes.index:
            return str(e.attr)
        return f'lit({_number_text(expr.value_of(e))}, "{e.dtype}")'
    if e.op == "size":
        return f"size({extent_text(e.attr)})"
    if e.op == "reduce":
        monoid, axes = e.attr
        inner = {**scope, **{a.attr[0]: a for a in axes}}
        args = [_axes_text(axes)] + [_text(a, inner, labels) for a in e.args]
        return f"{monoid}({', '.join(args)})"
    args = [_text(a, scope, labels) for a in e.args]
    if e.op == "read":
        operand, fill = e.attr
        if fill is None:
            return f"x{operand}[{', '.join(args) or '()'}]"
        whole = int(fill) if fill in (0, 1) else fill  # equal reads have equal texts
        return f"x{operand}.get({', '.join([*args, f'fill={_number_text(whole)}'])})"
    if isinstance(e.op, str):
        raise ProgramError(f"{e.op} has no text; it is of the loop level")
    if e.op in (scalar.cast_, scalar.bitcast_):
        args = [f'"{e.attr}"', *args]
    underscore = "_" if keyword.iskeyword(e.op.name) else ""  # and_, or_, not_
    return f"{e.op.name}{underscore}({', '.join(args)})"


def _axes_text(axes: tuple[Expr, ...]) -> str:
    inner = (f"{_checked_name(a.attr[0])}={extent_text(a.attr[1])}" for a in axes)
    return f"axes({', '.join(inner)})"


def _checked_name(name: str | None) -> str:
    if not name or not name.isascii() or not name.isidentifier() or keyword.iskeyword(name):
        raise ProgramError(f"{name!r} cannot name an axis in text; it is no identifier")
    return name


def _number_text(value) -> str:
    if isinstance(value, complex):
        return f'"{value.real.hex()} {value.imag.hex()}"'
    return f'"{value.hex()}"' if isinstance(value, float) else str(value)


# ---- reading ------------------------------------------------------------------------------------

def from_text(text: str, operands: tuple[TensorType, ...],
              symbols: Mapping[str, Extent]) -> Definition:
    """The definition that the text states for operands of these types."""
    try:
        _check_nesting(text)
        d = _Reader(operands, symbols).definition(ast.parse(text.strip(), mode="eval").body)
        _check_scope(d)
        return d
    except (LamellaError, SyntaxError, ValueError, OverflowError, RecursionError, MemoryError) as e:
        raise ProgramError(f"the text of a definition cannot be read: {e}") from None


_EXTENT_OPS: dict[type, Any] = {ast.Add: operator.add, ast.Sub: operator.sub,
                                ast.Mult: operator.mul, ast.FloorDiv: operator.floordiv}


def parse_extent(node: ast.AST, symbols: Mapping[str, Extent]) -> Extent:
    """The extent that a syntax tree states: integers and symbols with + - * //."""
    if isinstance(node, ast.Constant) and type(node.value) is int:
        return _bounded(node.value)
    if isinstance(node, ast.Name) and node.id in symbols:
        return symbols[node.id]
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        return -parse_extent(node.operand, symbols)
    if isinstance(node, ast.BinOp) and type(node.op) in _EXTENT_OPS:
        a, b = parse_extent(node.left, symbols), parse_extent(node.right, symbols)
        if not isinstance(node.op, ast.FloorDiv) or (isinstance(b, int) and b > 0):
            return _bounded(_EXTENT_OPS[type(node.op)](a, b))
    raise _refused(node, "an extent: integers and declared symbols with + - * //")


class _Reader:
    """The state of one definition's reading."""

    def __init__(self, operands: tuple[TensorType, ...], symbols: Mapping[str, Extent]):
        self.operands, self.symbols = operands, symbols
        self.labels: dict[str, Expr] = {}

    def definition(self, node: Any) -> Definition:
        if not (_is_call(node, "define") and len(node.args) == 2):
            raise _refused(node, "define(axes(...), body)")
        axes = self.axes(node.args[0])
        scope = {a.attr[0]: a for a in axes}
        for k in node.keywords:
            if k.arg is None or k.arg in scope or k.arg in self.labels:
                raise ProgramError(f"the name {k.arg!r} is taken")
            self.labels[k.arg] = self.expr(k.value, scope)
        return Definition(self.operands, axes, self.expr(node.args[1], scope))

    def axes(self, node: Any) -> tuple[Expr, ...]:
        if not _is_call(node, "axes") or node.args:
            raise _refused(node, "axes(name=extent, ...)")
        found = {k.arg: self.axis(k.arg, k.value) for k in node.keywords}
        if len(found) < len(node.keywords):
            raise _refused(node, "one axis for each name")
        return tuple(found.values())

    def axis(self, name: str | None, node: ast.AST) -> Expr:
        extent = parse_extent(node, self.symbols)
        if isinstance(extent, int) and extent < 0:
            raise ProgramError(f"axis {name} has the extent {extent}")
        return expr.axis(_checked_name(name), extent)

    def expr(self, node: ast.AST, scope: dict[str, Expr]) -> Expr:
        if isinstance(node, ast.Name):
            found = scope.get(node.id, self.labels.get(node.id))
            if found is not None:
                return found
        elif isinstance(node, ast.Call):
            return self.call(node, scope)
        elif isinstance(node, ast.Subscript):
            index = node.slice
            args = index.elts if isinstance(index, ast.Tuple) else [index]
            return self.read(node.value, args, None, scope)
        elif (value := _integer(node)) is not None:
            return expr.lit(_bounded(value), dtypes.index)
        raise _refused(node, "an expression")

    def call(self, node: ast.Call, scope: dict[str, Expr]) -> Expr:
        if isinstance(node.func, ast.Attribute) and node.func.attr == "get":
            if len(node.keywords) != 1 or node.keywords[0].arg != "fill":
                raise _refused(node, "get(indices, fill=number)")
            return self.read(node.func.value, node.args, node.keywords[0].value, scope)
        name, args = "" if node.keywords else _name(node.func), node.args
        if name == "lit" and len(args) == 2:
            return _literal(args[0], dtypes.by_name(_string(args[1])))
        if name == "size" and len(args) == 1:
            return expr.size(parse_extent(args[0], self.symbols))
        if name == "axis" and len(args) == 2:
            return self.axis(_string(args[0]), args[1])
        if name in MONOIDS and args and _is_call(args[0], "axes"):
            axes = self.axes(args[0])
            inner = {**scope, **{a.attr[0]: a for a in axes}}
            return _reduction(name, axes, tuple(self.expr(a, inner) for a in args[1:]))
        if name in ("cast", "bitcast") and len(args) == 2:
            return _conversion(name, dtypes.by_name(_string(args[0])), self.expr(args[1], scope))
        if op := scalar.ALL.get(name.removesuffix("_")):
            return _application(op, tuple(self.expr(a, scope) for a in args))
        raise _refused(node, "a call of a known operation")

    def read(self, base: ast.AST, args: list, fill: ast.AST | None, scope: dict) -> Expr:
        match = re.fullmatch(r"x(0|[1-9][0-9]{0,3})", _name(base))
        number = int(match[1]) if match else len(self.operands)
        if number >= len(self.operands):
            raise _refused(base, f"an operand: x0 to x{len(self.operands) - 1}")
        type, indices = self.operands[number], tuple(self.expr(a, scope) for a in args)
        if len(indices) != type.rank or any(i.dtype is not dtypes.index for i in indices):
            raise ProgramError(f"x{number}: {type} is read with "
                               f"[{', '.join(str(i.dtype) for i in indices)}]")
        value = None if fill is None else _number(fill)
        if isinstance(value, complex) and not type.dtype.is_complex:
            raise ProgramError(f"x{number}: {type} is filled with {value}")
        return expr.read(number, indices, type.dtype, value)


def _reduction(name: str, axes: tuple[Expr, ...], body: tuple[Expr, ...]) -> Expr:
    kinds = {"any": ("bool",), "all": ("bool",), "max": (*scalar.NUMBER, "bool"),
             "min": (*scalar.NUMBER, "bool"), "dot": scalar.INEXACT}.get(name, scalar.FIELD)
    if not axes or len(body) != (2 if name == "dot" else 1) or any(
            b.dtype is not body[0].dtype or b.dtype.kind not in kinds for b in body):
        raise ProgramError(f"{name} over {len(axes)} axes of {[b.dtype.name for b in body]} bodies")
    return expr.reduce(name, axes, *body)


def _conversion(name: str, to: DType, e: Expr) -> Expr:
    if name == "bitcast" and e.dtype.bits != to.bits:
        raise ProgramError(f"bitcast from {e.dtype} to {to}: the widths differ")
    return expr.make(scalar.ALL[name], (e,), to, to)


def _application(op: scalar.Scalar, args: tuple[Expr, ...]) -> Expr:
    if len(args) != op.arity or op in (scalar.cast_, scalar.bitcast_):
        raise ProgramError(f"{op} takes {op.arity} arguments, got {len(args)}")
    if op is scalar.where and args[0].dtype is not dtypes.bool_:
        raise ProgramError(f"where: the condition is {args[0].dtype}, not bool")
    return expr.make(op, args, None, op.result_dtype([a.dtype for a in args]))


def _literal(node: ast.AST, dtype: DType) -> Expr:
    value = _number(node)
    kind = {bool: "bool", float: "float", complex: "complex"}.get(type(value), "")
    if kind != ("" if dtype.is_int else dtype.kind.removesuffix("8")):
        raise ProgramError(f"{value!r} is no {dtype}")
    if dtype.is_int and not -(1 << 63) <= value < 1 << 64:
        raise ProgramError(f"the number {value} does not fit {dtype}")
    return expr.lit(value, dtype)


def _number(node: ast.AST):
    """An integer, True or False, or a float (two for a complex number) as a string of its bits."""
    if isinstance(node, ast.Constant) and isinstance(node.value, bool):
        return node.value
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        parts = [float.fromhex(part) for part in node.value.split()]
        if len(parts) not in (1, 2):
            raise _refused(node, "a number")
        return complex(*parts) if len(parts) == 2 else parts[0]
    if (value := _integer(node)) is None or abs(value) >= 1 << 64:
        raise _refused(node, "a number")
    return value


def _integer(node: Any) -> int | None:
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _integer(node.operand)
        return None if inner is None else -inner
    return node.value if isinstance(node, ast.Constant) and type(node.value) is int else None


def _string(node: ast.AST) -> str:
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        return node.value
    raise _refused(node, "a string")


def _name(node: ast.AST) -> str:
    return node.id if isinstance(node, ast.Name) else ""


def _is_call(node: Any, name: str) -> bool:
    return isinstance(node, ast.Call) and _name(node.func) == name


def _refused(node: ast.AST, wanted: str) -> ProgramError:
    return ProgramError(f"column {getattr(node, 'col_offset', 0) + 1}: {wanted} is expected, "
                        f"not {type(node).__name__}")


# ---- limits -------------------------------------------------------------------------------------

def _bounded(e: Extent) -> Extent:
    """The extent, if a program can have meant one of that size."""
    terms = e.terms if isinstance(e, Size) else {(): e}
    if len(terms) > MOST_TERMS or any(abs(c) >> 63 or len(m) > 16 for m, c in terms.items()):
        raise ProgramError(f"an integer of 64 bits or an extent of more than {MOST_TERMS} terms")
    return e


def _check_nesting(text: str) -> None:
    """Refuse text whose syntax tree would be deep. Between commas each token nests at most once."""
    if len(text) > MOST_CHARACTERS or "\0" in text or "\\" in text:
        raise ProgramError(f"a null, a backslash, or more than {MOST_CHARACTERS} characters")
    levels = [[0, 0]]  # for each open bracket: tokens since the comma, and the deepest item inside
    for token in re.findall(r'"[^"\n]*"|\'[^\'\n]*\'|\w+|[^\w\s]', text):
        levels[-1][0] += 1
        if token[0].isdigit() and not token.isdecimal():
            raise ProgramError(f"{token!r} is no number")
        if token in "([{":
            levels.append([0, 0])
        elif token == "," or (token in ")]}" and len(levels) > 1):
            deepest = max(levels.pop())
            if token == ",":
                levels.append([0, deepest])
            else:
                levels[-1][0] += 1 + deepest
        if levels[-1][0] > MOST_NESTING or len(levels) > MOST_NESTING:
            raise ProgramError(f"expressions nest deeper than {MOST_NESTING}")


def _check_scope(d: Definition) -> None:
    """Refuse axes that nothing binds and reads that may leave their operand."""
    if len(set(d.axes)) < len(d.axes) or free_axes(d.body) - set(d.axes):
        raise ProgramError(f"{d}: an axis is declared twice or not at all")
    for e in expr.walk(d.body):
        if e.op == "read" and e.attr[1] is None:
            shape = d.operands[e.attr[0]].shape
            if not all(in_range(i, n) for i, n in zip(e.args, shape)):
                raise ProgramError(f"{e} may read outside of {d.operands[e.attr[0]]}")
