"""Tuning: the cuts of a program's products, timed on this machine and remembered.

The planner cuts a product by estimate (planner/kernels/tiling.py). Here every cut that it knows is
timed, for each product of a plan whose sizes are known, and the fastest is kept in a file beside
the object cache, from which the target takes it. All cuts give the same bits.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence

import numpy as np

from ..base.dtypes import float32
from ..base.extents import Extent, upper
from ..ir.node import Node, placeholder
from ..ir.program import Program
from ..ir.types import tensor
from ..ops.contract import matmul
from ..ops.move import slice_, transpose
from ..planner.build import build_plan
from ..planner.kernels.tiling import Layout, Product, Tiling, cycles, tilings
from .executable import Executable
from .kernels import target
from .tuned import SECONDS, Asked, Tuned, fastest
from .value import Value

_CALLS = 0.02           # seconds of calls behind one figure


def tune(programs: Sequence[tuple[Program, frozenset[int]]], say: Callable[[str], None] = print,
         seconds: float = SECONDS) -> list[Tuned]:
    """Time the cuts of every product of these programs (each with the numbers of its inputs that
    never change), remember the fastest, and give what was found. LamellaError where there is no
    folder to remember them in."""
    known = dict(target().tuned)
    found = fastest(target().name, known, (p for program in programs for p in products(*program)),
                    lambda p: tuned(p, seconds), say)
    target().tuned.clear()
    target().tuned.update(known)
    return found


def products(program: Program, fixed: frozenset[int] = frozenset()) -> list[Product]:
    """The products that a program's plan has to cut, those whose sizes are known."""
    seen = Asked()
    build_plan(program, target().with_tuned(seen), frozenset(), fixed)
    return [p for p in seen.products if all(isinstance(e, int) for e in p[:4])]


def tuned(p: Product, seconds: float = SECONDS) -> Tuned | None:
    """The seconds of the cuts of one product, the likely ones first, until the time is up; None
    where no program of one matrix product has operands that lie so."""
    program = _program(p)
    if program is None or products(program, frozenset([1] if p.steady else [])) != [p]:
        return None
    plain = target().with_tuned({})
    order = sorted(tilings(p, plain), key=lambda t: cycles(p, t, plain))
    times: dict[Tiling, float] = {}
    calls: dict[Tiling, Callable[[], object]] = {}
    rng = np.random.default_rng(0)
    # the same for all: where operands lie makes a difference, too
    values = [Value.from_numpy(rng.standard_normal(x.shape, np.float32))
              for x in program.input_types]
    end = time.perf_counter() + 0.8 * seconds
    for t in order:
        calls[t] = _call(program, p, t, values)
        times[t] = _least(calls[t])
        if time.perf_counter() > end:
            break
    near = sorted(times, key=times.__getitem__)[:4]
    for _ in range(3):                  # in turns: another process may have slowed some of them
        for t in dict.fromkeys([order[0], *near]):
            times[t] = min(times[t], _least(calls[t]))
    return Tuned(p, order[0], times, lambda t: f"{t.rows}x{t.width}, right {t.right}")


def _program(p: Product) -> Program | None:
    lead: tuple[Extent, ...] = () if p.batch == 1 else (p.batch,)
    a = _operand(lead, p.m, p.k, p.left)
    b = _operand(lead, p.n, p.k, p.right)
    if a is None or b is None:
        return None
    turn = (*range(len(lead)), len(lead) + 1, len(lead))
    return Program([a[0], b[0]], [matmul(a[1], transpose(b[1], turn))], "product")


def _operand(lead: tuple, places: Extent, positions: Extent,
             lies: Layout) -> tuple[Node, Node] | None:
    """(an input, its view as [*lead, places, positions]) that lies so; None where there is none."""
    swapped = lies.along != 1 and lies.step == 1
    pitch: Extent | None = lies.along if swapped else lies.step or positions
    rows, columns = (positions, places) if swapped else (places, positions)
    if not isinstance(pitch, int) or pitch < upper(columns) or lies.itemsize != 4 or \
            not (swapped or lies.along in (0, 1)):
        return None
    base = placeholder(tensor(float32, (*lead, rows, pitch)), "operand")
    view = base
    if pitch != columns:
        view = slice_(base, (0,) * len(base.shape), (*lead, rows, columns))
    if swapped:
        view = transpose(view, (*range(len(lead)), len(lead) + 1, len(lead)))
    return base, view


def _call(program: Program, p: Product, t: Tiling,
          values: Sequence[Value]) -> Callable[[], object]:
    """A call of the product of these values with that cut."""
    fixed = {1: values[1]} if p.steady else {}
    run = Executable(build_plan(program, target().with_tuned({p: t}), frozenset(),
                                frozenset(fixed)), None, fixed)
    return lambda: run(values)


def _least(call: Callable[[], object]) -> float:
    """The least seconds of a call."""
    call()
    found, end = math.inf, time.perf_counter() + _CALLS
    while found == math.inf or time.perf_counter() < end:
        began = time.perf_counter()
        call()
        found = min(found, time.perf_counter() - began)
    return found
