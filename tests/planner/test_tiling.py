"""How products are cut: what a task reads stays near, and every thread has work."""

import pytest

import lamella
from lamella.codegen.target import ALL, AVX512, AVX512_AMX
from lamella.lang.loops import LANES
from lamella.planner.build import build_plan
from lamella.planner.kernels.tiling import (
    BEFORE,
    LEAST_TASKS,
    PLACE,
    TASK,
    Layout,
    Product,
    choose_tiling,
    tilings,
)


def product(m, k, n, left=None, ways=(BEFORE, TASK, PLACE), steady=False):
    return Product(1, m, k, n, Layout(k, 1, 4) if left is None else left, Layout(1, n, 4), ways,
                   steady, True)


@pytest.mark.parametrize("target", ALL, ids=str)
@pytest.mark.parametrize("m,k,n", [(1, 1, 1), (64, 64, 64), (2048, 384, 1536), (1, 4096, 4096),
                                   (4096, 1 << 20, 17), (5, 0, 3)])
def test_what_a_task_lays_out_fits_the_second_cache(target, m, k, n):
    t = choose_tiling(product(m, k, n), target)
    assert (t.rows, t.vectors) in target.contract_tiles
    assert t.group * t.rows * min(max(k, 1), t.block) * 4 <= target.core.bytes or t.group == 1
    if k > t.block:
        assert t.group * t.panels * t.size * 4 <= target.core.bytes


def test_large_products_have_tasks_for_every_thread():
    t = choose_tiling(product(2048, 2048, 2048), AVX512)
    tasks = -(-2048 // (t.rows * t.group)) * -(-2048 // (t.width * t.panels))
    assert tasks >= LEAST_TASKS


def busiest(p, target) -> float:
    """Tiles of the thread that has most to do, to those that each would have of all."""
    t = choose_tiling(p, target)
    tiles, panels = -(-p.m // t.rows), -(-p.n // t.width)
    tasks = -(-tiles // t.group) * -(-panels // t.panels)
    return -(-tasks // target.threads) * t.group * t.panels / (tiles * panels / target.threads)


@pytest.mark.parametrize("target", ALL, ids=str)
@pytest.mark.parametrize("threads", [2, 4])
@pytest.mark.parametrize("m,k,n", [(2048, 128, 32), (2048, 512, 96), (3136, 256, 64),
                                   (1500, 64, 64), (784, 512, 128), (512, 768, 192),
                                   (8192, 128, 32)])
def test_threads_have_as_much_to_do(target, threads, m, k, n):
    """Of (2048, 128, 32) one had 170 tiles and the other 1: as many as the second cache holds."""
    assert busiest(product(m, k, n), target.with_threads(threads)) < 1.12


def test_rows_that_drive_each_other_out_are_laid_out_or_few():
    for left in (Layout(1024, 1, 4), Layout(1, 1024, 4)):
        t = choose_tiling(product(1024, 1024, 1024, left), AVX512)
        assert t.packed or t.rows <= AVX512.near.ways


def test_few_columns_do_not_make_up_for_laying_out_rows():
    t = choose_tiling(product(4096, 1000, 16), AVX512)
    assert not t.packed and t.width == LANES


def test_a_task_with_all_rows_packs_what_it_reads():
    turned = product(64, 512, 512)._replace(right=Layout(512, 1, 4), ways=(BEFORE, TASK))
    assert choose_tiling(turned, AVX512).right == TASK


def test_what_stays_the_same_is_packed_before():
    assert choose_tiling(product(128, 512, 512, ways=(BEFORE, TASK), steady=True),
                         AVX512).right == BEFORE


def test_a_row_by_a_matrix_reads_it_as_a_stream():
    t = choose_tiling(product(1, 4096, 4096), AVX512)
    assert t.streams and t.rows == 1


def test_a_cut_that_was_found_the_fastest_is_taken():
    p = product(300, 300, 300)
    worst = max(tilings(p, AVX512), key=lambda t: t.rows)
    assert choose_tiling(p, AVX512.with_tuned({p: worst})) == worst
    assert not AVX512.tuned


def test_columns_from_far_away_are_called_for():
    """The left operand's positions, each in a line of its own, where they come from memory."""
    def fetched(batch):
        a, b = lamella.spec((batch, 256, 256)), lamella.spec((batch, 256, 64))
        plan = lamella.plan(lambda a, b: a.mT @ b, a, b).plan
        return any("(k + 24)" in str(s.kernel) for s in plan.launches())

    assert fetched(48) and not fetched(4)


def test_strides_that_crowd_the_second_cache_shorten_the_block():
    left = Layout(1, 256, 4)        # 1024 lines, 1 KiB apart: all places that they may have there
    assert left.crowds(1024, AVX512) and not left.crowds(256, AVX512)
    assert choose_tiling(product(256, 2048, 1024, left), AVX512).block == 256


def test_results_of_many_bytes_are_written_in_wide_rows():
    t = choose_tiling(product(4096, 16, 4096), AVX512)
    assert t.rows <= 2 and t.vectors >= 7


@pytest.mark.parametrize("m", [128, 2048])
def test_tiles_share_the_lines_that_they_call_for(m):
    """Of weights' next panel: were each to call for all, it would read two panels."""
    program = lamella.trace(lambda a, b: a @ b, lamella.spec((m, 384)), lamella.spec((384, 1536)))
    plan = build_plan(program, AVX512, fixed=frozenset([1]))
    text = next(str(s.kernel) for s in plan.launches() if not s.lays_out)
    _, start, positions = text.partition("serial k in")
    assert start and positions.count("prefetch") == 1


def test_far_panels_are_read_in_place_and_called_for():
    """A batch of right operands that no cache holds: copies of them would go through memory, and
    hardware sees no order in rows that lie in pages of their own."""
    spec = lamella.spec
    far = lamella.trace(lambda a, b: a @ b, spec((8, 48, 2048)), spec((8, 2048, 768)))
    near = lamella.trace(lambda a, b: a @ b, spec((48, 2048)), spec((2048, 768)))
    kernels = [[str(s.kernel) for s in build_plan(p, AVX512).launches()] for p in (far, near)]
    assert len(kernels[0]) == 1 and "prefetch" in kernels[0][0].partition("serial k in")[2]
    assert not any("prefetch" in text for text in kernels[1])


def test_rows_in_strips_are_laid_out_once():
    """1024 cubed, its left operand transposed: a task has all columns, so that no other one lays
    out the same rows again."""
    p = product(1024, 1024, 1024, Layout(1, 1024, 4))
    packed = [t for t in tilings(p, AVX512) if t.packed and t.block >= 1024 and t.rows > 2]
    assert packed and all(t.panels * t.width >= 1024 for t in packed)


def test_only_a_last_panel_that_is_not_full_is_read_with_masks():
    """In place: a mask takes a slot of the multiply-adds on some processors."""
    def loops(n):
        program = lamella.trace(lambda a, b: a @ b, lamella.spec((32, 64)), lamella.spec((64, n)))
        kernel, = [str(s.kernel) for s in build_plan(program, AVX512).launches()]
        return [part.partition("serial")[0] for part in kernel.split("serial k in")[1:]]

    whole, both, short = loops(192), loops(200), loops(40)
    assert len(whole) == 1 and " if " not in whole[0]
    assert len(both) == 2 and " if " not in both[0] and " if " in both[1]
    assert len(short) == 1 and " if " in short[0]


def test_positions_of_several_strides_crowd_by_their_innermost_run():
    """32 positions 64 KiB apart have 16 places in a second cache of 1 MiB; 8 have room."""
    assert Layout(1, None, 4, 16384, 32).crowds(1024, AVX512)
    assert not Layout(1, None, 4, 16384, 8).crowds(1024, AVX512)
    assert not Layout(1, None, 4, 48, 1024).crowds(1024, AVX512)
    assert Layout(1, None, 4, 8192, 64).crowds(512, AVX512)


def test_a_strided_operand_of_crowded_places_is_laid_out():
    left = Layout(1, None, 4, 8192, 64)
    assert choose_tiling(product(256, 2048, 1000, left), AVX512).packed


def test_tasks_are_no_thinner_than_reading_far_operands_allows():
    """A long sum of few rows and columns: each task reads both operands from the cache that all
    share; but every thread of the machine has one."""
    p = product(128, 8192, 64, Layout(1, 128, 4))

    def tasks(target):
        t = choose_tiling(p, target)
        return -(-128 // (t.rows * t.group)) * -(-64 // (t.width * t.panels))

    assert tasks(AVX512_AMX.with_threads(2)) <= 4 < 16 <= tasks(AVX512_AMX.with_threads(32))
    assert tasks(AVX512) >= 8
