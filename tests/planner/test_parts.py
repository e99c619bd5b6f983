"""Regions of a plan computed in parts: the bits of the whole, and the bytes of the plan."""

import random

import numpy as np
import pytest
from engine.random_programs import Maker
from ops.cases import execute, same_bits
from planner.test_memory import key, leaves
from planner.training_steps import conv_net, deep_mlp

import lamella
from lamella import nn, optim
from lamella.engine.executable import Executable
from lamella.engine.kernels import target
from lamella.engine.measure import measure
from lamella.engine.value import Value
from lamella.planner import build
from lamella.planner.memory.budget import Budget
from lamella.planner.memory.divide import divided
from lamella.planner.memory.liveness import Draft, temporaries
from lamella.planner.plan import Loop
from lamella.planner.report import Report

FOUND = [59, 333]   # an axis of no elements; attention of one sequence, whose first axis is rows


class Chosen:
    """In place of a search: one region at random, whatever it needs."""

    def __init__(self, seed: int):
        self.random = random.Random(seed)
        self.loop: Loop | None = None
        self.sums = self.numbered = self.routines = 0

    def keep(self, makers, budget, divider):
        plan = makers[-1]()
        draft = Draft(plan, plan.steps, {})
        steps = list(range(len(draft.steps)))
        self.random.shuffle(steps)
        for k in steps:
            found = list(divider.regions.around(draft, k))
            if found:
                region = self.random.choice(found)
                self.sums = sum(m.way.summed for m in region.members)
                self.numbered = sum(m.way.numbered for m in region.members)
                self.routines = sum(m.way.group.kind == "routine" for m in region.members)
                draft = divided(draft, region, divider.scheduler, divider.pieces)
                self.loop, = (s for s in draft.steps if isinstance(s, Loop) and s.parts)
                break
        plan.steps, plan.temporaries = draft.steps, temporaries(draft.steps)
        return plan


def checked(program, arrays, donated, seed, monkeypatch, branches=False) -> Chosen:
    """The program with a region in parts gives the bits of the whole in the bytes planned (at most
    those, where there may be branches)."""
    expected = execute(Executable(build.build_plan(program, target(), donated)),
                       [np.array(a) for a in arrays])
    chosen = Chosen(seed)
    with monkeypatch.context() as m:
        m.setattr(build, "fits", lambda plan, budget: False)
        m.setattr(build, "keep", chosen.keep)
        plan = build.build_plan(program, target(), donated, budget=Budget(1))
    executable = Executable(plan)
    found = execute(executable, [np.array(a) for a in arrays])
    assert all(same_bits(a, b) for a, b in zip(found, expected, strict=True))
    values = [Value.from_numpy(np.array(a)) for a in arrays]
    measured = measure(executable, values, runs=1)
    planned = Report(plan, measured.report.profile, measured.report.threads,
                     executable.sizes(values)).memory
    assert measured.temporaries == planned.temporaries or \
        (branches and measured.temporaries < planned.temporaries)
    assert measured.results == planned.results
    return chosen


def traced(f, *args):
    """(program, arrays) of a function of arrays or pytrees of them."""
    return lamella.trace(f, *args), [np.array(a) for a in leaves(args)]


def numbers(*shape, seed=0):
    return lamella.asarray(np.random.default_rng(seed).standard_normal(shape).astype("float32"))


@pytest.mark.parametrize("rows", [48, 1024, 2048, 3072, 4096, 5 * 1024, 8192, 12288])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_sums_are_carried_on_within_chunks_and_over_them(rows, dtype, monkeypatch):
    """Products' chains, lanes of reductions, whole chunks, chunks of an outer loop; sums of all
    positions of a matrix."""
    def f(x, w):
        h = lamella.tanh(x @ w)
        return h.T @ x, h.sum(axis=0), (h * h).sum(), lamella.exp(h).sum(axis=0) / 3, h[-1]

    x, w = (numbers(rows, 32).astype(dtype), numbers(32, 16, seed=1).astype(dtype))
    program, arrays = traced(f, x, w)
    found = [checked(program, arrays, frozenset(), seed, monkeypatch) for seed in range(4)]
    assert any(c.loop is not None and c.sums for c in found)


def test_signed_zeros_and_infinities_are_carried(monkeypatch):
    def f(x, w):
        h = x @ w
        return h.sum(axis=0), h.T @ x, (h * x.sum()).sum(axis=0)

    x = np.full((256, 16), -0.0, np.float32)
    x[100, 3], x[200, 5] = np.inf, -1e-42
    program, arrays = traced(f, lamella.asarray(x), numbers(16, 16))
    for seed in range(4):
        checked(program, arrays, frozenset(), seed, monkeypatch)


def gpt_step():
    """Two blocks, with dropout by a key that is an argument."""
    model = nn.GPT(vocabulary=17, context=16, layers=2, heads=2, width=32, key=key(1), rate=0.1)

    def step(model, x, y, k):
        def loss(m):
            return nn.losses.cross_entropy(m(x, key=k).reshape((-1, 17)), y.reshape((-1,)))
        value, grads = lamella.value_and_grad(loss)(model)
        return value, optim.SGD(0.1).update(model, grads, optim.SGD(0.1).init(model))[0]

    tokens = lamella.asarray((np.arange(64).reshape(4, 16) * 7 % 17).astype(np.int32))
    return step, (model, tokens, tokens, key(5))


def attention_step(lead=(8,), mask=False):
    """Attention with its gradients: operands cut out of one product, cotangents end to end."""
    def step(w, x, y, holes):
        def loss(w):
            n = len(lead)
            h = (x @ w["in"]).reshape((*lead, 20, 3, 2, 16))
            q, k, v = h.transpose((n + 1, *range(n), n + 2, n, n + 3))
            a = lamella.attention(q, k, v, causal=True, **({"mask": holes} if mask else {}))
            a = a.transpose((*range(n), n + 1, n, n + 2)).reshape(x.shape)
            return lamella.square(a @ w["out"] - y).mean()
        value, g = lamella.value_and_grad(loss)(w)
        return value, {k: w[k] - 0.1 * g[k] for k in w}

    holes = np.random.default_rng(3).random((*lead, 2, 20, 20)) < 0.8
    return step, ({"in": numbers(32, 96, seed=1) * 0.2, "out": numbers(32, 32, seed=2) * 0.2},
                  numbers(*lead, 20, 32), numbers(*lead, 20, 32, seed=4), lamella.asarray(holes))


@pytest.mark.parametrize("lead, mask", [((8,), False), ((4, 3), False), ((8,), True)])
def test_attention_goes_by_its_first_axis(lead, mask, monkeypatch):
    step, args = attention_step(lead, mask)
    program, arrays = traced(step, *args)
    found = [checked(program, arrays, frozenset(), seed, monkeypatch) for seed in range(6)]
    assert sum(c.routines for c in found)


@pytest.mark.parametrize("make", [deep_mlp, gpt_step, conv_net])
@pytest.mark.parametrize("seed", range(5))
def test_training_steps_keep_their_bits_in_parts(make, seed, monkeypatch):
    f, args = make()
    program, arrays = traced(f, *args)
    donated = frozenset(range(len(leaves(args[:1])))) if seed % 2 else frozenset()
    assert checked(program, arrays, donated, seed, monkeypatch).loop is not None


def test_places_used_as_numbers_are_those_of_the_whole(monkeypatch):
    """Random bits, masks and tables by position."""
    def f(x, w, key):
        h = nn.dropout(lamella.relu(x @ w), 0.5, key)
        at = lamella.arange(x.shape[0]).reshape((-1, 1))
        h = lamella.where(at % 3 == 0, h, h * at.astype("float32"))
        return h @ w.T, h.sum(axis=1)

    program, arrays = traced(f, numbers(96, 24), numbers(24, 24, seed=1), lamella.random.key(7))
    found = [checked(program, arrays, frozenset(), seed, monkeypatch) for seed in range(6)]
    assert any(c.numbered for c in found)


@pytest.mark.parametrize("kind", ["bfloat16", "float16", "int32", "complex64"])
def test_other_dtypes(kind, monkeypatch):
    def f(x, w):
        h = x @ w
        h = h * h + h
        return h @ w.T, h.sum(axis=0), h.T @ x

    x = (np.arange(64 * 16).reshape(64, 16) % 7 - 3).astype(np.float32)
    program, arrays = traced(f, lamella.asarray(x).astype(kind),
                             lamella.asarray(x[:16]).astype(kind))
    for seed in range(3):
        checked(program, arrays, frozenset(), seed, monkeypatch)


@pytest.mark.parametrize("seed", [*range(24), *FOUND])
def test_random_programs_in_parts(seed, monkeypatch):
    made = Maker(1000 + seed, ("exact", "wild")[seed % 2])
    for donated in (frozenset(), frozenset(range(len(made.program.inputs)))):
        checked(made.program, made.arrays, donated, seed, monkeypatch, branches=True)


def wide_head(rows=512, words=2048):
    """A classifier whose logits are far larger than all else."""
    def step(w, x, y):
        def loss(w):
            return nn.losses.cross_entropy(lamella.tanh(x @ w["in"]) @ w["out"], y)
        value, g = lamella.value_and_grad(loss)(w)
        return value, {k: w[k] - 0.1 * g[k] for k in w}

    w = {"in": numbers(32, 32) * 0.1, "out": numbers(32, words, seed=1) * 0.1}
    y = lamella.asarray((np.arange(rows) * 7 % words).astype("int32"))
    return step, (w, numbers(rows, 32, seed=2), y)


def test_a_budget_that_nothing_computed_again_keeps_is_kept_by_parts():
    """One value is needed whole by the next step: only parts of both need less."""
    step, args = wide_head()
    whole = lamella.plan(step, *args)
    logits = 512 * 2048 * 4
    assert whole.memory.temporaries >= logits
    budget = whole.peak - logits // 2
    kept = lamella.plan(step, *args, memory=budget)
    assert kept.peak <= budget and kept.in_parts
    assert "in parts" in str(kept) and "test_parts.py" in str(kept)
    found = lamella.compile(step, memory=budget)(*args)
    expected = lamella.compile(step)(*args)
    assert all(same_bits(np.array(a), np.array(b))
               for a, b in zip(leaves(found), leaves(expected), strict=True))


def test_threads_change_no_bit_of_parts(monkeypatch):
    step, args = wide_head(256, 512)
    budget = lamella.plan(step, *args).peak - 256 * 512 * 2
    results = []
    for threads in ("1", "2"):
        monkeypatch.setenv("LAMELLA_THREADS", threads)
        results.append(leaves(lamella.compile(step, memory=budget)(*args)))
    assert all(same_bits(np.array(a), np.array(b)) for a, b in zip(*results, strict=True))


def test_a_plan_in_parts_comes_back_from_the_cache():
    step, args = wide_head(256, 1024)
    budget = lamella.plan(step, *args).peak - 256 * 1024 * 2
    first, second = (lamella.compile(step, memory=budget) for _ in range(2))
    a, b = first(*args), second(*args)
    assert all(same_bits(np.array(x), np.array(y))
               for x, y in zip(leaves(a), leaves(b), strict=True))
    assert lamella.plan(second, *args).in_parts
