"""Attention: the page of numerics has its bits, its memory is linear in the length."""

import numpy as np
import pytest
from ops.cases import compiled, execute, inputs_of, run, same_bits
from ops.test_numerics_by_hand import exp, fma, rule_g

from lamella.base.errors import DTypeError, ShapeError
from lamella.base.extents import symbol
from lamella.ir.node import make, placeholder
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.ops import blockwise
from lamella.ops.attend import PULLBACK
from lamella.ops.attention import ATTENTION
from lamella.planner.pricing.profile import DEFAULTS
from lamella.planner.report import Report
from lamella.transform.vjp import pullback
from lamella.transform.vmap import batch

rng, f32 = np.random.default_rng(0), np.float32
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


def other_blocks(monkeypatch, room: int, resident: int) -> None:
    """Tiles for other registers, blocks for another cache."""
    tile = blockwise.tile_of
    monkeypatch.setattr(blockwise, "tile_of", lambda _, *given: tile(room, *given))
    monkeypatch.setattr(blockwise, "RESIDENT", resident)


@pytest.mark.parametrize(("room", "resident"), [(8, 1 << 17), (32, 0), (4, 0)])
@pytest.mark.parametrize("name", CASES)
def test_blocks_and_tiles_decide_no_bits(name, room, resident, monkeypatch):
    p, arrays = CASES[name]
    expected = run(with_gradients(p, inputs_of(arrays)), arrays)
    other_blocks(monkeypatch, room, resident)
    found = run(with_gradients(p, inputs_of(arrays)), arrays)
    assert all(map(same_bits, found, expected))


@pytest.mark.parametrize("name", CASES)
def test_uncompiled_bits_are_the_compiled_ones(name):
    p, arrays = CASES[name]
    program = with_gradients(p, inputs_of(arrays))
    assert all(map(same_bits, run(program, arrays), run(program, arrays, fused=False)))


def by_hand(q, k, v, g, scale, causal):
    """docs/numerics.md for one head: y and the cotangents of q, k and v."""
    t, s = len(q), len(k)
    seen = np.tri(t, s, s - t, dtype=bool) if causal else np.ones((t, s), bool)
    q = q * f32(scale)
    e = np.zeros((t, s), f32)
    for i in range(t):
        x = rule_g(((q[i, c], k[seen[i], c]) for c in range(q.shape[1])), (seen[i].sum(),))
        top = x.max(initial=-np.inf)
        e[i, seen[i]] = exp(x - (top if np.isfinite(top) else f32(0)))
    one, y = f32(1), np.zeros((t, v.shape[1]), f32)
    inverse = np.zeros(t, f32)
    for i, row in enumerate(seen):
        total, some = f32(0), e[i, row]
        for c in range(0, len(some), 64):
            inside = f32(0)
            for x in some[c:c + 64]:
                inside = inside + x
            total = total + inside
        inverse[i] = one / (total if total else one)
        y[i] = rule_g(((e[i, j], v[j]) for j in np.flatnonzero(row)), v.shape[1:]) * inverse[i]
    g = g * inverse[:, None]
    lanes = np.zeros((t, 16), f32)
    for c in range(0, v.shape[1], 16):
        lanes = fma(g[:, c:c + 16], y[:, c:c + 16], lanes)
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = lanes[:, :half] + lanes[:, half:]
    of_q = np.zeros_like(q)
    slope = np.zeros_like(e)
    for i, row in enumerate(seen):
        x = rule_g(((v[row, c], g[i, c]) for c in range(v.shape[1])), (row.sum(),))
        slope[i, row] = (x - lanes[i]) * e[i, row]
        of_q[i] = rule_g(((slope[i, j], k[j]) for j in np.flatnonzero(row)), k.shape[1:])
    over = lambda w, x: np.stack([rule_g(((w[i, j], x[i]) for i in np.flatnonzero(seen[:, j])),
                                         x.shape[1:]) for j in range(s)])
    return y, of_q * f32(scale), over(slope, q), over(e, g)


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("t", "s"), [(37, 37), (20, 37), (37, 20), (3, 150)])
def test_the_page_of_numerics_gives_these_bits(t, s, causal):
    arrays = [r(t, 16), r(s, 16), r(s, 32), r(t, 32)]
    inputs = inputs_of(arrays)
    y = make(ATTENTION, tuple(inputs[:3]), params(causal))
    found = run(Program(inputs, [y, *pullback([y], inputs[:3], inputs[3:])]), arrays)
    assert all(map(same_bits, found, by_hand(*arrays, 0.5, causal)))


def test_what_a_causal_mask_hides_takes_no_part():
    """Not even infinity and NaN, beside the very query too."""
    arrays = [r(90, 16), r(90, 16), r(90, 16)]
    program = with_gradients(params(True), inputs_of(arrays))
    expected = run(program, arrays)
    for n in (1, 37, 64):
        hidden = [a.copy() for a in arrays]
        for a, x in zip(hidden, (np.nan, np.nan, np.inf), strict=True):
            a[n:] = x
        found = run(program, hidden)
        assert same_bits(found[0][:n], expected[0][:n])
        assert same_bits(found[1][:n], expected[1][:n])


@pytest.mark.parametrize("same", [(0, 0, 0), (0, 1, 1), (0, 0, 1), (0, 1, 0)])
def test_one_array_as_several_operands(same):
    arrays = [r(3, 130, 8), r(3, 130, 8)]
    inputs = inputs_of(arrays)
    y = make(ATTENTION, tuple(inputs[k] for k in same), params(True))
    found = run(Program(inputs, [y, *pullback([y], inputs, [y * 0.5 + 1.0])]), arrays)
    apart = run(with_gradients(params(True), inputs_of([arrays[k] for k in same])),
                [arrays[k] for k in same])
    assert same_bits(found[0], apart[0])
    for n in range(2):
        parts = [apart[1 + place] for place, k in enumerate(same) if k == n]
        np.testing.assert_allclose(found[1 + n], sum(parts, np.zeros_like(arrays[n])), 1e-5, 1e-5)


@pytest.mark.parametrize("flags", [(1, 1, 1), (1, 0, 0), (0, 1, 1), (0, 0, 1)])
@pytest.mark.parametrize("name", ["all keys", "groups", "shared queries", "added", "seen",
                                  "added to columns", "added to heads", "dropout"])
def test_a_batch_is_its_members(name, flags):
    p, arrays = CASES[name]
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


def working_bytes(length: int, mask: bool = False) -> int:
    """Temporaries, and scratch of one thread."""
    inputs = [placeholder(tensor("float32", (4, length, 64))) for _ in range(3)]
    if mask:
        inputs.append(placeholder(tensor("bool", (length, length))))
    plan = compiled(with_gradients(params(True, mask), inputs)).plan
    memory = Report(plan, DEFAULTS["avx512"]).memory
    return memory.temporaries + memory.scratch


@pytest.mark.parametrize("mask", [False, True])
def test_memory_is_linear_in_the_length(mask):
    small, large = working_bytes(1024, mask), working_bytes(4096, mask)
    assert large < 4.2 * small
    assert large < 4096 * 4096 * 4  # one head's scores


@pytest.mark.parametrize("key", [tensor("float32", (2,)), tensor("uint32", (3,))])
def test_long_sequences_too_take_no_other_key(key):
    x = placeholder(tensor("float32", (1024, 4)))
    with pytest.raises(DTypeError, match=r"random: a key is uint32\[2\]"):
        make(ATTENTION, (x, x, x, placeholder(key)), params(dropout=0.5))


def test_a_cotangent_must_have_the_result_s_type():
    x = placeholder(tensor("float32", (5, 1, 16)))
    g = placeholder(tensor("float32", (5, 1, 32)))
    with pytest.raises(ShapeError, match=r"attend_pullback: .* cotangent f.*\[5, 1, 32\]"):
        make(PULLBACK, (x, x, x, x, g), params())
