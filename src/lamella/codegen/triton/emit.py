"""Statements, loops and memory: a kernel of the loop level as a function in Triton's language.

One program of the grid runs one task. A value has an axis for each tile variable that it depends
on, in the order in which tile loops stand in each other, so `x[i] + y[j]` becomes
`x[:, None] + y[None, :]`. A vector loop takes tiles one after another: of LANES positions where its
registers are those of the processor's lanes (then its sums have the processor's order), else wide.

Places are computed in 32 bits where every operand is small enough (`narrow`), values never.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ...base import dtypes
from ...base.dtypes import DType
from ...lang import scalar
from ...lang.expr import Expr, affine, free_axes, value_of, walk
from ...lang.loops import LANES, Kernel, Loop, Set, Store, When
from ...lang.routine import buffers_of, expressions
from ..memory import scratch_size
from .scalars import register, type_name
from .text import LANE, Value, atom
from .tiles import Tiles, widened_load

WIDE = 128          # positions that a vector loop takes at once where nothing ties it to lanes
WIDE_WARPS = 4      # of a kernel with such a loop


class TritonSource:
    """One kernel's text. `arguments` has (name, Triton's type) of each parameter in order: buffers,
    sizes, and `scratch` where `scratch` says that programs need memory of their own."""

    __slots__ = ("arguments", "name", "scratch", "stages", "text", "warps")

    def __init__(self, name: str, text: str, arguments: list[tuple[str, str]], kernel: Kernel,
                 warps: int):
        self.name, self.text, self.arguments = name, text, arguments
        self.warps = max(kernel.warps, warps)
        self.stages, self.scratch = kernel.stages, bool(kernel.scratch)


def emit(kernel: Kernel, narrow: bool = True) -> TritonSource:
    """The text of a kernel, whose name follows from its contents."""
    e = Emitter(kernel, narrow)
    lines = e.function()
    helpers = [_helper(name, code) for name, code in sorted(e.helpers.items())]
    body = "\n".join(lines)
    digest = hashlib.sha256(f"{helpers}{body}{kernel.warps}{kernel.stages}".encode()).hexdigest()
    name = f"{kernel.name.replace(' ', '_')}_{digest[:16]}"
    head = f"@triton.jit\ndef {name}({', '.join(n for n, _ in e.arguments)}):\n"
    text = "import triton\nimport triton.language as tl\n\n\n" + "".join(
        f"{h}\n\n" for h in helpers) + head + body + "\n"
    wide = any(w == WIDE and a is not LANE for a, w in e.widths.items())
    return TritonSource(name, text, e.arguments, kernel, WIDE_WARPS if wide else 1)


def _helper(name: str, code: str) -> str:
    return f"@triton.jit\ndef {name}(a, b):\n    return {code}\n"


class Emitter(Tiles):
    """Writes one kernel's function. `shared`: buffers that it both writes and reads."""

    def __init__(self, kernel: Kernel, narrow: bool):
        self.kernel = kernel
        self.buffers = {b.name: b for b in kernel.buffers}
        super().__init__(self.buffers, {s.var for s in _sets(kernel.body)},
                         dtypes.int32 if narrow else dtypes.int64)
        self.vector: tuple[Expr, ...] = ()      # the tile variable of the open vector loop
        self.written = {b.name for b in kernel.buffers if b.writes}
        loaded = {x.attr[0] for e in expressions(kernel.body) for x in walk(e) if x.op == "load"}
        self.shared = {name for name, stores in buffers_of(kernel.body).items()
                       if stores and name in loaded}
        self.arguments = [(b.name, f"*{_memory_type(b.dtype)}") for b in kernel.operands]
        self.arguments += [(self.name_of(s), "i32" if narrow else "i64") for s in kernel.sizes]
        if kernel.scratch:
            self.arguments.append(("scratch", "*i8"))

    def function(self) -> list[str]:
        self._rank(self.kernel.body)
        for s in self.kernel.sizes:
            self.env[s] = Value(self.name_of(s))
        self._scratch()
        self.run(self.kernel.body)
        return self.lines

    def _rank(self, body: list) -> None:
        """Widths of tile variables, in the order in which their loops are met."""
        for s in body:
            if isinstance(s, Loop):
                if s.kind in ("tile", "vector"):
                    var, width = _tile_of(s)
                    self.widths.setdefault(var, width)
                self._rank(s.body)
            elif isinstance(s, When):
                self._rank(s.body)

    def _scratch(self) -> None:
        """Each program's part of the scratch memory, cut into its buffers."""
        sizes = [self.text(scratch_size(b)) for b in self.kernel.scratch]
        place = ""
        if sizes:
            total = " + ".join(sizes)
            place = self.let(f"scratch + tl.program_id(0).to(tl.int64) * ({total})")
        for b, size in zip(self.kernel.scratch, sizes):
            self.do(f"{b.name} = {place}.to(tl.pointer_type({_pointee(b.dtype)}))")
            place = self.let(f"{place} + {size}")

    def run(self, body: list) -> None:
        """The statements of a body, in order."""
        for s in body:
            if isinstance(s, Set):
                self._set(s)
            elif isinstance(s, Store):
                self._store(s)
            elif isinstance(s, When):
                self.do(f"if {self.text(s.cond)}:")
                with self._block(s.body):
                    self.run(s.body)
            else:
                self.LOOPS[s.kind](self, s)

    @contextmanager
    def _block(self, body: list):
        """An indented block: what it computes is not at hand afterwards, nor what it changes."""
        changed, stores = {s.var for s in _sets(body)}, any(buffers_of(body).values())
        self._forget(changed, stores)
        memo, env = dict(self.memo), dict(self.env)
        self.indent += 1
        at = len(self.lines)
        yield
        if len(self.lines) == at:
            self.do("pass")
        self.indent -= 1
        self.memo, self.env = memo, env
        self._forget(changed, stores)

    def _forget(self, changed: set[Expr], stores: bool) -> None:
        """Drop what depends on registers that change, or on memory that is written."""
        if changed or stores:
            self.memo = {k: v for k, v in self.memo.items()
                         if (v.steady or not stores) and changed.isdisjoint(free_axes(k[0]))}

    # -- loops --

    def _parallel(self, s: Loop) -> None:
        name = self.name_of(s.var)
        self.env[s.var] = Value(name)
        if not self.kernel.scratch:
            self.do(f"{name} = tl.program_id(0){self._widened()}")
            self.run(s.body)
            return
        high = self.place(s.high).text
        self.do(f"for {name} in range(tl.program_id(0){self._widened()}, {high}, "
                f"tl.num_programs(0)):")
        with self._block(s.body):
            self.run(s.body)

    def _widened(self) -> str:
        return "" if self.index is dtypes.int32 else ".to(tl.int64)"

    def _serial(self, s: Loop) -> None:
        name, low, high = self.name_of(s.var), self.place(s.low).text, self.place(s.high).text
        self.do(f"for {name} in range({low}, {high}, {s.step}):")
        with self._block(s.body):
            self.env[s.var] = Value(name)
            self.run(s.body)

    def _unroll(self, s: Loop) -> None:
        for k in range(value_of(s.low), value_of(s.high), s.step):
            self._forget({s.var}, False)
            self.env[s.var] = Value(str(k))
            self.run(s.body)

    def _tile(self, s: Loop) -> None:
        low = self.place(s.low).text
        span = affine(s.high - s.low)
        full = set(span) <= {None} and span.get(None, 0) == s.step
        self._open(s.var, s.var, low, "" if full else self.place(_end(s)).text, s.step)
        self.run(s.body)
        self._close(s.var, s.var)

    def _vector(self, s: Loop) -> None:
        axis, width = _tile_of(s)
        low, high = self.place(s.low).text, self.place(s.high).text
        base = f"{self.name_of(s.var)}0"
        self.do(f"for {base} in range({low}, {high}, {width}):")
        with self._block(s.body):
            self._open(s.var, axis, base, high, width)
            self.vector = (axis,)  # what is set inside has a value for each position
            self.run(s.body)
            self.vector = ()
            self._close(s.var, axis)

    def _open(self, var: Expr, axis: Expr, low: str, high: str, width: int) -> None:
        """The positions low.. of a tile variable; those from `high` on are not there."""
        self._forget({var}, False)
        name = self.name_of(var)
        start = "" if low == "0" else f"{low} + "
        self.do(f"{name} = {start}tl.arange(0, {width})")
        self.env[var] = Value(name, (axis,))
        if high:
            self.do(f"{name}_in = {name} < {high}")
            self.masks[axis] = f"{name}_in"

    def _close(self, var: Expr, axis: Expr) -> None:
        self.masks.pop(axis, None)
        self._forget({var}, False)
        del self.env[var]

    # -- registers and memory --

    def _set(self, s: Set) -> None:
        value, lanes = self.value(s.value), s.var.attr[1]
        axes = (LANE,) if lanes == LANES else lanes if isinstance(lanes, tuple) else value.axes
        axes = self.sorted((*axes, *self.vector))
        text = value.text if axes == value.axes else self.spread(value, axes)
        old, mask = self.env.get(s.var), self.mask(axes)
        if lanes == LANES and old is not None and mask is not None:
            text = f"tl.where({mask.text}, {text}, {old.text})"
        name = self.name_of(s.var)
        self.do(f"{name} = {text}")
        self._forget({s.var}, False)
        self.held.pop(s.var, None)
        if widened_load(s.value) and axes == value.axes:
            self.held[s.var] = s.value
        self.env[s.var] = Value(name, axes, value.steady)

    def _store(self, s: Store) -> None:
        place, value = self.place(s.offset), self.value(s.value)
        if LANE in value.axes and not self.vector:
            place = self._consecutive(place)
        cond = None if s.cond is None else self.value(s.cond)
        given = [v for v in (place, value, cond) if v is not None]
        axes = self.sorted({a for v in given for a in v.axes})
        mask = self.mask(axes, cond)
        dtype = self.buffers[s.buffer].dtype
        text = self.spread(value, axes)
        if dtype is dtypes.bool_ or register(dtype) is not dtype:
            text = f"{text}.to({_pointee(dtype)})"
        at = f"{s.buffer} + {self.spread(place, axes)}"
        if s.buffer in self.shared:
            self.do("tl.debug_barrier()")
        self.do(f"tl.store({at}, {text}{'' if mask is None else ', mask=' + mask.text})")
        if s.buffer in self.shared:
            self.do("tl.debug_barrier()")
        self._forget(set(), True)

    def _read(self, e: Expr) -> Value:
        buffer, lanes, fill = e.attr
        place = self.place(e.args[0])
        if lanes == LANES:
            place = self._consecutive(place)
        cond = self.value(e.args[1]) if len(e.args) > 1 else None
        axes = self.sorted({*place.axes, *(cond.axes if cond is not None else ())})
        mask = self.mask(axes, cond)
        dtype = self.buffers[buffer].dtype
        at = f"{buffer} + {self.spread(place, axes)}"
        other = "" if mask is None else \
            f", mask={mask.text}, other={self.number(fill, dtype)}"
        return Value(self.let(f"tl.load({at}{other})"), axes, buffer not in self.written)

    def loaded(self, e: Expr) -> Value:
        """A load in the dtype of memory."""
        found = self.memo.get((e, None))
        if found is None:
            found = self.memo[e, None] = self._read(e)
        return found

    def _load(self, e: Expr) -> Value:
        v, dtype = self.loaded(e), self.buffers[e.attr[0]].dtype
        if dtype is dtypes.bool_:
            return Value(self.let(f"{v.text} != 0"), v.axes, v.steady)
        if register(dtype) is not dtype:
            return Value(self.let(f"{v.text}.to(tl.float32)"), v.axes, v.steady)
        return v

    def _consecutive(self, place: Value) -> Value:
        """The places of LANES consecutive elements."""
        return Value(f"{atom(place.text)} + tl.arange(0, {LANES})", (LANE,))

    KINDS: dict[str, Callable[..., Value]] = Tiles.KINDS | {"load": _load}
    LOOPS = {"parallel": _parallel, "serial": _serial, "unroll": _unroll, "tile": _tile,
             "vector": _vector}


def _end(s: Loop) -> Expr:
    """Where a tile's positions end: of min(low + width, n), n, as it has no more than `width`."""
    if s.high.op is scalar.minimum:
        for a, b in (s.high.args, s.high.args[::-1]):
            if affine(a - s.low) == {None: s.step}:
                return b
    return s.high


def _tile_of(s: Loop) -> tuple[Expr, int]:
    """(the tile variable of a tile or vector loop, its width)."""
    if s.kind == "tile":
        return s.var, s.step
    found = [x for e in expressions(s.body) for x in walk(e)]
    found += [r.var for r in _sets(s.body)]
    return (LANE, LANES) if any(map(_has_lanes, found)) else (s.var, WIDE)


def _has_lanes(e: Expr) -> bool:
    return e.op in ("lane", "lanes", "lane_at") or (
        e.op in ("var", "load") and e.attr[1] == LANES)


def _sets(body: list) -> Iterator[Set]:
    for s in body:
        if isinstance(s, Set):
            yield s
        elif not isinstance(s, Store):
            yield from _sets(s.body)


def _memory_type(dtype: DType) -> str:
    """Triton's short name of a dtype in memory."""
    if dtype is dtypes.bool_:
        return "i8"
    letters = {"int": "i", "uint": "u", "float": "bf" if dtype is dtypes.bfloat16 else "fp"}
    return f"{letters[dtype.kind]}{dtype.bits}"


def _pointee(dtype: DType) -> str:
    return "tl.int8" if dtype is dtypes.bool_ else type_name(dtype)
