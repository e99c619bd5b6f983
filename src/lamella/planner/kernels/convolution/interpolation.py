"""Winograd's algorithms for 3 x 3 taps, along one axis: what tiles of the image, taps, cotangents
and sums become. A product of polynomials is computed at points (their values, multiplied) and
interpolated; an algorithm for m pixels takes m + 2 points, the last of them at infinity.

F2 is part of a convolution's meaning (docs/numerics.md, rule W); F4 is one of `fast` mode's. Its
points 0, +-3/2, +-11/16 were searched among sixteenths for the least error; they and what follows
from them by products are exact (Barabasz et al., "Error analysis and improving the accuracy of
Winograd convolution for deep neural networks", ACM TOMS 2020).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ....base import dtypes
from ....lang import expr, scalar
from ....lang.expr import Expr, lit
from ....lang.loops import LANES, Set

F32 = dtypes.float32

Along = Callable[[Sequence[Expr]], tuple[Expr, ...]]


class Algorithm(NamedTuple):
    """The transformations along an axis: `of_image` takes a tile's places to as many points,
    `of_weights` three taps to points, `to_pixels` the sums at points to `pixels`; for the gradient
    `of_cotangent` pixels to points, `to_weights` sums at points to taps."""

    pixels: int
    of_image: Along
    of_weights: Along
    to_pixels: Along
    of_cotangent: Along
    to_weights: Along

    @property
    def places(self) -> int:
        """The points of an axis, as many as a tile has places there."""
        return self.pixels + 2

    @property
    def points(self) -> int:
        """Those of a tile, each with a matrix product of its own."""
        return self.places ** 2


def transformed(table: list[list[Expr]], along: Along) -> tuple[list[Set], list[Expr]]:
    """A table of vectors under `along` of its columns, then of its rows: (the steps, the values in
    row-major order)."""
    sets, columns = [], []
    for j, column in enumerate(zip(*table, strict=True)):
        names = [expr.var(f"in{i}_{j}", F32, LANES) for i in range(len(column))]
        sets += [Set(x, e) for x, e in zip(names, column, strict=True)]
        found = along(names)
        names = [expr.var(f"mid{i}_{j}", F32, LANES) for i in range(len(found))]
        sets += [Set(x, e) for x, e in zip(names, found, strict=True)]
        columns.append(names)
    return sets, [x for line in zip(*columns, strict=True) for x in along(line)]


# ---- F(2x2, 3x3): points 0, 1, -1, infinity -----------------------------------------------------

def _image2(d):
    return d[0] - d[2], d[1] + d[2], d[2] - d[1], d[1] - d[3]


def _weights2(g):
    half, ends = lit(0.5, F32), g[0] + g[2]
    return g[0], (ends + g[1]) * half, (ends - g[1]) * half, g[2]


def _pixels2(m):
    return (m[0] + m[1]) + m[2], (m[1] - m[2]) - m[3]


def _cotangent2(e):
    return e[0], e[0] + e[1], e[0] - e[1], -e[1]


def _taps2(m):
    half = lit(0.5, F32)
    both = (m[1] + m[2]) * half
    return m[0] + both, (m[1] - m[2]) * half, both + m[3]


# ---- F(4x4, 3x3): points 0, a, -a, b, -b, infinity ----------------------------------------------

A, B = 3 / 2, 11 / 16
A2, B2 = A * A, B * B
_SUM, _PRODUCT = A2 + B2, A2 * B2       # x (x^2 - a^2) (x^2 - b^2) = x^5 - SUM x^3 + PRODUCT x
_AT_0, _AT_A, _AT_B = 1 / _PRODUCT, 1 / (2 * A2 * (A2 - B2)), 1 / (2 * B2 * (B2 - A2))


def _fma(c: float, x: Expr, y: Expr) -> Expr:
    return scalar.fma(lit(c, F32), x, y)


def _times(c: float, x: Expr) -> Expr:
    return lit(c, F32) * x


def _image4(d):
    even_a, odd_a = _fma(-B2, d[2], d[4]), _fma(-B2, d[1], d[3])
    even_b, odd_b = _fma(-A2, d[2], d[4]), _fma(-A2, d[1], d[3])
    return (_fma(_PRODUCT, d[0], _fma(-_SUM, d[2], d[4])),
            _fma(A, odd_a, even_a), _fma(-A, odd_a, even_a),
            _fma(B, odd_b, even_b), _fma(-B, odd_b, even_b),
            _fma(_PRODUCT, d[1], _fma(-_SUM, d[3], d[5])))


def _weights4(g):
    even_a, odd_a = _times(_AT_A, _fma(A2, g[2], g[0])), _times(A * _AT_A, g[1])
    even_b, odd_b = _times(_AT_B, _fma(B2, g[2], g[0])), _times(B * _AT_B, g[1])
    return (_times(_AT_0, g[0]), even_a + odd_a, even_a - odd_a, even_b + odd_b, even_b - odd_b,
            g[2])


def _pixels4(m):
    even_a, odd_a, even_b, odd_b = m[1] + m[2], m[1] - m[2], m[3] + m[4], m[3] - m[4]
    return ((m[0] + even_a) + even_b, _fma(A, odd_a, _times(B, odd_b)),
            _fma(A2, even_a, _times(B2, even_b)),
            _fma(A ** 3, odd_a, _fma(B ** 3, odd_b, m[5])))


def _cotangent4(e):
    even_a, odd_a = _fma(A2, e[2], e[0]), _fma(A2, e[3], e[1])
    even_b, odd_b = _fma(B2, e[2], e[0]), _fma(B2, e[3], e[1])
    return (e[0], _fma(A, odd_a, even_a), _fma(-A, odd_a, even_a),
            _fma(B, odd_b, even_b), _fma(-B, odd_b, even_b), e[3])


def _taps4(m):
    even_a, odd_a = _times(_AT_A, m[1] + m[2]), _times(A * _AT_A, m[1] - m[2])
    even_b, odd_b = _times(_AT_B, m[3] + m[4]), _times(B * _AT_B, m[3] - m[4])
    return (_fma(_AT_0, m[0], even_a + even_b), odd_a + odd_b,
            _fma(A2, even_a, _fma(B2, even_b, m[5])))


F2 = Algorithm(2, _image2, _weights2, _pixels2, _cotangent2, _taps2)
F4 = Algorithm(4, _image4, _weights4, _pixels4, _cotangent4, _taps4)
