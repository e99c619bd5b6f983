"""The team: its size, its sleep, forked children, concurrent callers, too many threads."""

from __future__ import annotations

import os
import threading
import time

import pytest

from lamella.runtime import walker
from lamella.runtime.cores import cores, quota
from lamella.runtime.steps import Host, Launch
from lamella.runtime.table import StepFailed, Table
from lamella.runtime.team import MAX_CHUNKS


def _native_threads() -> int:
    return len(os.listdir("/proc/self/task"))


_COUNT = """
import os
from lamella.runtime import walker
from lamella.runtime.steps import Copy
from lamella.runtime.table import Table
import numpy as np
a, b = np.zeros(1 << 20), np.ones(1 << 20)
at = [x.__array_interface__["data"][0] for x in (a, b)]
before = len(os.listdir("/proc/self/task"))
table = Table([Copy(0, 1, a.nbytes)], [0, 0], [(0, 0, 0), (1, 1, 0)], 2)
table.run(at)
assert (a == 1).all()
print(walker.threads(), len(os.listdir("/proc/self/task")) - before)
"""


@pytest.mark.parametrize("count", [1, 2, 5])
def test_workers_are_as_many_as_the_knob_says(count, python):
    assert python(_COUNT, LAMELLA_THREADS=str(count)) == f"{count} {count - 1}"


def test_default_size_is_the_cores(python):
    size = cores()
    assert python(_COUNT, LAMELLA_THREADS="0") == f"{size} {size - 1}"


def test_importing_loads_no_llvm(python):
    code = "import sys, lamella.runtime.table; print('llvmlite' in sys.modules)"
    assert python(code) == "False"


def test_workers_share_the_work(kernels, words):
    if cores() < 2:
        pytest.skip("one core")
    before, out = walker.threads(), words(400)
    walker.set_threads(2)
    table = Table([Launch(kernels["share"], 0, 400)] * 10, [0], [(0, 0, 0)], 1, 64)
    try:
        end = time.monotonic() + 10  # on a busy machine the worker may have to wait for its core
        while len(set(out.array)) < 2 and time.monotonic() < end:
            table.run([out.address])
        assert len(set(out.array)) == 2
    finally:
        walker.set_threads(before)


def test_a_thread_begins_with_a_range_of_its_own(kernels, words):
    """The first half of the tasks is the leader's, the second the worker's: so it is each time, and
    what a thread wrote it finds in its own cache. Only the end of a range is taken by the other."""
    if cores() < 2:
        pytest.skip("one core")
    before, out = walker.threads(), words(400)
    walker.set_threads(2)
    table = Table([Launch(kernels["share"], 0, 400)], [0], [(0, 0, 0)], 1, 64)
    try:
        end = time.monotonic() + 10
        shared = 0
        while shared < 20 and time.monotonic() < end:
            table.run([out.address])
            if len(set(out.array)) == 2:
                shared += 1
                leader, worker = out.array[0], out.array[200]
                assert leader != worker
                first, second = list(out.array[:200] == worker), list(out.array[200:] == leader)
                assert first == sorted(first) and second == sorted(second)
                assert not (any(first) and any(second))
        assert shared
    finally:
        walker.set_threads(before)


@pytest.mark.parametrize("grain", [1, 3])
def test_more_tasks_than_the_ranges_have_chunks(kernels, words, threads, grain):
    count = MAX_CHUNKS * grain * 2 + 5
    out = words(count)
    table = Table([Launch(kernels["mark"], 0, count, grain)] * 3, [0], [(0, 0, 0)], 1)
    table.run([out.address])
    assert (out.array == 3).all()


def test_launches_of_more_chunks_together_than_the_ranges_have(kernels, words, threads):
    """They are shared out one after the other."""
    out = words(MAX_CHUNKS)
    table = Table([Launch(kernels["mark"], 0, MAX_CHUNKS, independent=True)] * 2, [0],
                  [(0, 0, 0)], 1)
    table.run([out.address])
    assert (out.array == 2).all()


def test_idle_workers_sleep(kernels, words, threads):
    table = Table([Launch(kernels["mark"], 0, 64)], [0], [(0, 0, 0)], 1)
    out = words(64)
    table.run([out.address])
    time.sleep(0.01)
    start = time.process_time()
    time.sleep(0.2)
    assert time.process_time() - start < 0.02
    table.run([out.address])
    assert (out.array == 2).all()


def test_a_forked_child_starts_its_own_team(kernels, words, threads):
    out = words(500)
    table = Table([Launch(kernels["mark"], 0, 500)] * 20, [0], [(0, 0, 0)], 1)
    table.run([out.address])
    child = os.fork()
    if child == 0:
        code = 1
        try:
            table.run([out.address])
            well = (out.array == 40).all() and _native_threads() == threads
            code = 0 if well else 2
        finally:
            os._exit(code)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    table.run([out.address])
    assert (out.array == 40).all()


def test_a_child_forked_in_the_middle_of_apython(kernels, words, threads):
    out, children = words(100), []
    table = Table(
        [Launch(kernels["mark"], 0, 100), Host(lambda _: children.append(os.fork())),
         Launch(kernels["mark"], 0, 100)], [0], [(0, 0, 0)], 1,
    )  # fmt: skip
    table.run([out.address])
    well = (out.array == 2).all()
    if children[0] == 0:
        os._exit(0 if well else 1)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert well


def test_a_child_forked_beside_launches_fails_and_does_not_wait(kernels, words):
    before, out, children = walker.threads(), words(200), []
    walker.set_threads(2)

    inner, more = Table([Launch(kernels["mark"], 0, 100)], [0], [(0, 0, 0)], 1), words(100)

    def fork(_: int) -> None:
        _wait(lambda: out.array.any())     # so that the worker has some chunks
        children.append(os.fork())
        inner.run([more.address])       # the child has one thread for it

    table = Table([Host(fork, independent=True), Launch(kernels["mark"], 0, 200)],
                  [0], [(0, 0, 0)], 1)
    try:
        table.run([out.address])
    except StepFailed:
        os._exit(0 if children == [0] else 1)
    finally:
        walker.set_threads(before)
    if children[0] == 0:
        os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(children[0], 0)[1]) == 0
    assert (out.array == 1).all()


def test_what_a_host_step_raises_is_raised_although_a_launch_beside_it_fails(kernels, words):
    before, out = walker.threads(), words(200)
    walker.set_threads(2)

    def fork(_: int) -> None:
        _wait(lambda: out.array.any())
        if os.fork() == 0:
            raise KeyError("child")

    table = Table([Host(fork, independent=True), Launch(kernels["mark"], 0, 200)],
                  [0], [(0, 0, 0)], 1)
    try:
        table.run([out.address])
    except BaseException as e:
        os._exit(0 if isinstance(e, KeyError) else 1)
    finally:
        walker.set_threads(before)
    assert os.waitstatus_to_exitcode(os.wait()[1]) == 0


def _wait(found) -> None:
    end = time.monotonic() + 20
    while not found() and time.monotonic() < end:
        time.sleep(0.001)


def test_launches_run_beside_a_host_step(kernels, words):
    """The call does not end before another thread has begun with the launch behind it."""
    before, out, seen = walker.threads(), words(40), []
    walker.set_threads(2)

    def look(_: int) -> None:
        _wait(lambda: out.array.any())
        seen.append(out.array.any())

    table = Table([Host(look, independent=True),
                   Launch(kernels["mark"], 0, 30, independent=True),
                   Launch(kernels["mark"], 1, 10)], [0, 0], [(0, 0, 0), (1, 0, 240)], 1)
    try:
        for _ in range(20):
            table.run([out.address])
            assert (out.array == 1).all()
            out.array[:] = 0
    finally:
        walker.set_threads(before)
    assert len(seen) == 20 and all(seen)


def test_a_host_step_that_raises_ends_what_runs_beside_it(kernels, words, threads):
    out, angry = words(1000), [True]

    def maybe(_: int) -> None:
        if angry[0]:
            raise KeyError("no")

    table = Table([Host(maybe, independent=True), Launch(kernels["mark"], 0, 1000)],
                  [0], [(0, 0, 0)], 1)
    for _ in range(20):
        with pytest.raises(KeyError, match="no"):
            table.run([out.address])
    angry[0], out.array[:] = False, 0
    table.run([out.address])
    assert (out.array == 1).all()


def test_many_callers_never_deadlock(kernels, words, threads):
    outs = [words(100) for _ in range(6)]
    tables = [Table([Launch(kernels["mark"], 0, 100)] * 30, [0], [(0, 0, 0)], 1) for _ in outs]

    def work(k: int) -> None:
        for _ in range(50):
            tables[k].run([outs[k].address])

    pool = [threading.Thread(target=work, args=(k,)) for k in range(len(outs))]
    for t in pool:
        t.start()
    for t in pool:
        t.join(30)
    assert all((o.array == 1500).all() for o in outs)


def test_more_threads_than_cores_do_not_collapse(kernels, words):
    before, out = walker.threads(), words(64)
    table = Table([Launch(kernels["mark"], 0, 64)] * 1000, [0], [(0, 0, 0)], 1)
    try:
        walker.set_threads(8 * cores())
        table.run([out.address])
        start = time.perf_counter()
        table.run([out.address])
        assert time.perf_counter() - start < 1.0  # 1000 steps: 1 ms where a barrier spins: minutes
    finally:
        walker.set_threads(before)
    assert (out.array == 2000).all()


def test_at_least_one_thread():
    with pytest.raises(ValueError, match="at least one"):
        walker.set_threads(0)


def test_signals_stay_with_pythons_threads(python):
    code = (
        _COUNT.replace("before =", "old = set(os.listdir('/proc/self/task'))\nbefore =")
        + """
(new,) = set(os.listdir("/proc/self/task")) - old
import time
for _ in range(200):  # while a thread starts, the C library keeps every signal from it
    lines = open(f"/proc/self/task/{new}/status").read().splitlines()
    mask = int(next(line for line in lines if line.startswith("SigBlk")).split()[1], 16)
    if not mask >> 10 & 1:
        break
    time.sleep(0.01)
print(mask >> 1 & 1, mask >> 10 & 1)  # SIGINT is kept away, SIGSEGV is not
"""
    )
    assert python(code, LAMELLA_THREADS="2").splitlines()[1] == "1 0"


def test_exit_while_a_daemon_thread_runs(python):
    code = """
import threading, time
from lamella.runtime.steps import Jump, Host
from lamella.runtime.table import Table
table = Table([Host(lambda _: None), Jump(0)], [0], [], 0)
threading.Thread(target=table.run, args=([],), daemon=True).start()
time.sleep(0.05)
print("bye", flush=True)
"""
    assert python(code) == "bye"


def test_quota_of_version_2(tmp_path):
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "a/cpu.max").write_text("150000 100000\n")
    (tmp_path / "a/b/cpu.max").write_text("max 100000\n")
    groups = tmp_path / "cgroup"
    groups.write_text("0::/a/b\n")
    assert quota(tmp_path, groups) == 1.5
    assert cores(tmp_path, groups) == 1


def test_quota_of_version_1(tmp_path):
    folder = tmp_path / "cpu,cpuacct/box"
    folder.mkdir(parents=True)
    (folder / "cpu.cfs_quota_us").write_text("50000\n")
    (folder / "cpu.cfs_period_us").write_text("100000\n")
    groups = tmp_path / "cgroup"
    groups.write_text("4:cpu,cpuacct:/box\n3:memory:/box\n")
    assert quota(tmp_path, groups) == 0.5
    assert cores(tmp_path, groups) == 1


def test_no_quota(tmp_path):
    assert quota(tmp_path, tmp_path / "missing") == 1e9
