"""More steps of random programs: scans, sorts, searches, scatters, any op's own samples, and the
transforms around a whole program."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lamella.base import dtypes
from lamella.base.errors import LamellaError
from lamella.ir.node import Node, literal, make, placeholder
from lamella.ir.op import all_ops
from lamella.ir.program import Program
from lamella.ir.types import TupleType, tensor
from lamella.ops import bisect, cumulative, index
from lamella.ops import sort as order
from lamella.transform.jvp import pushforward
from lamella.transform.vjp import pullback
from lamella.transform.vmap import batch

MONOIDS = ("set", "sum", "prod", "max", "min")


@lru_cache(None)
def _samples(op) -> list:
    return list(op.samples())


_SAMPLED = [op for op in all_ops() if op.samples is not None and "host" not in op.facts]


class Steps:
    """Mixed into a Maker."""

    def scanned(self) -> None:
        x = self.value(lambda n: n.type.rank > 0 and n.dtype is not dtypes.bool_)
        if x is None:
            return
        names = {"exact": ("sum", "max", "min"), "smooth": ("sum", "logsumexp", "prod"),
                 "wild": ("sum", "prod", "max", "min", "logsumexp")}[self.manner]
        monoid = self.random.choice(names)
        if monoid == "logsumexp" and not x.dtype.is_float:
            monoid = "sum"
        axis = self.random.randrange(x.type.rank)
        exclusive = self.chance(0.3) and not (self.manner != "wild" and monoid in (
            "max", "min", "logsumexp"))
        if self.manner == "smooth" and monoid == "prod":
            x = make(self.op("tanh"), (x,), {})
        y = cumulative.cumulative(x, axis, monoid, exclusive, self.chance(0.4))
        if self.manner == "smooth" and monoid == "sum":
            y = y * (1.0 / max(1, x.shape[axis]))
        self.add(y, self.of(x) * max(1, x.shape[axis]))

    def sorted_(self) -> None:
        x = self.value(lambda n: n.type.rank > 0)
        if x is None or self.manner == "smooth":
            return
        axis, down = self.random.randrange(x.type.rank), self.chance(0.4)
        if self.chance(0.5):
            self.add(order.sort(x, axis, down), self.of(x))
            return
        count = self.random.choice([x.shape[axis], x.shape[axis], x.shape[axis] // 9])
        at = order.argsort(x, axis, down, count)
        self.add(at)
        if count and self.chance(0.5):
            self.add(index.take_along(x, at, axis), self.of(x))

    def looked_up(self) -> None:
        x = self.value(lambda n: n.type.rank == 1)
        if x is None or self.manner == "smooth":
            return
        v = self.value(lambda n: n.dtype is x.dtype)
        self.add(bisect.searchsorted(order.sort(x, 0), v, self.chance(0.5)))

    def joined_at(self) -> None:
        """Slices of a value written at positions, which may have batch axes."""
        x = self.value(lambda n: n.type.rank > 0 and n.type.size != 0)
        if x is None or self.manner == "smooth" and x.dtype is dtypes.bool_:
            return
        axis = self.random.randrange(x.type.rank)
        lead = self.random.randint(0, axis)
        places = (*x.shape[:lead], *self.pick((), (3,), (17,), (2, 2), (0,)))
        shape = (*x.shape[:axis], *places[lead:], *x.shape[axis + 1:])
        if np.prod(shape) > 20_000:
            return
        at = self.indices(places)
        if self.chance(0.3):
            self.add(index.take(x, at, axis, lead), self.of(x))
            return
        monoid = self.random.choice(MONOIDS)
        if self.manner == "smooth" and monoid in ("prod", "max", "min"):
            monoid = "sum"
        if x.dtype is dtypes.bool_ and monoid in ("sum", "prod"):
            monoid = "set"
        u = self.new_input(shape, x.dtype)
        if u is None:
            return
        count = max(1, int(np.prod(places[lead:])))
        bound = max(self.of(x), 3.0) * (count + 1)
        if monoid == "prod":
            bound = min(max(self.of(x), 1.0), 1e3) * 3.0 ** min(count, 60)
        y = index.scatter(x, at, u, axis, monoid, lead)
        self.add(y * (1.0 / (count + 1)) if self.manner == "smooth" else y, bound)

    def sampled(self) -> None:
        """Any op, on inputs as in its own samples."""
        if self.manner != "wild":
            return
        op = self.random.choice(_SAMPLED)
        params, arrays = self.random.choice(_samples(op))
        arrays = [np.asarray(a) for a in arrays]
        if sum(a.size for a in arrays) > 20_000:
            return
        inputs = []
        for a in arrays:
            node = placeholder(tensor(dtypes.as_dtype(a.dtype), a.shape), f"x{len(self.inputs)}")
            inputs.append(node)
            self.inputs.append(node)
            self.arrays.append(a)
        y = make(op, tuple(inputs), params)
        if not isinstance(y.type, TupleType) and y.dtype in (*dtypes.FLOATS, *dtypes.INTS,
                                                             dtypes.bool_):
            self.add(y)

    # -- around the whole program --

    def derived(self, target: Node) -> list[Node]:
        """Derivatives of a value by the floating inputs: reverse, forward, and one of another."""
        wanted = [i for i in self.inputs if i.dtype.is_float]
        if self.manner == "exact" or not target.dtype.is_float or not wanted:
            return []
        size = 1.0 / max(1, int(np.prod(target.shape)))
        seed = literal(size, target.dtype, target.shape)
        kind = self.pick("none", "reverse", "reverse", "forward", "twice", "mixed")
        try:
            if kind == "none":
                return []
            ones = [literal(1, i.dtype, i.shape) for i in wanted]
            if kind == "forward":
                return pushforward([target * size], wanted, ones)
            first = pullback([target], wanted, [seed])
            if kind == "reverse" or self.manner == "smooth":
                return first
            if kind == "mixed":
                return pushforward(first, wanted, ones)
            return pullback(first[:1], wanted, [literal(1, first[0].dtype, first[0].shape)])
        except LamellaError as e:
            assert "no derivative" in str(e), e
            return []

    def transformed(self, program: Program) -> Program:
        """Batched, derived once more, and batched again, each rarely."""
        program = self.batched(program)
        if self.manner == "wild" and self.chance(0.15) and len(program.nodes()) < 120:
            target = self.random.choice(program.outputs)
            if not isinstance(target.type, TupleType):
                found = [*program.outputs, *self.derived(target)]
                program = Program(self.inputs, found, program.name)
        return self.batched(program) if len(program.nodes()) < 200 else program

    def batched(self, program: Program) -> Program:
        """The program over a batch of some of its inputs, or itself."""
        flags = [self.chance(0.6) for _ in self.inputs]
        if not self.chance(0.3) or not any(flags) or any(
                isinstance(o.type, TupleType) for o in program.outputs):
            return program
        extent = self.pick(0, 1, 1, 2, 2, 2, 3, 3, 3)
        old = [i for i, flag in zip(self.inputs, flags, strict=True) if flag]
        new = [placeholder(tensor(i.dtype, (extent, *i.shape)), i.params["name"]) for i in old]
        try:
            outputs = batch(program.outputs, old, new, extent)
        except LamellaError as e:
            assert "inside vmap" in str(e), e
            return program
        moved = dict(zip(map(id, old), new, strict=True))
        self.arrays = [_rolled(a, extent) if flag else a
                       for a, flag in zip(self.arrays, flags, strict=True)]
        self.inputs = [moved.get(id(i), i) for i in self.inputs]
        return Program(self.inputs, outputs, program.name)


def _rolled(a: np.ndarray, extent: int) -> np.ndarray:
    """A batch of a and its elements rolled by 1, 2, ..."""
    rolled = [np.roll(a.reshape(-1), k).reshape(a.shape) for k in range(extent)]
    return np.stack(rolled) if rolled else np.zeros((0, *a.shape), a.dtype)
