"""The loop level in NumPy, statement by statement: what generated code has to equal."""

from fractions import Fraction

import numpy as np

from lamella.lang import scalar
from lamella.lang.expr import Expr, value_of
from lamella.lang.loops import LANES, Kernel, Loop, Set, Store, When

MONOIDS = {"sum": "add", "prod": "mul", "max": "max", "min": "min", "any": "or", "all": "and"}


def interpret(kernel: Kernel, arrays: dict[str, np.ndarray], sizes: list[int], begin: int,
              end: int) -> None:
    """Run a kernel on flat arrays, which it changes."""
    state = Interpreter(kernel, arrays, dict(zip(kernel.sizes, sizes)), begin, end)
    with np.errstate(all="ignore"):
        if begin < end or any(isinstance(s, Loop) and s.kind == "parallel" for s in kernel.body):
            state.run(kernel.body)


class Interpreter:
    """Registers and loop variables in `env`; `active` is the mask of a vector loop's block."""

    def __init__(self, kernel, arrays, env, begin, end):
        self.kernel, self.env, self.begin, self.end = kernel, dict(env), begin, end
        self.buffers = dict(arrays)
        self.active, self.in_vector = None, False
        self.outside: set[Expr] = set()
        for b in kernel.scratch:
            self.buffers[b.name] = np.zeros(int(self.value(b.count)), b.dtype.numpy)

    def run(self, body):
        before = set(self.env)
        for s in body:
            if isinstance(s, Loop):
                self.loop(s)
            elif isinstance(s, When):
                cond = self.value(s.cond)
                if np.ndim(cond):
                    self.active = cond
                    self.run(s.body)
                    self.active = None
                elif cond:
                    self.run(s.body)
            elif isinstance(s, Set):
                self.set(s)
            elif isinstance(s, Store):
                self.store(s)
        self.env = {k: v for k, v in self.env.items() if k in before}

    def set(self, s):
        v = self.value(s.value)
        if s.var.attr[1] == LANES:
            v = np.broadcast_to(v, (LANES,))
        if self.active is not None and s.var in self.outside and np.ndim(v):
            v = np.where(self.active, v, self.env[s.var])
        self.env[s.var] = v

    def loop(self, s):
        if s.kind == "vector":
            return self.vector(s)
        low, high = (self.begin, self.end) if s.kind == "parallel" else (
            int(self.value(s.low)), int(self.value(s.high)))
        for k in range(low, high, s.step):
            self.env[s.var] = np.int64(k)
            self.run(s.body)
        self.env.pop(s.var, None)

    def vector(self, s):
        low, high = int(self.value(s.low)), int(self.value(s.high))
        self.outside, self.in_vector = set(self.env), True
        for k in range(low, high, LANES):
            lanes = k + np.arange(LANES, dtype=np.int64)
            self.env[s.var], self.active = lanes, lanes < high
            self.run(s.body)
        self.active, self.outside, self.in_vector = None, set(), False
        self.env.pop(s.var, None)

    def offsets(self, offset, wide):
        at = self.value(offset)
        if wide and not self.in_vector and not np.ndim(at):
            at = at + np.arange(LANES, dtype=np.int64)
        return at

    def store(self, s):
        v = self.value(s.value)
        at = self.offsets(s.offset, bool(np.ndim(v)))
        cond = True if s.cond is None else self.value(s.cond)
        out = self.buffers[s.buffer]
        if not np.ndim(at) and not np.ndim(v) and not np.ndim(cond):
            if cond:
                out[at] = v
            return
        keep = np.broadcast_to(cond, (LANES,)) & (True if self.active is None else self.active)
        at, v = np.broadcast_to(at, (LANES,)), np.broadcast_to(v, (LANES,))
        for lane in np.flatnonzero(keep):
            out[at[lane]] = v[lane]

    def load(self, e):
        name, lanes, fill = e.attr
        data = self.buffers[name]
        at = self.offsets(e.args[0], lanes == LANES)
        cond = self.value(e.args[1]) if len(e.args) > 1 else np.True_
        if not np.ndim(at) and not np.ndim(cond):
            return data[at] if cond else np.asarray(fill).astype(data.dtype)[()]
        keep = np.broadcast_to(cond, (LANES,))
        keep = keep & self.active if self.active is not None else keep
        at = np.broadcast_to(at, (LANES,))
        out = np.full(LANES, np.asarray(fill).astype(data.dtype))
        out[keep] = data[at[keep]]
        return out

    def value(self, e: Expr):
        if e.op == "lit":
            return np.asarray(value_of(e)).astype(e.dtype.numpy)[()]
        if e.op == "var":
            return self.env[e]
        if e.op == "load":
            return self.load(e)
        if e.op == "lane":
            return np.arange(LANES, dtype=np.int64)
        args = [self.value(a) for a in e.args]
        if e.op == "lanes":
            return tree(e.attr, np.broadcast_to(args[0], (LANES,)))
        if e.op == "transposed":
            return np.stack([np.broadcast_to(a, (LANES,)) for a in args])[:, e.attr]
        if e.op == "ctz":
            n = int(args[0])
            return np.int64((n & -n).bit_length() - 1)
        return apply(e, args)


def tree(monoid, x):
    """(l, l+8), (l, l+4), (l, l+2), (l, l+1)."""
    f = scalar.ALL[MONOIDS[monoid]].reference
    while len(x) > 1:
        half = len(x) // 2
        x = np.asarray(f(x[:half], x[half:])).astype(x.dtype)
    return x[0]


def apply(e, args):
    """A scalar operation by its reference."""
    name = e.op.name
    if name == "cast":
        return scalar.cast_array(np.asarray(args[0]), e.dtype)[()]
    if name == "bitcast":
        return np.asarray(args[0]).view(e.dtype.numpy)[()]
    if name == "fma":
        return np.vectorize(fma, otypes=[object])(*args).astype(
            np.float64 if e.dtype.bits == 64 else np.float32).astype(e.dtype.numpy)[()]
    args = [np.asarray(a) for a in args]
    if name in ("max", "min") and e.dtype.is_float:
        return extreme(name, *args)[()]
    return np.asarray(e.op.reference(*args)).astype(e.dtype.numpy)[()]


def fma(a, b, c):
    """a * b + c rounded once."""
    a, b, c = float(a), float(b), float(c)
    if not np.isfinite([a, b, c]).all():
        return a * b + c
    exact = Fraction(a) * Fraction(b) + Fraction(c)
    return float(exact) if exact else a * b + c


def extreme(name, a, b):
    """max and min as they are stated: NaN if either is, and -0 below +0."""
    f = np.maximum if name == "max" else np.minimum
    zeros = (a == 0) & (b == 0)
    sign = (np.signbit(a) & np.signbit(b)) if name == "max" else (np.signbit(a) | np.signbit(b))
    zero = np.zeros_like(a)
    return np.where(zeros, np.where(sign, -zero, zero), f(a, b)).astype(a.dtype)
