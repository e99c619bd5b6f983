"""Measuring a machine's profile: a few kernels, each of which keeps one unit or one level of memory
busy, run alone and by all threads."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from statistics import median

import numpy as np

from ..base.atomic import replace_text
from ..base.dtypes import bfloat16, float32, index, int32
from ..base.errors import ExecutionError, LamellaError
from ..ir.node import Node, make, placeholder
from ..ir.op import op_named
from ..ir.program import Program
from ..ir.types import tensor
from ..lang import scalar
from ..lang.expr import Expr, lit, load, var
from ..lang.loops import (
    LANES,
    Buffer,
    Kernel,
    Loop,
    Set,
    Store,
    index_var,
    matrix_load,
    matrix_product,
    rows_apart,
)
from ..ops.contract import matmul
from ..planner.pricing.profile import DEFAULTS, MATRIX, Level, Profile
from ..planner.report import Report
from ..runtime.memory import allocate
from ..runtime.steps import Launch, Transfer
from ..runtime.table import Table
from ..runtime.walker import set_threads, threads
from ..transform.vjp import vjp_program
from . import profile as kept
from .kernels import compile_kernels, target
from .measure import measure
from .program import compile_program
from .value import Value

CHAINS = 12             # values that do not wait for each other
CROWD = 32              # lines from one row to the next, where they fall on few sets of a cache
TRIPS = 100_000         # of a loop over registers
_IN_FILE = 32 << 20     # bytes that go into a file
BUDGET = 0.12           # seconds for each figure
FAR = 96 << 20          # bytes that no cache holds
_N, _R = index_var("n"), index_var("r")
_TASK, _J, _K = index_var("task"), index_var("j"), index_var("k")
_ZERO = lit(0, index)


def calibrate() -> str:
    """Measure, write the profile's file, and say what was found."""
    file = kept.path()
    if file is None:
        raise LamellaError("calibrate: there is no folder to keep the profile in; set "
                           "LAMELLA_CACHE to a folder")
    found = measure_profile()
    found.slack = _slack(found)
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    replace_text(file, found.to_json())
    kept.forget()
    return f"{found}\nwritten to {file}"


def measure_profile() -> Profile:
    """The profile of this machine."""
    count = threads()
    vector, add, units = _units()
    cycle = _loop(1, lambda r: [Set(r[0], scalar.fma(r[-1], r[-1], r[0]))]) / 4
    first, sizes = _caches()
    levels = _levels(first, sizes, count)
    crowd = max(1.0, arithmetic(count) / vector) if count > 1 else 1.0
    launch, share, call = _calls(count)
    claim, handed = (_claim(count), _handed(count)) if count > 1 else (0.0, 0.0)
    return Profile(f"{target().name} with {count} threads", target().vector_bits, units, first,
                   levels, {"cycle": cycle, "add": add, "crowd": crowd, "launch": launch,
                            "share": share, "claim": claim, "handed": handed, "call": call,
                             "past": _stream(FAR, True, 1, past=True), "slack": 1.0,
                             "window": 200.0, "file": _file()}, measured=True)


def _file() -> float:
    """Nanoseconds of a byte that goes into a file, or comes from there, in the folder for temporary
    files; what is stated, where that has no room."""
    block = allocate(_IN_FILE)
    steps = [Transfer(0, 0, _IN_FILE), Transfer(0, 0, _IN_FILE, reads=True)]
    try:
        return min(_timed(Table(steps, [0], [(0, 0, 0)], 1), [block.address])) / (2 * _IN_FILE)
    except ExecutionError:
        return DEFAULTS["avx2"].file


# ---- units ---------------------------------------------------------------------------------------

def _units() -> tuple[float, float, dict[str, float]]:
    """(nanoseconds of a vector instruction, of a dependent addition, of all units)."""
    per = LANES * 32 // target().vector_bits    # instructions of LANES values
    vector = arithmetic(1)
    add = _loop(1, lambda r: [Set(r[0], r[0] + r[-1])])
    once = _once(4096, [Set(x, x + load("x", _J + k * 512, float32))
                        for k, x in enumerate(_registers(8))], 8)
    divide = _loop(CHAINS, lambda r: [Set(x, r[-1] / x) for x in r[:-1]]) / CHAINS / per
    gather = _once(1024, [Set(x, x + load("x", _J * 3 + k, float32))
                          for k, x in enumerate(_registers(3))], 3) / LANES
    scatter = _once(1024, [Store("y", _J * 3, lit(1, float32))], 1) / LANES
    store = _once(4096, [Store("y", _J, lit(1, float32))], 1) / per
    division = _loop(1, lambda r: [Set(_R, _R + _N // scalar.maximum(_K, 1))])
    units = {"vector": vector, "load": once / per, "store": store, "divide": divide,
             "gather": gather, "scatter": scatter, "integer_divide": division,
             "matrix": _matrix() if target().matrices else MATRIX * vector, "issue": add / 16}
    return vector, add, units


def _matrix() -> float:
    """Nanoseconds of a product of matrices, four of which share four loads, as in a tile; mostly,
    as on some machines loads and products overlap at some times only."""
    count, rows = 16, lit(LANES, index)
    sums = [var(f"c{k}", float32, LANES * LANES) for k in range(4)]
    left, right = ([matrix_load("x", (_K % count * 4 + k) * (LANES * LANES), rows, int32)
                    for k in (first, first + 1)] for first in (0, 2))
    body = [Set(x, matrix_product(left[k // 2], right[k % 2], x, (bfloat16, bfloat16)))
            for k, x in enumerate(sums)]
    whole = [*(Set(x, lit(0, float32)) for x in sums), Loop(_K, _ZERO, _N, body),
             *(Store("y", lit(k * LANES * LANES, index), rows_apart(x, rows))
               for k, x in enumerate(sums))]
    size = count * 4 * LANES * LANES
    return _least(_kernel(whole), [size, size], [TRIPS // 50, 1], 1,
                  mostly=True) / (TRIPS // 50) / len(sums)


def _registers(count: int) -> list[Expr]:
    return [var(f"s{k}", float32, LANES) for k in range(count)]


def arithmetic(count: int) -> float:
    """Nanoseconds of a vector fused multiply-add on each of so many threads."""
    per = LANES * 32 // target().vector_bits
    found = _loop(CHAINS, lambda r: [Set(x, scalar.fma(r[-1], r[-1], x)) for x in r[:-1]], count)
    return found / CHAINS / per


def _loop(chains: int, body: Callable, tasks: int = 1) -> float:
    """Nanoseconds of one iteration of a loop over registers; the last register is a constant."""
    registers, trips = [*_registers(chains), var("one", float32, LANES)], TRIPS * tasks
    inner = [Loop(_K, _ZERO, _N, body(registers))]
    starts = [Set(x, load("x", lit(k * LANES, index), float32, LANES))
              for k, x in enumerate(registers)]
    ends = [Store("y", _TASK * 4096 + k * LANES, x) for k, x in enumerate(registers)]
    whole = [Set(_R, _ZERO), *starts, *inner, *ends,
             Store("y", _TASK * 4096 + 2048, scalar.cast(_R, float32))]
    kernel = _kernel(whole)
    size = 4096 * max(2, tasks)
    return _least(kernel, [size, size], [trips, 1], tasks) / trips


def _once(length: int, body: list, accesses: int) -> float:
    """Nanoseconds of LANES elements of each access of a vector loop within the first cache."""
    count, rounds = length // accesses if accesses > 1 else length, 200
    found = _least(_streaming(body), [1 << 16, 1 << 16], [count, rounds], 1)
    return found / rounds / (count / LANES) / accesses


# ---- memory --------------------------------------------------------------------------------------

def _caches() -> tuple[float, list[float]]:
    """(bytes of the first cache, of those behind it), as the system states them."""
    sizes: dict[int, float] = {1: 32 << 10, 2: 1 << 20, 3: 24 << 20}
    for place in Path("/sys/devices/system/cpu/cpu0/cache").glob("index*"):
        try:
            if (place / "type").read_text().strip() != "Instruction":
                size = (place / "size").read_text().strip()
                unit = {"K": 1 << 10, "M": 1 << 20}.get(size[-1], 1)
                sizes[int((place / "level").read_text())] = float(size.rstrip("KM")) * unit
        except (OSError, ValueError):
            continue
    first, *rest = (sizes[k] for k in sorted(sizes))
    return first, rest


def _levels(first: float, sizes: list[float], count: int) -> list[Level]:
    """What a byte costs from each level, beyond what it costs from the one before."""
    looks = [first / 2, *(s / 2 for s in sizes[:-1]), min(sizes[-1] / 4, 8 << 20), FAR]
    read = [_stream(n, False, 1) for n in looks]
    sizes = [*sizes[:-1], _held(sizes[-1], *read[-2:])]
    write = [_stream(n, True, 1) for n in looks]
    both = [_stream(n, False, count) / count for n in looks]
    crowded = [0.0, *((_columns(n, CROWD) - _columns(n, CROWD + 1)) / CROWD ** 0.5
                      for n in looks[1:])]
    steps = [[max(1e-4, b - a) for a, b in zip(x, x[1:], strict=False)]
             for x in (read, write, both, crowded)]
    shared = [0.0 if k == 0 and len(sizes) > 1 else x for k, x in enumerate(steps[2])]
    return [Level(*x) for x in zip([*sizes, 0], *steps[:2], shared, steps[3], strict=True)]


def _held(size: float, near: float, far: float) -> float:
    """How much of the last cache is ours: it may be shared with other machines of the same host."""
    for part in (1.0, 0.75):
        if _stream(part * size, False, 1) < near + (far - near) / 4:
            return part * size
    return size / 2


def _stream(size: float, writes: bool, tasks: int, past: bool = False) -> float:
    """Nanoseconds of a byte of `size` bytes that each of so many tasks reads or writes over and
    over; `past` the caches."""
    parts = 1 if writes else 8
    count = int(size) // 4 // parts // LANES * LANES
    rounds = max(1, int(2e6 // size))
    place = _TASK * (_N * parts) + _J
    body: list = [Store("y", place, lit(1, float32), stream=past)] if writes else [
        Set(x, x + load("x", place + _N * k, float32)) for k, x in enumerate(_registers(parts))]
    large, small = count * parts * tasks, LANES * 8 * tasks
    lengths = [small, large] if writes else [large, small]
    found = _least(_streaming(body), lengths, [count, rounds], tasks)
    return found / rounds / (count * parts * 4)


def _columns(size: float, columns: int) -> float:
    """Nanoseconds of a byte of `size` bytes that are read in so many columns of a line each."""
    parts = 8
    count, rounds = int(size) // 64 // columns // parts, max(1, int(1e6 // size))
    width, column, around = columns * LANES, index_var("column"), index_var("round")
    sums = _registers(parts)
    body: list = [Set(x, x + load("x", column * LANES + (_K * parts + k) * width, float32, LANES))
                  for k, x in enumerate(sums)]
    inner = Loop(column, _ZERO, lit(columns, index), [Loop(_K, _ZERO, _N, body)])
    kernel = _kernel([*(Set(x, lit(0, float32)) for x in sums), Loop(around, _ZERO, _R, [inner]),
                      *(Store("y", lit(k * LANES, index), x) for k, x in enumerate(sums))],
                     (_N, _R))
    found = _least(kernel, [count * parts * width, LANES * parts], [count, rounds], 1)
    return found / rounds / (count * parts * columns * 64)


def _streaming(body: list) -> Kernel:
    """`r` rounds of a vector loop over n elements, its sums kept."""
    sums = list(dict.fromkeys(s.var for s in body if isinstance(s, Set)))
    outer = Loop(index_var("round"), _ZERO, _R, [Loop(_J, _ZERO, _N, body, "vector")])
    ends = [Store("y", _TASK * (LANES * 8) + k * LANES, x) for k, x in enumerate(sums)]
    return _kernel([*(Set(x, lit(0, float32)) for x in sums), outer, *ends], (_N, _R))


# ---- calls ---------------------------------------------------------------------------------------

def _calls(count: int) -> tuple[float, float, float]:
    """Nanoseconds of a launch on one thread, of one shared by all, and of a call from Python."""
    kernel = _kernel([Store("y", _TASK * LANES, lit(1, float32))])
    one = _least(kernel, [64, 4096], [1, 1], 1)
    launch = (_least(kernel, [64, 4096], [1, 1], 1, 500) - one) / 499
    if count == 1:
        return launch, 0.0, one
    r = _registers(1)[0]
    spin = _kernel([Set(r, lit(0, float32)), Loop(_K, _ZERO, _N, [Set(r, r + 1)]),
                    Store("y", _TASK * LANES, r)])
    alone = _least(spin, [64, 4096], [4000, 1], 1, 200) / 200
    shared = _least(spin, [64, 4096], [4000, 1], count, 200) / 200
    return launch, max(0.0, shared - alone), one


def _claim(count: int) -> float:
    """Nanoseconds that each claim costs a thread where all of them claim tasks of no length."""
    tasks = 2048
    kernel = _kernel([Store("y", _TASK * LANES, lit(1, float32))])
    alone, all_ = (_least(kernel, [64, LANES * tasks], [1, 1], tasks, 1, limit)
                   for limit in (1, count))
    return max(0.0, all_ - alone / count) / tasks * count


def _handed(count: int) -> float:
    """Nanoseconds of a byte that another core has written: each thread writes rows of its own, then
    one reads its own or another's, a line of some rows at once, as products do."""
    rows, lines, parts, pairs = 32, 16, 4, 16   # of each thread; of a row; at once; of launches
    width, column = (lines + 1) * LANES, index_var("column")
    place, sums = _TASK * width + _J, _registers(parts)
    write = _kernel([Loop(index_var("round"), _ZERO, _R, [Loop(
        _J, _ZERO, lit(lines * LANES, index),
        [Store("y", place, load("y", place, float32) + 1)], "vector")])], (_N, _R))
    body: list = [Set(x, x + load("y", (_R + _K * parts + k) * width + column * LANES, float32,
                                  LANES)) for k, x in enumerate(sums)]
    read = _kernel([*(Set(x, lit(0, float32)) for x in sums),
                    Loop(_K, _ZERO, _N, [Loop(column, _ZERO, lit(lines, index), body)]),
                    *(Store("y", lit(rows * count * width + k * LANES, index), x)
                      for k, x in enumerate(sums))], (_N, _R))
    own, other = (_run([(write, [0, 20], rows * count), (read, [rows // parts, first], 1)] * pairs,
                       [64, (rows * count + 1) * width]) for first in (0, rows))
    return max(0.0, other - own) / pairs / (rows * lines * 64)


# ---- whole kernels -------------------------------------------------------------------------------

def _slack(found: Profile) -> float:
    """The median over a few ops, on one thread, of measured time by predicted time, not below 1:
    nothing is faster than its units and bytes."""
    ratios, count = [], threads()
    set_threads(1)
    image, filters = _input(4, 16, 16, 64), _input(64, 3, 3, 64)
    convolved = Program([image, filters], [make(op_named("conv"), (image, filters), {
        "stride": (1, 1), "dilation": (1, 1), "padding": ((1, 1), (1, 1)), "groups": 1,
        "inner": (0, 0)})])
    pooled = Program([image], [make(op_named("max_pool"), (image,), {
        "window": (2, 2), "stride": (2, 2), "dilation": (1, 1)})])
    heads = [_input(2, 4, 128, 32) for _ in range(3)]
    attended = Program(heads, [make(op_named("attention"), tuple(heads), {
        "scale": 0.2, "causal": False, "mask": False, "dropout": 0.0})])
    for program in (_product(384, 384, 384), _product(64, 1024, 256), _transposed(512),
                    _softmax(512, 384), _sum(1024, 512), _map(1 << 17), convolved,
                    *map(vjp_program, (_product(512, 128, 128), convolved, pooled, attended))):
        run = compile_program(program)
        values = [Value.from_numpy(np.ones(n.shape, n.dtype.numpy)) for n in program.inputs]
        measured = min(measure(run.executable, values, 5).seconds for _ in range(5))
        report = Report(run.plan, found)
        ratios.append(measured / report.seconds)
    set_threads(count)
    return max(1.0, float(np.median(ratios)))


def _input(*shape: int) -> Node:
    return placeholder(tensor("float32", shape))


def _product(m: int, k: int, n: int) -> Program:
    a, b = _input(m, k), _input(k, n)
    return Program([a, b], [matmul(a, b)])


def _transposed(n: int) -> Program:
    a, b = _input(n, n), _input(n, n)
    return Program([a, b], [matmul(make(op_named("transpose"), (a,), {"perm": (1, 0)}), b)])


def _softmax(m: int, n: int) -> Program:
    x = _input(m, n)
    return Program([x], [make(op_named("softmax"), (x,), {"axis": 1})])


def _sum(m: int, n: int) -> Program:
    x = _input(m, n)
    return Program([x], [make(op_named("reduce"), (x,), {"monoid": "sum", "axes": (0,)})])


def _map(n: int) -> Program:
    x = _input(n)
    return Program([x], [make(op_named("tanh"), (x,))])


# ---- running -------------------------------------------------------------------------------------

def _kernel(body: list, sizes: tuple = (_N, index_var("unused"))) -> Kernel:
    """A kernel over buffers x (read) and y (written)."""
    buffers = [Buffer("x", float32), Buffer("y", float32, True)]
    return Kernel("calibrate", buffers, sizes, [Loop(_TASK, _ZERO, _N, body, "parallel")])


def _least(kernel: Kernel, lengths: list[int], sizes: list[int], tasks: int, steps: int = 1,
           limit: int | None = None, mostly: bool = False) -> float:
    """The least nanoseconds (or those that it `mostly` takes) of a run of so many steps over arrays
    of these lengths, by at most `limit` threads."""
    return _run([(kernel, sizes, tasks)] * steps, lengths, limit, mostly)


def _run(steps: list[tuple[Kernel, list[int], int]], lengths: list[int],
         limit: int | None = None, mostly: bool = False) -> float:
    """The least nanoseconds (or those that it `mostly` takes) of a run of launches: kernels, their
    sizes and tasks."""
    image: list[int] = []
    places: dict[tuple, int] = {}
    launches = []
    for kernel, sizes, tasks in steps:
        at = places.setdefault((id(kernel), *sizes), len(image))
        image += [0, 0, *sizes] if at == len(image) else []
        launches.append(Launch(compile_kernels([kernel])[0].address, at, tasks))
    patches = [(at + k, k, 0) for at in places.values() for k in (0, 1)]
    table = Table(launches, image, patches, 2, threads=limit)
    blocks = [allocate(4 * n) for n in lengths]
    for block, n in zip(blocks, lengths, strict=True):
        block.view(4 * n, np.float32)[:] = 0
    spent = _timed(table, [b.address for b in blocks])
    return median(spent) if mostly else min(spent)


def _timed(table: Table, bases: list[int]) -> list[int]:
    """The nanoseconds of some runs."""
    found: list[int] = []
    end = time.perf_counter() + BUDGET
    while time.perf_counter() < end or not found:
        began = time.perf_counter_ns()
        table.run(bases)
        found.append(time.perf_counter_ns() - began)
    return found
