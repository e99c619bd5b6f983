"""Kernels that sort rows: the routines behind sort and argsort.

What moves is a record: a key from which the element can be had again, or a position below or
beside its key. Short rows are sorted by counting who comes before whom, longer ones by distribution
from the lowest digit on (Knuth, The Art of Computer Programming 3, 5.2.5). Few long rows are first
cut at their highest digit: pieces of a row distribute their records into buckets, and each bucket
is a row of its own.
"""

from __future__ import annotations

from collections.abc import Callable

from ..base import dtypes
from ..base.dtypes import DType
from ..base.extents import lower
from ..ir.types import TensorType
from ..lang import expr, scalar
from ..lang.expr import Expr, lit
from ..lang.loops import LANES, Loop, Set, Store, When, index_var, lane_tree
from ..lang.routine import RESULT, ZERO, Part, Routine, serial, vector
from .order import key_dtype, key_of, of_total_key, raw, raw_dtype, total_key

SHORT = 96            # rows up to here are sorted by counting
MANY = 3000           # rows from here on are sorted by digits of 11 bits, others of DIGIT
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
    """The key alone, from which the element can be had again."""
    return Record([key_dtype(d)], lambda x, i: [total_key(x, descending)], lambda f: f[0],
                  lambda f: of_total_key(f[0], d, descending), raw_dtype(d).bits)


def positions(d: DType, descending: bool, out: DType) -> Record:
    """The position, below a key of 32 bits or beside one of 64."""
    if d.bits == 64:
        return Record([dtypes.uint64, dtypes.uint32],
                       lambda x, i: [key_of(x, descending), scalar.cast(i, dtypes.uint32)],
                       lambda f: f[0], lambda f: scalar.cast(f[1], out), 64)
    word = dtypes.uint64
    return Record([word], lambda x, i: [(scalar.cast(key_of(x, descending), word) << 32)
                                        | scalar.cast(i, word)],
                  lambda f: scalar.cast(f[0] >> 32, dtypes.uint32),
                  lambda f: scalar.cast(f[0] & lit(0xFFFFFFFF, word), out), raw_dtype(d).bits)


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


def zeros_in_order(x: TensorType, descending: bool) -> Part:
    """-0 and +0 are equal, but have keys of their own: where a row has both, its zeros are put back
    in the order in which they came."""
    row = Row(x, x.shape[1])
    less, minus = (expr.var(v, dtypes.index, LANES) for v in ("less", "minus"))
    plus, at = expr.var("plus", dtypes.index, LANES), index_var("at")
    zero, one = lit(0, dtypes.index), lit(1, dtypes.index)
    none = lit(0.0, x.dtype)

    def tally(i: Expr) -> list:
        v = row.read(i)
        negative = scalar.eq(raw(v), lit(1 << (x.dtype.bits - 1), raw_dtype(x.dtype)))
        positive = scalar.eq(raw(v), lit(0, raw_dtype(x.dtype)))
        before = none < v if descending else v < none
        return [Set(n, n + scalar.where(c, one, zero)) for n, c in (
            (less, before), (minus, negative), (plus, positive))]

    def put(i: Expr) -> list:
        hit = scalar.eq(row.read(i), none)
        return [row.store(at, row.read(i), hit), Set(at, at + scalar.where(hit, one, zero))]

    both = (lane_tree("sum", minus) > 0) & (lane_tree("sum", plus) > 0)
    return row.part([*(Set(n, zero) for n in (less, minus, plus)), vector("t", row.n, tally),
                     When(both, [Set(at, lane_tree("sum", less)), serial("z", row.n, put)])])


def _whole_rows(x: TensorType, count, record: Record) -> Part:
    """Each row by a task of its own, in two halves of its scratch."""
    row = Row(x, count)
    run = Run(record, row.n, ZERO, row.n)
    width = 11 if lower(x.shape[1]) >= MANY and record.bits > 16 else DIGIT
    moves, counts = _by_digits(run, record.bits, width, lambda i: record.first(row.read(i), i))
    out = vector("j", row.count, lambda j: [row.store(j, record.last(run.at(run.source + j)))])
    return row.part([*moves, out], [*run.scratch(row.n * 2), counts])


def _by_digits(run: Run, bits: int, width: int, enter: Callable | None = None
               ) -> tuple[list, tuple]:
    """Counts of the digits (of `width` bits) of the lowest `bits` in one pass, then one stable
    distribution for each digit that differs anywhere; and the counts' scratch. `source` says where
    the records are in the end; `enter` gives those that are not there yet."""
    record, n, digits = run.record, run.n, 1 << width
    passes, source = range(0, bits, width), run.source
    held = [expr.var(f"r{k}", d) for k, d in enumerate(record.fields)]

    def hold(fields: list[Expr]) -> list:
        return [Set(v, f) for v, f in zip(held, fields, strict=True)]

    def slot(fields: list[Expr], shift: int) -> Expr:
        mask = (1 << min(width, bits - shift)) - 1
        digit = (record.key(fields) >> shift) & mask
        return scalar.cast(digit, dtypes.index) + shift // width * digits

    def count(place: Expr) -> Expr:
        return scalar.cast(expr.load("count", place, dtypes.uint32), dtypes.index)

    def counted(place: Expr, value: Expr) -> Store:
        return Store("count", place, scalar.cast(value, dtypes.uint32))

    def tally(i: Expr) -> list:
        entered = [] if enter is None else run.put(i, held)
        slots = [slot(held, s) for s in passes]
        return [*hold(run.at(i) if enter is None else enter(i)), *entered,
                *(counted(b, count(b) + 1) for b in slots)]

    def distribute(shift: int) -> list:
        total, here, at, place = (index_var(f"{v}{shift}")
                                  for v in ("total", "here", "at", "place"))
        base = shift // width * digits

        def prefix(d: Expr) -> list:
            return [Set(here, count(d + base)), counted(d + base, total), Set(total, total + here)]

        def move(i: Expr) -> list:
            return [*hold(run.at(source + i)), Set(place, slot(held, shift)), Set(at, count(place)),
                    counted(place, at + 1), *run.put(run.half - source + at, held)]

        same = scalar.eq(count(slot(run.at(source), shift)), n)
        return [When(scalar.not_(same), [
            Set(total, ZERO), serial(f"d{shift}", digits, prefix), serial(f"i{shift}", n, move),
            Set(source, run.half - source)])]

    places = len(passes) * digits
    body = [vector("z", places, lambda d: [Store("count", d, lit(0, dtypes.uint32))]),
            serial("t", n, tally), Set(source, ZERO),
            When(n > 0, [s for shift in passes for s in distribute(shift)])]
    return body, ("count", dtypes.uint32, expr.size(places))


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
        moves, counts = _by_digits(run, self.low, DIGIT)
        out = vector("o", size, lambda j: [emit(j, run.at(run.source + j))])
        return row.part([
            Set(first, expr.load("start", at, dtypes.index)),
            Set(size, expr.load("start", at + 1, dtypes.index) - first),
            When(size <= SHORT, short), When(size > SHORT, [*moves, out])],
            [keys, counts], 8)
