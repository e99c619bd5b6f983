"""Contractions whose operands are laid out in words of several positions."""

from __future__ import annotations

from ...base import dtypes
from ...base.extents import upper
from ...lang import expr, scalar
from ...lang.expr import Expr, lit
from ...lang.loops import LANES, Loop, Set, index_var
from .contract import Contraction
from .nest import ZERO
from .packing import Side, read_through
from .panel import Target
from .tiling import BEFORE, TASK, Product, choose_tiling
from .words import WORD, Form, lay_out_rows, lay_out_words

LEAST_ROWS = 8          # fewer do not make up for laying out both operands


class Worded(Contraction):
    """A contraction in words of the form `words`; `fits` says whether the operands lie for it.

    The task's rows of the left operand stand behind each other where positions are neighbours in
    memory, else in strips of LANES rows, word by word. `least` is the note about what a panel's
    tiles read."""

    words: Form

    def __init__(self, nest, buffers, fusion, target):
        super().__init__(nest, buffers, fusion, target)
        self.fits = TASK in self.ways and self._lies_flat(self.left, self.rows) and \
            upper(self.m) >= LEAST_ROWS
        if not self.fits:
            return
        self.form, per = self.words, self.words.per
        self.steps, self.chunk = (self.count + (per - 1)) // per, self.chunk // per
        self.tiling = choose_tiling(self._by_words(), target)
        self.packed, self.way = True, self.tiling.right
        self.left_laid = self.right_laid = WORD
        self.least, self.least_of_rows = expr.var("least", WORD), expr.var("rowsleast", WORD)
        deep = -(-min(upper(self.steps), self.tiling.block) // LANES)
        self.in_rows = self.left.layout(self.rows).along == 1
        self.pitch = (deep | 1) * LANES     # of a row: an odd number of cache lines

    def _by_words(self) -> Product:
        p = self._measures((TASK, BEFORE))
        return p._replace(left=p.left._replace(itemsize=4), right=p.right._replace(itemsize=4),
                          must_pack=True)

    def _bits(self, side: Side, axes):
        """The operand as it is read."""
        bits = side.bits(self.words.bits, self.bound)
        return read_through(self.b, bits, side.runs(axes)[0][2], self.places,
                            self.tables.get(side))

    def _lay_out_rows(self, low: Expr, high: Expr) -> list:
        source, end = self._bits(self.left, self.rows), self.b.size(("positions",), self.count)
        if self.in_rows:
            to = Target(self.laid, WORD, ZERO, self.pitch)
            body = lay_out_rows(self.words, source, to, self.row_span, low, high, end)
        else:
            to = Target(self.laid, WORD, self._strip_of(low, high), LANES)
            body = [Loop(self.i0, *self.row_span, lay_out_words(
                self.words, source, to, self.i0, self.row_count, low, high, end), "serial", LANES)]
        return self._noting(self.least_of_rows, body)

    def _lay_out_panel(self, low: Expr, high: Expr) -> list:
        if self.way == BEFORE:
            return self._noted()
        t, source = self.tiling, self._bits(self.right, self.columns)
        to = Target(self.panel_laid, WORD, ZERO, t.width)
        body = lay_out_words(self.words, source, to, self.panel * t.width, self.column_count, low,
                             high, self.b.size(("positions",), self.count))
        both = [Set(self.least, scalar.minimum(self.least, self.least_of_rows))]
        return self._noting(self.least, body) + (both if self.words.note is not None else [])

    def _noting(self, register: Expr, body: list) -> list:
        """The body, and what it has noted in a register."""
        if self.words.note is None:
            return body
        return [*self.words.begin, *body, Set(register, self.words.note)]

    def _noted(self) -> list:
        """What was noted when the panel was packed."""
        notes, strip = self.packing.notes, index_var("strip")
        if notes is None:
            return []
        name, at = notes.place(self.b, self.panel, strip, self.places)
        found = scalar.minimum(self.least, expr.load(name, at, WORD))
        return [Set(self.least, self.least_of_rows),
                Loop(strip, ZERO, self.b.size(("strips",), notes.strips),
                     [Set(self.least, found)], "serial")]

    def _strip_of(self, low: Expr, high: Expr) -> Expr:
        """Where the strip of laid out rows begins that holds row i0."""
        return (self.i0 - self.row_span[0]) // LANES * ((high - low) * LANES)

    def _room(self, deep: Expr) -> Expr:
        t = self.tiling
        if self.in_rows:
            return lit(t.group * t.rows * self.pitch, dtypes.index)
        strips = -(-t.group * t.rows // LANES)
        return deep * (strips * LANES)

    def _words(self, k: Expr, low: Expr, high: Expr):
        """(left(r): the word of row i0 + r, vectors of the panel's words) at word k."""
        columns = [self.right_load(k, v, low) for v in range(self.tiling.vectors)]
        first, step = (self.i0 - self.row_span[0]) * self.pitch + (k - low), self.pitch
        if not self.in_rows:
            row = (self.i0 - self.row_span[0]) % LANES
            first, step = self._strip_of(low, high) + (k - low) * LANES + row, 1
        return lambda r: expr.load(self.laid, first + r * step, WORD), columns
