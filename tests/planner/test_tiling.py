"""How products are cut: what a task reads stays near, and every thread has work."""

import pytest

from lamella.codegen.target import ALL, AVX512
from lamella.lang.loops import LANES
from lamella.planner.kernels.tiling import LEAST_TASKS, Layout, Product, choose_tiling


def product(m, k, n, left=None, panels=True):
    return Product(1, m, k, n, Layout(k, 1, 4) if left is None else left, Layout(1, n, 4), panels,
                   True)


@pytest.mark.parametrize("target", ALL, ids=str)
@pytest.mark.parametrize("m,k,n", [(1, 1, 1), (64, 64, 64), (2048, 384, 1536), (1, 4096, 4096),
                                   (4096, 1 << 20, 17), (5, 0, 3)])
def test_what_a_task_lays_out_fits_the_second_cache(target, m, k, n):
    t = choose_tiling(product(m, k, n), target)
    assert (t.rows, t.vectors) in target.contract_tiles
    assert t.group * t.rows * min(max(k, 1), t.block) * 4 <= target.core_bytes or t.group == 1
    if k > t.block:
        assert t.group * t.panels * t.size * 4 <= target.core_bytes


def test_large_products_have_tasks_for_every_thread():
    t = choose_tiling(product(2048, 2048, 2048), AVX512)
    tasks = -(-2048 // (t.rows * t.group)) * -(-2048 // (t.width * t.panels))
    assert tasks >= LEAST_TASKS


def test_rows_that_drive_each_other_out_are_laid_out():
    assert choose_tiling(product(1024, 1024, 1024), AVX512).packed
    assert choose_tiling(product(1024, 1000, 1024, Layout(1, 1024, 4)), AVX512).packed


def test_few_columns_do_not_make_up_for_laying_out_rows():
    t = choose_tiling(product(4096, 1000, 16), AVX512)
    assert not t.packed and t.width == LANES
