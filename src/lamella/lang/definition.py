"""A Definition: one result, stated element by element over its axes."""

from __future__ import annotations

from ..base.errors import NotationError
from ..base.extents import Extent, Shape
from ..ir.types import TensorType, tensor
from . import expr
from .expr import Expr

MONOIDS = ("sum", "prod", "max", "min", "any", "all", "dot")
PRODUCTS = ("dot", "winograd", "winograd weights",      # sums of products of two bodies;
            "winograd 4x4", "winograd weights 4x4", "matrices")     # the last three in fast mode


class Definition:
    """result[axes] = body, reading operands of the given types; Reads name operands by number."""

    __slots__ = ("axes", "body", "operands")

    def __init__(self, operands: tuple[TensorType, ...], axes: tuple[Expr, ...], body: Expr):
        self.operands, self.axes, self.body = operands, axes, body

    @property
    def shape(self) -> Shape:
        return tuple(a.attr[1] for a in self.axes)

    @property
    def type(self) -> TensorType:
        return tensor(self.body.dtype, self.shape)

    def key(self) -> tuple:
        return (self.operands, self.axes, self.body)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Definition) and self.key() == other.key()

    def __hash__(self) -> int:
        return hash(self.key())

    def __repr__(self) -> str:
        axes = ", ".join(f"{a.attr[0]}:{a.attr[1]}" for a in self.axes)
        return f"[{axes}] = {self.body}"


def axes_for(shape: Shape, prefix: str = "i") -> tuple[Expr, ...]:
    """Fresh axes named i0, i1, ... over the extents."""
    return tuple(expr.axis(f"{prefix}{d}", e) for d, e in enumerate(shape))


def extent_of(axis: Expr) -> Extent:
    """The extent an axis runs over."""
    return axis.attr[1]


def reduction(monoid: str, axes: tuple[Expr, ...], body: Expr) -> Expr:
    """The reduction of the body. By the rule of the notation a "sum" of a product of two inexact
    factors that both depend on the summed axes is a contraction ("dot": a chain of fused
    multiply-adds); any other sum adds in lanes (docs/numerics.md)."""
    if monoid not in MONOIDS:
        raise NotationError(f"{monoid!r} is not a monoid; known: {', '.join(MONOIDS)}")
    if not axes:
        return body
    if monoid == "sum" and is_product(body, axes):
        return expr.reduce("dot", axes, *body.args)
    return expr.reduce(monoid, axes, body)


def is_product(body: Expr, axes: tuple[Expr, ...]) -> bool:
    """Whether the body is a product of two inexact factors, both depending on the axes."""
    if isinstance(body.op, str) or body.op.name != "mul" or not body.dtype.is_inexact:
        return False
    return all(expr.free_axes(a) & set(axes) for a in body.args)
