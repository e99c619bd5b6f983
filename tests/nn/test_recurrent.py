"""Recurrent layers against PyTorch, where it is installed, and against what lengths mean."""

import numpy as np
import pytest
from ops.cases import same_bits

import lamella
from lamella import nn
from lamella.base.errors import LamellaError, ShapeError

KINDS = ["RNN", "LSTM", "GRU"]


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def made(kind, layers=1, bidirectional=False, **options):
    return getattr(nn, kind)(5, 7, layers, key=lamella.random.key(3), bidirectional=bidirectional,
                             **options)


def states_of(layer, result) -> list[np.ndarray]:
    return [np.array(s) for s in (result[1] if layer.states > 1 else (result[1],))]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("layers", [1, 2])
def test_values_and_gradients_are_pytorch_s(kind, layers, bidirectional):
    torch = pytest.importorskip("torch")
    ours = made(kind, layers, bidirectional)
    theirs = getattr(torch.nn, kind)(5, 7, layers, batch_first=True, bidirectional=bidirectional)
    pairs = []
    with torch.no_grad():
        for n, directions in enumerate(ours.cells):
            for d, cell in enumerate(directions):
                end = f"l{n}" + "_reverse" * d
                for name, a in (("weight_ih_", cell.w_input.T), ("weight_hh_", cell.w_state.T),
                                ("bias_ih_", cell.b_input), ("bias_hh_", cell.b_state)):
                    target = getattr(theirs, name + end)
                    target.copy_(torch.tensor(np.array(a)))
                    pairs.append((n, d, name, target))
    x, shape = numbers(3, 6, 5), (layers * (1 + bidirectional), 3, 7)
    first = [numbers(*shape, seed=k + 1) for k in range(ours.states)]
    given = tuple(map(lamella.asarray, first)) if len(first) > 1 else lamella.asarray(first[0])
    begin = tuple(map(torch.tensor, first)) if len(first) > 1 else torch.tensor(first[0])
    y, last = theirs(torch.tensor(x), begin)
    ((y * y).sum()).backward()
    value, grads = lamella.value_and_grad(lambda m: (m(lamella.asarray(x), given)[0] ** 2).sum())(
        ours)
    found = ours(lamella.asarray(x), given)
    np.testing.assert_allclose(np.array(found[0]), y.detach().numpy(), rtol=1e-4, atol=1e-5)
    ends = [s.detach().numpy() for s in (last if isinstance(last, tuple) else (last,))]
    for a, b in zip(states_of(ours, found), ends, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    for n, d, name, target in pairs:
        cell = grads.cells[n][d]
        g = {"weight_ih_": cell.w_input.T, "weight_hh_": cell.w_state.T,
             "bias_ih_": cell.b_input, "bias_hh_": cell.b_state}[name]
        np.testing.assert_allclose(np.array(g), target.grad.numpy(), rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bidirectional", [False, True])
def test_a_short_sequence_is_as_if_alone(kind, bidirectional):
    layer, x, lengths = made(kind, 2, bidirectional), numbers(3, 6, 5), [6, 1, 4]
    y, _ = both = layer(lamella.asarray(x), lengths=lamella.asarray(np.array(lengths, np.int32)))
    for k, n in enumerate(lengths):
        alone = layer(lamella.asarray(x[k:k + 1, :n]))
        assert same_bits(np.array(y)[k:k + 1, :n], np.array(alone[0]))
        assert not np.array(y)[k, n:].any()
        for a, b in zip(states_of(layer, both), states_of(layer, alone), strict=True):
            assert same_bits(a[:, k:k + 1], b)


@pytest.mark.parametrize("kind", KINDS)
def test_compiled_with_a_symbol_for_time(kind):
    layer, t = made(kind), lamella.symbol("T", 1, 32)
    f = lamella.compile(lambda m, x: lamella.grad(lambda m: m(x)[0].sum())(m).cells[0][0].w_state,
                        sizes={"x": (None, t, None)})
    for n in (1, 6, 17):
        x = lamella.asarray(numbers(2, n, 5))
        plain = lamella.grad(lambda m, x=x: m(x)[0].sum())(layer).cells[0][0].w_state
        assert same_bits(np.array(f(layer, x)), np.array(plain))
    assert len(f.entries) == 1


@pytest.mark.parametrize(("call", "kind", "text"), [
    (lambda m: m(lamella.zeros((3, 5))), ShapeError, r"\[batch, time, 5\]"),
    (lambda m: m(lamella.zeros((2, 3, 5)), lengths=lamella.zeros(3)), ShapeError, "lengths"),
    (lambda m: m(lamella.zeros((2, 3, 5)), lamella.zeros((1, 2, 7))), ShapeError, "the state"),
    (lambda m: made("LSTM", 0), LamellaError, "at least 1 layer"),
])
def test_errors(call, kind, text):
    with pytest.raises(kind, match=text):
        call(made("LSTM"))
