"""Attention by blocks has the bits of whole scores, in memory linear in the length."""

import numpy as np
import pytest
from ops.cases import compiled, execute, inputs_of, run, same_bits

from lamella.base.errors import DTypeError, ShapeError
from lamella.base.extents import symbol
from lamella.ir.node import items, make, placeholder
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.ops import attention
from lamella.ops.attention import ATTENTION, PULLBACK
from lamella.transform.vjp import pullback
from lamella.transform.vmap import batch

rng = np.random.default_rng(0)
KEY = np.array([3, 4], np.uint32)


def r(*shape) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def params(causal=False, mask=False, dropout=0.0) -> dict:
    return {"scale": 0.5, "causal": causal, "mask": mask, "dropout": dropout}


def holes(*shape) -> np.ndarray:
    """A mask in which some queries see nothing."""
    seen = rng.random(shape) < 0.5
    seen[..., ::7, :] = False
    return seen


def wild(*shape) -> np.ndarray:
    """Numbers among which are infinities, NaN, denormals and zeros of both signs."""
    x = r(*shape)
    x.reshape(-1)[::97] = np.resize([np.inf, -np.inf, np.nan, 1e-40, -0.0, 0.0],
                                    x.reshape(-1)[::97].shape)
    return x


HEADS = [r(4, 130, 8), r(4, 150, 8), r(4, 150, 5)]
CASES = {
    "all keys": (params(), [r(2, 3, 130, 8), r(2, 3, 150, 8), r(2, 3, 150, 5)]),
    "whole blocks": (params(True), [r(2, 128, 8), r(2, 128, 8), r(2, 128, 5)]),
    "causal": (params(True), HEADS),
    "more queries than keys": (params(True), [r(2, 130, 8), r(2, 70, 8), r(2, 70, 5)]),
    "groups": (params(True), [r(2, 4, 130, 8), r(2, 2, 150, 8), r(2, 2, 150, 5)]),
    "seen": (params(mask=True), [*HEADS, holes(130, 150)]),
    "seen keys": (params(True, True), [*HEADS, holes(4, 1, 150)]),
    "added": (params(True, True), [*HEADS, r(130, 150)]),
    "added to rows": (params(mask=True), [*HEADS, r(130, 1)]),
    "added to columns": (params(mask=True), [*HEADS, r(150)]),
    "added to heads": (params(mask=True), [*HEADS, r(4, 1, 1)]),
    "dropout": (params(True, False, 0.5), [r(2, 4, 130, 8), r(2, 2, 150, 8), r(2, 2, 150, 5), KEY]),
    "dropout and mask": (params(False, True, 0.25), [r(130, 8), *HEADS[1:], r(130, 150), KEY]),
    "shared keys": (params(), [r(2, 3, 130, 8), r(150, 8), r(3, 150, 5)]),
    "shared queries": (params(), [r(130, 8), r(2, 3, 150, 8), r(2, 1, 150, 5)]),
    "wild numbers": (params(True), [wild(130, 8), wild(150, 8), wild(150, 5)]),
    "float16": (params(True), [a.astype(np.float16) for a in HEADS]),
    "float64": (params(True, False, 0.5), [*(a.astype(np.float64) for a in HEADS), KEY]),
    "more than a chunk": (params(), [r(4200, 2), r(65, 2), r(65, 1)]),
}


def with_gradients(p: dict, inputs) -> Program:
    y = make(ATTENTION, tuple(inputs), p)
    wanted = [i for i in inputs if i.dtype.is_inexact]
    return Program(inputs, [y, *pullback([y], wanted, [y * 0.5 + 1.0])])


def both(monkeypatch, program, arrays, **options) -> tuple[list, list]:
    """(by blocks, whole): the results of a program that `program()` makes."""
    found = []
    for many in (0, 1 << 60):
        monkeypatch.setattr(attention, "MANY", many)
        found.append(run(program(), arrays, **options))
    return found[0], found[1]


@pytest.mark.parametrize("fused", [True, False])
@pytest.mark.parametrize("name", CASES)
def test_blocks_have_the_bits_of_the_whole(name, fused, monkeypatch):
    p, arrays = CASES[name]
    blocks, whole = both(monkeypatch, lambda: with_gradients(p, inputs_of(arrays)), arrays,
                         fused=fused)
    assert all(map(same_bits, blocks, whole))


@pytest.mark.parametrize("same", [(0, 0, 0), (0, 1, 1), (0, 0, 1), (0, 1, 0)])
def test_one_array_as_several_operands(same, monkeypatch):
    arrays = [r(3, 130, 8), r(3, 130, 8)]

    def program():
        inputs = inputs_of(arrays)
        y = make(ATTENTION, tuple(inputs[k] for k in same), params(True))
        return Program(inputs, [y, *pullback([y], inputs, [y * 0.5 + 1.0])])

    assert all(map(same_bits, *both(monkeypatch, program, arrays)))


def second(p: dict, inputs) -> Program:
    """The gradient of the squares of the gradient."""
    first = with_gradients(p, inputs).outputs[1:]
    again = pullback(first, [i for i in inputs if i.dtype.is_inexact], [g * 2.0 for g in first])
    return Program(inputs, again)


def test_second_derivatives(monkeypatch):
    p, arrays = CASES["added"]
    assert all(map(same_bits, *both(monkeypatch, lambda: second(p, inputs_of(arrays)), arrays)))


@pytest.mark.parametrize("flags", [(1, 1, 1), (1, 0, 0), (0, 1, 1), (0, 0, 1)])
@pytest.mark.parametrize("name", ["all keys", "groups", "shared queries", "added", "seen",
                                  "added to columns", "added to heads", "dropout"])
def test_a_batch_is_its_members(name, flags, monkeypatch):
    p, arrays = CASES[name]
    monkeypatch.setattr(attention, "MANY", 0)
    flags = [*flags, *[0] * (len(arrays) - 3)]
    given = [np.stack([a, a[..., ::-1]]) if f else a for a, f in zip(arrays, flags, strict=True)]
    single, inputs = with_gradients(p, inputs_of(arrays)), inputs_of(given)
    inner = [n for n, f in zip(single.inputs, flags, strict=True) if f]
    outer = [n for n, f in zip(inputs, flags, strict=True) if f]
    own = [o if f else n for n, o, f in zip(single.inputs, inputs, flags, strict=True)]
    together = run(Program(own, batch(single.outputs, inner, outer, 2)), given)
    for k in range(2):
        alone = run(single, [g[k] if f else g for g, f in zip(given, flags, strict=True)])
        assert all(map(same_bits, [np.ascontiguousarray(t[k]) for t in together], alone))


def test_lengths_that_are_symbols():
    t = symbol("T", 1, 2048)
    inputs = [placeholder(tensor("float32", (3, t, 8))) for _ in range(3)]
    executable = compiled(with_gradients(params(True), inputs))
    for length in (1, 5, 63, 64, 65, 600):
        arrays = [r(3, length, 8) for _ in range(3)]
        expected = run(with_gradients(params(True), inputs_of(arrays)), arrays)
        assert all(map(same_bits, execute(executable, arrays), expected))


def test_two_symbols_and_a_mask():
    t, s = symbol("T", 0, 2048), symbol("S", 1, 2048)
    inputs = [placeholder(tensor("float32", shape)) for shape in ((3, t, 8), (3, s, 8), (3, s, 5),
                                                                  (t, s))]
    executable = compiled(with_gradients(params(True, True), inputs))
    for sizes in ((0, 1), (1, 600), (65, 64), (500, 530)):
        shapes = ((3, sizes[0], 8), (3, sizes[1], 8), (3, sizes[1], 5), sizes)
        arrays = [r(*shape) for shape in shapes]
        expected = run(with_gradients(params(True, True), inputs_of(arrays)), arrays)
        assert all(map(same_bits, execute(executable, arrays), expected))


def arena(length: int, mask: bool = False) -> int:
    inputs = [placeholder(tensor("float32", (4, length, 64))) for _ in range(3)]
    if mask:
        inputs.append(placeholder(tensor("float32", (length, length))))
    p = with_gradients(params(True, mask), inputs)
    return compiled(Program(inputs, p.outputs[:4])).only.arena_bytes


def test_a_batch_of_gradients_takes_no_more_than_its_members():
    inputs = [placeholder(tensor("float32", (4, 1024, 64))) for _ in range(3)]
    lanes = [placeholder(tensor("float32", (2, *i.shape))) for i in inputs]
    p = Program(lanes, batch(with_gradients(params(True), inputs).outputs, inputs, lanes, 2))
    assert compiled(p).only.arena_bytes < 2.1 * arena(1024)


@pytest.mark.parametrize("mask", [False, True])
def test_memory_is_linear_in_the_length(mask):
    small, large = arena(1024, mask), arena(2048, mask)
    assert large < 2.2 * small
    assert large < 4 * 2048 * 2048 * 4 / 3  # whole scores alone, three times over


@pytest.mark.parametrize("key", [tensor("float32", (2,)), tensor("uint32", (3,))])
def test_long_sequences_too_take_no_other_key(key):
    x = placeholder(tensor("float32", (1024, 4)))
    with pytest.raises(DTypeError, match=r"random: a key is uint32\[2\]"):
        make(ATTENTION, (x, x, x, placeholder(key)), params(dropout=0.5))


def test_a_cotangent_must_have_the_result_s_type():
    x = placeholder(tensor("float32", (5, 4)))
    g = placeholder(tensor("float32", (5, 3)))
    with pytest.raises(ShapeError, match=r"attention_pullback: the cotangent is f.*\[5, 3\]"):
        make(PULLBACK, (x, x, x, g), params())
    assert len(items(make(PULLBACK, (x, x, x, x), params()))) == 3
