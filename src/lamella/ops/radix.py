"""Kernels that sort rows: the routines behind sort and argsort.

What moves is a record: the element or its position, below or beside its key. Short rows are sorted
by counting who comes before whom, longer ones by distribution from the lowest digit on (Knuth, The
Art of Computer Programming 3, 5.2.5). Few long rows are first cut at their highest digit: pieces of
a row distribute their records into buckets, and each bucket is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from ..base import dtypes
from ..base.dtypes import DType
from ..base.extents import lower
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import Expr, lit
from ..lang.loops import Loop, Set, Store, When, index_var
from ..lang.routine import RESULT, ZERO, Part, Routine, serial, vector
from .order import cooked, key_of, order_key, raw, raw_dtype

SHORT = 96            # rows up to here are sorted by counting
LONG = 50_000         # few rows from here on are cut into buckets
WIDE = 1 << 19        # rows from here on have 2^11 of them, others 2^8
PIECES = 32           # of a row that is cut
DIGIT = 8


class Record:
    """What is moved for each element: fields, the key in them, and what becomes the result."""

    def __init__(self, fields: list[DType], first: Callable, key: Callable, last: Callable,
                 bits: int):
        self.fields, self.first, self.key, self.last = fields, first, key, last
        self.bits = bits


def values(d: DType, descending: bool) -> Record:
    """The element itself, of 32 bits below its key."""
    if d.bits == 64:
        return Record([dtypes.uint64], lambda x, i: [raw(x)],
                       lambda f: order_key(f[0], d, descending), lambda f: cooked(f[0], d), 64)
    bits = raw_dtype(d)
    return _packed(d, descending, lambda x, i: raw(x), lambda low: cooked(
        scalar.cast(low, bits), d))


def positions(d: DType, descending: bool, out: DType) -> Record:
    """The position, below a key of 32 bits or beside one of 64."""
    if d.bits == 64:
        return Record([dtypes.uint64, dtypes.uint32],
                       lambda x, i: [key_of(x, descending), scalar.cast(i, dtypes.uint32)],
                       lambda f: f[0], lambda f: scalar.cast(f[1], out), 64)
    return _packed(d, descending, lambda x, i: i, lambda low: scalar.cast(low, out))


def _packed(d: DType, descending: bool, below: Callable, last: Callable) -> Record:
    """One word: the key, and 32 bits below it."""
    word = dtypes.uint64
    return Record([word], lambda x, i: [(scalar.cast(key_of(x, descending), word) << 32)
                                         | scalar.cast(below(x, i), word)],
                   lambda f: scalar.cast(f[0] >> 32, dtypes.uint32),
                   lambda f: last(f[0] & lit(0xFFFFFFFF, word)), raw_dtype(d).bits)


class Row:
    """One row [o, :, p] of the operand and of the result; with `pieces`, a task is one of so many
    parts of it."""

    def __init__(self, x: TensorType, count, pieces: int = 1):
        self.type, self.n, self.count = x, expr.size(x.shape[1]), expr.size(count)
        self.width = expr.size(x.shape[2])
        self.task = index_var("task")
        self.tasks = x.shape[0] * x.shape[2] * pieces
        self.number, self.piece = self.task // pieces, self.task % pieces
        self.o, self.q = self.number // self.width, self.number % self.width

    def read(self, i: Expr) -> Expr:
        return expr.read(0, (self.o, i, self.q), self.type.dtype)

    def store(self, i: Expr, value: Expr, cond: Expr | None = None) -> Store:
        return Store(RESULT, (self.o * self.count + i) * self.width + self.q, value, cond)

    def part(self, body: list, scratch=(), grain: int = 1) -> Part:
        return Part("sort", self.task, self.tasks, body, grain, tuple(scratch))


class Run:
    """Records that lie together: `n` from `base` on in buffers with a second half `half` later,
    to which digits move them and back."""

    def __init__(self, record: Record, n: Expr, base: Expr, half: Expr):
        self.record, self.n, self.base, self.half = record, n, base, half
        self.source = index_var("source")
        self.names = [f"f{k}" for k in range(len(record.fields))]

    def at(self, i: Expr) -> list[Expr]:
        """The fields of record i."""
        return [expr.load(name, self.base + i, d)
                for name, d in zip(self.names, self.record.fields, strict=True)]

    def put(self, i: Expr, fields: list[Expr]) -> list:
        return [Store(name, self.base + i, v) for name, v in zip(self.names, fields, strict=True)]

    def scratch(self, count: Expr) -> list:
        """The buffers as a thread's own."""
        return [(name, d, count) for name, d in zip(self.names, self.record.fields, strict=True)]


def sorted_rows(x: TensorType, count, record: Record) -> Routine:
    """The routine that suits the extents; `count` of each row's records become the result."""
    n, rows = x.shape[1], x.shape[0] * x.shape[2]
    if isinstance(n, int) and n <= SHORT:
        return Routine([_short_rows(x, count, record)])
    if lower(n) >= LONG and isinstance(rows, int) and rows * 4 <= PIECES and record.bits > 8:
        return _cut_rows(x, count, record)
    return Routine([_whole_rows(x, count, record)])


def _short_rows(x: TensorType, count, record: Record) -> Part:
    row = Row(x, count)
    run = Run(record, row.n, ZERO, row.n)
    fill = vector("a", row.n, lambda i: run.put(i, record.first(row.read(i), i)))
    counted, keys = _by_counting(run, row.n, lambda i, f: row.store(i, record.last(f),
                                                                    i < row.count))
    return row.part([fill, *counted], [*run.scratch(row.n), keys])


def _by_counting(run: Run, most: Expr, emit: Callable) -> tuple[list, tuple]:
    """Each record goes to the place that says how many come before it; and the keys' scratch."""
    record, wide = run.record, dtypes.uint64 if run.record.bits == 64 else dtypes.uint32
    rank, key = expr.var("rank", dtypes.int32), expr.var("key", wide)
    one, none = lit(1, dtypes.int32), lit(0, dtypes.int32)

    def place(j: Expr) -> list:
        other = index_var("i")
        k = expr.load("keys", other, wide)
        before = scalar.where(other < j, k <= key, k < key)
        return [Set(rank, none), Set(key, expr.load("keys", j, wide)),
                Loop(other, ZERO, run.n, [Set(rank, rank + scalar.where(before, one, none))]),
                emit(scalar.cast(rank, dtypes.index), run.at(j))]

    keys = vector("k", run.n, lambda i: [Store("keys", i, record.key(run.at(i)))])
    return [keys, vector("j", run.n, place)], ("keys", wide, most)


def _whole_rows(x: TensorType, count, record: Record) -> Part:
    """Each row by a task of its own, in two halves of its scratch."""
    row = Row(x, count)
    run = Run(record, row.n, ZERO, row.n)
    moves, counts = _by_digits(run, record.bits, lambda i: record.first(row.read(i), i))
    out = vector("j", row.count, lambda j: [row.store(j, record.last(run.at(run.source + j)))])
    return row.part([*moves, out], [*run.scratch(row.n * 2), counts])


def _by_digits(run: Run, bits: int, enter: Callable | None = None) -> tuple[list, tuple]:
    """Counts of the digits of the lowest `bits` in one pass, then one stable distribution for each
    digit that differs anywhere; and the counts' scratch. `source` says where the records are in the
    end; `enter` gives those that are not there yet."""
    record, n, digits = run.record, run.n, 1 << DIGIT
    passes, source = range(0, bits, DIGIT), run.source

    def slot(fields: list[Expr], shift: int) -> Expr:
        mask = (1 << min(DIGIT, bits - shift)) - 1
        digit = (record.key(fields) >> shift) & mask
        return scalar.cast(digit, dtypes.index) + shift // DIGIT * digits

    def tally(i: Expr) -> list:
        fields = run.at(i) if enter is None else enter(i)
        slots = [slot(fields, s) for s in passes]
        return [*(run.put(i, fields) if enter else ()),
                *(Store("count", b, expr.load("count", b, dtypes.index) + 1) for b in slots)]

    def distribute(shift: int) -> list:
        total, here, at = (index_var(f"{v}{shift}") for v in ("total", "here", "at"))
        base = shift // DIGIT * digits

        def prefix(d: Expr) -> list:
            return [Set(here, expr.load("count", d + base, dtypes.index)),
                    Store("count", d + base, total), Set(total, total + here)]

        def move(i: Expr) -> list:
            fields = run.at(source + i)
            place = slot(fields, shift)
            return [Set(at, expr.load("count", place, dtypes.index)),
                    *run.put(run.half - source + at, fields), Store("count", place, at + 1)]

        same = scalar.eq(expr.load("count", slot(run.at(source), shift), dtypes.index), n)
        return [When(scalar.not_(same), [
            Set(total, ZERO), serial(f"d{shift}", digits, prefix), serial(f"i{shift}", n, move),
            Set(source, run.half - source)])]

    body = [vector("z", len(passes) * digits, lambda d: [Store("count", d, ZERO)]),
            serial("t", n, tally), Set(source, ZERO),
            When(n > 0, [s for shift in passes for s in distribute(shift)])]
    return body, ("count", dtypes.index, expr.size(len(passes) * digits))


# ---- few long rows ------------------------------------------------------------------------------

def _cut_rows(x: TensorType, count, record: Record) -> Routine:
    """Pieces of a row count its highest digit, the counts are added up, the pieces distribute the
    records into buckets, and the buckets are sorted."""
    n, rows = x.shape[1], x.shape[0] * x.shape[2]
    width = 11 if lower(n) >= WIDE and record.bits > 16 else DIGIT
    low, buckets = record.bits - width, 1 << width
    cut = _Cut(x, count, record, low, buckets)
    spaces = [(name, d, rows * n * 2) for name, d in zip(cut.names, record.fields, strict=True)]
    return Routine([cut.tally(), cut.add_up(), cut.distribute(), cut.finish()],
                   (*spaces, ("tally", dtypes.index, rows * PIECES * buckets),
                    ("start", dtypes.index, rows * (buckets + 1))))


class _Cut:
    """The parts of `_cut_rows`."""

    def __init__(self, x: TensorType, count, record: Record, low: int, buckets: int):
        self.x, self.count, self.record = x, count, record
        self.low, self.buckets = low, buckets
        self.names = [f"f{k}" for k in range(len(record.fields))]

    def _pieces(self, body: Callable) -> Part:
        """A part whose tasks are pieces of rows; body(row, a piece's counts, i, record)."""
        row = Row(self.x, self.count, PIECES)
        step = (row.n + (PIECES - 1)) // PIECES
        first = row.piece * step
        counts = row.task * self.buckets
        clear, each = body(row, counts)
        return row.part([*clear, serial("i", scalar.minimum(first + step, row.n), each, first)])

    def _digit(self, fields: list[Expr]) -> Expr:
        return scalar.cast(self.record.key(fields) >> self.low, dtypes.index)

    def tally(self) -> Part:
        def body(row: Row, counts: Expr):
            def each(i: Expr) -> list:
                at = counts + self._digit(self.record.first(row.read(i), i))
                return [Store("tally", at, expr.load("tally", at, dtypes.index) + 1)]

            return [vector("z", self.buckets, lambda d: [Store("tally", counts + d, ZERO)])], each
        return self._pieces(body)

    def add_up(self) -> Part:
        """tally: how many of a bucket lie in earlier pieces; start: where each bucket begins."""
        row = Row(self.x, self.count)
        start = row.number * (self.buckets + 1)
        total, here = index_var("total"), index_var("here")

        def over(c: Expr) -> list:
            def one(d: Expr) -> list:
                at = (row.number * PIECES + c) * self.buckets + d
                before = index_var("before")
                return [Set(before, expr.load("start", start + d, dtypes.index)),
                        Store("start", start + d,
                              before + expr.load("tally", at, dtypes.index)),
                        Store("tally", at, before)]

            return [vector("d", self.buckets, one)]

        return row.part([
            vector("z", self.buckets, lambda d: [Store("start", start + d, ZERO)]),
            serial("c", PIECES, over), Set(total, ZERO),
            serial("b", self.buckets, lambda d: [
                Set(here, expr.load("start", start + d, dtypes.index)),
                Store("start", start + d, total), Set(total, total + here)]),
            Store("start", start + self.buckets, total)])

    def distribute(self) -> Part:
        def body(row: Row, counts: Expr):
            at = index_var("at")

            def each(i: Expr) -> list:
                fields = self.record.first(row.read(i), i)
                digit = self._digit(fields)
                first = expr.load("start", row.number * (self.buckets + 1) + digit, dtypes.index)
                here = expr.load("tally", counts + digit, dtypes.index)
                return [Set(at, row.number * 2 * row.n + first + here),
                        *(Store(name, at, v) for name, v in zip(self.names, fields, strict=True)),
                        Store("tally", counts + digit, here + 1)]

            return [], each
        return self._pieces(body)

    def finish(self) -> Part:
        """Each bucket: by counting where it is short, else by its lower digits."""
        row = Row(self.x, self.count, self.buckets)
        at = row.number * (self.buckets + 1) + row.piece
        first, size = index_var("first"), index_var("size")
        run = Run(self.record, size, row.number * 2 * row.n + first, row.n)

        def emit(i: Expr, fields: list[Expr]) -> Store:
            return row.store(first + i, self.record.last(fields), first + i < row.count)

        short, keys = _by_counting(run, expr.size(SHORT), emit)
        moves, counts = _by_digits(run, self.low)
        out = vector("o", size, lambda j: [emit(j, run.at(run.source + j))])
        return row.part([
            Set(first, expr.load("start", at, dtypes.index)),
            Set(size, expr.load("start", at + 1, dtypes.index) - first),
            When(size <= SHORT, short), When(size > SHORT, [*moves, out])],
            [keys, counts], 8)
