"""Blocks and arenas: alignment, recycling, bounds, lifetime."""

from __future__ import annotations

import gc
import os
import threading

import numpy as np
import pytest

from lamella.runtime.arena import Arenas, paint, touched
from lamella.runtime.memory import LARGE, PAGE, Block, Pool, allocate, capacity


@pytest.mark.parametrize(
    "nbytes", [0, 1, 63, 64, 65, 257, 1000, 4096, 70_000, LARGE - 1, LARGE + 1]
)
def test_blocks_are_aligned_and_large_enough(nbytes):
    block = Pool(0).allocate(nbytes)
    assert block.address % 64 == 0
    assert block.size == capacity(nbytes) >= nbytes


def test_capacity_wastes_little_and_grows():
    sizes = [capacity(n) for n in range(1, 1 << 16, 7)] + [capacity(3 * LARGE + 5)]
    assert sizes == sorted(sizes) and not any(s % 64 for s in sizes)
    assert all(capacity(n) <= max(n + 64, n * 5 / 4) for n in range(1, 1 << 16, 7))
    assert capacity(LARGE + 1) == LARGE + PAGE
    assert all(capacity(s) == s for s in sizes)


@pytest.mark.parametrize("nbytes", [100, 3 * LARGE])
def test_freed_blocks_are_used_again(nbytes):
    pool = Pool(64 << 20)
    block = pool.allocate(nbytes)
    address = block.address
    other = pool.allocate(nbytes)
    assert other.address != address
    del block
    assert pool.allocate(nbytes).address == address


def test_small_blocks_do_not_overlap():
    pool = Pool(0)
    blocks = [pool.allocate(n) for n in (64, 100, 100, 5000, 64, 200_000) * 50]
    spans = sorted((b.address, b.address + b.size) for b in blocks)
    assert all(end <= begin for (_, end), (begin, _) in zip(spans, spans[1:], strict=False))


def test_idle_large_memory_is_bounded():
    pool = Pool(4 * LARGE)
    blocks = [pool.allocate(LARGE + k * PAGE) for k in range(8)]
    del blocks
    assert 0 < pool.idle <= 4 * LARGE
    assert pool.idle == sum(size * len(shelf) for size, shelf in pool.large.items())
    pool.trim()
    assert pool.idle == 0 and not pool.large


def test_large_memory_goes_back_to_the_system():
    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * PAGE

    pool = Pool(0)
    block = pool.allocate(64 << 20)
    block.view()[:] = 1
    held = resident()
    del block
    assert resident() < held - (50 << 20)


def test_a_view_keeps_its_block():
    pool = Pool(0)
    view = pool.allocate(4000).view(4000, np.float32)
    assert view.shape == (1000,) and view.flags.writeable
    view[:] = 3
    others = [pool.allocate(4000) for _ in range(200)]
    for other in others:
        other.view()[:] = 0
    part = view[10:20]
    del view
    gc.collect()
    pool.allocate(4000).view()[:] = 0
    assert (part == 3).all()


def test_blocks_from_many_threads():
    pool, seen = Pool(1 << 20), []

    def work(tag: int) -> None:
        for turn in range(300):
            block = pool.allocate(LARGE if turn % 3 == 0 else 1000)
            view = block.view(1000)
            view[:] = tag
            seen.append(bool((view == tag).all()))

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert all(seen) and pool.idle <= 1 << 20


def test_a_forked_child_has_its_own_bytes():
    block = allocate(2 * LARGE)
    view = block.view()
    view[:] = 1
    child = os.fork()
    if child == 0:
        view[:] = 2
        allocate(2 * LARGE)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert (view == 1).all()


def test_arenas_are_used_again_when_large_enough():
    arenas = Arenas(0)
    a = arenas.lease(10_000)
    b = arenas.lease(10_000)
    assert a.address != b.address and a.address % 64 == 0
    arenas.release(a)
    assert arenas.lease(5_000) is a
    arenas.release(a)
    larger = arenas.lease(20_000)
    assert larger.size >= 20_000 and not arenas.idle


def test_idle_arenas_are_bounded_but_the_last_is_kept():
    arenas = Arenas(50_000)
    held = [arenas.lease(40_000) for _ in range(3)]
    for arena in held:
        arenas.release(arena)
    assert arenas.idle == [held[-1]]


def test_leased_gives_back_on_errors():
    arenas = Arenas(0)
    with pytest.raises(KeyError), arenas.leased(100):
        raise KeyError
    assert len(arenas.idle) == 1


def test_paint_tells_what_was_touched():
    block = allocate(10_000)
    paint(block.address, 10_000)
    assert touched(block.address, 10_000) == (0, 0)
    block.view()[640:1280] = 0
    assert touched(block.address, 10_000) == (1280, 640)
    block.view()[5000] ^= 1
    assert touched(block.address, 10_000) == (5056, 704)
    assert touched(block.address, 10_000, grain=1) == (5001, 641)


def test_a_block_over_foreign_memory_only_needs_a_home():
    array, home = np.zeros(64, np.uint8), []
    block = Block((array.__array_interface__["data"][0], 64, array), home)
    block.view()[0] = 5
    del block
    assert array[0] == 5 and len(home) == 1
