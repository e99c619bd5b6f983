"""A memory budget for which values may rest in a file: the same bits, less memory, and the plan
says what goes there."""

import os
import random
import resource
import signal
import subprocess
import sys
import threading
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from ops.cases import same_bits
from planner.test_memory import (
    GUARD,
    Arena,
    leaves,
    numbers,
    paint,
    recurrent_step,
    running,
    touched,
)
from planner.training_steps import conv_net, copied, deep_mlp

import lamella
from lamella.base import events
from lamella.base.errors import BudgetError, DonatedError, ExecutionError, UnsupportedError
from lamella.engine import plans
from lamella.planner import build
from lamella.planner.memory import units
from lamella.planner.memory.anneal import Annealing
from lamella.planner.memory.budget import Budget
from lamella.planner.memory.liveness import Draft, temporaries
from lamella.planner.memory.occupancy import Occupancy, Unit, Work
from lamella.planner.memory.recompute import with_repeats
from lamella.planner.memory.runs import Runs
from lamella.planner.memory.search import Search
from lamella.planner.saved import from_bytes, to_bytes

TESTS = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def small_values_too(monkeypatch):
    monkeypatch.setattr(units, "_LEAST", 64)


def compiled(f, memory=None, spill=True):
    donate = ("model", "state") if "state" in f.__code__.co_varnames[:2] else ()
    return lamella.compile(f, donate=donate, memory=memory, spill=spill)


@cache
def curve(make) -> list:
    f, args = make()
    return lamella.memory_curve(compiled(f), *args)


def spilling(make) -> int:
    """The smallest budget of a curve whose plan has values in a file."""
    return min(p.peak for p in curve(make) if p.moved)


def chain(x, w):
    """Values that rest while others are made, dear to make again, and not to be had in parts."""
    kept = []
    for _ in range(5):
        x = lamella.tanh((x @ w).T)
        kept.append(x)
    for a in reversed(kept):
        x = lamella.tanh((x @ w).T) * a
    return x


def resting():
    return chain, (numbers(256, 256), numbers(256, 256, seed=1) * 0.06)


@pytest.mark.parametrize("make", [deep_mlp, resting, recurrent_step])
def test_the_bits_and_the_bytes_of_the_plan(make, monkeypatch):
    f, args = make()
    expected = [np.array(a) for a in leaves(compiled(f)(*copied(args)))]
    for p in curve(make)[-1:] + [p for p in curve(make) if p.moved][-1:]:
        g = compiled(f, p.peak)
        report = lamella.plan(g, *args)
        assert report.peak == p.peak and report.file_traffic == p.moved
        g(*copied(args))
        entry, = g.entries.values()
        arena = Arena(entry.executable.only.arena_bytes + GUARD)
        with monkeypatch.context() as m:
            m.setattr(running, "lease", lambda n, arena=arena: arena)
            m.setattr(running, "release", lambda arena: None)
            paint(arena.address, arena.size)
            found = leaves(g(*copied(args)))
        assert touched(arena.address, arena.size)[0] == report.memory.temporaries
        assert all(same_bits(np.array(a), b) for a, b in zip(found, expected, strict=True))


def test_the_floor_falls_and_the_peak_is_monotone_in_the_budget():
    f, args = resting()
    without = lamella.memory_curve(compiled(f, None, False), *args)[-1].peak
    floor = curve(resting)[-1].peak
    assert floor <= without and curve(resting)[-1].moved
    full = curve(resting)[0].peak
    found = [lamella.plan(compiled(f), *args, memory=b).peak
             for b in range(floor, full + 1, (full - floor) // 5)]
    assert found == sorted(found) and found[0] == floor
    with pytest.raises(BudgetError, match="computed again, in parts or in a file"):
        lamella.plan(compiled(f), *args, memory=floor - 1)


def test_nothing_is_spilled_unasked():
    for make in (resting, conv_net):
        f, args = make()
        points = lamella.memory_curve(compiled(f, None, False), *args)
        assert not any(p.moved for p in points)
        assert not lamella.plan(compiled(f, None, False), *args, memory=points[-1].peak).spilled


def test_what_a_loop_reads_may_come_from_a_file():
    """The loop is made anew, over windows of other bytes."""
    def f(x, w):
        a = lamella.tanh(x @ w)
        b = a
        for _ in range(4):
            b = lamella.tanh(b.reshape(-1, 64) @ w).reshape(b.shape)
        return lamella.scan(lambda c, row: (lamella.tanh(c + row), (c * row)[:, :3]), b[0], a)

    args = numbers(32, 8, 64), numbers(64, 64, seed=1) * 0.2
    expected = leaves(compiled(f)(*args))
    forced = lambda makers, *rest: _with_fetch_before_loops(makers[0]())
    with pytest.MonkeyPatch.context() as m:
        m.setattr(build, "fits", lambda *a: False)
        m.setattr(build, "keep", forced)
        g = compiled(f, 1)
        found = leaves(g(*args))
        assert lamella.plan(g, *args).spilled
    assert all(same_bits(np.array(a), np.array(b))
               for a, b in zip(found, expected, strict=True))


def _with_fetch_before_loops(plan):
    """All values that can be fetched before a unit are, once each, as late as they can."""
    draft = Draft(plan, plan.steps, {}, None, True)
    work = units.work_of(draft, True)
    o = Occupancy(work)
    for k in range(work.count, len(work.units)):
        v, = work.units[k].writes
        o.add(k, max(work.readers[v]))
    draft = with_repeats(draft, work, o.sequence)
    plan.steps, plan.temporaries = draft.steps, temporaries(draft.steps)
    return plan


def test_a_report_says_what_is_spilled():
    f, args = resting()
    report = lamella.plan(compiled(f), *args, memory=spilling(resting))
    assert report.spilled and report.file_bytes >= max(
        s.source_buffer.bytes for s in report.spilled)
    assert report.file_traffic >= 2 * sum(s.source_buffer.bytes for s in report.spilled)
    assert f"{len(report.spilled)} of tanh" in str(report) and "in a file" in str(report)
    assert "spill tanh" in report.kernels() and "fetch tanh" in report.kernels()


def test_a_trace_shows_spills(tmp_path):
    f, args = resting()
    g = compiled(f, spilling(resting))
    g(*args)
    file = tmp_path / "trace.json"
    with lamella.recording(str(file)):
        g(*args)
    assert not events.now
    assert "spill tanh" in file.read_text() and "fetch tanh" in file.read_text()


def test_a_plan_with_a_file_is_kept_and_read():
    f, args = resting()
    plan = lamella.plan(compiled(f), *args, memory=spilling(resting)).plan
    again = from_bytes(to_bytes(plan), plan.program)
    assert [s.names for s in again.transfers] == [s.names for s in plan.transfers]
    keys = {plans._key(plan.program, frozenset(), frozenset(), Budget(9, 1, spills))
            for spills in (False, True)}
    assert len(keys) == 2


def test_calls_at_the_same_time_have_files_of_their_own(tmp_path):
    f, args = resting()
    g = compiled(f, spilling(resting), tmp_path)
    inputs = [(args[0] * (k + 1), args[1]) for k in range(3)]
    expected = [np.array(g(*x)) for x in inputs]
    wrong = []

    def many(k: int) -> None:
        for _ in range(10):
            wrong.extend([] if same_bits(np.array(g(*inputs[k])), expected[k]) else [k])

    crew = [threading.Thread(target=many, args=(k,)) for k in range(3)]
    for t in crew:
        t.start()
    for t in crew:
        t.join()
    assert not wrong and not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written_is_told():
    f, args = resting()
    with pytest.raises(ExecutionError, match=r"no room for a file .* /proc/none.*spill="):
        compiled(f, spilling(resting), "/proc/none")(*args)


def test_a_failure_names_the_step_and_what_the_system_said(tmp_path):
    f, args = resting()
    g = compiled(f, spilling(resting), tmp_path)
    g(*args)
    entry, = g.entries.values()
    lease = entry.executable.only.table._leases[-1]
    with open(os.devnull, "rb") as null:
        os.dup2(null.fileno(), lease.file.descriptor)
    with pytest.raises(ExecutionError, match=rf"spill tanh failed in {tmp_path}: Bad file.*\.py:"):
        g(*args)
    g(*args)    # with a lease of its own


def stateful(folder):
    """A step that overwrites a state and has values that rest in a file there; its arguments; and
    its results."""
    def step(held, x, w):
        return held + x, chain(x, w)

    _, (x, w) = resting()
    args = numbers(256, 256, seed=2), x, w
    g = lamella.compile(step, donate="held", spill=folder)
    budget = min(p.peak for p in lamella.memory_curve(g, *args) if p.moved)
    return g.within(budget), args, [np.array(a) for a in step(*args)]


@contextmanager
def files_of_at_most(size: int):
    """No file of this process may be larger, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@pytest.mark.parametrize("signed", (False, True))
def test_a_state_outlives_a_full_disk(signed, tmp_path):
    g, args, expected = stateful(tmp_path)
    if signed:
        g(*copied(args))
        g.last[1].executable.only.table._leases.clear()
    held = copied(args)
    with files_of_at_most(64), pytest.raises(ExecutionError, match="no room for a file"):
        g(*held)
    assert all(same_bits(np.array(a), b) for a, b in zip(g(*held), expected, strict=True))
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("flags", (os.O_RDONLY, os.O_WRONLY))   # what ends is writing, or reading
def test_a_state_that_a_failing_disk_left_half_new_says_so(flags, tmp_path):
    g, args, expected = stateful(tmp_path)
    g(*copied(args))
    held = copied(args)
    null = os.open(os.devnull, flags)
    os.dup2(null, g.last[1].executable.only.table._leases[-1].file.descriptor)
    os.close(null)
    with pytest.raises(ExecutionError, match=f"{tmp_path}: Bad file descriptor"):
        g(*held)
    try:
        assert same_bits(np.array(held[0]), np.array(args[0]))
    except DonatedError as e:
        assert "the call failed when it was overwritten already" in str(e)
    assert all(same_bits(np.array(a), b) for a, b in zip(g(*copied(args)), expected, strict=True))


KILLED = """
import sys
from lamella.planner.memory import units
from planner.test_spill import copied, stateful

units._LEAST = 64
g, args, _ = stateful(sys.argv[1])
state, _ = g(*copied(args))
print("ready", flush=True)
while True:
    state, _ = g(state, *args[1:])
"""


@pytest.mark.parametrize("end", (signal.SIGINT, signal.SIGKILL))
def test_processes_that_are_ended_leave_no_file(end, tmp_path):
    path = os.pathsep.join([*map(str, (TESTS, TESTS.parent / "src"))])
    crew = [subprocess.Popen([sys.executable, "-c", KILLED, str(tmp_path)], text=True,
                             stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                             preexec_fn=lambda: signal.signal(signal.SIGINT,
                                                              signal.default_int_handler),
                             env={**os.environ, "PYTHONPATH": path}) for _ in range(2)]
    for p in crew:
        assert p.stdout.readline() == "ready\n"
    for p in crew:
        p.send_signal(end)
    for p in crew:
        error = p.communicate(timeout=60)[1]
        assert p.returncode in (-end, 1)    # Python ends by the signal, or with its traceback
        assert ("KeyboardInterrupt" in error) == (end == signal.SIGINT), error
    assert not list(tmp_path.iterdir())


def test_values_of_another_device_rest_in_no_folder(monkeypatch):
    from lamella.api.programs import options as module
    monkeypatch.setattr(module, "compute_device", lambda name, device: "cuda:0")
    with pytest.raises(UnsupportedError, match="write spill=True"):
        lamella.compile(lambda x: x, device="cuda:0", spill="/tmp")


def test_sizes_may_be_symbols():
    w = numbers(64, 64, seed=1) * 0.1

    def f(x):
        kept = []
        for _ in range(4):
            kept.append(x := lamella.tanh(x @ w))
        s = x.sum(0)
        for a in kept:
            s = s + (lamella.tanh(a @ w + s) * a).sum(0)
        return s

    x, sizes = numbers(64, 64), {"x": (lamella.symbol("B", 1, 64), None)}
    whole = lamella.compile(f, sizes=sizes)
    points = lamella.memory_curve(lamella.compile(f, sizes=sizes, spill=True), x)
    budget = min(p.peak for p in points if p.moved)
    assert budget < points[0].peak
    g = lamella.compile(f, sizes=sizes, memory=budget, spill=True)
    for rows in (64, 5, 1):
        assert same_bits(np.array(g(x[:rows])), np.array(whole(x[:rows])))


# ---- the search ---------------------------------------------------------------------------------

def diamond() -> Work:
    """Two large values of which the first rests while the second lives; a third to read both."""
    made = [Unit([], [0], 100.0), Unit([], [1], 1.0), Unit([1], [2], 1.0), Unit([0, 2], [3], 1.0)]
    return Work(made, [10, 10, 1, 1], [3], 0,
                [Unit((), (0,), 5.0, since=1, fetches="file"),
                 Unit((), (2,), 0.5, since=3, fetches="file")])


def test_the_cheaper_way_is_taken():
    o = Occupancy(diamond())
    assert o.peak == 21 and Search(o).below(12)
    assert o.repeats == {(4, 3)} and o.seconds == 5.0
    assert o.sequence == [0, 1, 2, 4, 3]


def test_a_fetch_comes_first_in_its_slot():
    work = diamond()
    o = Occupancy(work)
    o.add(1, 3)
    o.add(4, 3)
    assert o.sequence == [0, 1, 2, 4, 1, 3]
    assert [o.unit_at(o.key(k, 2)) for k in range(6)] == list(range(6))
    runs = Runs(work, (), o.sequence)
    assert len(runs.further) == 2 and runs.seconds == o.seconds == 6.0
    assert runs.during.tolist() == o.during.tolist()


def several(seed: int) -> Work:
    """Units that make up to three values, each read later by some others; each may be fetched."""
    r = random.Random(seed)
    units: list[Unit] = []
    values: list[int] = []      # the unit that makes each
    for k in range(24):
        reads = r.sample(range(len(values)), min(len(values), r.randrange(4)))
        made = range(len(values), len(values) + r.randrange(1, 4))
        values += [k] * len(made)
        units.append(Unit(reads, made, r.random(), since=k + 1))
    fetches = [Unit((), (v,), r.random(), since=k + 1, fetches="file")
               for v, k in enumerate(values)]
    return Work(units, [r.randrange(1, 20) for _ in values], (), 0, fetches)


@pytest.mark.parametrize("seed", range(12))
def test_each_run_uses_what_was_made_last_before_it(seed):
    """Of a unit that makes several values one may have been fetched since."""
    a = Annealing(several(seed), seed=seed)
    for _ in range(20):
        a.below(a.peak * 2 // 3, 200, heat=1.0)
        assert all(w is a.latest(w.value, q.at) for q in a.runs for w in q.reads)
