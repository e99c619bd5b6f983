"""Products that tiles do not serve are cut as on the processor, in what a device can run."""

import pytest
from gpu.cases import plan_of

import lamella
from lamella.codegen.gpu import SM90
from lamella.engine.device import codes_of
from lamella.planner.kernels.tiles.contraction import Shape, choose_tile
from lamella.planner.pricing.roofline import device
from lamella.planner.report import Report


@pytest.mark.parametrize("dtype", ["int32", "float64", "bfloat16"])
@pytest.mark.parametrize("left,right,turned", [
    ((1, 600), (600, 700), False), ((70, 90), (90, 40), False), ((50, 40), (60, 40), True)],
    ids=str)
def test_products_have_code(dtype, left, right, turned):
    program = lamella.trace(lambda a, b: a @ (b.mT if turned else b), lamella.spec(left, dtype),
                            lamella.spec(right, dtype))
    assert codes_of(plan_of(program), {})


def _long(dtype="bfloat16", k=8192):
    def f(a, b, c):
        product = a @ b
        return lamella.relu(product + c), product
    return lamella.trace(f, lamella.spec((60, k), dtype), lamella.spec((k, 40), dtype),
                         lamella.spec((40,), dtype))


def test_few_tiles_of_long_sums_are_computed_in_parts():
    plan = plan_of(_long())
    first, second = plan.launches()
    assert first.kernel.name == "contraction" and second.kernel.name == "rows"
    tile = choose_tile(Shape(60, 40, 8192, 1, 16), SM90)
    assert tile.parts > 1 and first.tasks % tile.parts == 0
    sums, = plan.temporaries
    assert sums.count == tile.parts * 60 * 40 and sums.dtype is lamella.float32
    assert Report(plan, device("h200")).memory.temporaries == 4 * sums.count


def test_float8s_are_multiplied_as_they_are_and_priced_so():
    specs, wide = ([lamella.spec((4096, 4096), d)] * 2 for d in ("float8_e4m3fn", "bfloat16"))
    plan = plan_of(lamella.trace(lambda a, b: a.astype("float32") @ b.astype("float32"), *specs))
    launch, = plan.launches()
    assert not plan.temporaries and (launch.kernel.warps, launch.kernel.stages) == (8, 3)
    half = plan_of(lamella.trace(lambda a, b: a @ b, *wide))
    ours, theirs = (Report(p, device("h200")).seconds for p in (plan, half))
    assert ours < 0.6 * theirs


@pytest.mark.parametrize("sizes", [(4096, 4096, 4096, 1), (64, 64, 512, 96), (512, 512, 256, 1),
                                   (60, 40, 100, 1)])
def test_many_tiles_or_short_sums_are_not(sizes):
    assert choose_tile(Shape(*sizes, 16), SM90).parts == 1


def test_every_part_has_some_tiles():
    for k in range(64, 40000, 997):
        tile = choose_tile(Shape(64, 64, k, 1, 16), SM90)
        assert tile.parts == 1 or k >= 2 * tile.parts * tile.depth
