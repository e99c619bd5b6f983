"""A square of vectors transposed in registers, by shuffles of two vectors at a time."""

from __future__ import annotations

from collections.abc import Callable

from ..lang.loops import LANES

Shuffle = Callable[[str, str, tuple[int, ...]], str]


def _lanes(pick: Callable[[int, int], int]) -> list[tuple[int, ...]]:
    """For each half h, what every lane of the result takes."""
    return [tuple(pick(lane, h) for lane in range(LANES)) for h in (0, 1)]


# Of two vectors a, b (lanes of b count from LANES). In each quarter of four lanes: the lower or the
# upper halves, element by element or pair by pair. Of whole quarters: the even or the odd ones.
_SINGLE = _lanes(lambda x, h: x // 4 * 4 + 2 * h + x % 4 // 2 + LANES * (x % 2))
_PAIR = _lanes(lambda x, h: x // 4 * 4 + 2 * h + x % 2 + LANES * (x % 4 // 2))
_QUARTER = _lanes(lambda x, h: (x // 4 % 2 * 2 + h) * 4 + x % 4 + LANES * (x // 8))


def transpose(rows: list[str], shuffled: Shuffle) -> list[str]:
    """The columns of LANES rows: four rounds, each of which is one instruction per vector."""
    singles = _round(rows, 1, _SINGLE, shuffled)
    squares = _round(singles, 2, _PAIR, shuffled)   # of each four rows, columns c, c + 4, ...
    found = list(rows)
    for c in range(4):
        place = 2 * (c % 2) + c // 2                 # where the rounds have left column c of four
        a, b, x, y = (squares[4 * g + place] for g in range(4))
        low, high = [[shuffled(p, q, lanes) for lanes in _QUARTER] for p, q in ((a, b), (x, y))]
        for h in (0, 1):
            for odd in (0, 1):
                found[4 * (h + 2 * odd) + c] = shuffled(low[h], high[h], _QUARTER[odd])
    return found


def _round(rows: list[str], step: int, lanes: list[tuple[int, ...]],
           shuffled: Shuffle) -> list[str]:
    """Pairs of rows `step` apart: the first gets the lower halves of both, the other the upper."""
    found = list(rows)
    for k in range(LANES):
        if not k & step:
            a, b = rows[k], rows[k + step]
            found[k], found[k + step] = (shuffled(a, b, m) for m in lanes)
    return found
