"""Sums along tiles and products of tiles; the processor's lanes, in the processor's order."""

from __future__ import annotations

from collections.abc import Callable

from ...base import dtypes
from ...base.dtypes import DType
from ...lang import scalar
from ...lang.expr import Expr, free_axes
from ...lang.loops import LANES
from .scalars import register, type_name
from .text import LANE, Value, atom
from .values import Values

_COMBINE = {"sum": "a + b", "prod": "a * b", "any": "a | b", "all": "a & b",
            "max": "tl.maximum(a, b{})", "min": "tl.minimum(a, b{})"}
_NAN = ", propagate_nan=tl.PropagateNan.ALL"


def widened_load(e: Expr) -> bool:
    """Whether it is a load of 16 bits as float32."""
    return e.op is scalar.cast_ and e.args[0].op == "load" and _narrow(e) is not None


def _narrow(e: Expr) -> DType | None:
    """The 16-bit dtype of a factor, also of one that was widened to float32, or its float8."""
    if e.dtype.kind == "float8":
        return e.dtype
    if e.op is scalar.cast_ and e.dtype is dtypes.float32:
        e = e.args[0]
    return e.dtype if e.dtype.is_float and e.dtype.bits == 16 else None


class Tiles(Values):
    """`helpers`: the functions that joins along an axis call; `held`: registers that hold a load of
    16 bits widened, with the load as it is in memory."""

    def __init__(self, taken, registers: set[Expr], index: DType):
        super().__init__(taken, registers, index)
        self.helpers: dict[str, str] = {}
        self.held: dict[Expr, Expr] = {}

    def loaded(self, e: Expr) -> Value:
        """A load in the dtype of memory."""
        raise NotImplementedError

    def _fold(self, e: Expr) -> Value:
        monoid, over = e.attr
        v = self.value(e.args[0])
        axes = self.sorted({*v.axes, over})
        text = self.spread(v, axes)
        if over in self.masks:
            mask = self.aligned(Value(self.masks[over], (over,)), axes)
            text = self.let(f"tl.where({mask}, {text}, {self._identity(monoid, e.dtype)})")
        left = tuple(a for a in axes if a is not over)
        text = self.reduced(monoid, text, axes.index(over), register(e.dtype))
        return Value(text, left, v.steady)

    def reduced(self, monoid: str, text: str, at: int, dtype: DType) -> str:
        """The text joined along one axis."""
        if dtype is dtypes.bool_:  # words are what threads exchange
            monoid = {"max": "any", "min": "all"}.get(monoid, monoid)
            word = self.reduced(monoid, f"{atom(text)}.to(tl.int32)", at, dtypes.int32)
            return self.let(f"{word} != 0")
        name = f"{monoid}_of_{'floats' if dtype.is_float else 'integers'}"
        self.helpers[name] = _COMBINE[monoid].format(_NAN if dtype.is_float else "")
        return self.let(f"tl.reduce({text}, {at}, {name})")

    def _identity(self, monoid: str, dtype: DType) -> str:
        if monoid in ("any", "all"):
            return str(monoid == "all")
        if monoid in ("sum", "prod"):
            return self.number(int(monoid == "prod"), dtype)
        if dtype.is_float:
            return f'float("{"-" if monoid == "max" else ""}inf")'
        if dtype is dtypes.bool_:
            return str(monoid == "min")
        low = 0 if dtype.kind == "uint" else -(1 << (dtype.bits - 1))
        return str(low if monoid == "max" else low + (1 << dtype.bits) - 1)

    def _product(self, e: Expr) -> Value:
        """By the tensor cores where a factor has 16 bits. Such a factor may stand widened; one of
        float32 beside it is the sum of two of 16 bits, so that next to nothing of it is lost.
        Factors of 8 bits are not mixed with others; the cores add them with fewer bits than float32
        has, so that each tile's sum is added to those before it outside of them."""
        start = self.value(e.args[2])
        over, (row, column) = e.attr, start.axes
        left, right = ((row, over), (over, column))
        given = [self.held.get(x, x) for x in e.args[:2]]
        narrow = [_narrow(x) for x in given]
        dtype = narrow[0] or narrow[1]
        if dtype is None or None not in narrow:
            dtype = dtype if narrow[0] is narrow[1] else None
            factors = [[self._factor(x, axes, over, dtype)] for x, axes in zip(
                given, (left, right))]
        else:
            factors = [self._halves(x, axes, over, dtype) if n is None else
                       [self._factor(x, axes, over, dtype)]
                       for x, n, axes in zip(given, narrow, (left, right))]
        total, bytes_of = start.text, all(n is not None and n.bits == 8 for n in narrow)
        apart = f", max_num_imprecise_acc={self.widths[over]}" if bytes_of else ""
        for a in factors[0]:
            for b in factors[1]:
                total = self.let(f'tl.dot({self._turned(a, left)}, {self._turned(b, right)}, '
                                 f'{total}, input_precision="ieee"{apart})')
        return Value(total, start.axes)

    def _turned(self, text: str, axes: tuple[Expr, Expr]) -> str:
        return text if self.sorted(axes) == axes else f"tl.trans({text})"

    def _factor(self, e: Expr, wanted, over: Expr, dtype: DType | None) -> str:
        """A factor in its dtype (or the narrow one it was widened from), 0 where the summed
        position is not there."""
        if e.dtype.kind == "float8":    # its bytes are loaded
            word = self.let(self._factor(e.args[0], wanted, over, None))
            return f"{word}.to({type_name(e.dtype)}, bitcast=True)"
        e = e.args[0] if e.op is scalar.cast_ and e.args[0].dtype is dtype else e
        axes = self.sorted(wanted)
        if e.op == "load" and over in free_axes(e.args[0]):  # read as 0 where it is not there
            return self.spread(self.loaded(e), axes)
        text = self.spread(self.value(e), axes)
        if over in self.masks:
            mask = self.aligned(Value(self.masks[over], (over,)), axes)
            text = f"tl.where({mask}, {text}, {self.number(0, e.dtype)})"
        to = dtype or e.dtype
        return f"{atom(text)}.to({type_name(to)})" if register(to) is not to else text

    def _halves(self, e: Expr, wanted, over: Expr, dtype: DType) -> list[str]:
        """A float32 factor as two narrow ones."""
        whole = self.let(self._factor(e, wanted, over, None))
        high = self.let(f"{whole}.to({type_name(dtype)})")
        return [high, self.let(f"({whole} - {high}.to(tl.float32)).to({type_name(dtype)})")]

    # -- the processor's lanes --

    def _lane_tree(self, e: Expr) -> Value:
        """Halves joined, the lower lanes on the left: the order of docs/numerics.md."""
        v = self.value(e.args[0])
        text, lanes = self.spread(v, (LANE,)), LANES
        while lanes > 1:
            lanes //= 2
            halves = f"tl.reshape({text}, (2, {lanes}))" if lanes > 1 else text
            text = self.reduced(e.attr, halves, 0, register(e.dtype))
        return Value(text, (), v.steady)

    def _lane_at(self, e: Expr) -> Value:
        """One lane's value, as a word: the sum of it and zeros."""
        v, dtype = self.value(e.args[0]), register(e.args[0].dtype)
        word = dtypes.by_name(f"int{dtype.bits}") if dtype.is_float else dtype
        text = self.spread(v, (LANE,))
        if dtype.is_float:
            text = f"{text}.to({type_name(word)}, bitcast=True)"
        picked = f"tl.where(tl.arange(0, {LANES}) == {e.attr}, {text}, 0)"
        out = self.reduced("sum", picked, 0, word)
        if dtype.is_float:
            out = self.let(f"{out}.to({type_name(dtype)}, bitcast=True)")
        return Value(out, (), v.steady)

    def _lane(self, e: Expr) -> Value:
        return Value(self.let(f"tl.arange(0, {LANES}).to(tl.int64)"), (LANE,))

    def _trailing_zeros(self, e: Expr) -> Value:
        """The exponent of the lowest bit, which a float32 holds exactly."""
        v = self.value(e.args[0])
        low = self.let(f"({v.text} & (0 - {v.text})).to(tl.float32)")
        return Value(self.let(f"(({low}.to(tl.int32, bitcast=True) >> 23) - 127).to(tl.int64)"),
                     v.axes, v.steady)

    KINDS: dict[str, Callable[..., Value]] = Values.KINDS | {
        "fold": _fold, "product": _product, "lane": _lane, "lanes": _lane_tree,
        "lane_at": _lane_at, "ctz": _trailing_zeros}
