"""Values that rest in a file: they come back as they were, for each run its own, and nothing of the
file is left."""

from __future__ import annotations

import gc
import os
import resource
import signal
import threading

import numpy as np
import pytest

from lamella.base.errors import ExecutionError
from lamella.runtime.spill import PIECE
from lamella.runtime.steps import Copy, Host, Transfer
from lamella.runtime.table import StepFailed, Table

COUNT = 3 * PIECE // 8 + 5      # words: pieces, and a part of one


def round_trip(folder, *between) -> Table:
    """Base 0 to the file, then from there to base 1."""
    nbytes = 8 * COUNT
    steps = [Transfer(0, 4096, nbytes), *between, Transfer(1, 4096, nbytes, reads=True)]
    return Table(steps, [0, 0], [(0, 0, 0), (1, 1, 0)], 2, folder=str(folder))


def test_what_was_written_is_read(words, threads, tmp_path):
    a, b = words(COUNT), words(COUNT)
    a.array[:] = np.random.default_rng(0).integers(0, 1 << 60, COUNT)
    table = round_trip(tmp_path)
    for _ in range(3):
        b.array[:] = 0
        table.run([a.address, b.address])
        assert (a.array == b.array).all()
    assert not os.listdir(tmp_path)


def test_each_run_has_a_file_of_its_own(words, threads, tmp_path):
    table = round_trip(tmp_path, Host(lambda at: threading.Event().wait(0.002)))
    wrong = []

    def many(seed: int) -> None:
        a, b = words(COUNT), words(COUNT)
        for k in range(20):
            a.array[:] = 1000 * seed + k
            table.run([a.address, b.address])
            wrong.extend(b.array[b.array != a.array])

    crew = [threading.Thread(target=many, args=(k,)) for k in range(3)]
    for t in crew:
        t.start()
    for t in crew:
        t.join()
    assert not wrong


def test_a_forked_child_does_not_write_into_the_parents_file(words, tmp_path):
    child = []

    def fork(at: int) -> None:
        if not child:
            child.append(os.fork())
            if not child[0]:
                table.run([c.address, d.address])       # within the parent's run
                os._exit(int((d.array != c.array).any()))
            assert os.waitpid(child[0], 0)[1] == 0

    table = round_trip(tmp_path, Host(fork))
    a, b, c, d = (words(COUNT) for _ in range(4))
    a.array[:], c.array[:] = 1, 2
    table.run([a.address, b.address])
    first = os.fork()
    if not first:       # with the lease that the parent will take again
        table.run([c.address, d.address])
        os._exit(int((d.array != 2).any()))
    assert os.waitpid(first, 0)[1] == 0
    table.run([a.address, b.address])
    assert (b.array == 1).all()


def test_a_failure_tells_what_the_system_said(words, tmp_path):
    a, b, cut = words(COUNT), words(COUNT), []
    table = round_trip(tmp_path, Host(lambda at: [os.ftruncate(f, 0) for f in cut]))
    table.run([a.address, b.address])
    cut.append(table._leases[-1].file.descriptor)
    with pytest.raises(StepFailed) as found:    # EIO: what was written is not there any more
        table.run([a.address, b.address])
    assert (found.value.step, found.value.code) == (2, 5)
    cut.clear()
    table.run([a.address, b.address])
    null = os.open(os.devnull, os.O_RDONLY)
    os.dup2(null, table._leases[-1].file.descriptor)
    os.close(null)
    with pytest.raises(StepFailed) as found:    # EBADF: it is not open for writing
        table.run([a.address, b.address])
    assert (found.value.step, found.value.code) == (0, 9)


def test_a_full_disk_is_told_before_anything_runs(words, tmp_path):
    a, b, ran = words(COUNT), words(COUNT), []
    table = round_trip(tmp_path, Host(lambda at: ran.append(at)))
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    before = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (PIECE, hard))
    try:
        with pytest.raises(ExecutionError, match="no room for a file of .* name another folder"):
            table.run([a.address, b.address])
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, before)
    assert not ran and not os.listdir(tmp_path)


def test_a_folder_that_is_not_there(words, tmp_path):
    a, b = words(COUNT), words(COUNT)
    with pytest.raises(ExecutionError, match="No such file"):
        round_trip(tmp_path / "none").run([a.address, b.address])


def test_the_file_ends_with_the_table(words, tmp_path):
    def descriptors() -> int:
        return len(os.listdir("/proc/self/fd"))

    a, b = words(COUNT), words(COUNT)
    gc.collect()
    before = descriptors()
    table = round_trip(tmp_path)
    table.run([a.address, b.address])
    assert descriptors() == before + 1
    del table
    gc.collect()
    assert descriptors() == before


def test_an_interrupted_run_leaves_nothing(words, tmp_path):
    def interrupt(at: int) -> None:
        raise KeyboardInterrupt

    a, b = words(COUNT), words(COUNT)
    gc.collect()
    before = os.listdir("/proc/self/fd")
    with pytest.raises(KeyboardInterrupt):
        round_trip(tmp_path, Host(interrupt)).run([a.address, b.address])
    gc.collect()
    assert os.listdir("/proc/self/fd") == before and not os.listdir(tmp_path)


def test_copies_and_transfers_share_an_image(words, tmp_path):
    a, b, c = (words(COUNT) for _ in range(3))
    a.array[:] = 7
    steps = [Copy(1, 0, 8 * COUNT), Transfer(1, 0, 8 * COUNT), Transfer(2, 0, 8 * COUNT, True)]
    Table(steps, [0, 0, 0], [(k, k, 0) for k in range(3)], 3, folder=str(tmp_path)).run(
        [a.address, b.address, c.address])
    assert (c.array == 7).all()
