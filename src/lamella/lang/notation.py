"""A user's plain function in index notation -> Definition.

    def conv2d(x, w):
        return lambda n, y, z, f: sum(
            lambda r, s, c: x[n, y*2 + r - 1, z*2 + s - 1, c] * w[r, s, c, f])

The function is called once with stand-ins for its operands; it returns a function of the result's
axes, which are its parameters. A default value is an axis' extent; otherwise indices tell it:

- an index that is an axis alone gives it that dimension's extent (all of them must agree);
- an affine index with one axis unknown gives it the largest extent that keeps the index in range.
  Where the least index is the constant -p, zeros stand p beyond both ends: padding by p.

Every other read must be in range as far as intervals show. Reads at data (`table[ids[t], d]`) are
clamped into range. `x.get(i + 1, fill=0)` reads `fill` wherever it is out of range.
"""

from __future__ import annotations

import builtins
import inspect
from collections.abc import Callable

from ..base import dtypes
from ..base.errors import DTypeError, LamellaError, NotationError
from ..base.extents import Extent, Size
from ..ir.arithmetic import Arithmetic
from ..ir.types import TensorType
from . import expr, scalar
from .definition import Definition
from .expr import Expr
from .infer import Hole, Named, checked, infer_extents
from .interpret import canonical, rebuilt, rewrite
from .scalar import (
    ceil,
    cos,
    eq,
    erf,
    exp,
    expm1,
    floor,
    log,
    log1p,
    maximum,
    minimum,
    ne,
    round_,
    rsqrt,
    sigmoid,
    sign,
    sin,
    sqrt,
    tanh,
    trunc,
    where,
)

__all__ = ["Operand", "Term", "all", "any", "cast", "ceil", "cos", "eq", "erf", "exp", "expm1",
           "floor", "log", "log1p", "max", "maximum", "min", "minimum", "ne", "prod", "round_",
           "rsqrt", "sigmoid", "sign", "sin", "sqrt", "sum", "tanh", "trace", "trunc", "where"]


def trace(function: Callable, types: tuple[TensorType, ...]) -> Definition:
    """The definition that the function states for operands of these types."""
    title = getattr(function, "__name__", "op")
    try:
        operands = [Operand(k, name, t) for k, (name, t) in enumerate(
            zip(_operand_names(function, len(types)), types))]
        result = function(*operands)
        if not callable(result):
            raise NotationError("it must return a function of the result's axes, such as "
                                f"`lambda i, j: ...`, but it returned {_kind(result)}")
        axes, body = _scope(result, "the result")
        infer_extents(operands, axes, body)
        axes, body = canonical(axes, body, extent=lambda a: a.attr[1].extent)
        body = rewrite(body, lambda e, args: checked(operands, rebuilt(e, args)))
        return Definition(tuple(types), axes, body)
    except LamellaError as e:
        e.args = (f"{title}: {e.args[0]}", *e.args[1:])
        raise


# ---- what the user's function sees --------------------------------------------------------------

class Term(Arithmetic):
    """A number of the notation: an axis, an element, or what is computed from them."""

    __slots__ = ("expr",)
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, e: Expr):
        self.expr = e

    @property
    def dtype(self):
        return self.expr.dtype

    def apply(self, name: str, *args) -> Term:
        return _apply(name, args)

    def __eq__(self, o):
        return _apply("eq", (self, o))

    def __ne__(self, o):
        return _apply("ne", (self, o))

    def __bool__(self) -> bool:
        raise NotationError("an element has no truth value while the notation is read; "
                            "write where(condition, a, b), and & | ~ instead of and, or, not")

    def __repr__(self) -> str:
        return repr(self.expr)


class Operand(Named, Arithmetic):
    """A stand-in for an operand: `x[i, j]` is an element; `shape`, `dtype` and `ndim` are known."""

    __slots__ = ("dtype", "ndim", "number", "shape")
    __iter__ = None

    def __init__(self, number: int, name: str, type: TensorType):
        super().__init__(name, type)
        self.number, self.dtype, self.ndim = number, type.dtype, type.rank
        self.shape = tuple(n if isinstance(n, int) else Term(expr.size(n)) for n in type.shape)

    def __getitem__(self, indices) -> Term:
        return self._read(indices if isinstance(indices, tuple) else (indices,), None)

    def get(self, *indices, fill=0) -> Term:
        """The element, or the number `fill` wherever an index is out of range."""
        if not isinstance(fill, int | float) or fill != fill:
            raise NotationError(f"{self}: fill={fill!r} is not a number; use where(...) for others")
        return self._read(indices, expr.value_of(_number(fill, self.dtype)))

    def apply(self, name: str, *args) -> Term:
        return _apply(name, args)

    def _read(self, indices: tuple, fill) -> Term:
        if len(indices) != self.ndim:
            raise NotationError(f"{self} has {self.ndim} dimensions but is read with "
                                f"{len(indices)} indices; give one index for each dimension")
        found = tuple(self._index(i, d) for d, i in enumerate(indices))
        return Term(expr.read(self.number, found, self.dtype, fill))

    def _index(self, i, d: int) -> Expr:
        e = _unwrap(i)
        if isinstance(e, int) and not isinstance(e, bool):
            return expr.lit(e, dtypes.index)
        if isinstance(e, Expr) and e.dtype.is_int:
            return scalar.cast(e, dtypes.index)
        raise NotationError(f"index {d} of {self} is {_kind(i)}; an index is an integer made of "
                            "axes, numbers and elements of integer operands")


def _unwrap(value):
    """An Expr for what stands for one; numbers as they are."""
    if isinstance(value, Operand):
        if value.ndim:
            raise NotationError(f"{value} is used without indices; write "
                                f"{value.name}[{', '.join('ijklmnop'[:value.ndim])}]")
        value = value[()]
    if isinstance(value, Size):
        return expr.size(value)
    if isinstance(value, Term):
        return value.expr
    return value.item() if hasattr(value, "item") and getattr(value, "ndim", 1) == 0 else value


def _apply(name: str, args: tuple) -> Term:
    """A scalar operation; numbers and sizes take the dtype of the others."""
    values = [_unwrap(a) for a in args]
    if name == "where" and not isinstance(values[0], Expr):
        raise NotationError(f"where: the condition is {_kind(args[0])}, not an element or a "
                            "comparison of elements; decide it with Python's `if` outside")
    for v in values:
        if not isinstance(v, (Expr, int, float)):
            raise NotationError(f"{name}: {_kind(v)} is not a number or an element")
    places = range(1 if name == "where" else 0, len(values))
    given = [values[k].dtype for k in places if isinstance(values[k], Expr)]
    strong = [values[k].dtype for k in places
              if isinstance(values[k], Expr) and not _is_size(values[k])]
    if not given:
        raise NotationError(f"{name}: both are plain numbers; write cast(number, dtype) for one")
    dtype = (strong or given)[0]
    for k in places:
        if not isinstance(values[k], Expr) or _is_size(values[k]):
            values[k] = _number(values[k], dtype)
        elif values[k].dtype is not dtype:
            raise DTypeError(f"{name} mixes {dtype} and {values[k].dtype}; "
                             f'write cast(element, "{dtype}") for the other')
    try:
        return Term(scalar.ALL[name](*values))
    except DTypeError as e:
        raise DTypeError(str(e).replace("cast with astype", "write cast(element, dtype)")) from None


def _number(value, dtype) -> Expr:
    if isinstance(value, Expr):
        return scalar.cast(value, dtype)
    if isinstance(value, float) and not dtype.is_float and not value.is_integer():
        raise DTypeError(f"the number {value} does not fit {dtype}; "
                         'write cast(element, "float32") for the element')
    return expr.lit(value, dtype)


def _is_size(e: Expr) -> bool:
    return e.op == "size" or (e.dtype is dtypes.index and bool(e.args) and e.kind == "apply" and
                              builtins.all(_is_size(a) or a.op == "lit" for a in e.args))


def cast(value, dtype) -> Term:
    """The nearest value of another dtype (also makes an element of a plain number)."""
    e, to = _unwrap(value), dtypes.as_dtype(dtype)
    return Term(scalar.cast(e, to) if isinstance(e, Expr) else _number(e, to))


# ---- axes and reductions ------------------------------------------------------------------------

def _scope(function: Callable, what: str) -> tuple[tuple[Expr, ...], Expr]:
    """Axes for the function's parameters, and its value at them."""
    axes = []
    for p in inspect.signature(function).parameters.values():
        if p.kind not in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD):
            raise NotationError(f"{what}: the axis {p} must be a plain parameter")
        declared = None if p.default is p.empty else _declared(p.name, p.default)
        axes.append(expr.axis(p.name, Hole(p.name, declared)))  # type: ignore[arg-type]
    body = _unwrap(function(*(Term(a) for a in axes)))
    if not isinstance(body, Expr):
        raise NotationError(f"{what} is {_kind(body)}, not computed from elements; "
                            "write cast(number, dtype) for a plain number")
    return tuple(axes), body


def _declared(name: str, value) -> Extent:
    e = value.expr if isinstance(value, Term) else value
    extent = _as_extent(e) if isinstance(e, Expr) else e
    if isinstance(extent, Size) or (isinstance(extent, int) and not isinstance(extent, bool)
                                    and extent >= 0):
        return extent
    raise NotationError(f"axis {name}: its extent (the default value) is {_kind(value)}; "
                        "give a number or a size such as x.shape[0]")


def _as_extent(e: Expr) -> Extent | None:
    """A size as an extent; None for what depends on more than sizes."""
    if e.op in ("size", "lit"):
        return e.attr
    args = [_as_extent(a) for a in e.args] if e.kind == "apply" else [None]
    if None in args or e.op.name not in ("add", "sub", "mul", "floordiv", "mod", "neg"):
        return None
    return getattr(args[0], f"__{e.op.name}__")(*args[1:]) if isinstance(args[0], Size) else (
        getattr(args[1], f"__r{e.op.name}__")(args[0]) if len(args) == 2 else None)


def _reduction(monoid: str) -> Callable[[Callable], Term]:
    def reduce(function: Callable, *more) -> Term:
        if more or not callable(function):
            pointwise = {"max": "; maximum(a, b) is the larger of two elements",
                         "min": "; minimum(a, b) is the smaller of two elements"}.get(monoid, "")
            raise NotationError(f"{monoid} takes a function of the axes, such as "
                                f"{monoid}(lambda k: x[k]){pointwise}")
        axes, body = _scope(function, f"the body of {monoid}")
        if not axes:
            raise NotationError(f"{monoid}: its function has no parameters, so no axes")
        if body.dtype is dtypes.bool_ and monoid in ("sum", "prod"):
            raise DTypeError(f'{monoid} of bool elements; write cast(element, "int32")')
        if body.dtype is not dtypes.bool_ and monoid in ("any", "all"):
            raise DTypeError(f"{monoid} of {body.dtype} elements; compare them first")
        return Term(expr.reduce(monoid, axes, body))

    reduce.__name__, reduce.__doc__ = monoid, f"The {monoid} over all values of the axes."
    return reduce


sum, prod = _reduction("sum"), _reduction("prod")
max, min = _reduction("max"), _reduction("min")
any, all = _reduction("any"), _reduction("all")


def _operand_names(function: Callable, count: int) -> list[str]:
    parameters = list(inspect.signature(function).parameters.values())
    if [p for p in parameters if p.kind is p.VAR_POSITIONAL]:
        return [f"x{k}" for k in range(count)]
    names = [p.name for p in parameters if p.default is p.empty and p.kind is not p.VAR_KEYWORD]
    if len(names) != count:
        raise NotationError(f"it takes {len(names)} operands ({', '.join(names)}), "
                            f"{count} were given")
    return names


def _kind(value) -> str:
    return f"{type(value).__name__} {value!r}"
