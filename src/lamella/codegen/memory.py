"""Loads and stores: which are contiguous, which are one number, and which gather or scatter.

An offset is a polynomial in variables and opaque terms. Its part without LANE is uniform and goes
into a pointer, built term by term from the outermost scope inwards, so that each loop adds only
what changes in it. LANE itself makes the access contiguous; anything else in LANE is a vector of
offsets.
"""

from __future__ import annotations

from typing import NamedTuple

from ..base import dtypes
from ..base.dtypes import DType
from ..lang.expr import Expr, free_axes, lit
from ..lang.loops import LANES, Buffer, Kernel, Prefetch, Store
from .convert import from_memory, to_memory
from .text import literal, memory_literal, memory_type, suffix, vector
from .values import CONSTANT, LANE, Value, Values, number

Terms = dict[tuple[Expr, ...], int]  # product of atoms -> coefficient
SCRATCH_ALIGN = 64
_ZEROS = f"@zeros = internal constant [{8 * LANES} x i8] zeroinitializer, align {SCRATCH_ALIGN}"
_ALL = "splat (i1 true)"
_ONE = f"<i1 true{', i1 false' * (LANES - 1)}>"  # lane 0 alone


class Place(NamedTuple):
    """Where an access goes: a pointer at `depth`, plus `lane` offsets (None: one number)."""

    pointer: str
    depth: int
    steady: bool
    lanes: Value | None
    contiguous: bool


class Memory(Values):
    """Accesses the kernel's buffers. `mask` has the active lanes of a vector loop's last block."""

    def __init__(self, kernel: Kernel):
        super().__init__()
        self.kernel = kernel
        self.buffers: dict[str, Buffer] = {b.name: b for b in kernel.buffers}
        self.extents = frozenset(kernel.sizes)
        self.polynomials: dict[Expr, Terms] = {}
        self.rank: dict[Expr, int] = {}  # of atoms, in order of appearance
        self.mask: Value | None = None
        self.in_vector = False
        self.streams = False

    # ---- arguments -----------------------------------------------------------------------------

    def argument(self, e: Expr) -> Value:
        """A size of the kernel."""
        assert e in self.kernel.sizes, f"{e} is read before it is set"
        place = len(self.kernel.operands) + self.kernel.sizes.index(e)
        return Value(self._word("i64", place), 1, 0)

    def _word(self, kind: str, index: int) -> str:
        at = self.once(f"getelementptr i8, ptr %args, i64 {8 * index}", 0)
        return self.once(f"load {kind}, ptr {at}, align 8", 0)

    def base(self, buffer: Buffer) -> str:
        """The pointer to a buffer's first element."""
        if buffer.space == "global":
            return self._word("ptr", self.kernel.operands.index(buffer))
        before = self.kernel.scratch[:self.kernel.scratch.index(buffer)]
        start = number(0)
        for b in before:
            start = start + scratch_size(b)
        return self.once(f"getelementptr i8, ptr %scratch, i64 {self.scalar(start).text}", 0)

    # ---- offsets -------------------------------------------------------------------------------

    def bind(self, variable: Expr, e: Expr | None) -> None:
        """Let a variable stand for an expression from here on (None: no longer)."""
        self.mutable.add(variable)
        for user in self.users.pop(variable, ()):
            self.memo.pop(user, None)
        for x in [x for x in self.polynomials if variable in free_axes(x)]:
            del self.polynomials[x]
        if e is None:
            del self.aliases[variable]
        else:
            self.aliases[variable] = e

    def terms(self, e: Expr) -> Terms:
        """An index expression as a polynomial."""
        found = self.polynomials.get(e)
        if found is None:
            found = self.polynomials[e] = self._terms(e)
        return found

    def _terms(self, e: Expr) -> Terms:
        if e.op == "lit":
            return {(): e.attr} if e.attr else {}
        alias = self.aliases.get(e)
        if alias is not None:
            return self.terms(alias)
        name = "" if isinstance(e.op, str) else e.op.name
        if name in ("add", "sub"):
            return _plus(self.terms(e.args[0]), self.terms(e.args[1]), 1 if name == "add" else -1)
        if name == "neg":
            return _plus({}, self.terms(e.args[0]), -1)
        if name == "mul":
            a, b = self.terms(e.args[0]), self.terms(e.args[1])
            if len(a) * len(b) <= 8:
                return self._times(a, b)
        assert e.dtype is dtypes.index, f"the offset {e} is {e.dtype}; cast it to index"
        self.rank.setdefault(e, len(self.rank))
        return {(e,): 1}

    def _times(self, a: Terms, b: Terms) -> Terms:
        out: Terms = {}
        for m1, c1 in a.items():
            for m2, c2 in b.items():
                m = tuple(sorted(m1 + m2, key=self.rank.__getitem__))
                out[m] = out.get(m, 0) + c1 * c2
        return {m: c for m, c in out.items() if c}

    def _split(self, terms: Terms) -> tuple[Terms, Terms, Terms]:
        """(the part without lanes, the factor of LANE, what depends on lanes in other ways)."""
        uniform: Terms = {}
        linear: Terms = {}
        rest: Terms = {}
        for m, c in terms.items():
            lanes = sum(self.value(a).lanes > 1 for a in m)
            if not lanes:
                uniform[m] = c
            elif lanes == 1 and LANE in m:
                linear[tuple(a for a in m if a is not LANE)] = c
            else:
                rest[m] = c
        return uniform, linear, rest

    def _product(self, m: tuple[Expr, ...], c: int, lanes: int = 1) -> Value:
        """c times the atoms, those of outer scopes first."""
        kind = vector("i64", lanes)
        values = sorted((self.value(a) for a in m), key=lambda v: v.depth)
        if not values:
            return Value(str(c) if lanes == 1 else f"splat (i64 {c})", lanes, CONSTANT)
        text, depth = "", 0
        for v in values:
            operand = self.spread(v, dtypes.index, lanes)
            depth = self.place(max(depth, v.depth))
            text = self.once(f"mul {kind} {text}, {operand}", depth) if text else operand
        if c != 1:
            text = self.once(f"mul {kind} {text}, {c if lanes == 1 else f'splat (i64 {c})'}", depth)
        return Value(text, lanes, depth, all(v.steady for v in values))

    def _sum(self, values: list[Value], lanes: int = 1) -> Value:
        first, depth, steady = values[0].text, values[0].depth, values[0].steady
        for v in values[1:]:
            depth, steady = self.place(max(depth, v.depth)), steady and v.steady
            first = self.once(f"add {vector('i64', lanes)} {first}, {v.text}", depth)
        return Value(first, lanes, depth, steady)

    def _pointer(self, buffer: Buffer, uniform: Terms) -> Value:
        """base + the terms, those of outer scopes first; without the constant term. From inside of
        a loop nobody looks through sums from outside of it (`freeze`): LLVM's loop strength
        reduction would spend more time on what they are made of than all else takes."""
        levels: dict[int, list[Value]] = {}
        for m, c in uniform.items():
            if m:
                v = self._product(m, c)
                levels.setdefault(v.depth, []).append(v)
        pointer, depth, steady = self.base(buffer), 0, True
        kind = memory_type(buffer.dtype)
        last = max(levels, default=0)
        for level in sorted(levels):
            v = self._sum(levels[level])
            depth, steady = self.place(max(depth, v.depth)), steady and v.steady
            step = self.once(f"freeze i64 {v.text}", v.depth) if level < last and (
                level or len(levels[level]) > 1) else v.text
            pointer = self.once(f"getelementptr {kind}, ptr {pointer}, i64 {step}", depth)
        return Value(pointer, 1, depth, steady)

    def _offsets(self, linear: Terms, rest: Terms) -> Value:
        """The lanes' offsets as a vector."""
        parts = [Value("zeroinitializer", LANES, CONSTANT)] if not linear and not rest else []
        for m, c in linear.items():
            if not m:
                steps = ", ".join(f"i64 {c * k}" for k in range(LANES))
                parts.append(Value(f"<{steps}>", LANES, CONSTANT))
            else:
                parts.append(self._product((*m, LANE), c, LANES))
        parts += [self._product(m, c, LANES) for m, c in rest.items()]
        return self._sum(parts, LANES)

    def _locate(self, buffer: Buffer, offset: Expr, wide: bool, conds: list[Value]) -> Place:
        """The place of an access; `wide`: of LANES elements even if the offset is one number."""
        uniform, linear, rest = self._split(self.terms(offset))
        if wide and not linear and not rest and not self.in_vector:
            linear = {(): 1}
        pointer = self._pointer(buffer, uniform)
        contiguous = linear == {(): 1} and not rest
        lanes = None
        if linear or rest or wide or any(c.lanes > 1 for c in conds):
            lanes = self._offsets({} if contiguous else linear, rest)
        needs = [pointer, *conds] + ([lanes] if lanes else [])
        steady = all(v.steady for v in needs)
        depth = max(v.depth for v in needs)
        depth = self.place_load(depth) if steady and not is_written(buffer) else self.top
        text = pointer.text
        if uniform.get(()):
            step = uniform[()] * buffer.dtype.bytes
            text = self.once(f"getelementptr i8, ptr {text}, i64 {step}", depth)
        return Place(text, depth, steady and not is_written(buffer), lanes, contiguous)

    # ---- loads ---------------------------------------------------------------------------------

    def load(self, e: Expr) -> Value:
        """buffer[offset], or `fill` where a lane is inactive or the condition does not hold."""
        name, lanes, fill = e.attr
        buffer = self.buffers[name]
        dtype = e.dtype if words_of(e, buffer) else buffer.dtype
        conds = [self.value(c) for c in e.args[1:]]
        at = self._locate(buffer, e.args[0], lanes == LANES and not self.in_vector, conds)
        if at.lanes is None:
            text = self._load_one(buffer, at, conds, fill)
            return Value(text, 1, at.depth, at.steady)
        mask = self._mask(conds)
        depth = max(at.depth, mask.depth if mask else 0)
        kind = memory_type(dtype, LANES)
        if at.contiguous and mask is None:
            text = self.op(f"load {kind}, ptr {at.pointer}, align {buffer.dtype.bytes}", depth)
        else:
            where = mask.text if mask else _ALL
            text = self._load_masked(buffer, at, depth, where, fill, dtype)
        text = from_memory(self.site(depth, LANES, dtype), text, dtype)
        return Value(text, LANES, depth, at.steady)

    def _load_one(self, buffer: Buffer, at: Place, conds: list[Value], fill) -> str:
        kind, dtype, pointer = memory_type(buffer.dtype), buffer.dtype, at.pointer
        if conds:
            self.declare(_ZEROS)
            pointer = self.op(f"select i1 {conds[0].text}, ptr {pointer}, ptr @zeros", at.depth)
        text = self.op(f"load {kind}, ptr {pointer}, align {dtype.bytes}", at.depth)
        site = self.site(at.depth, 1, dtype)
        text = from_memory(site, text, dtype)
        return site.select(conds[0].text, text, literal(lit(fill, dtype))) if conds else text

    def _load_masked(self, buffer: Buffer, at: Place, depth: int, mask: str, fill,
                     dtype: DType) -> str:
        scalar = memory_type(dtype)
        kind, short = vector(scalar, LANES), suffix(scalar, LANES)
        filler = f"splat ({scalar} {memory_literal(fill, dtype)})"
        if at.contiguous:
            pointer, form, name = at.pointer, "ptr", f"@llvm.masked.load.{short}.p0"
        else:
            pointer, form = self._pointers(buffer, at, depth), f"<{LANES} x ptr>"
            name = f"@llvm.masked.gather.{short}.v{LANES}p0"
        self.declare(f"declare {kind} {name}({form}, i32, <{LANES} x i1>, {kind})")
        return self.op(f"call {kind} {name}({form} {pointer}, i32 {buffer.dtype.bytes}, "
                       f"<{LANES} x i1> {mask}, {kind} {filler})", depth)

    def _pointers(self, buffer: Buffer, at: Place, depth: int) -> str:
        assert at.lanes is not None
        return self.once(f"getelementptr {memory_type(buffer.dtype)}, ptr {at.pointer}, "
                         f"<{LANES} x i64> {at.lanes.text}", depth)

    def _mask(self, conds: list[Value]) -> Value | None:
        """The lanes that take part: active, and where the conditions hold."""
        masks = [*conds] if self.mask is None else [self.mask, *conds]
        if not masks:
            return None
        text, depth = "", CONSTANT
        for m in masks:
            wide = self.spread(m, dtypes.bool_)
            depth = self.place(max(depth, m.depth))
            text = self.once(f"and <{LANES} x i1> {text}, {wide}", depth) if text else wide
        return Value(text, LANES, depth)

    # ---- stores --------------------------------------------------------------------------------

    def store(self, s: Store) -> None:
        """buffer[offset] = value, in the innermost scope."""
        buffer = self.buffers[s.buffer]
        v = self.value(s.value)
        conds = [self.value(s.cond)] if s.cond is not None else []
        branch = [c for c in conds if c.lanes == 1]
        conds = [c for c in conds if c.lanes > 1]
        at = self._locate(buffer, s.offset, v.lanes > 1, conds)
        lanes = LANES if at.lanes else 1
        text = self.spread(v, buffer.dtype, lanes)
        text = to_memory(self.site(self.top, lanes, buffer.dtype), text, buffer.dtype)
        mask = self._mask(conds) if at.lanes else None
        if at.lanes is None or (at.contiguous and mask is None):
            line = f"store {memory_type(buffer.dtype, lanes)} {text}, ptr {at.pointer}, align "
            if s.stream and lanes > 1 and not branch:
                return self._store_stream(at, line, buffer.dtype.bytes, lanes)
            line += str(buffer.dtype.bytes)
        else:
            line = self._masked_store(buffer, at, text, mask)
        if branch:
            self._only_if(branch[0].text, line)
        else:
            self.do(line)

    def prefetch(self, s: Prefetch) -> None:
        """The line of an element into the caches, for writing where the kernel writes to it."""
        buffer = self.buffers[s.buffer]
        at = self._locate(buffer, s.offset, False, [])
        self.declare("declare void @llvm.prefetch.p0(ptr, i32, i32, i32)")
        self.do(f"call void @llvm.prefetch.p0(ptr {at.pointer}, i32 {int(buffer.writes)}, "
                f"i32 {2 if s.core else 3}, i32 1)")

    def _masked_store(self, buffer: Buffer, at: Place, text: str, mask: Value | None) -> str:
        """The instruction of a masked store or a scatter; what it needs is computed before it."""
        size, scalar = buffer.dtype.bytes, memory_type(buffer.dtype)
        kind, short = vector(scalar, LANES), suffix(scalar, LANES)
        if at.contiguous and mask is not None and mask.text == _ONE:
            # LLVM would store the one lane of a truncated vector with the width it had before
            one = self.op(f"extractelement {kind} {text}, i64 0", self.top)
            return f"store {scalar} {one}, ptr {at.pointer}, align {size}"
        if at.contiguous:
            pointer, form, name = at.pointer, "ptr", f"@llvm.masked.store.{short}.p0"
        else:
            pointer, form = self._pointers(buffer, at, self.top), f"<{LANES} x ptr>"
            name = f"@llvm.masked.scatter.{short}.v{LANES}p0"
        self.declare(f"declare void {name}({kind}, {form}, i32, <{LANES} x i1>)")
        return (f"call void {name}({kind} {text}, {form} {pointer}, i32 {size}, "
                f"<{LANES} x i1> {mask.text if mask else _ALL})")

    def _only_if(self, cond: str, line: str, otherwise: str = "") -> None:
        """An instruction, or another, on a condition."""
        yes, no, out = self.name("t"), self.name("e"), self.name("x")
        self.do(f"br i1 {cond}, label %{yes}, label %{no if otherwise else out}")
        for label, part in ((yes, line), (no, otherwise)):
            if part:
                self.label(label)
                self.do(part)
                self.do(f"br label %{out}")
        self.label(out)

    def _store_stream(self, at: Place, line: str, size: int, lanes: int) -> None:
        """A store past the caches where the address is aligned for it."""
        self.streams, whole = True, min(SCRATCH_ALIGN, size * lanes)
        address = self.op(f"ptrtoint ptr {at.pointer} to i64", self.top)
        low = self.op(f"and i64 {address}, {whole - 1}", self.top)
        aligned = self.op(f"icmp eq i64 {low}, 0", self.top)
        self._only_if(aligned, f"{line}{whole}, !nontemporal !0", f"{line}{size}")


def words_of(e: Expr, buffer: Buffer) -> bool:
    """Whether a load takes LANES words from a buffer of shorter elements."""
    return e.attr[1] == LANES and e.dtype is dtypes.int32 and \
        buffer.dtype.kind in ("int", "uint") and buffer.dtype.bytes < e.dtype.bytes


def is_written(buffer: Buffer) -> bool:
    """Whether a load has to stay where it is."""
    return buffer.writes or buffer.space == "scratch"


def scratch_size(buffer: Buffer) -> Expr:
    """The bytes of a scratch buffer, in whole cache lines."""
    assert buffer.count is not None, f"scratch buffer {buffer.name} has no count"
    size = buffer.count * buffer.dtype.bytes
    return (size + (SCRATCH_ALIGN - 1)) // SCRATCH_ALIGN * SCRATCH_ALIGN


def _plus(a: Terms, b: Terms, sign: int) -> Terms:
    out = dict(a)
    for m, c in b.items():
        out[m] = out.get(m, 0) + sign * c
    return {m: c for m, c in out.items() if c}
