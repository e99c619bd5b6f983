"""Random loops and choices for `random_programs`: a few carries, slices and constants, nested."""

from __future__ import annotations

from collections.abc import Sequence

from lamella.base import dtypes
from lamella.ir.node import Node, literal, make, placeholder
from lamella.ir.op import op_named
from lamella.ir.program import Program
from lamella.ops.control import cond, while_loop
from lamella.ops.pointwise import apply
from lamella.ops.scan import scan

TRIPS = (0, 1, 2, 3, 5)
DEEPEST = 2


def of_types(nodes: Sequence[Node]) -> list[Node]:
    return [placeholder(n.type) for n in nodes]


class Control:
    """The part of a Maker that grows control flow; a body is made of values of one type."""

    def looped(self) -> None:
        x = self.floating(1)
        if x is None or x.type.rank > 3 or x.type.size > 5000:
            return
        if x.shape[0] > 6:
            x = self.new_input((self.pick(*TRIPS), *x.shape[1:]), x.dtype)
        bound, length = self.of(x), x.shape[0]
        like = self.new_input(x.shape[1:], x.dtype)
        other = self.new_input(x.shape[1:], x.dtype)
        number = literal(self.pick(0, 3), dtypes.int32)
        const, a, b, i, slice_ = given = of_types([other, like, like, number, like])
        first = self.inside(a, slice_, const, i, 0)
        second = self.pick(a, self.inside(b, const, slice_, i, 1), slice_)
        ys = [self.pick(a, b, first, slice_), self.inside(first, b, slice_, i, DEEPEST)]
        body = Program(given, [first, second, i + 1, *ys], "body")
        results = scan(body, length, [other], [like, other, number], [x], self.chance(0.4),
                       self.pick("carries", "all"))
        for n in self.random.sample(results, 3):
            if n.dtype is x.dtype:
                self.add(n, (max(bound, 3.0) + 3.0) * 4.0 ** (2 * length + 2))

    def counted(self) -> None:
        """An open loop that ends by a count."""
        x = self.floating()
        if x is None or x.type.size > 5000:
            return
        number = literal(self.pick(0, 1, 4), dtypes.int32)
        c, i, left = of_types([x, number, number])
        body = Program([left, c, i], [self.inside(c, c, c, i, 0), i + 1], "body")
        ask = of_types([number, x, number])
        condition = Program(ask, [apply("lt", ask[2], ask[0])], "condition")
        found = while_loop(condition, body, [number], [x, literal(0, dtypes.int32)])[0]
        self.add(found, (self.of(x) + 3.0) * 4.0 ** 9)

    def chosen(self) -> None:
        x = self.floating()
        if x is None or x.type.size > 5000:
            return
        y = self.new_input(x.shape, x.dtype)
        count = self.pick(2, 3)
        flags = self.new_input((count - 1,), dtypes.bool_)
        number = literal(1, dtypes.int32)
        branches = []
        for _ in range(count):
            a, b = given = of_types([x, y])
            branches.append(Program(given, [self.inside(a, b, a, number, 1), self.pick(a, b)],
                                    "branch"))
        for n in cond(flags, branches, [x, y]):
            self.add(n, (self.of(x) + 3.0) * 4.0)

    def inside(self, c: Node, x: Node, w: Node, i: Node, depth: int) -> Node:
        """A value of c's type from c, x and w (of that type too) and a number."""
        if depth < DEEPEST and self.chance(0.3):
            return self.nested(c, x, w, i, depth + 1)
        if self.manner == "smooth":
            kind = self.pick("tanh", "mixed", "sum")
            if kind == "tanh":
                return apply("tanh", c + x)
            return c * 0.5 + apply("sin", x) * w if kind == "mixed" else (c + x) * 0.25 + w
        kind = self.pick("max", "add", "where", "neg", "min")
        if kind in ("max", "min"):
            return apply(kind, c, x)
        if kind == "where":
            return apply("where", apply("lt", x, w), c, w)
        return c + x if kind == "add" else apply("neg", c) - w

    def nested(self, c: Node, x: Node, w: Node, i: Node, depth: int) -> Node:
        """A choice by the number's last bit, or a loop of two trips."""
        if self.chance(0.5):
            even = apply("eq", apply("and", i, literal(1, dtypes.int32)), literal(0, dtypes.int32))
            flag = make(op_named("reshape"), (even,), {"shape": (1,)})
            branches = []
            for _ in range(2):
                given = of_types([c, x, w, i])
                branches.append(Program(given, [self.inside(*given, depth)], "branch"))
            return cond(flag, branches, [c, x, w, i])[0]
        given = of_types([x, w, i, c])
        body = Program(given, [self.inside(given[3], *given[:3], depth)], "inner")
        return scan(body, 2, [x, w, i], [c], [])[0]
