"""What the cost model counts in a kernel: instructions, trips, and bytes between caches."""

from __future__ import annotations

import itertools
import json

import pytest

import lamella
from lamella.base.extents import evaluate
from lamella.codegen.outline import Block, Outline
from lamella.lang.expr import lit
from lamella.lang.loops import Loop, Set, When, index_var
from lamella.planner.plan import CHUNKS
from lamella.planner.pricing.counters import counters, expected
from lamella.planner.pricing.footprint import Touch
from lamella.planner.pricing.instructions import mix
from lamella.planner.pricing.profile import DEFAULTS, Profile
from lamella.planner.pricing.timing import Code, Run
from lamella.planner.pricing.trips import likely

PROFILE = DEFAULTS["avx512"]


def report(f, *args) -> lamella.planner.report.Report:
    found = lamella.plan(f, *args)
    found.profile, found.threads = PROFILE, 1
    return found


def spec(*shape):
    return lamella.spec(shape)


def counted(step, unit: str) -> float:
    """How often a launch uses a unit of a machine with vectors of 512 bits."""
    code = Code(step.kernel, 512)
    run = Run(code, [evaluate(e, {}) for e in step.sizes], evaluate(step.tasks, {}), PROFILE,
              {b.name: 1e9 for b in step.kernel.buffers})

    def visit(block: Block, times: float) -> float:
        loop = block.loop or block.rest
        if loop is not None:
            trips = run.trips.get(id(loop), 0)      # none where nothing gets there
            times *= trips // 16 if block.whole else trips % 16 > 0 if block.rest else trips
        inner = sum(visit(x, times) for x in block.items if isinstance(x, Block))
        return times * code.mixes[id(block)].units[unit] + inner

    return visit(code.outline.root, 1.0)


@pytest.mark.parametrize("m, k, n", [(96, 64, 96), (60, 100, 64)])
def test_a_product_has_one_vector_fma_for_each_lane(m, k, n):
    step = report(lambda a, b: a @ b, spec(m, k), spec(k, n)).plan.launches()[-1]
    assert m * k * n / 16 <= counted(step, "vector") <= m * k * n / 16 * 1.3


def test_a_map_loads_computes_and_stores_each_vector_once():
    step, = report(lambda a, b: a + b, spec(1600), spec(1600)).plan.launches()
    assert [counted(step, u) for u in ("load", "vector", "store")] == pytest.approx(
        [200, 100, 100], abs=8)


def test_a_function_costs_the_instructions_of_its_polynomial():
    add, = report(lambda a: a + 1, spec(4096)).plan.launches()
    exp, = report(lambda a: lamella.exp(a), spec(4096)).plan.launches()
    assert counted(exp, "vector") > 10 * counted(add, "vector")


def test_a_sum_waits_for_its_own_last_addition():
    lines = ["  %v2 = load <16 x float>, ptr %v1, align 4",
             "  %v3 = fadd <16 x float> %r1, %v2"]
    found = mix(lines, ["  %r1 = phi <16 x float> [%v0, %b0], [%v3, %b1]"], 512)
    assert (found.chain, found.units["vector"], found.units["load"]) == (4, 1, 1)
    assert mix(lines, [], 256).units["vector"] == 2


def touched(step) -> Touch:
    run = Run(Code(step.kernel, 512), [evaluate(e, {}) for e in step.sizes],
              evaluate(step.tasks, {}), PROFILE,
              {b.name: float(evaluate(o.buffer.bytes, {}))
               for o, b in zip(step.operands, step.kernel.operands, strict=True)} |
              {b.name: 4096.0 for b in step.kernel.scratch})
    return Touch(run.code.outline, run.trips, run.env,
                 {b.name: 1e9 for b in step.kernel.buffers})


def crossing(f, *args, cache: float) -> dict:
    step = report(f, *args).plan.launches()[-1]
    found = touched(step).crossing(cache, 0)
    return {step.operands[k].buffer.role: found.get((b.name, False), 0.0)
            for k, b in enumerate(step.kernel.operands)}


def test_what_fits_crosses_once():
    found = crossing(lambda x: lamella.softmax(x), spec(64, 1000), cache=1 << 20)
    assert found["argument"] == pytest.approx(64 * 1000 * 4, rel=0.05)


def test_what_does_not_fit_crosses_once_for_each_pass():
    once = crossing(lambda x: lamella.softmax(x), spec(4, 1 << 16), cache=1 << 20)["argument"]
    again = crossing(lambda x: lamella.softmax(x), spec(4, 1 << 16), cache=1 << 16)["argument"]
    assert once == pytest.approx(4 * (1 << 18), rel=0.05)
    assert again >= 2 * once


def images(x, w):
    """The gradient for the images of a convolution, tiles of which are a place of many images."""
    return lamella.grad(lambda x: lamella.sum(lamella.conv2d(x, w, padding=2) ** 2))(x)


def test_an_offset_takes_no_more_values_than_its_loops_have_iterations():
    """Image, row and column are told from one number: they do not vary each on their own."""
    step = report(images, spec(128, 14, 14, 12), spec(24, 5, 5, 12)).plan.launches()[-1]
    touch = touched(step)
    whole = sum(touch.crossing(1e9, 0).values())
    assert sum(touch.crossing(2 << 20, 0).values()) <= 2 * whole


@pytest.mark.parametrize("f, shapes", [
    (images, [(128, 14, 14, 12), (24, 5, 5, 12)]), (lambda x, w: x @ w, [(600, 500), (500, 700)]),
    (lambda x: lamella.softmax(x.T), [(700, 900)])])
def test_no_more_comes_into_a_cache_than_into_the_one_before(f, shapes):
    caches = [(32 << 10, 8), (256 << 10, 16), (1 << 20, 16), (24 << 20, 0)]
    for step in report(f, *(spec(*s) for s in shapes)).plan.launches():
        found = touched(step).crossings(caches)
        assert all(c[key] <= before[key] for before, c in itertools.pairwise(found) for key in c)


def test_time_grows_with_the_work_and_shrinks_with_threads():
    small, large = (report(lambda a, b: a @ b, spec(n, n), spec(n, n)) for n in (128, 512))
    assert 30 < large.seconds / small.seconds < 130
    large.threads, large._timetable, before = 4, None, large.seconds
    assert before / 4.5 < large.seconds < before / 2.5


def test_a_call_finds_in_a_cache_what_the_one_before_left():
    near, far = (report(lambda x: x * 2, spec(n)) for n in (1 << 16, 1 << 25))
    assert far.seconds / far.traffic > 3 * near.seconds / near.traffic


def test_a_profile_is_what_its_file_says(tmp_path):
    file = tmp_path / "p.json"
    file.write_text(PROFILE.to_json())
    found = Profile.load(file)
    assert (found.units, found.flops, found.measured) == (PROFILE.units, PROFILE.flops, False)
    assert Profile.read(found.to_json()).to_json() == found.to_json()
    file.write_text('{"name": "old"}')
    assert Profile.load(file) is None


def test_the_image_of_a_convolution_crosses_once():
    def f(x, w):
        return lamella.conv2d(x, w, padding=1)

    step = report(f, spec(2, 32, 32, 32), spec(3, 3, 32, 32)).plan.launches()[-1]
    run = Run(Code(step.kernel, 512), [evaluate(e, {}) for e in step.sizes],
              evaluate(step.tasks, {}), PROFILE,
              {b.name: float(evaluate(o.buffer.bytes, {}))
               for o, b in zip(step.operands, step.kernel.operands, strict=True)} |
              {b.name: 4096.0 for b in step.kernel.scratch})
    found = run.crossings[1]        # into the second cache, of a MiB
    assert all(moved <= 8 * 2 * 32 * 32 * 32 * 4 for moved in found.values())


def test_conditions_are_those_of_their_blocks():
    """A convolution's tile asks whether it is whole; in a large image most are."""
    step = report(lambda x, w: lamella.conv2d(x, w, padding=1), spec(2, 64, 64, 16),
                  spec(16, 3, 3, 16)).plan.launches()[-1]
    outline = Outline(step.kernel)
    asked, blocks = [], [outline.root]
    while blocks:
        block = blocks.pop()
        asked += [block.when] if block.when is not None else []
        blocks += [x for x in block.items if isinstance(x, Block)]
    whole, border = (next(e for e in asked if str(e) == text)
                     for text in ("(0 < whole)", "(whole < 1)"))
    env = dict(zip(step.kernel.sizes, (evaluate(e, {}) for e in step.sizes), strict=True))
    first = 64 * 64             # pixel of the second image
    found = [[likely(e, [(1.0, {**env, index_var("i0"): i0})], outline.sets)
              for i0 in (first, first + 32 * 64 + 16)] for e in (whole, border)]
    assert found == [[0.0, 1.0], [1.0, 0.0]]


def test_tasks_that_count_several_axes_are_looked_at_without_a_period():
    """Of 26 tasks over 13 bands of rows x 2 of columns, a look at the first, the middle and the
    last one sees the last band, which is short, twice."""
    step = report(lambda a, b: a @ b, spec(2048, 97), spec(97, 256)).plan.launches()[-1]
    assert counted(step, "vector") == pytest.approx(2048 * 97 * 256 / 16, rel=0.25)


def test_a_list_is_as_long_as_what_it_took():
    n, i, j, x = (index_var(s) for s in "nijx")
    inner = When(j < n, [Set(x, x + 1)])
    body = [Set(x, lit(0, n.dtype)), Loop(i, lit(0, n.dtype), n, [
        Loop(j, lit(0, n.dtype), n, [inner])])]
    path, = counters(body).values()
    assert [type(s) for s in path] == [Loop, Loop, When]
    assert expected(path, lambda _: 8.0, lambda _: 0.25) == 16


def test_gradients_for_weights_count_the_pixels_that_a_tap_takes_part_in():
    def f(x, y):
        return lamella.grad(lambda w: (lamella.conv2d(x, w, padding=1) * y).sum())(
            lamella.ones((128, 2, 2, 64)))

    step = max(report(f, spec(4, 16, 16, 64), spec(4, 17, 17, 128)).plan.launches(),
               key=lambda s: s.flops)
    assert step.kernel.name == "correlate"
    assert counted(step, "vector") == pytest.approx(step.flops / 32, rel=0.3)


def test_a_register_that_is_always_the_same_number_is_no_counter():
    """Winograd's tiles of an image that is one row of tiles."""
    step = max(report(lambda x, w: lamella.conv2d(x, w, padding=1), spec(8, 2, 2, 256),
                      spec(256, 3, 3, 256)).plan.launches(), key=lambda s: s.flops)
    assert counted(step, "vector") < 2 * step.flops / 32


def test_a_launch_of_many_tasks_is_claimed_in_some_chunks_for_each_thread():
    step, = report(lambda a: a + 1, spec(1 << 20, 16)).plan.launches()
    step.tasks, step.grain = 7168, 1
    assert step.claims({}, 2) == (7168, 7168 // (2 * CHUNKS))
    step.tasks = 40
    assert step.claims({}, 2) == (40, 1)


def test_bytes_that_another_core_wrote_are_handed_on():
    def f(a):
        b = a.sum(0)
        return lamella.tanh(a) @ a, b

    found = {}
    for handed, threads in itertools.product((0.0, 1.0), (1, 2)):
        r = report(f, spec(256, 256))
        times = json.loads(PROFILE.to_json()) | {"handed": handed}
        r.profile, r.threads, r._timetable = Profile.read(json.dumps(times)), threads, None
        found[handed, threads] = r.seconds
    assert found[1.0, 1] == found[0.0, 1]
    assert found[1.0, 2] > found[0.0, 2] + 256 * 256 * 4 / 4 * 1e-9


def leaps(f, *args) -> dict[str, float]:
    """How crowded the lines of a launch's operands are on their way."""
    step = report(f, *args).plan.launches()[-1]
    run = Run(Code(step.kernel, 512), [evaluate(e, {}) for e in step.sizes],
              evaluate(step.tasks, {}), PROFILE, {b.name: 1e9 for b in step.kernel.buffers})
    return {step.operands[k].buffer.role: run.leaps.get((b.name, False), 0.0)
            for k, b in enumerate(step.kernel.operands)}


def test_rows_that_lie_a_power_of_two_apart_are_crowded():
    crowded, apart = (leaps(lambda x: x[:, :48].sum(0), spec(1024, n))["argument"]
                      for n in (512, 528))
    assert crowded > 2 > 4 * apart
    assert leaps(lambda x: x.sum(1), spec(1024, 512))["argument"] == 0


def test_lanes_are_no_unknown_distance():
    """The rows of a tile's result are its own."""
    step = report(lambda a, b: a @ b, spec(512, 512), spec(512, 784)).plan.launches()[-1]
    outline = Code(step.kernel, 512).outline
    env = dict(zip(step.kernel.sizes, (evaluate(e, {}) for e in step.sizes), strict=True))
    touch = Touch(outline, {}, env, {b.name: 1e18 for b in step.kernel.buffers})
    assert all(s.bases.width < 512 * 784 for s in touch.streams)
