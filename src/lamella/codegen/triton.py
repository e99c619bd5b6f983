"""A kernel of the loop level as Triton text, a language of tiles that compiles for GPUs.

One program of the grid runs one task. A value has an axis for each tile variable that it depends
on, in the order in which tile loops stand in each other, so `x[i] + y[j]` becomes
`x[:, None] + y[None, :]`. A vector loop takes tiles one after another: of LANES positions where its
registers are those of the processor's lanes (then its sums have the processor's order), else wide.

Places are computed in 32 bits where every operand is small enough (`narrow`), values never.
"""

from __future__ import annotations

import hashlib
import keyword
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from ..base import dtypes
from ..base.dtypes import DType
from ..base.errors import UnsupportedError
from ..lang import functions as _expansions  # noqa: F401 (importing installs Scalar.expand)
from ..lang import expr, scalar
from ..lang.expr import Expr, affine, free_axes, value_of, walk
from ..lang.loops import LANES, Kernel, Loop, Set, Store, When
from ..lang.routine import buffers_of, expressions
from .memory import scratch_size
from .triton_scalars import ROUNDED, TABLE, bitcast, cast, narrowed, register, type_name
from .values import expand as expanded

WIDE = 128          # positions that a vector loop takes at once where nothing ties it to lanes
WIDE_WARPS = 4      # of a kernel with such a loop
_COMBINE = {"sum": "a + b", "prod": "a * b", "any": "a | b", "all": "a & b",
            "max": "tl.maximum(a, b{})", "min": "tl.minimum(a, b{})"}
_NAN = ", propagate_nan=tl.PropagateNan.ALL"
_PLACES = frozenset(("add", "sub", "mul", "floordiv", "mod", "max", "min"))


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
    e = _Emitter(kernel, narrow)
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


class Value:
    """A computed value: its text, the tile variables that it has an axis for, and whether it was
    read from memory that the kernel writes. `raw`: the text in the dtype of memory."""

    __slots__ = ("axes", "raw", "steady", "text")

    def __init__(self, text: str, axes: tuple[Expr, ...] = (), steady: bool = True, raw: str = ""):
        self.text, self.axes, self.steady, self.raw = text, axes, steady, raw or text


class _Emitter:
    def __init__(self, kernel: Kernel, narrow: bool):
        self.kernel = kernel
        self.index = dtypes.int32 if narrow else dtypes.int64
        self.lines: list[str] = []
        self.indent = 1
        self.count = 0
        self.vector: tuple[Expr, ...] = ()
        self.names: dict[Expr, str] = {}
        self.memo: dict[tuple[Expr, bool], Value] = {}
        self.env: dict[Expr, Value] = {}
        self.helpers: dict[str, str] = {}
        self.aliases: dict[Expr, Expr] = {}
        self.widths: dict[Expr, int] = {}       # of tile variables; the order is that of axes
        self.masks: dict[Expr, str] = {}        # of the open ones that may not be full
        self.registers = {s.var for s in _sets(kernel.body)}
        self.buffers = {b.name: b for b in kernel.buffers}
        self.written = {b.name for b in kernel.buffers if b.writes}
        used = buffers_of(kernel.body)
        loaded = {x.attr[0] for e in expressions(kernel.body) for x in walk(e) if x.op == "load"}
        self.shared = {name for name, stores in used.items() if stores and name in loaded}
        self.arguments = [(b.name, f"*{_memory_type(b.dtype)}") for b in kernel.operands]
        self.arguments += [(self.name_of(s), "i32" if narrow else "i64") for s in kernel.sizes]
        if kernel.scratch:
            self.arguments.append(("scratch", "*i8"))

    # -- lines and names --

    def do(self, text: str) -> None:
        self.lines.append("    " * self.indent + text)

    def let(self, text: str) -> str:
        """The value under a new name."""
        self.count += 1
        self.do(f"v{self.count} = {text}")
        return f"v{self.count}"

    def name_of(self, var: Expr) -> str:
        found = self.names.get(var)
        if found is None:
            base = var.attr[0].replace(".", "_")
            if keyword.iskeyword(base) or base in ("tl", "range", "scratch") or base in self.buffers:
                base += "_"
            while base in self.names.values():
                base += "_"
            found = self.names[var] = base
        return found

    # -- the function --

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
        self.widths.setdefault(LANE, LANES)

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
                _LOOPS[s.kind](self, s)

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
        self._open(s.var, s.var, low, "" if full else self.place(s.high).text, s.step)
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
        axes = self._sorted((*axes, *self.vector))
        text = value.text if axes == value.axes else self._spread(value, axes)
        old, mask = self.env.get(s.var), self._mask(axes)
        if lanes == LANES and old is not None and mask is not None:
            text = f"tl.where({mask.text}, {text}, {old.text})"
        name = self.name_of(s.var)
        self.do(f"{name} = {text}")
        self._forget({s.var}, False)
        self.env[s.var] = Value(name, axes, value.steady)

    def _store(self, s: Store) -> None:
        place, value = self.place(s.offset), self.value(s.value)
        if LANE in value.axes and not self.vector:
            place = self._consecutive(place)
        cond = None if s.cond is None else self.value(s.cond)
        given = [v for v in (place, value, cond) if v is not None]
        axes = self._sorted({a for v in given for a in v.axes})
        mask = self._mask(axes, cond)
        dtype = self.buffers[s.buffer].dtype
        text = self._spread(value, axes)
        if dtype is dtypes.bool_ or register(dtype) is not dtype:
            text = f"{text}.to({_pointee(dtype)})"
        at = f"{s.buffer} + {self._spread(place, axes)}"
        if s.buffer in self.shared:
            self.do("tl.debug_barrier()")
        self.do(f"tl.store({at}, {text}{'' if mask is None else ', mask=' + mask.text})")
        if s.buffer in self.shared:
            self.do("tl.debug_barrier()")
        self._forget(set(), True)

    def _mask(self, axes: Iterable[Expr], cond: Value | None = None) -> Value | None:
        """Which positions along the axes are there (and meet the condition); None for all."""
        axes = self._sorted(axes)
        parts = [self._aligned(Value(self.masks[a], (a,)), axes) for a in axes if a in self.masks]
        if cond is not None:
            parts.append(self._aligned(cond, axes))
        if not parts:
            return None
        return Value(" & ".join(parts) if len(parts) == 1 else
                     " & ".join(f"({p})" if " " in p else p for p in parts), axes)

    def _load(self, e: Expr) -> Value:
        buffer, lanes, fill = e.attr
        place = self.place(e.args[0])
        if lanes == LANES:
            place = self._consecutive(place)
        cond = self.value(e.args[1]) if len(e.args) > 1 else None
        axes = self._sorted({*place.axes, *(cond.axes if cond is not None else ())})
        mask = self._mask(axes, cond)
        dtype = self.buffers[buffer].dtype
        at = f"{buffer} + {self._spread(place, axes)}"
        other = "" if mask is None else \
            f", mask={mask.text}, other={self._number(fill, dtype)}"
        text = raw = self.let(f"tl.load({at}{other})")
        if dtype is dtypes.bool_:
            text = self.let(f"{raw} != 0")
        elif register(dtype) is not dtype:
            text = self.let(f"{raw}.to(tl.float32)")
        return Value(text, axes, buffer not in self.written, raw)

    def _consecutive(self, place: Value) -> Value:
        """The places of LANES consecutive elements."""
        return Value(f"{_atom(place.text)} + tl.arange(0, {LANES})", (LANE,))

    # -- axes --

    def _sorted(self, axes: Iterable[Expr]) -> tuple[Expr, ...]:
        wanted = set(axes)
        return tuple(a for a in self.widths if a in wanted) if wanted else ()

    def _aligned(self, v: Value, axes: tuple[Expr, ...]) -> str:
        """The text with an axis of one position for each axis that the value lacks."""
        if not v.axes or v.axes == axes:
            return v.text
        at = ", ".join(":" if a in v.axes else "None" for a in axes)
        return f"{_atom(v.text)}[{at}]"

    def _spread(self, v: Value, axes: tuple[Expr, ...]) -> str:
        """The text with all axes at their full widths."""
        if v.axes == axes:
            return _atom(v.text)
        shape = ", ".join(str(self.widths[a]) for a in axes) + "," * (len(axes) == 1)
        if v.text.isdigit():
            return f"tl.full(({shape}), {v.text}, tl.int32)"
        return f"tl.broadcast_to({self._aligned(v, axes)}, ({shape}))"

    # -- expressions --

    def text(self, e: Expr) -> str:
        return self.value(e).text

    def place(self, e: Expr) -> Value:
        """A place or a bound, in the width of places."""
        if self.index is not dtypes.int32:
            return self.value(e)
        found = self.memo.get((e, True))
        if found is None:
            found = self.memo[e, True] = self._place(e)
        return found

    def _place(self, e: Expr) -> Value:
        if e.op == "lit":
            return Value(str(value_of(e)))
        if e.op == "var" and e not in self.registers:
            return self.env[e]
        if not isinstance(e.op, str) and e.op.name in _PLACES and e.dtype is dtypes.index:
            return self._applied(e, [self.place(a) for a in e.args], dtypes.int32)
        v = self.value(e)
        return Value(f"{_atom(v.text)}.to(tl.int32)", v.axes, v.steady)

    def value(self, e: Expr) -> Value:
        """The value of an expression, computed where it is asked for first."""
        found = self.memo.get((e, False))
        if found is None:
            found = self.memo[e, False] = self._compute(e)
        return found

    def _compute(self, e: Expr) -> Value:
        if not isinstance(e.op, str):
            return self._scalar(e)
        rule = _KINDS.get(e.op)
        if rule is None:
            raise UnsupportedError(f"a GPU's kernel has no expression of kind {e.op!r}: {e}")
        return rule(self, e)

    def _lit(self, e: Expr) -> Value:
        return Value(f"tl.full((), {self._number(value_of(e), e.dtype)}, "
                     f"{type_name(register(e.dtype))})")

    def _var(self, e: Expr) -> Value:
        v = self.env[e]
        if e.dtype is dtypes.index and self.index is dtypes.int32 and e not in self.registers:
            return Value(self.let(f"tl.cast({v.text}, tl.int64)"), v.axes)
        return v

    def _scalar(self, e: Expr) -> Value:
        dtype = e.args[-1].dtype
        given = [self.value(a) for a in e.args]
        if e.op in (scalar.cast_, scalar.bitcast_):
            rule = cast if e.op is scalar.cast_ else bitcast
            x, = given
            return Value(self.let(rule(self, dtype, e.dtype, _atom(x.text))), x.axes, x.steady)
        if (e.op.name, dtype.kind) in TABLE:
            return self._applied(e, given, dtype)
        if e not in self.aliases:
            self.aliases[e] = expanded(e)
        return self.value(self.aliases[e])

    def _applied(self, e: Expr, given: list[Value], dtype: DType) -> Value:
        """One operation of the table, in `dtype`."""
        rule = TABLE[e.op.name, dtype.kind]
        axes = self._sorted({a for v in given for a in v.axes})
        texts = [_atom(self._aligned(v, axes)) for v in given]
        plain = not isinstance(rule, str) or rule.startswith("{0} ")
        if plain and any(a.op != "lit" for a in e.args):  # there a number takes the other's dtype
            texts = [self._number(value_of(a), dtype) if a.op == "lit" else t
                     for a, t in zip(e.args, texts)]
        out = rule.format(*texts) if isinstance(rule, str) else rule(self, dtype, *texts)
        if not isinstance(rule, str) and dtype.is_int and dtype.bits < 32:
            out = f"({out}).to({type_name(dtype)})"
        if e.dtype.bits == 16 and e.dtype.is_float and e.op.name in ROUNDED:
            out = narrowed(f"({out})", e.dtype)
        steady = all(v.steady for v in given)
        if dtype is not e.dtype and e.dtype is dtypes.index and len(out) < 64:
            return Value(out, axes, steady)  # of a place
        return Value(self.let(out), axes, steady)

    def _number(self, value, dtype: DType) -> str:
        if dtype is dtypes.bool_:
            return str(bool(value))
        if dtype.is_int:
            return str(int(value)) if value >= 0 else f"({int(value)})"
        value = float(dtype.numpy.type(value))
        return repr(value) if value - value == 0 else f'float("{value}")'

    # -- tiles --

    def _fold(self, e: Expr) -> Value:
        monoid, over = e.attr
        v = self.value(e.args[0])
        axes = self._sorted({*v.axes, over})
        text = self._spread(v, axes)
        if over in self.masks:
            mask = self._aligned(Value(self.masks[over], (over,)), axes)
            text = self.let(f"tl.where({mask}, {text}, {self._identity(monoid, e.dtype)})")
        left = tuple(a for a in axes if a is not over)
        text = self._reduced(monoid, text, axes.index(over), register(e.dtype))
        return Value(text, left, v.steady)

    def _reduced(self, monoid: str, text: str, at: int, dtype: DType) -> str:
        """The text joined along one axis."""
        if dtype is dtypes.bool_:  # words are what threads exchange
            monoid = {"max": "any", "min": "all"}.get(monoid, monoid)
            word = self._reduced(monoid, f"{_atom(text)}.to(tl.int32)", at, dtypes.int32)
            return self.let(f"{word} != 0")
        name = f"{monoid}_of_{'floats' if dtype.is_float else 'integers'}"
        self.helpers[name] = _COMBINE[monoid].format(_NAN if dtype.is_float else "")
        return self.let(f"tl.reduce({text}, {at}, {name})")

    def _identity(self, monoid: str, dtype: DType) -> str:
        if monoid in ("any", "all"):
            return str(monoid == "all")
        if monoid in ("sum", "prod"):
            return self._number(int(monoid == "prod"), dtype)
        if dtype.is_float:
            return f'float("{"-" if monoid == "max" else ""}inf")'
        if dtype is dtypes.bool_:
            return str(monoid == "min")
        low = 0 if dtype.kind == "uint" else -(1 << (dtype.bits - 1))
        return str(low if monoid == "max" else low + (1 << dtype.bits) - 1)

    def _product(self, e: Expr) -> Value:
        a, b, start = (self.value(x) for x in e.args)
        over, (row, column) = e.attr, start.axes
        left = self._factor(e.args[0], a, over, self._sorted((row, over)))
        right = self._factor(e.args[1], b, over, self._sorted((over, column)))
        left = left if self._sorted((row, over))[0] is row else f"tl.trans({left})"
        right = right if self._sorted((over, column))[0] is over else f"tl.trans({right})"
        return Value(self.let(f'tl.dot({left}, {right}, {start.text}, input_precision="ieee")'),
                     start.axes)

    def _factor(self, e: Expr, v: Value, over: Expr, axes: tuple[Expr, ...]) -> str:
        """A factor in its dtype, 0 where the summed position is not there."""
        if e.op == "load" and over in v.axes:
            return self._spread(Value(v.raw, v.axes), axes)
        text = self._spread(v, axes)
        if over in self.masks:
            mask = self._aligned(Value(self.masks[over], (over,)), axes)
            text = f"tl.where({mask}, {text}, 0.0)"
        narrow = register(e.dtype) is not e.dtype
        return f"{_atom(text)}.to({type_name(e.dtype)})" if narrow else text

    # -- the processor's lanes --

    def _lane_tree(self, e: Expr) -> Value:
        """Halves joined, the lower lanes on the left: the order of docs/numerics.md."""
        v = self.value(e.args[0])
        text, lanes = self._spread(v, (LANE,)), LANES
        while lanes > 1:
            lanes //= 2
            halves = f"tl.reshape({text}, (2, {lanes}))" if lanes > 1 else text
            text = self._reduced(e.attr, halves, 0, register(e.dtype))
        return Value(text, (), v.steady)

    def _lane_at(self, e: Expr) -> Value:
        """One lane's value, as a word: the sum of it and zeros."""
        v, dtype = self.value(e.args[0]), register(e.args[0].dtype)
        word = dtypes.by_name(f"int{dtype.bits}") if dtype.is_float else dtype
        text = self._spread(v, (LANE,))
        if dtype.is_float:
            text = f"{text}.to({type_name(word)}, bitcast=True)"
        picked = f"tl.where(tl.arange(0, {LANES}) == {e.attr}, {text}, 0)"
        out = self._reduced("sum", picked, 0, word)
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


LANE = expr.var("lane", dtypes.index)  # the tile variable of the processor's lanes

_LOOPS = {"parallel": _Emitter._parallel, "serial": _Emitter._serial,
          "unroll": _Emitter._unroll, "tile": _Emitter._tile, "vector": _Emitter._vector}
_KINDS = {"lit": _Emitter._lit, "var": _Emitter._var, "load": _Emitter._load,
          "fold": _Emitter._fold, "product": _Emitter._product, "lane": _Emitter._lane,
          "lanes": _Emitter._lane_tree, "lane_at": _Emitter._lane_at,
          "ctz": _Emitter._trailing_zeros}


def _atom(text: str) -> str:
    """The text in parentheses unless it is one word, or one call or literal."""
    if text.isidentifier() or text.isdigit() or _closed(text):
        return text
    return f"({text})"


def _closed(text: str) -> bool:
    """Whether the text is a call, or stands in parentheses, as a whole."""
    start = text.find("(")
    if start < 0 or not text.endswith(")") or not text[:start].replace(".", "").isidentifier() \
            and start > 0:
        return False
    depth = 0
    for k, c in enumerate(text):
        depth += (c == "(") - (c == ")")
        if depth == 0 and k >= start:
            return k == len(text) - 1
    return False


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
