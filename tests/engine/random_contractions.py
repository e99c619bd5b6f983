"""Random contractions: products, windows and near-convolutions over random indices."""

from __future__ import annotations

import random

import numpy as np

from lamella.base.errors import LamellaError
from lamella.ir.node import placeholder
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.ops.contract import contract, index_text
from lamella.ops.pointwise import apply

MOST = 2_000_000    # multiply-adds
Index = list[list[tuple[str, int]]]   # of each dimension, the axes and their steps


class Contraction:
    """The program of a number, over two operands; `program` and `arrays` are what it runs."""

    def __init__(self, number: int):
        self.rng = random.Random(number)
        while not self._made():
            pass
        values = np.random.default_rng(number)
        self.arrays = [values.standard_normal(n.shape, "float32") for n in self.program.inputs]

    def _made(self) -> bool:
        rng, form = self.rng, self.rng.random()
        make = self._forward if form < .25 else self._weights if form < .5 else self._product
        self.sizes: dict[str, int] = {}
        out, summed, sides = make()
        if not all(sides):
            return False
        if rng.random() < .15:  # an axis stands twice
            side = rng.choice(sides)
            side.append([rng.choice(rng.choice(side))])
        if np.prod([*self.sizes.values()], dtype=float) > MOST:
            return False
        may_leave = rng.choice((0, 0, 0, 1, 1, None, None))   # the operand that windows may leave
        written = [self._written(side, k == may_leave) for k, side in enumerate(sides)]
        if rng.random() < .3:
            written.reverse()
        nodes = [placeholder(tensor("float32", shape)) for _, shape in written]
        try:
            y = contract(*nodes, *(texts for texts, _ in written), out, summed, self.sizes)
        except LamellaError:
            return False
        self.program = Program(nodes, [apply("exp", y * 0.01)])
        return True

    def _steps(self) -> int:
        return self.rng.choice((1, -1))

    def _forward(self):
        """Like a convolution of 3 x 3 taps."""
        rng = self.rng
        self.sizes.update(r=3, s=3, c=rng.choice((32, 48)), f=rng.choice((32, 33)),
                          y=rng.randint(1, 6), x=rng.randint(1, 6))
        image = [[("y", 1), ("r", self._steps())], [("x", 1), ("s", self._steps())], [("c", 1)]]
        taps = [[("f", 1)], [("r", 1)], [("s", 1)], [("c", 1)]]
        more = self._more(rng.choice(("", "n", "nm")), image, taps)
        return [*more, "y", "x", "f"], ["r", "s", "c"], [image, taps]

    def _weights(self):
        """Like the gradient of a convolution for its weights."""
        rng = self.rng
        self.sizes.update(r=3, s=3, c=rng.choice((32, 48)), f=rng.choice((32, 33)),
                          n=rng.randint(1, 3), y=rng.randint(1, 6), x=rng.randint(1, 6))
        image = [[("n", 1)], [("y", 1), ("r", self._steps())], [("x", 1), ("s", self._steps())],
                 [("c", 1)]]
        cotangent = [[("n", 1)], [("y", 1)], [("x", 1)], [("f", 1)]]
        more = self._more(rng.choice(("", "g", "gm")), image, cotangent)
        return [*more, "f", "r", "s", "c"], ["n", "y", "x"], [image, cotangent]

    def _product(self):
        """Any axes, summed or not, each alone or beside another."""
        rng = self.rng
        names = list("abcdefg"[:rng.randint(2, 6)])
        rng.shuffle(names)
        cut = rng.randint(0, min(3, len(names) - 1))
        summed, out = names[:cut], names[cut:]
        sides: list[Index] = [[], []]
        for n in names:
            self.sizes[n] = rng.choice((1, 2, 3, 5, 8, 17, 33))
            for side in rng.choice((sides, sides[:1], sides[1:])) if n in out else sides:
                if side and len(side[-1]) < 2 and rng.random() < .35:
                    side[-1].append((n, rng.choice((1, 1, 2, -1))))
                else:
                    side.append([(n, rng.choice((1, 1, 1, 2)))])
        return out, summed, sides

    def _more(self, names: str, *sides: Index) -> list[str]:
        """Further axes of the result, put in one operand or both, alone, stepping or added."""
        rng = self.rng
        for n in names:
            self.sizes[n] = rng.randint(1, 3)
            for side in rng.choice((sides, sides[:1], sides[1:])):
                how = rng.random()
                if how < .6:
                    side.insert(rng.randint(0, len(side)), [(n, 1)])
                elif how < .8:
                    side.insert(0, [(n, rng.choice((2, 1)))])
                else:
                    side[rng.randrange(len(side))].append((n, 1))
        return list(names)

    def _written(self, side: Index, may_leave: bool) -> tuple[list[str], tuple[int, ...]]:
        """(the text of each index, the operand's shape): it holds all places, or nearly."""
        texts, shape = [], []
        for terms in side:
            merged = {n: sum(k for m, k in terms if m == n) for n, _ in terms}
            form = [(n, k) for n, k in merged.items() if k] or [(terms[0][0], 1)]
            spans = [k * (self.sizes[n] - 1) for n, k in form]
            start, extent = -sum(min(0, s) for s in spans), 1 + sum(map(abs, spans))
            if may_leave and (len(form) > 1 or form[0][1] != 1 or self.rng.random() < .05):
                start += self.rng.randint(-2, 1)
                extent = max(1, extent + self.rng.randint(-1, 1))
            plain = start == 0 and len(form) == 1 and form[0][1] == 1
            texts.append(index_text(start, form))
            shape.append(self.sizes[form[0][0]] if plain else extent)
        return texts, tuple(shape)
