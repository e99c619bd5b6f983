"""Random programs over every family of ops, with awkward shapes and views between them.

Three manners: `exact` (floats hold small integers and no op rounds, so the reference interpreter
must agree to the last bit), `smooth` (bounded functions of ordinary numbers: it agrees within a
tolerance) and `wild` (NaN, infinities, denormals, every function: only bits can be compared).
"""

from __future__ import annotations

import random
from collections.abc import Callable

import numpy as np
from engine.random_control import Control
from engine.random_steps import Steps

from lamella import ops  # noqa: F401  (defines the ops)
from lamella.base import dtypes
from lamella.ir.node import Node, literal, make, placeholder
from lamella.ir.op import op_named
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.lang import scalar
from lamella.ops import index, move, reduce, window
from lamella.ops.contract import contract
from lamella.ops.pointwise import apply, cast

MOST = 40_000           # elements of one value
MOST_WORK = 3_000_000   # multiply-adds of one contraction
SMALL = (0, 1, 1, 2, 3, 5, 15, 16, 17, 33, 65)
LONG = (127, 1024, 1025, 2049, 4097, 8200)
EXACT = {"float32": 2.0 ** 24, "float64": 2.0 ** 50, "bfloat16": 2.0 ** 8, "float16": 2.0 ** 11}
AWKWARD = (np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-40, -1e-42, 1.2e-38, 3e38, -3e38, 1.0, -1.0)

EXACT_UNARY = ("neg", "abs", "sign", "floor", "ceil", "round", "trunc", "relu", "stop_gradient")
SMOOTH_UNARY = ("neg", "sin", "cos", "tanh", "sigmoid", "erf", "gelu", "silu", "stop_gradient")


class Maker(Steps, Control):
    """Makes one program from a seed; `program` and `arrays` are what came out.

    A variant has other extents and numbers and, where they allow it, the same steps: kernels take
    extents as arguments, so that programs of one seed share most of theirs.
    """

    def __init__(self, seed: int, manner: str, variant: int = 0):
        self.random, self.numbers = random.Random(seed), np.random.default_rng((seed, variant))
        self.manner = manner
        self.dims = [self.random.choice(SMALL) for _ in range(3)]
        self.dims.append(self.random.choice(SMALL + LONG))
        kinds = ["float32"] * 8 + (["float64", "bfloat16", "float16", "int32"] if manner != "smooth"
                                   else ["float64"])
        self.dtype = dtypes.by_name(self.random.choice(kinds))
        self.inputs: list[Node] = []
        self.arrays: list[np.ndarray] = []
        self.pool: list[Node] = []
        self.bound: dict[int, float] = {}
        if variant:
            self.dims = self.other_dims(random.Random(f"{seed} {variant}"), variant % 4 == 0)
        for _ in range(self.random.randint(1, 3)):
            other_dtype = dtypes.by_name(self.random.choice(kinds))
            self.new_input(self.shape(), other_dtype if self.chance(0.25) else self.dtype)
        for k in range(self.random.randint(2, 16)):
            self.random.seed(f"{seed} step {k}")  # what a step takes is not missed by later ones
            self.step()
        self.random.seed(f"{seed} end")
        self.program = self.transformed(Program(self.inputs, self.outputs(), "random"))

    op = staticmethod(op_named)

    # -- choices --

    def pick(self, *options):
        return self.random.choice(options)

    def chance(self, p: float) -> bool:
        return self.random.random() < p

    def other_dims(self, choices: random.Random, free: bool) -> list[int]:
        """Extents in place of the program's; 0 and 1, which kernels of their own serve, change
        only if `free`."""
        options = [[o for o in among if free or o > 1] for among in (SMALL, SMALL + LONG)]
        return [e if e < 2 and not free else choices.choice(options[k == 3])
                for k, e in enumerate(self.dims)]

    def shape(self) -> tuple[int, ...]:
        """Up to four of the program's extents, within the bound on elements."""
        shape: list[int] = []
        for _ in range(self.random.randint(0, 4)):
            e = self.random.choice(self.dims)
            if _count((*shape, e)) <= MOST:
                shape.append(e)
        return tuple(shape)

    def value(self, keep: Callable[[Node], bool] = lambda n: True) -> Node | None:
        """A value made before, the later ones more often."""
        found = [n for n in self.pool if keep(n)]
        return self.random.choice(found[-6:] if self.chance(0.7) else found) if found else None

    def floating(self, least_rank: int = 0, nonempty: bool = False) -> Node | None:
        return self.value(lambda n: n.dtype.is_float and n.type.rank >= least_rank
                          and not (nonempty and n.type.size == 0))

    # -- inputs --

    def new_input(self, shape, dtype) -> Node:
        node = placeholder(tensor(dtype, shape), f"x{len(self.inputs)}")
        self.inputs.append(node)
        self.arrays.append(self.numbers_for(shape, dtype))
        self.add(node, 3.0)
        return node

    def numbers_for(self, shape, dtype) -> np.ndarray:
        if dtype is dtypes.bool_:
            return self.numbers.random(shape) < 0.5
        if dtype.is_int or self.manner == "exact":
            low = 0 if dtype.kind == "uint" else -3
            return self.numbers.integers(low, 4, shape).astype(dtype.numpy)
        x = self.numbers.standard_normal(shape)
        if self.manner == "wild" and self.chance(0.5) and x.size:
            at = self.numbers.random(shape) < 0.1
            x = np.where(at, self.numbers.choice(AWKWARD, shape), x)
        with np.errstate(all="ignore"):
            return x.astype(dtype.numpy)

    # -- growing --

    def add(self, node: Node, bound: float = 0.0) -> Node | None:
        """Keep a value, unless it is too large, or not exact any more in the exact manner."""
        if _count(node.shape) > MOST:
            return None
        if self.manner == "exact" and node.dtype.is_float and bound > EXACT[node.dtype.name]:
            return None
        self.bound[id(node)] = bound
        self.pool.append(node)
        return node

    def of(self, node: Node) -> float:
        return self.bound.get(id(node), 0.0)

    def step(self) -> None:
        steps = [self.unary, self.binary, self.binary, self.compare, self.reduced, self.reduced,
                 self.reduced_and_back, self.moved, self.moved, self.moved, self.padded,
                 self.joined, self.product, self.product, self.taken, self.scattered,
                 self.sliced_at, self.converted, self.integers, self.windows, self.extreme,
                 self.scanned, self.sorted_, self.looked_up, self.joined_at, self.sampled,
                 self.looped, self.looped, self.chosen, self.counted]
        if self.manner != "exact":
            steps += [self.normalised, self.normalised, self.attended, self.powers]
        self.random.choice(steps)()

    def unary(self) -> None:
        x = self.floating()
        if x is None:
            return
        names = {"exact": EXACT_UNARY, "smooth": SMOOTH_UNARY, "wild": _UNARY}[self.manner]
        name = self.random.choice(names)
        params = {"approximate": self.chance(0.5)} if name == "gelu" else {}
        self.add(make(op_named(name), (x,), params), self.of(x))

    def other(self, x: Node) -> Node:
        """An operand of x's dtype that broadcasts against it: a value, an input or a number."""
        if self.chance(0.25):
            return literal(self.pick(2.0, -1.0, 0.0, 1.0) if x.dtype.is_float else 2, x.dtype)
        y = self.value(lambda n: n.dtype is x.dtype and _broadcasts(n.shape, x.shape))
        if y is not None and self.chance(0.8):
            return y
        shape = tuple(1 if self.chance(0.3) else e for e in x.shape)[self.pick(0, 0, 1):]
        if _count(shape) > MOST:    # x is itself one element, many times
            shape = (1,) * len(shape)
        return self.new_input(shape, x.dtype)

    def binary(self) -> None:
        x = self.value(lambda n: n.dtype is not dtypes.bool_)
        if x is None:
            return
        y = self.other(x)
        name = self.pick("add", "sub", "mul", "max", "min")
        if self.manner == "wild" and x.dtype.is_float and self.chance(0.3):
            name = self.pick("div", "fma")
        a, b = self.of(x), 3.0 if y.op.name == "constant" else self.of(y)
        bound = a * b if name == "mul" else max(a, b) if name in ("max", "min") else a + b
        args = (x, y) if self.chance(0.5) else (y, x)
        self.add(apply(name, *args, *((y,) if name == "fma" else ())), bound)

    def compare(self) -> None:
        x = self.value(lambda n: n.dtype is not dtypes.bool_)
        if x is None or self.manner == "smooth":
            return
        hit = apply(self.pick("lt", "le", "eq", "ne"), x, self.other(x))
        if self.chance(0.3):
            hit = apply(self.pick("and", "or", "xor"), hit, apply("ne", x, x))
        if self.chance(0.2):
            self.add(hit)
        if _count(hit.shape) > MOST:
            return
        z = self.value(lambda n: n.dtype is x.dtype and _broadcasts(n.shape, hit.shape)) or x
        number = literal(1, x.dtype)
        self.add(apply("where", hit, *((z, number) if self.chance(0.5) else (number, z))),
                 max(self.of(z), 1.0))

    def reduced(self) -> Node | None:
        x = self.value(lambda n: n.type.rank > 0)
        if x is None:
            return None
        axes = tuple(d for d in range(x.type.rank) if self.chance(0.5)) or (x.type.rank - 1,)
        if x.dtype is dtypes.bool_:
            return self.add(reduce.reduce(self.pick("any", "all"), x, axes))
        count = _count([x.shape[a] for a in axes])
        monoid = self.pick("sum", "sum", "sum", "max", "min", "prod")
        if count == 0 and monoid in ("max", "min"):
            monoid = "sum"
        if self.manner == "smooth":
            y = reduce.mean(x, axes) if count else None
            return None if y is None else self.add(y)
        b = self.of(x)
        bound = b * count if monoid == "sum" else b
        if monoid == "prod":
            bound = min(max(b, 1.0), 1e3) ** min(count, 100)
        return self.add(reduce.reduce(monoid, x, axes), bound)

    def reduced_and_back(self) -> None:
        """x against its own reduction, as norms and softmax do."""
        x = self.value(lambda n: n.type.rank > 0 and n.dtype is not dtypes.bool_
                       and n.type.size != 0)
        if x is None:
            return
        axes = (self.random.randrange(x.type.rank),)
        monoid = "max" if self.manner == "exact" else self.pick("sum", "max", "min")
        y = reduce.keepdims(reduce.reduce(monoid, x, axes), x, axes)
        if self.manner == "smooth":
            y = apply("tanh", y)
        self.add(x - y, 2 * self.of(x))

    def moved(self) -> None:
        x = self.value()
        rank = x.type.rank
        kind = self.pick("transpose", "slice", "flip", "broadcast", "reshape")
        if kind == "transpose" and rank:
            y = move.transpose(x, tuple(self.random.sample(range(rank), rank)))
        elif kind == "slice" and rank:
            starts = tuple(self.random.randint(0, e) for e in x.shape)
            stops = tuple(self.random.randint(a, e) for a, e in zip(starts, x.shape, strict=True))
            y = move.slice_(x, starts, stops, tuple(self.pick(1, 1, 2, 3) for _ in x.shape))
        elif kind == "flip" and rank:
            y = move.flip(x, tuple(d for d in range(rank) if self.chance(0.5)))
        elif kind == "broadcast":
            lead = (self.random.choice(self.dims),) if self.chance(0.6) else ()
            shape = (*lead, *(self.random.choice(self.dims) if e == 1 else e for e in x.shape))
            y = x if _count([max(e, 1) for e in shape]) > 1 << 40 else move.broadcast(x, shape)
        else:
            y = move.reshape(x, self.regrouped(x.shape))
        self.add(y, self.of(x))

    def regrouped(self, shape) -> tuple[int, ...]:
        """Another shape of the same number of elements."""
        count = _count(shape)
        if count == 0:
            return (0,) if self.chance(0.5) else (3, 0)
        out = []
        for p in (2, 3, 5, 16, 17, 1):
            if count % p == 0 and self.chance(0.5):
                out.append(p)
                count //= p
        out.insert(self.random.randint(0, len(out)), count)
        return tuple(out)

    def padded(self) -> None:
        x = self.value(lambda n: n.dtype is not dtypes.bool_)
        if x is None or not x.type.rank:
            return
        amounts = [tuple(self.pick(0, 0, 1, 2) for _ in x.shape) for _ in range(3)]
        value = self.pick(0.0, 1.0, -2.0) if x.dtype.is_float or x.dtype.kind == "int" else 1
        self.add(move.pad(x, *amounts, value), max(self.of(x), 2.0))

    def joined(self) -> None:
        x = self.value(lambda n: n.type.rank > 0)
        if x is None:
            return
        axis = self.random.randrange(x.type.rank)
        found = [n for n in self.pool if n.dtype is x.dtype and n.type.rank == x.type.rank and all(
            a == b for d, (a, b) in enumerate(zip(n.shape, x.shape, strict=True)) if d != axis)]
        parts = [self.random.choice(found) for _ in range(self.random.randint(2, 3))]
        self.add(move.concat(parts, axis), max(map(self.of, parts)))

    def product(self) -> None:
        """A contraction over axes of equal extent, the rest of each operand's axes kept."""
        x = self.value(lambda n: n.type.rank > 0 and n.dtype is not dtypes.bool_)
        if x is None:
            return
        if self.manner == "smooth":
            x = apply("tanh", x)
        y = self.value(lambda n: n.dtype is x.dtype and set(n.shape) & set(x.shape))
        if y is None or self.chance(0.5):
            shape = list(x.shape)
            self.random.shuffle(shape)
            shape = [e for e in shape if self.chance(0.8)] or [x.shape[0]]
            y = self.new_input((*shape, self.random.choice(self.dims)), x.dtype)
        if y is None:
            return
        a = [f"i{d}" for d in range(x.type.rank)]
        b, free = [], list(range(x.type.rank))
        for d, e in enumerate(y.shape):
            match = [k for k in free if x.shape[k] == e]
            if match and self.chance(0.8):
                free.remove(match[-1])
                b.append(a[match[-1]])
            else:
                b.append(f"j{d}")
        shared = [n for n in a if n in b]
        summed = [n for n in shared if self.chance(0.7)]
        out = [n for n in dict.fromkeys([*a, *b]) if n not in summed]
        self.random.shuffle(out)
        sizes = dict(zip(a, x.shape, strict=True)) | dict(zip(b, y.shape, strict=True))
        if _count(sizes.values()) > MOST_WORK or _count([sizes[n] for n in out]) > MOST:
            return
        count = _count([sizes[n] for n in summed])
        node = contract(x, y, a, b, out, summed)
        if self.manner == "smooth":
            node = node * (1.0 / max(1, count))
        self.add(node, self.of(x) * self.of(y) * max(1, count))

    def indices(self, shape) -> Node:
        node = placeholder(tensor(self.pick("int32", "int64"), shape), f"x{len(self.inputs)}")
        self.inputs.append(node)
        self.arrays.append(self.numbers.integers(-2, 20, shape).astype(node.dtype.numpy))
        return node

    def taken(self) -> None:
        x = self.value(lambda n: n.type.rank > 0 and n.type.size != 0)
        if x is None:
            return
        at = self.indices(self.pick((), (self.pick(1, 3, 17),), (2, 3)))
        if _count(at.shape) * x.type.size <= MOST:
            self.add(index.take(x, at, self.random.randrange(x.type.rank)), self.of(x))

    def scattered(self) -> None:
        u = self.value(lambda n: n.type.rank > 0 and n.dtype is not dtypes.bool_)
        if u is None:
            return
        axis = self.random.randrange(u.type.rank)
        at = self.indices(u.shape[axis:axis + self.random.randint(1, u.type.rank - axis)])
        size = self.pick(1, 5, 17)
        if size * u.type.size <= MOST and self.manner != "smooth":
            self.add(index.scatter_add(at, u, axis, size), self.of(u) * max(1, _count(at.shape)))

    def sliced_at(self) -> None:
        x = self.value(lambda n: n.type.rank > 0)
        if x is None:
            return
        starts = [self.indices(()) for _ in x.shape]
        sizes = tuple(self.random.randint(0, e) for e in x.shape)
        if self.chance(0.5):
            self.add(window.dynamic_slice(x, starts, sizes), self.of(x))
            return
        u = self.value(lambda n: n.dtype is x.dtype and n.type.rank == x.type.rank and all(
            a <= b for a, b in zip(n.shape, x.shape, strict=True)))
        if u is not None:
            self.add(window.update_slice(x, u, starts), max(self.of(x), self.of(u)))

    def converted(self) -> None:
        x = self.value()
        if self.manner == "smooth":
            return
        to = dtypes.by_name(self.pick("float32", "float32", "int32", "float64", "bfloat16", "uint8",
                                      "float16", "int64", "bool"))
        if self.manner == "exact" and (to.kind == "uint" or x.dtype.is_int):
            return
        self.add(cast(x, to), self.of(x))

    def integers(self) -> None:
        x = self.value(lambda n: n.dtype.is_int)
        if x is None:
            if self.chance(0.3) and self.manner != "smooth":
                self.new_input(self.shape(), dtypes.by_name(self.pick("int32", "int64", "uint8")))
            return
        name = self.pick("and", "or", "xor", "not", "shl", "shr", "floordiv", "mod", "neg", "abs")
        y = self.other(x)
        self.add(apply(name, x, *(() if name in ("not", "neg", "abs") else (y,))))

    def windows(self) -> None:
        x = self.value(lambda n: n.dtype.is_float and n.type.rank == 4
                       and all(e >= 3 for e in n.shape[1:3]) and n.type.size != 0)
        if x is None:
            if self.chance(0.3):
                self.new_input((self.pick(1, 2), self.pick(5, 8), self.pick(6, 17),
                                self.pick(1, 3)),
                               self.dtype if self.dtype.is_float else dtypes.float32)
            return
        if self.chance(0.5):
            params = {"window": (self.pick(1, 2, 3), self.pick(2, 3)),
                      "stride": (self.pick(1, 2), self.pick(1, 2, 3)), "dilation": (1, 1)}
            self.add(make(op_named("max_pool"), (x,), params), self.of(x))
            return
        h, w = self.pick(1, 2, 3), self.pick(1, 3)
        weight = self.new_input((self.pick(1, 4, 17), h, w, x.shape[3]), x.dtype)
        params = {"stride": (self.pick(1, 2), self.pick(1, 2)), "dilation": (1, 1),
                  "padding": ((self.pick(0, 1), 1), (self.pick(0, 2), 1)),
                  "inner": (0, 0), "groups": 1}
        node = make(op_named("conv"), (x, weight), params)
        scale = 1.0 / (h * w * x.shape[3]) if self.manner == "smooth" else None
        self.add(node * scale if scale else node, self.of(x) * 3.0 * h * w * x.shape[3])

    def extreme(self) -> None:
        x = self.floating(1, nonempty=True)
        if x is not None and self.manner != "smooth":
            self.add(make(op_named("argreduce"), (x,), {
                "monoid": self.pick("max", "min"), "axis": self.random.randrange(x.type.rank),
                "dtype": dtypes.by_name(self.pick("int32", "int64"))}))

    def normalised(self) -> None:
        x = self.floating(1, nonempty=True)
        if x is None:
            return
        name = self.pick("softmax", "log_softmax", "layer_norm", "cross_entropy")
        if name == "layer_norm":
            if self.manner == "smooth" and x.shape[-1] < 3:
                return
            weights = [self.new_input(x.shape[-1:], x.dtype) for _ in range(2)]
            self.add(make(op_named(name), (x, *weights),
                          {"axes": (x.type.rank - 1,), "eps": 0.1}))
        elif name == "cross_entropy":
            self.add(make(op_named(name), (x, self.indices(x.shape[:-1])), {}))
        else:
            self.add(make(op_named(name), (x,), {"axis": self.random.randrange(x.type.rank)}))

    def attended(self) -> None:
        q = self.floating(2, nonempty=True)
        if q is None or q.type.size > 5000:
            return
        s = self.pick(1, 5, 17) if self.chance(0.5) else q.shape[-2]
        k = self.new_input((*q.shape[:-2], s, q.shape[-1]), q.dtype)
        v = self.new_input((*q.shape[:-2], s, self.pick(3, 16)), q.dtype)
        if q.shape[-2] * s * _count(q.shape[:-2]) <= MOST:
            causal = self.chance(0.5) and s >= q.shape[-2]
            self.add(make(op_named("attention"), (apply("tanh", q), k, v),
                          {"scale": 0.5, "causal": causal, "mask": False, "dropout": 0.0}))

    def powers(self) -> None:
        x = self.floating()
        if x is not None:
            base = apply("sigmoid", x) + 0.5 if self.manner == "smooth" else x
            self.add(apply("pow", base, literal(self.pick(2.0, 0.5, 3.0, -1.0), x.dtype)))

    # -- results --

    def outputs(self) -> list[Node]:
        """Some values, views and inputs among them, and gradients where that is meant to work."""
        out = [self.pool[-1]]
        out += [self.random.choice(self.pool) for _ in range(self.random.randint(0, 6))]
        if self.chance(0.5):
            out += self.derived(out[0])
        return out


def _count(shape) -> int:
    total = 1
    for e in shape:
        total *= int(e)
    return total


def _broadcasts(small, large) -> bool:
    return len(small) <= len(large) and all(
        a in (1, b) for a, b in zip(reversed(small), reversed(large), strict=False))


_UNARY = (*(s.name for s in scalar.ALL.values() if s.arity == 1 and "float" in s.kinds
            and s.name not in ("cast", "bitcast")), "relu", "silu", "stop_gradient")
