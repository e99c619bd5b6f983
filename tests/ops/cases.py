"""Every op with its samples as small programs, and what the laws compare them with."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from lamella import ops  # noqa: F401  (defines the ops)
from lamella.base.dtypes import as_dtype, float32, float64, widest
from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.engine.value import Value
from lamella.ir.node import INPUT, Node, items, make, placeholder
from lamella.ir.op import Op, all_ops
from lamella.ir.program import Program
from lamella.ir.types import TupleType, tensor
from lamella.lang import notation
from lamella.lang.notation import trace
from lamella.ops import move
from lamella.ops.notation import NOTATION, define
from lamella.ops.pointwise import cast
from lamella.planner.build import build_plan
from lamella.transform.vjp import pullback


class Case:
    """One sample of one op. `body`: a function in index notation, of the op that states one."""

    def __init__(self, op: Op, number: int, params: dict, arrays: list, body=None):
        self.op, self.params, self.body = op, params, body
        self.arrays = [np.asarray(a) for a in arrays]
        self.name = f"{op.name}-{number}"

    def program(self, arrays=None) -> Program:
        """The op applied to inputs of the arrays' types."""
        inputs = inputs_of(self.arrays if arrays is None else arrays)
        return Program(inputs, [self.apply(inputs)], self.op.name)

    def apply(self, inputs) -> Node:
        """The op's node over these inputs; several results end to end as one value."""
        if self.body is not None:
            return define(trace(self.body, [n.type for n in inputs]), inputs)
        node = make(self.op, tuple(inputs), self.params_for(inputs))
        return end_to_end(items(node)) if isinstance(node.type, TupleType) else node

    def params_for(self, inputs) -> dict:
        """The parameters; programs among them in float64 where the inputs are."""
        wide = any(a.dtype.type is np.float32 and i.dtype.bits == 64
                   for a, i in zip(self.arrays, inputs, strict=True))
        return {k: _wide(v) for k, v in self.params.items()} if wide else self.params

    def with_gradients(self, arrays=None) -> Program:
        """The op, and the cotangents of its floating inputs for the cotangent y / 2 + 1."""
        p = self.program(arrays)
        y, = p.outputs
        wanted = [i for i in p.inputs if i.dtype.is_inexact]
        if y.dtype.is_inexact and wanted and "forward only" not in self.op.facts:
            p = Program(p.inputs, [y, *pullback([y], wanted, [y * 0.5 + 1.0])], p.name)
        return p


def _wide(v):
    """A parameter with float64 in place of float32 throughout the programs in it."""
    if isinstance(v, tuple):
        return tuple(map(_wide, v))
    if not isinstance(v, Program):
        return v
    done: dict[int, Node] = {}
    for n in v.nodes():
        params = {k: float64 if p is float32 else _wide(p) for k, p in n.params.items()}
        done[id(n)] = placeholder(
            n.type.with_dtype(float64) if n.dtype is float32 else n.type) \
            if n.op is INPUT else make(n.op, tuple(done[id(i)] for i in n.inputs), params)
    return Program([done[id(i)] for i in v.inputs], [done[id(o)] for o in v.outputs], v.name)


def end_to_end(nodes) -> Node:
    """All elements in one axis, in the dtype of the first floating node."""
    dtype = next((n.dtype for n in nodes if n.dtype.is_float), nodes[0].dtype)
    return move.concat([cast(move.reshape(n, (n.type.size,)), dtype) for n in nodes], 0)


def inputs_of(arrays) -> list:
    return [placeholder(tensor(as_dtype(a.dtype), a.shape), f"x{k}") for k, a in enumerate(arrays)]


def _notation_cases(op: Op) -> list[Case]:
    """The op that states index notation has no samples of its own: three definitions here."""
    rng = np.random.default_rng(11)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in ((4, 9), (9, 5)))
    samples = [
        (lambda a, b: lambda i, j: notation.sum(lambda k: a[i, k] * b[k, j]), [x, w]),
        (lambda a: lambda i, j: notation.exp(a[i, j] - notation.max(lambda k: a[i, k])), [x]),
        (lambda t, i: lambda n, d: t[i[n], d] * 2.0, [x, np.array([3, 0, 3], np.int32)]),
    ]
    return [Case(op, k, {}, arrays, body) for k, (body, arrays) in enumerate(samples)]


def _cases() -> list[Case]:
    found = []
    for op in all_ops():
        if op is NOTATION:
            found += _notation_cases(op)
        elif op.samples is not None:
            found += [Case(op, k, *sample) for k, sample in enumerate(op.samples())]
    return found


CASES = _cases()
each_case = {"argvalues": CASES, "ids": [c.name for c in CASES]}


def only(keep) -> dict:
    """The cases that a law speaks of, for `parametrize("case", **only(...))`."""
    kept = [c for c in CASES if keep(c)]
    return {"argvalues": kept, "ids": [c.name for c in kept]}


def has_gradient(case: Case) -> bool:
    """Whether result and some input are inexact, so that derivatives mean something."""
    outputs, inputs = case.program().outputs, case.program().inputs
    return "forward only" not in case.op.facts and outputs[0].dtype.is_inexact and any(
        i.dtype.is_inexact for i in inputs)


def run(program: Program, arrays, *, fused: bool = True, cut: bool = False) -> list[np.ndarray]:
    """The compiled program's results. With `cut` every task is claimed alone, so that even small
    kernels are shared among threads."""
    return execute(compiled(program, fused, cut), arrays)


def compiled(program: Program, fused: bool = True, cut: bool = False) -> Executable:
    plan = build_plan(program, target(), fused=fused, threads=2)
    if cut:
        for step in plan.launches():
            step.grain = 1
    return Executable(plan)


def execute(executable: Executable, arrays) -> list[np.ndarray]:
    return [v.numpy() for v in executable([Value.from_numpy(a) for a in arrays])]


@lru_cache(None)
def results(case: Case) -> tuple:
    """The compiled, fused results of the case with its gradients."""
    return tuple(run(case.with_gradients(), case.arrays))


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Equal shapes, dtypes and bits; all NaNs are equal."""
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if a.dtype.kind == "c":
        return same_bits(a.real, b.real) and same_bits(a.imag, b.imag)
    if a.dtype.kind not in "fV":
        return bool(np.array_equal(a, b))
    word = np.dtype(f"u{a.dtype.itemsize}")
    with np.errstate(all="ignore"):
        nan = (a != a) & (b != b)
    return bool((nan | (np.ascontiguousarray(a).view(word) == np.ascontiguousarray(b).view(word))
                 ).all())


def widened(arrays) -> list[np.ndarray]:
    """The arrays with floats as float64, complex numbers as complex128."""
    return [a.astype(widest(as_dtype(a.dtype)).numpy) for a in arrays]


def is_float(a: np.ndarray) -> bool:
    """Whether it is floating or complex."""
    return as_dtype(a.dtype).is_inexact
