"""The walker: steps of every kind, failure, interruption, several runs of one table at once."""

from __future__ import annotations

import os
import signal
import threading
import time

import numpy as np
import pytest

from lamella.base.errors import ExecutionError
from lamella.runtime import launch, walker
from lamella.runtime.steps import Branch, Copy, EndLoop, Host, Jump, Launch, Loop
from lamella.runtime.table import Table


def test_every_task_runs_exactly_once(kernels, words, threads):
    for tasks, grain in ((0, 1), (1, 1), (5, 2), (1000, 7), (64, 100)):
        out = words(1001)
        table = Table([Launch(kernels["mark"], 0, tasks, grain)], [0], [(0, 0, 0)], 1)
        for _ in range(20):
            table.run([out.address])
        assert (out.array[:tasks] == 20).all() and not out.array[tasks:].any()


def test_steps_see_what_the_steps_before_wrote(kernels, words, threads):
    a, b = words(300), words(300)
    add = kernels["add"]
    steps = [Launch(add, 0, 300, 3), Launch(add, 3, 300, 11)] * 50
    patches = [(0, 1, 0), (1, 0, 0), (3, 0, 0), (4, 1, 0)]
    Table(steps, [0, 0, 1, 0, 0, 2], patches, 2).run([a.address, b.address])
    assert (a.array == 150).all()


def test_independent_launches_are_shared_out_together(kernels, words, threads):
    out = words(3 * 64)
    steps = [Launch(kernels["mark"], k, 60, 7, independent=True) for k in range(3)]
    table = Table(steps, [0] * 3, [(k, 0, 8 * 64 * k) for k in range(3)], 1)
    for _ in range(10):
        table.run([out.address])
    assert (out.array.reshape(3, 64) == [10] * 60 + [0] * 4).all()


def test_serial_launch_is_one_call(kernels, words, threads):
    out = words(100)
    Table([Launch(kernels["where"], 0, 100, 1, serial=True)], [0], [(0, 0, 0)], 1, 64).run(
        [out.address]
    )
    assert len(set(out.array)) == 1


def test_scratch_is_aligned_and_per_thread(kernels, words, threads):
    out = words(200)
    table = Table([Launch(kernels["where"], 0, 200)], [0], [(0, 0, 0)], 1, 100)
    table.run([out.address])
    found = np.unique(out.array)
    assert not (found % 64).any() and len(found) <= threads
    assert all(d >= 100 for d in np.diff(found))


def test_nested_loops_move_words_and_restore_them(kernels, words, threads):
    out = words(12)
    steps = [Loop(3, [(0, 8 * 4)]), Loop(4, [(0, 8)]), Launch(kernels["mark"], 0, 1),
             EndLoop(), EndLoop(), Launch(kernels["mark"], 0, 1)]  # fmt: skip
    table = Table(steps, [0], [(0, 0, 0)], 1)
    for _ in range(3):
        table.run([out.address])
    assert out.array.tolist() == [6] + [3] * 11


def test_loop_of_no_trips_is_skipped(kernels, words):
    out = words(1)
    steps = [Loop(0), Launch(kernels["mark"], 0, 1), EndLoop()]
    Table(steps, [0], [(0, 0, 0)], 1).run([out.address])
    assert out.array[0] == 0


@pytest.mark.parametrize("flag", [0, 1])
def test_branch_and_jump(kernels, words, flag):
    out, test = words(2), words(1)
    test.array[0] = flag
    mark = kernels["mark"]
    steps = [Branch(2, 3), Launch(mark, 0, 1), Jump(4), Launch(mark, 1, 1)]
    table = Table(steps, [0, 0, 0], [(0, 0, 0), (1, 0, 8), (2, 1, 0)], 2)
    table.run([out.address, test.address])
    assert out.array.tolist() == [flag, 1 - flag]


def test_jumping_back_makes_an_open_loop(kernels, words, threads):
    left, out = words(2), words(8)
    left.array[0] = 5
    steps = [
        Launch(kernels["mark"], 2, 8),
        Launch(kernels["countdown"], 0, 1),
        Branch(1, 4),
        Jump(0),
    ]
    table = Table(steps, [0, 0, 0], [(0, 0, 0), (1, 0, 8), (2, 1, 0)], 2)
    table.run([left.address, out.address])
    assert (out.array == 5).all()


@pytest.mark.parametrize("count", [0, 1, 100, 100_000])
def test_copy(words, threads, count):
    a, b = words(count + 1), words(count + 1)
    a.array[:] = np.arange(count + 1) + 1
    Table([Copy(1, 0, 8 * count)], [0, 0], [(0, 0, 0), (1, 1, 0)], 2).run([a.address, b.address])
    assert (b.array[:count] == a.array[:count]).all() and b.array[count] == 0


@pytest.mark.parametrize("shift", [0, 1])
def test_a_copy_past_the_caches_has_all_bytes(shift):
    """Whole lines, a rest, and an address that is no multiple of a line."""
    count = launch.PAST + (256 << 10) + 75
    a = np.arange(count, dtype=np.uint32).astype(np.uint8)
    b = np.zeros(count + 192, np.uint8)
    at = -b.ctypes.data % 64 + shift
    Table([Copy(1, 0, count)], [0, 0], [(0, 0, 0), (1, 1, 0)], 2).run(
        [a.ctypes.data, b.ctypes.data + at])
    assert np.array_equal(b[at:at + count], a) and not b[:at].any() and not b[at + count:].any()


def test_copy_in_a_loop(words):
    a, b = words(1), words(5)
    a.array[0] = 9
    steps = [Loop(5, [(1, 8)]), Copy(1, 0, 8), EndLoop()]
    Table(steps, [0, 0], [(0, 0, 0), (1, 1, 0)], 2).run([a.address, b.address])
    assert b.array.tolist() == [9] * 5


def test_host_steps_run_in_order_on_the_calling_thread(kernels, words, threads):
    out, seen = words(50), []

    def look(args: int) -> None:
        seen.append((threading.get_ident(), int(out.array.sum()), args % 8))

    steps = [Launch(kernels["mark"], 0, 50), Host(look), Launch(kernels["mark"], 0, 50), Host(look)]
    Table(steps, [0], [(0, 0, 0)], 1).run([out.address])
    assert seen == [(threading.get_ident(), 50, 0), (threading.get_ident(), 100, 0)]


def test_host_exception_comes_through_and_the_table_still_works(kernels, words, threads):
    out, angry = words(4), [True]

    def maybe(_: int) -> None:
        if angry[0]:
            raise KeyError("no")

    steps = [Loop(3, [(0, 8)]), Launch(kernels["mark"], 0, 1), Host(maybe), EndLoop()]
    table = Table(steps, [0], [(0, 0, 0)], 1)
    with pytest.raises(KeyError, match="no"):
        table.run([out.address])
    angry[0] = False
    table.run([out.address])
    assert out.array.tolist() == [2, 1, 1, 0]


def test_host_step_may_run_another_table(kernels, words, threads):
    out = words(40)
    inner = Table([Launch(kernels["mark"], 0, 40)], [0], [(0, 0, 0)], 1)
    outer = Table([Launch(kernels["mark"], 0, 40), Host(lambda _: inner.run([out.address]))],
                  [0], [(0, 0, 0)], 1)  # fmt: skip
    outer.run([out.address])
    assert (out.array == 2).all()


def test_reported_failure_stops_the_run(kernels, words, threads):
    out = words(100)
    image = [0, 0, 0, 33]
    steps = [Launch(kernels["mark"], 0, 100), Launch(kernels["fail"], 2, 100),
             Launch(kernels["mark"], 0, 100)]  # fmt: skip
    table = Table(steps, image, [(0, 0, 0), (2, 1, 0)], 1)
    for _ in range(3):
        with pytest.raises(ExecutionError, match="step 1") as caught:
            table.run([out.address])
        assert (caught.value.step, caught.value.code) == (1, 7)
    assert (out.array == 3).all()


@pytest.mark.parametrize("steps", ["many", "one"])
def test_ctrl_c_stops_a_long_plan(kernels, threads, steps):
    slow = kernels["slow"]
    if steps == "many":
        plan = [Loop(1_000_000), Launch(slow, 0, 4), EndLoop()]
    else:
        plan = [Launch(slow, 0, 1_000_000)]
    table = Table(plan, [0], [], 0, 64)
    killer = threading.Timer(0.1, os.kill, (os.getpid(), signal.SIGINT))
    start = time.perf_counter()
    killer.start()
    with pytest.raises(KeyboardInterrupt):
        table.run([])
    assert time.perf_counter() - start < 0.6


def test_a_quiet_signal_does_not_stop_a_run(kernels, words):
    seen = []
    before = signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
    try:
        signal.setitimer(signal.ITIMER_REAL, 0.02)
        start = time.perf_counter()
        table = Table([Loop(100), Launch(kernels["slow"], 0, 4), EndLoop()], [0], [], 0, 64)
        while time.perf_counter() - start < 0.15:
            table.run([])
        assert seen == [1]
    finally:
        signal.signal(signal.SIGALRM, before)


def test_one_table_in_several_threads_at_once(kernels, words, threads):
    arrays = [words(500) for _ in range(4)]
    steps = [Loop(5, [(0, 8 * 100)]), Launch(kernels["mark"], 0, 100, 3), EndLoop()]
    table = Table(steps, [0], [(0, 0, 0)], 1)

    def work(out) -> None:
        for _ in range(200):
            table.run([out.address])

    pool = [threading.Thread(target=work, args=(a,)) for a in arrays]
    for t in pool:
        t.start()
    for t in pool:
        t.join()
    assert all((a.array == 200).all() for a in arrays)


def test_other_python_threads_run_meanwhile(kernels):
    table = Table([Loop(200), Launch(kernels["slow"], 0, 4), EndLoop()], [0], [], 0, 64)
    runner = threading.Thread(target=table.run, args=([],))
    runner.start()
    turns = 0
    while runner.is_alive():
        turns += 1
        time.sleep(0.001)
    assert turns > 5


def test_the_float_control_word_is_set_and_restored(kernels, words, threads):
    import ctypes

    out = words(100)
    table = Table([Launch(kernels["control"], 0, 200)], [0], [(0, 0, 0)], 1)
    libm = ctypes.CDLL("libm.so.6")
    upward, nearest = 0x800, 0
    libm.fesetround(upward)
    try:
        table.run([out.address])
        assert libm.fegetround() == upward
    finally:
        libm.fesetround(nearest)
    assert set(out.array.view(np.int32) & ~0x3F) == {0x1F80 & ~0x3F}


def test_ticks_are_counted_when_asked(kernels, words):
    table = Table([Launch(kernels["slow"], 0, 20), Launch(kernels["slow"], 0, 1)], [0], [], 0, 64)
    table.run([])
    assert not table.ticks().any()
    table.timed = True
    for _ in range(3):
        table.run([])
    ticks = table.ticks()
    assert ticks[0] > 2 * ticks[1] > 0


def test_hold_gil_gives_the_same(kernels, words, threads):
    out = words(100)
    table = Table([Launch(kernels["mark"], 0, 100), Host(lambda _: None)], [0], [(0, 0, 0)], 1,
                  hold_gil=True)  # fmt: skip
    table.run([out.address])
    assert (out.array == 1).all()


def test_wrong_bases_are_refused(kernels, words):
    table = Table([Launch(kernels["mark"], 0, 1)], [0], [(0, 0, 0)], 1)
    with pytest.raises(ValueError, match="1 bases was run over 2"):
        table.run([1, 2])
    with pytest.raises(TypeError):
        table.run(["address"])
    out = words(1)
    table.run([out.address])
    assert out.array[0] == 1


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        ([EndLoop()], "not begun"),
        ([Loop(2)], "no end"),
        ([Jump(3)], "goes to step 3 of 1"),
        ([Loop(2), Jump(3), EndLoop()], "across the loop"),
        ([Jump(2), Loop(2), EndLoop()], "across the loop"),
        ([Launch(0, 5, 1)], "word 5 of 1"),
    ],
)
def test_wrong_tables_are_refused(steps, message):
    with pytest.raises(ValueError, match=message):
        Table(steps, [0], [], 0)


def test_set_threads_reaches_tables_made_before(kernels, words):
    before, out = walker.threads(), words(64)
    table = Table([Launch(kernels["slow"], 0, 64)], [0], [], 0, 64)
    try:
        for count in (1, 3, 2):
            walker.set_threads(count)
            table.run([])
            assert table._leases[-1].field("threads") == count
    finally:
        walker.set_threads(before)
    assert not out.array.any()
