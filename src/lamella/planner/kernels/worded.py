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
from .words import WORD, Form, lay_out_row, lay_out_words

LEAST_ROWS = 8          # fewer do not make up for laying out both operands


class Worded(Contraction):
    """A contraction in words of the two `forms`; `fits` says whether the operands lie for it.

    The task's rows of the left operand stand behind each other where positions are neighbours in
    memory, else in strips of LANES rows, word by word. `least` is the note about what a panel's
    tiles read."""

    def __init__(self, nest, buffers, fusion, target):
        super().__init__(nest, buffers, fusion, target)
        self.left_words, self.right_words = self.forms()
        self.fits = TASK in self.ways and self._lies_flat(self.left, self.rows) and \
            upper(self.m) >= LEAST_ROWS
        if not self.fits:
            return
        self.form, self.chunk = self.right_words, self.chunk // self.right_words.per
        self.steps = self.form.words(self.count)
        self.tiling = choose_tiling(self._by_words(), target)
        self.packed, self.way = True, self.tiling.right
        self.left_laid = self.right_laid = WORD
        self.least, self.least_of_rows = expr.var("least", WORD), expr.var("rowsleast", WORD)
        deep = -(-min(upper(self.steps), self.tiling.block) // LANES)
        self.in_rows = self.left.layout(self.rows).along == 1
        self.pitch = (deep | 1) * LANES     # of a row: an odd number of cache lines

    def forms(self) -> tuple[Form, Form]:
        """Of the left and of the right operand's words."""
        raise NotImplementedError

    def _by_words(self) -> Product:
        p = self._measures((TASK, BEFORE))
        return p._replace(left=p.left._replace(itemsize=4), right=p.right._replace(itemsize=4),
                          must_pack=True)

    def _bits(self, side: Side, axes):
        """The operand as it is read."""
        bits = side.bits(self.right_words.bits, self.bound)
        return read_through(self.b, bits, side.runs(axes)[0][2], self.places,
                            self.tables.get(side))

    def _lay_out_rows(self, low: Expr, high: Expr) -> list:
        source, end = self._bits(self.left, self.rows), self.b.size(("positions",), self.count)
        words, i0 = self.left_words, self.i0
        number = i0 - self.row_span[0]
        if self.in_rows:
            to, step = Target(self.laid, WORD, number * self.pitch, self.pitch), 1
            body = lay_out_row(words, source, to, i0, low, high, end)
        else:
            to, step = Target(self.laid, WORD, self._strip_of(low, high), LANES), LANES
            body = lay_out_words(words, source, to, i0, self.row_count, low, high, end)
        rows = Loop(i0, *self.row_span, self._each_rows(number, body), "serial", step)
        return self._noting(words, self.least_of_rows, [rows])

    def _each_rows(self, number: Expr, body: list) -> list:
        """What lays out a row, or a strip from a row on, and what else is to be kept of it."""
        return body

    def _lay_out_panel(self, low: Expr, high: Expr) -> list:
        if self.way == BEFORE:
            return self._noted()
        words, width = self.right_words, self.tiling.width
        to = Target(self.panel_laid, WORD, ZERO, width)
        body = lay_out_words(words, self._bits(self.right, self.columns), to, self.panel * width,
                             self.column_count, low, high,
                             self.b.size(("positions",), self.count))
        both = [Set(self.least, scalar.minimum(self.least, self.least_of_rows))]
        return self._noting(words, self.least, body) + (both if words.note is not None else [])

    @staticmethod
    def _noting(words: Form, register: Expr, body: list) -> list:
        """The body, and what it has noted in a register."""
        if words.note is None:
            return body
        return [*words.begin, *body, Set(register, words.note)]

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
        columns = [self.right_load(k, v, low, True) for v in range(self.tiling.vectors)]
        first, step = (self.i0 - self.row_span[0]) * self.pitch + (k - low), self.pitch
        if not self.in_rows:
            row = (self.i0 - self.row_span[0]) % LANES
            first, step = self._strip_of(low, high) + (k - low) * LANES + row, 1
        return lambda r: expr.load(self.laid, first + r * step, WORD), columns
