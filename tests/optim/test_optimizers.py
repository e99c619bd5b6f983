"""Optimizers against PyTorch, clipping, schedules."""

import math

import numpy as np
import pytest

import lamella as L
from lamella import optim

rng = np.random.default_rng(0)
START = {"a": rng.standard_normal((3, 4)).astype(np.float32),
         "b": rng.standard_normal(5).astype(np.float32)}
GRADS = [{k: rng.standard_normal(v.shape).astype(np.float32) for k, v in START.items()}
         for _ in range(12)]

PAIRS = {
    "sgd": (lambda: optim.SGD(0.1), lambda t, p: t.SGD(p, 0.1)),
    "momentum": (lambda: optim.SGD(0.1, momentum=0.9, weight_decay=0.01),
                 lambda t, p: t.SGD(p, 0.1, momentum=0.9, weight_decay=0.01)),
    "nesterov": (lambda: optim.SGD(0.1, momentum=0.9, nesterov=True),
                 lambda t, p: t.SGD(p, 0.1, momentum=0.9, nesterov=True)),
    "adam": (lambda: optim.Adam(0.01, weight_decay=0.1),
             lambda t, p: t.Adam(p, 0.01, weight_decay=0.1)),
    "adamw": (lambda: optim.AdamW(0.01, betas=(0.8, 0.95), weight_decay=0.1),
              lambda t, p: t.AdamW(p, 0.01, betas=(0.8, 0.95), weight_decay=0.1)),
}


def run(opt, start=START, grads=GRADS):
    model = L.tree.map(L.asarray, start)
    state = opt.init(model)
    for g in grads:
        model, state = opt.update(model, L.tree.map(L.asarray, g), state)
    return model, state


@pytest.mark.torch
@pytest.mark.parametrize("name", PAIRS)
def test_against_pytorch(name):
    torch = pytest.importorskip("torch")
    ours, theirs = PAIRS[name]
    params = {k: torch.nn.Parameter(torch.from_numpy(v.copy())) for k, v in START.items()}
    opt = theirs(torch.optim, list(params.values()))
    for g in GRADS:
        for k, p in params.items():
            p.grad = torch.from_numpy(g[k].copy())
        opt.step()
    model, state = run(ours())
    assert int(state["step"]) == len(GRADS) and state["step"].dtype is L.int32
    for k, p in params.items():
        np.testing.assert_allclose(model[k].numpy(), p.detach().numpy(), rtol=2e-5, atol=1e-6)


def test_other_leaves_and_dtypes_stay():
    model = {"w": L.ones(3, dtype="bfloat16"), "n": L.asarray([1, 2])}
    opt = optim.AdamW(0.1)
    state = opt.init(model)
    assert state["m"]["w"].dtype is L.float32
    new, state = opt.update(model, L.tree.map(L.ones_like, model), state)
    assert new["w"].dtype is L.bfloat16 and new["n"].tolist() == [1, 2]
    assert float(new["w"][0]) < 0.95


def test_update_is_pure_and_compiles():
    opt = optim.AdamW(optim.cosine(0.1, 10, warmup_steps=2), clip=1.0)
    eager, _ = run(opt)
    step = L.compile(opt.update)
    model = L.tree.map(L.asarray, START)
    state = opt.init(model)
    for g in GRADS:
        model, state = step(model, L.tree.map(L.asarray, g), state)
    for k in model:
        np.testing.assert_array_equal(model[k].numpy(), eager[k].numpy())


def test_clipping():
    grads = {"a": L.asarray([3.0, 0.0]), "b": L.asarray(4.0), "n": L.asarray(100)}
    assert float(optim.global_norm(grads)) == 5
    clipped, norm = optim.clip_by_global_norm(grads, 1.0)
    assert float(norm) == 5 and clipped["a"].tolist()[0] == pytest.approx(0.6)
    assert int(clipped["n"]) == 100
    same, _ = optim.clip_by_global_norm(grads, 10.0)
    assert float(same["b"]) == 4


def test_decay_of_chosen_leaves():
    zero = [L.tree.map(np.zeros_like, START)]
    opt = optim.AdamW(0.1, weight_decay=0.5, decays=lambda path, p: p.ndim > 1)
    model, _ = run(opt, grads=zero)
    np.testing.assert_allclose(model["a"].numpy(), START["a"] * 0.95, rtol=1e-6)
    np.testing.assert_array_equal(model["b"].numpy(), START["b"])


def test_schedules():
    at = lambda s, k: float(s(L.asarray(k)))
    assert at(optim.constant(0.3), 7) == pytest.approx(0.3)
    assert at(optim.linear(1.0, 0.0, 4), 1) == 0.75 and at(optim.linear(1.0, 0.0, 4), 9) == 0
    w = optim.warmup(1.0, 4)
    assert [at(w, k) for k in range(6)] == [0.25, 0.5, 0.75, 1, 1, 1]
    c = optim.cosine(1.0, 12, end=0.1, warmup_steps=2)
    for k, wanted in ((0, 0.5), (2, 1.0), (7, 0.55), (12, 0.1), (50, 0.1)):
        assert at(c, k) == pytest.approx(wanted, abs=1e-6)
    assert at(optim.cosine(1.0, 4), 1) == pytest.approx(0.5 * (1 + math.cos(math.pi / 4)))


WRONG = {
    "shape": (lambda opt, m: opt.update(m, {**m, "a": m["a"][0]}, opt.init(m)), "gradient of a"),
    "no state": (lambda opt, m: opt.update(m, m, None), "opt.init"),
    "another's state": (lambda opt, m: opt.update(m, m, optim.SGD(0.1).init(m)), "opt.init"),
    "another model's": (lambda opt, m: opt.update(m, m, opt.init([])), "opt.init"),
    "rate": (lambda opt, m: optim.Adam("fast"), "learning rate is a number"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_belong_together_is_refused_at_the_user_s_line(name):
    wrong, text = WRONG[name]
    with pytest.raises(L.errors.LamellaError, match=text) as e:
        wrong(optim.Adam(), L.tree.map(L.asarray, START))
    assert "test_optimizers.py" in str(e.value)


def test_errors():
    model = L.tree.map(L.asarray, START)
    opt = optim.SGD(0.1)
    with pytest.raises(L.errors.ShapeError, match="structure"):
        opt.update(model, {"a": model["a"]}, opt.init(model))
    with pytest.raises(L.errors.LamellaError, match="nesterov needs momentum"):
        optim.SGD(0.1, nesterov=True)
    with pytest.raises(L.errors.LamellaError, match="negative"):
        optim.AdamW(-1.0)
