"""Kernels in the types that processors compute with.

A complex number becomes two real ones: its buffer one of twice the count, with element i at 2i and
2i + 1, its register two registers, its arithmetic what lang/complex.py says. A float8 becomes the
byte of its bits, and its casts integer operations. What kernels are compiled from knows neither;
only a product of tiles still says which float8 the bytes of a factor are.
"""

from __future__ import annotations

from ..base.dtypes import DType, float32, float64, int32, uint8
from . import complex as _complex
from . import expr, scalar
from .definition import MONOIDS
from .expr import Expr, lit
from .loops import LANES, Buffer, Kernel, Loop, Prefetch, Set, Store, When, lane_at
from .scalar import bitcast, cast, where

Parts = tuple[Expr, ...]


def on_machine(kernel: Kernel) -> Kernel:
    """The same kernel over real numbers and bytes; offsets of operands stay where they are."""
    rewriter = _Rewriter()
    buffers = [_buffer(b) for b in kernel.buffers]
    return Kernel(kernel.name, buffers, kernel.sizes, rewriter.body(kernel.body), kernel.warps,
                  kernel.stages)


def parts_of(e: Expr) -> Parts:
    """An expression as those of its parts, over real numbers and bytes."""
    return _Rewriter().parts(e)


def _buffer(b: Buffer) -> Buffer:
    if b.dtype.part is b.dtype:
        return b
    count = b.count * 2 if b.count is not None and b.dtype.is_complex else b.count
    return Buffer(b.name, b.dtype.part, b.writes, b.space, count)


class _Rewriter:
    """The state of one kernel's rewriting: the parts of each expression seen."""

    def __init__(self):
        self.known: dict[Expr, Parts] = {}
        self.count = 0

    # -- statements --

    def body(self, statements: list) -> list:
        out: list = []
        for s in statements:
            if isinstance(s, Loop):
                out.append(Loop(s.var, self.one(s.low), self.one(s.high), self.body(s.body),
                                s.kind, s.step))
            elif isinstance(s, When):
                out.append(When(self.one(s.cond), self.body(s.body)))
            elif isinstance(s, Prefetch):
                out.append(Prefetch(s.buffer, self.one(s.offset), s.core))
            else:
                out += self.set(s) if isinstance(s, Set) else self.store(s)
        return out

    def set(self, s: Set) -> list:
        """Both parts of a register at once: the second may need the first's old value."""
        registers, values = self.parts(s.var), self.parts(s.value)
        if len(registers) == 1:
            return [Set(registers[0], values[0])]
        after = self.fresh(registers[1])
        return [Set(after, values[1]), Set(registers[0], values[0]), Set(registers[1], after)]

    def store(self, s: Store) -> list:
        """Both parts, computed before the first is stored: the operand may lie there."""
        values = self.parts(s.value)
        offset, cond = self.one(s.offset), None if s.cond is None else self.one(s.cond)
        if len(values) == 1:
            return [Store(s.buffer, offset, values[0], cond, s.stream)]
        kept = [v if v.op == "var" else self.fresh(v) for v in values]
        return [*(Set(k, v) for k, v in zip(kept, values) if k is not v),
                *(Store(s.buffer, offset * 2 + k, v, cond) for k, v in enumerate(kept))]

    def fresh(self, like: Expr) -> Expr:
        """A new register for a value; inside of vector loops it has a value per lane."""
        self.count += 1
        lanes = like.attr[1] if like.op == "var" else 1
        return expr.var(f"part{self.count}", like.dtype, lanes)

    # -- expressions --

    def one(self, e: Expr) -> Expr:
        found, = self.parts(e)
        return found

    def parts(self, e: Expr) -> Parts:
        """The expressions of the parts of e: two where it is complex."""
        found = self.known.get(e)
        if found is None:
            for x in expr.walk(e):
                if x not in self.known:
                    self.known[x] = self.compute(x)
            found = self.known[e]
        return found

    def compute(self, e: Expr) -> Parts:
        args = [self.known[a] for a in e.args]
        if all(d.part is d for d in (e.dtype, *(a.dtype for a in e.args))):
            same = tuple(a for a, in args)
            return (e if same == e.args else expr.rebuild(e, same),)
        if e.op == "lit":
            return _literal(e)
        if e.op == "var":
            return self._var(e)
        if e.op == "load":
            return _load(e, args)
        if e.op == "lanes":
            return _lane_tree(e.attr, args[0])
        if e.op is scalar.cast_:
            return _cast(args[0], e.args[0].dtype, e.dtype)
        if e.op is scalar.bitcast_:
            return (bitcast(args[0][0], e.dtype.part),)
        if e.op == "product":   # tensor cores multiply the bytes as they are
            return (expr.rebuild(e, tuple(bitcast(a, x.dtype) for (a,), x in zip(args, e.args))),)
        given = [a if len(a) == 2 else a[0] for a in args]
        if e.op is scalar.where and not e.dtype.is_complex:
            return (where(*given),)
        found = e.op.parts(*given)
        return found if isinstance(found, tuple) else (found,)

    def _var(self, e: Expr) -> Parts:
        name, lanes = e.attr
        if not e.dtype.is_complex:
            return (expr.var(name, e.dtype.part, lanes),)
        return tuple(expr.var(f"{name}.{part}", e.dtype.part, lanes) for part in ("re", "im"))


def _literal(e: Expr) -> Parts:
    value = expr.value_of(e)
    if e.dtype.is_complex:
        return lit(value.real, e.dtype.part), lit(value.imag, e.dtype.part)
    return (lit(int(e.dtype.numpy.type(value).view(uint8.numpy)), uint8),)


def _load(e: Expr, args: list[Parts]) -> Parts:
    buffer, lanes, fill = e.attr
    (offset,), *rest = args
    cond = rest[0][0] if rest else None
    if not e.dtype.is_complex:
        fill = int(e.dtype.numpy.type(fill).view(uint8.numpy))
        return (expr.load(buffer, offset, uint8, lanes, cond, fill),)
    assert lanes == 1, f"{e} reads complex numbers in vectors"
    number = complex(fill)
    return tuple(expr.load(buffer, offset * 2 + k, e.dtype.part, lanes, cond, part)
                 for k, part in enumerate((number.real, number.imag)))


def _lane_tree(monoid: str, x: Parts) -> Parts:
    """A sum part by part; a product of lanes (l, l+8), (l, l+4), ... one by one."""
    assert monoid in MONOIDS
    if monoid != "prod":
        return tuple(expr.make("lanes", (p,), monoid, p.dtype) for p in x)
    lanes = [tuple(lane_at(p, k) for p in x) for k in range(LANES)]
    while len(lanes) > 1:
        half = len(lanes) // 2
        lanes = [_complex.multiplied(a, b) for a, b in zip(lanes[:half], lanes[half:])]
    return lanes[0]


def _cast(x: Parts, source: DType, to: DType) -> Parts:
    if source.kind == "float8":
        number = _from_float8(x[0], source)
        return _cast((number,), float32, to)
    if to.kind == "float8":
        return (_to_float8(x[0], source, to),)
    if not (source.is_complex or to.is_complex):
        return (cast(x[0], to),)
    found = _complex.converted(x if len(x) == 2 else x[0], source, to)
    return found if isinstance(found, tuple) else (found,)


# ---- float8: Micikevicius et al., "FP8 formats for deep learning", arXiv 2209.05433 -------------

def _shape(d: DType) -> tuple[int, int]:
    """(bits of the fraction, bias of the exponent)."""
    return (3, 7) if d.name == "float8_e4m3fn" else (2, 15)


def _from_float8(x: Expr, d: DType) -> Expr:
    """The float32 of a byte: exponent and fraction as float32's, scaled by a power of two, which
    makes denormals right too."""
    fraction, bias = _shape(d)
    word = cast(x, int32)
    size = word & 0x7F
    number = bitcast(size << (23 - fraction), float32) * lit(2.0 ** (127 - bias), float32)
    infinite = 0x7C if fraction == 2 else 0x80
    number = where(scalar.eq(size, lit(infinite, int32)), float("inf"), number)
    nan = scalar.eq(size, lit(0x7F, int32)) if fraction == 3 else size > infinite
    number = where(nan, float("nan"), number)
    return where(word > 0x7F, -number, number)


def _to_float8(x: Expr, source: DType, d: DType) -> Expr:
    """The byte of the nearest float8, ties to even; too large gives infinity, or NaN without it."""
    fraction, bias = _shape(d)
    number = _odd_float32(x) if source is float64 else cast(x, float32)
    word = bitcast(number, int32)
    size = word & 0x7FFFFFFF
    shift = 23 - fraction
    even = (size >> shift) & 1
    normal = ((size + ((1 << (shift - 1)) - 1) + even) >> shift) - ((127 - bias) << fraction)
    # adding a number whose last place is a denormal's rounds to one
    magic = 2.0 ** (23 - fraction + 1 - bias)
    tiny = bitcast(bitcast(size, float32) + lit(magic, float32), int32) - bitcast(
        lit(magic, float32), int32)
    found = where(size < ((128 - bias) << 23), tiny, normal)
    most = 0x7E if fraction == 3 else 0x7B
    over = 0x7F if fraction == 3 else 0x7C
    found = where(found > most, lit(over, int32), found)
    found = where(size > 0x7F800000, lit(0x7F if fraction == 3 else 0x7E, int32), found)
    sign = (word >> 24) & 0x80
    return cast(found | sign, uint8)


def _odd_float32(x: Expr) -> Expr:
    """A float64 rounded to odd: rounding the result again rounds once."""
    near = cast(x, float32)
    back = cast(near, float64)
    bits = bitcast(near, int32)
    bits = where(abs(back) > abs(x), bits - 1, bits)
    inexact = scalar.ne(back, x) & (abs(back) < float("inf")) & (abs(x) < float("inf"))
    return bitcast(where(inexact, bits | 1, bitcast(near, int32)), float32)
