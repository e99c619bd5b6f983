"""Random kernels: nested loops of every kind, conditions, carried registers, changing memory."""

import random

import numpy as np
import pytest
from codegen.machine import check

from lamella.base.dtypes import float32, index
from lamella.lang import scalar
from lamella.lang.expr import lit, load, var
from lamella.lang.loops import (
    LANES,
    Buffer,
    Kernel,
    Loop,
    Set,
    Store,
    When,
    index_var,
    lane_index,
    lane_tree,
)

SPACE = 8192  # offsets stay below it
N = index_var("n")
BUFFERS = [Buffer("x", float32), Buffer("z", float32, True),
           Buffer("s", float32, True, "scratch", lit(SPACE, index))]


class Maker:
    """Makes statements that follow the rules of the loop level."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.registers: list[tuple] = []   # (register, whether it may hold a vector)
        self.counters: list = []           # loop variables in scope
        self.lanes = None                  # the vector loop's variable
        self.outer = 0                     # registers before the vector loop
        self.names = 0

    def pick(self, *options):
        return self.random.choice(options)

    def kernel(self) -> Kernel:
        body = [Set(self.fresh(1), lit(0.5, float32))] + self.body(2)
        body += [Store("z", lit(k * LANES, index), r) for k, (r, _) in enumerate(self.registers)]
        if self.pick(True, False):
            t = index_var("t")
            self.registers, self.counters = [], [t]
            body = [Loop(t, lit(0, index), lit(0, index), [*body, *self.body(1)], "parallel")]
        return Kernel("random", BUFFERS, [N], body)

    def fresh(self, lanes: int):
        self.names += 1
        r = var(f"r{self.names}", float32, lanes)
        self.registers.append((r, lanes > 1 or self.lanes is not None))
        return r

    def body(self, depth: int) -> list:
        """A few statements; registers first set in them are gone afterwards."""
        return [s for _ in range(self.random.randint(1, 3)) for s in [self.statement(depth)]]

    def nested(self, depth: int, counter=None) -> list:
        registers, counters = list(self.registers), list(self.counters)
        if counter is not None:
            self.counters.append(counter)
        body = self.body(depth - 1)
        self.registers, self.counters = registers, counters
        return body

    def statement(self, depth: int):
        kinds = ["set", "set", "set", "store", "store"]
        if depth:
            kinds += ["serial", "serial", "when", "unroll"] + ["vector"] * 2 * (self.lanes is None)
        return getattr(self, self.pick(*kinds))(depth)

    def set(self, depth: int):
        vector = self.lanes is not None
        choices = [r for r, _ in self.registers]
        if choices and self.random.random() < 0.7:
            r = self.pick(*choices)
            wide = r.attr[1] == LANES or (vector and (r, True) in self.registers[self.outer:])
            return Set(r, self.value(2, wide))
        value = self.value(2, True) if vector else None
        if vector:
            return Set(self.fresh(1), value)
        lanes = self.pick(1, LANES)
        value = self.value(2, lanes > 1)
        return Set(self.fresh(lanes), value)

    def store(self, depth: int):
        buffer, wide = self.pick("z", "s"), self.pick(True, False) or self.lanes is not None
        cond = None
        if self.random.random() < 0.3:
            cond = scalar.lt(self.index(wide and self.lanes is not None), self.index(False))
        return Store(buffer, self.index(wide), self.value(2, wide), cond)

    def serial(self, depth: int):
        self.names += 1
        counter = index_var(f"j{self.names}")
        low, high = self.pick((0, 3), (2, 5), (1, 1), (0, N), (N // 2, N), (N, N * 2), (0, N // 3))
        low, high = (lit(e, index) if isinstance(e, int) else e for e in (low, high))
        return Loop(counter, low, high, self.nested(depth, counter), "serial", self.pick(1, 1, 3))

    def unroll(self, depth: int):
        self.names += 1
        counter = index_var(f"u{self.names}")
        return Loop(counter, lit(1, index), lit(4, index), self.nested(depth, counter), "unroll",
                    self.pick(1, 2))

    def vector(self, depth: int):
        v = index_var("v")
        low, high = self.pick((0, N), (0, N * 16), (0, 16), (0, 21), (0, 5), (3, N), (N, N + 18))
        low, high = (lit(e, index) if isinstance(e, int) else e for e in (low, high))
        self.lanes, self.outer = v, len(self.registers)
        body = self.nested(depth, v)
        self.lanes = None
        return Loop(v, low, high, body, "vector")

    def when(self, depth: int):
        return When(scalar.lt(self.index(False), self.index(False)), self.nested(depth))

    def index(self, wide: bool):
        """A small index that is not negative: often affine, at times neither."""
        e = self.pick(lit(0, index), lit(5, index), N)
        for c in self.counters:
            if c is not self.lanes or wide:
                e = self.pick(e, e + c, e + c * 3, c * 2 + e, e + c // 3, e + (c % 7) * 2,
                              e + (c + 1) * N if c is not self.lanes else e + c)
        if wide and self.lanes is None and self.random.random() < 0.2:
            e = e + lane_index() * self.pick(1, 2)
        return e % 500 if self.random.random() < 0.2 else e

    def load(self, wide: bool):
        buffer, lanes = self.pick("x", "x", "z", "s"), 1
        if wide and self.lanes is None:
            lanes = LANES
        if self.random.random() < 0.25:
            cond = scalar.lt(self.index(wide), self.index(wide and self.pick(True, False)))
            return load(buffer, self.index(wide), float32, lanes, cond, self.pick(0, 1.5))
        return load(buffer, self.index(wide), float32, lanes)

    def value(self, depth: int, wide: bool):
        if depth == 0 or self.random.random() < 0.2:
            known = [r for r, vector in self.registers if wide or not vector]
            options = [self.load(wide), lit(0.25, float32),
                       scalar.cast(self.index(wide), float32)] + known * 2
            return self.pick(*options)
        a, b = self.value(depth - 1, wide), self.value(depth - 1, wide)
        which = self.random.randrange(7)
        if which == 0 and self.lanes is None:
            return lane_tree(self.pick("sum", "max"), self.value(depth - 1, True))
        if which == 1:
            return scalar.where(scalar.lt(a, b), b, a * 0.5)
        if which == 2:
            return scalar.fma(a, lit(0.5, float32), b)
        return self.pick(a + b * 0.25, a - b, scalar.maximum(a, b), abs(a) * 0.125 + b)


def check_seed(seed: int) -> None:
    kernel = Maker(seed).kernel()
    rng = np.random.default_rng(seed)
    arrays = {"x": rng.standard_normal(SPACE).astype(np.float32),
              "z": rng.standard_normal(SPACE).astype(np.float32)}
    check(kernel, arrays, [seed % 21], 0, 1 + seed % 3)


@pytest.mark.parametrize("seed", range(40))
def test_random_kernels_equal_the_interpreter(seed):
    check_seed(seed)
