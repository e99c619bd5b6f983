"""Operands laid out in words of several neighbouring positions, for instructions that multiply and
add whole words.

A word has `per` elements of few bits. In memory the earlier position is in the lower bits; what a
form turns a word into is its own matter. Where neighbouring positions are neighbours in memory,
words are loaded whole; else they are joined from elements that lie a stride apart.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from ...base import dtypes
from ...base.extents import Extent
from ...lang import scalar
from ...lang.expr import Expr, lit, load, var
from ...lang.loops import LANES, Loop, Set, Store, When, index_var, lane_index, transposed
from .panel import Source, Target

WORD = dtypes.int32
ZERO = lit(0, dtypes.index)


class Form(NamedTuple):
    """Words of `per` elements, which are read as their `bits` without a sign. `turned` is a word of
    memory as it is laid out. `begin` goes before the words of an operand, `seen(word)` behind each
    vector of them, and `note` is what is known of them all then. Where words are taken `deep` at a
    time, those behind the operand's end are zeros."""

    per: int
    bits: dtypes.DType
    turned: Callable[[Expr], Expr]
    begin: tuple = ()
    seen: Callable[[Expr], list] = lambda word: []
    note: Expr | None = None
    deep: int = 1

    def words(self, count: Extent) -> Extent:
        """How many words so many positions are laid out in."""
        whole = self.per * self.deep
        return (count + (whole - 1)) // whole * self.deep


class Positions(NamedTuple):
    """Words low..high of an operand that has `end` positions; `whole` words have all of theirs."""

    low: Expr
    high: Expr
    end: Expr
    whole: Expr


def _positions(form: Form, low: Expr, high: Expr, end: Expr) -> tuple[list, Positions]:
    """(statements, these words)."""
    whole = index_var("pwhole")
    return [Set(whole, scalar.minimum(high, end // form.per))], Positions(low, high, end, whole)


def lay_out_words(form: Form, s: Source, to: Target, first: Expr, count: Expr, low: Expr,
                  high: Expr, end: Expr) -> list:
    """As `panel.lay_out`, word by word: words low..high of the places first, first + 1, ... before
    `count`, of an operand that has `end` positions."""
    before, p = _positions(form, low, high, end)
    if s.along and s.step is not lit(1, dtypes.index):
        return [*before, *_squares(form, s, to, first, count, p)]
    k = index_var("pp")
    body = _joined(form, s, to, first, count, k, p, False)
    return [*before, Loop(k, p.low, p.whole, body, "serial"), *_last(form, s, to, first, count, p)]


def lay_out_row(form: Form, s: Source, to: Target, place: Expr, low: Expr, high: Expr,
                end: Expr) -> list:
    """Words low..high of a place, behind each other; its positions are neighbours in memory."""
    before, p = _positions(form, low, high, end)
    k, word, full = index_var("pp"), var("word", WORD, LANES), index_var("pfull")
    start = s.start + place * s.step

    def words(k: Expr, inside: tuple) -> list:
        x = load(s.name, start + s.at(k * form.per), WORD, LANES, *inside)
        return [Set(word, form.turned(x)), Store(to.name, to.base + k - p.low, word),
                *form.seen(word)]

    last, at = var("lastword", WORD), p.whole * form.per
    elements = [load(s.name, start + s.at(at + n), s.dtype, 1, at + n < p.end, 0)
                for n in range(form.per)]
    alone = scalar.where(scalar.eq(lane_index(), 0), last, form.turned(lit(0, WORD)))
    masked = words(k, (k + lane_index() < p.whole, 0))
    return [*before, Set(full, p.low + (p.whole - p.low) // LANES * LANES),
            Loop(k, p.low, full, words(k, ()), "serial", LANES),
            Loop(k, full, p.high, masked, "serial", LANES) if form.deep > 1 else
            When(full < p.whole, [Set(k, full), *masked]),
            When(p.whole * form.per < p.end if form.deep > 1 else p.whole < p.high, [
                Set(last, _word(form, elements)), Set(word, alone),
                Store(to.name, to.base + p.whole - p.low, last), *form.seen(word)])]


def lay_out_turned(form: Form, s: Source, to: Target, first: Expr, count: Expr, low: Expr,
                   high: Expr, end: Expr) -> list:
    """As `lay_out_row`, of LANES places, whose positions are no neighbours in memory: squares of
    words turn. `to.pitch` is that of a place; words come LANES at a time."""
    k, full = index_var("pp"), index_var("pfull")
    rows = [var(f"word{n}", WORD, LANES) for n in range(LANES)]
    p = Positions(low, high, end, high)

    def square(tail: bool) -> list:
        return [*(Set(x, _word_of_all(form, s, first + lane_index(), count, k + n, p, tail))
                  for n, x in enumerate(rows)),
                *(Store(to.name, to.base + n * to.pitch + k - low, transposed(rows, n))
                  for n in range(LANES))]

    return [Set(full, low + scalar.minimum(high - low, (end // form.per - low) // LANES * LANES)),
            Loop(k, low, full, square(False), "serial", LANES),
            Loop(k, full, high, square(True), "serial", LANES)]


def _squares(form: Form, s: Source, to: Target, first: Expr, count: Expr, p: Positions) -> list:
    """Squares of LANES places by LANES words turn."""
    k, v, full = index_var("pp"), index_var("pv"), index_var("pfull")
    used = min(LANES, to.pitch)

    def square(k: Expr, inside: tuple, end: Expr | None = None) -> list:
        rows, out = [], []
        for lane in range(LANES):
            place = scalar.minimum(first + v + min(lane, used - 1), count - 1)
            x = load(s.name, s.start + place * s.step + s.at(k * form.per), WORD, LANES, *inside)
            rows.append(var(f"word{lane}", WORD, LANES))
            out += [Set(rows[-1], form.turned(x)), *form.seen(rows[-1])]
        return out + [Store(to.name, to.base + (k - p.low + n) * to.pitch + v, transposed(rows, n),
                            None if end is None else k + n < end) for n in range(LANES)]

    body = [Loop(k, p.low, full, square(k, ()), "serial", LANES),
            When(full < p.whole, square(full, (full + lane_index() < p.whole, 0), p.whole))]
    return [Set(full, p.low + (p.whole - p.low) // LANES * LANES),
            Loop(v, ZERO, lit(to.pitch, dtypes.index), body, "serial", LANES),
            *_last(form, s, to, first, count, p)]


def _last(form: Form, s: Source, to: Target, first: Expr, count: Expr, p: Positions) -> list:
    """The word that is not whole, if there is one, and those behind it."""
    if form.deep > 1:
        k = index_var("pl")
        return [Loop(k, p.whole, p.high, _joined(form, s, to, first, count, k, p, True), "serial")]
    return [When(p.whole < p.high, _joined(form, s, to, first, count, p.whole, p, True))]


def _joined(form: Form, s: Source, to: Target, first: Expr, count: Expr, k: Expr, p: Positions,
            tail: bool) -> list:
    """Word k of all places, joined from its elements."""
    out: list = []
    for v in range(0, to.pitch, LANES):
        word = var(f"word{v}", WORD, LANES)
        found = _word_of_all(form, s, first + v + lane_index(), count, k, p, tail)
        out += [Set(word, found), Store(to.name, to.base + (k - p.low) * to.pitch + v, word),
                *form.seen(word)]
    return out


def _word_of_all(form: Form, s: Source, place: Expr, count: Expr, k: Expr, p: Positions,
                 tail: bool) -> Expr:
    """Word k of the places, zeros for those from `count` on; in the `tail` the operand may end."""
    elements, start = [], s.start + place * s.step
    for n in range(form.per):
        at, inside = k * form.per + n, place < count
        if tail and (n or form.deep > 1):
            inside, at = inside & (at < p.end), scalar.minimum(at, p.end - 1)
        elements.append(load(s.name, start + s.at(at), s.dtype, LANES, inside, 0))
    return _word(form, elements)


def _word(form: Form, elements: list[Expr]) -> Expr:
    """The word of these elements, as it is laid out."""
    word = scalar.cast(elements[0], WORD)
    for n, x in enumerate(elements[1:], 1):
        word = word | scalar.cast(x, WORD) << n * (32 // form.per)
    return form.turned(word)
