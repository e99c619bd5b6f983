"""Tuning: products of a plan are found, all cuts give the same bits, the fastest is remembered."""

import numpy as np
import pytest

import lamella
from lamella.base.errors import LamellaError
from lamella.engine import cuts, tune, tuned
from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.engine.measure import measure
from lamella.planner.build import build_plan
from lamella.planner.kernels.tiling import Layout, Product, tilings

LEFT, RIGHT = Layout(33, 1, 4), Layout(1, 70, 4)


def program(f, *shapes):
    return lamella.trace(f, *map(lamella.spec, shapes))


@pytest.fixture(autouse=True)
def own_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(tuned, "default_folder", lambda: tmp_path)
    before = dict(target().tuned)
    target().tuned.clear()
    yield tmp_path
    target().tuned.clear()
    target().tuned.update(before)


def test_products_of_a_plan_are_found():
    found = tune.products(program(lambda x, w, v: lamella.tanh(x @ w) @ v.mT,
                                  (20, 33), (33, 70), (50, 70)))
    assert [tuple(p[:4]) for p in found] == [(1, 20, 33, 70), (1, 20, 70, 50)]
    assert found[0].left == LEFT and found[0].right == RIGHT
    assert found[1].right == Layout(70, 1, 4)


def values(p):
    rng = np.random.default_rng(0)
    return [tune.Value.from_numpy(rng.standard_normal(t.shape, "float32")) for t in p.input_types]


@pytest.mark.parametrize("f,shapes", [
    (lambda a, b: a @ b, ((37, 300), (300, 70))), (lambda a, b: a @ b.mT, ((1, 300), (70, 300))),
    (lambda a, b: a.mT @ b, ((300, 37), (300, 70))), (lambda a, b: a @ b, ((300, 1), (1, 70))),
    (lambda a, b: a.mT @ b.mT, ((3, 40, 90), (3, 50, 40)))], ids=["nn", "nt", "tn", "thin", "tt"])
def test_all_cuts_give_the_same_bits(f, shapes):
    p = program(f, *shapes)
    (product,) = tune.products(p)
    given, seen = values(p), set()
    for cut in tilings(product, target())[::7]:
        plan = build_plan(p, target().with_tuned({product: cut}))
        seen.add(Executable(plan)(given)[0].numpy().tobytes())
    assert len(seen) == 1


@pytest.mark.parametrize("f,shapes", [
    (lambda a, b: a @ b, ((56, 40), (40, 64))), (lambda a, b: a.mT @ b, ((40, 56), (40, 64)))],
    ids=["in squares that turn", "strip by strip"])
def test_all_cuts_touch_the_scratch_that_is_planned(f, shapes):
    p = program(f, *shapes)
    (product,) = tune.products(p)
    given = values(p)
    for cut in tilings(product, target()):
        run = Executable(build_plan(p, target().with_tuned({product: cut})))
        m = measure(run, given, 1)
        assert m.scratch == m.report.memory.scratch, cut


def test_the_fastest_is_remembered(own_folder):
    p = program(lambda a, b: a @ b, (40, 33), (33, 70))
    said: list[str] = []
    (found,) = tune.tune([(p, frozenset())], said.append, seconds=3.0)
    assert len(said) == 1 and "1x40x33x70" in said[0]
    assert found.best <= found.chosen and found.tried > 1
    kept = cuts.remembered(target().name)
    assert kept == ({found.product: found.found} if found.better else {})
    assert target().tuned == kept


def test_a_file_is_read_back(own_folder):
    p = Product(1, 40, 33, 70, LEFT, RIGHT, ("packed before",), False, True)
    cut = tilings(p, target())[-1]
    tuned.write("some", {p: cut})
    assert cuts.remembered("some") == {p: cut}
    tuned.path("some").write_text("[[1]]")
    assert cuts.remembered("some") == {}


def test_products_that_lie_otherwise_are_left_alone():
    apart = Product(1, 40, 33, 70, Layout(None, 1, 4), RIGHT, ("packed before",), False, True)
    assert tune.tuned(apart, 0.1) is None


def test_without_a_folder_there_is_an_error(monkeypatch):
    monkeypatch.setattr(tuned, "default_folder", lambda: None)
    with pytest.raises(LamellaError, match="LAMELLA_CACHE"):
        tune.tune([])
