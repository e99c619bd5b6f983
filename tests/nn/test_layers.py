"""Layers and losses, against PyTorch where it is installed."""

import numpy as np
import pytest

import lamella as L
from lamella import nn, tree

rng = np.random.default_rng(0)
key = L.random.key


def r(*shape):
    return rng.standard_normal(shape).astype(np.float32)


def close(a, b, tol=2e-5):
    np.testing.assert_allclose(np.asarray(a), np.asarray(b), rtol=tol, atol=tol)


def test_linear_and_mlp():
    m = nn.Linear(3, 4, key=key(0))
    x = r(2, 5, 3)
    close(m(L.asarray(x)), x @ m.weight.numpy() + m.bias.numpy())
    assert np.abs(m.weight.numpy()).max() <= 3 ** -0.5
    with pytest.raises(L.errors.ShapeError, match=r"Linear: x .2, 5. must have 3.*test_layers"):
        m(L.ones((2, 5)))
    mlp = nn.MLP([3, 7, 2], key=key(1))
    assert mlp(L.ones((4, 3))).shape == (4, 2) and len(mlp.layers) == 2
    same = nn.MLP([3, 7, 2], key=key(1))
    for a, b in zip(tree.leaves(mlp), tree.leaves(same), strict=True):
        np.testing.assert_array_equal(a.numpy(), b.numpy())


def test_dropout():
    d, x = nn.Dropout(0.25), L.ones((100, 100))
    assert d(x) is x
    y = d(x, key(0)).numpy()
    assert set(np.unique(y)) == {0.0, np.float32(1 / 0.75)} and abs((y == 0).mean() - 0.25) < 0.02
    with pytest.raises(L.errors.ShapeError, match="rate"):
        nn.dropout(x, 1.0, key(0))


def test_batch_norm_returns_its_state():
    bn, x = nn.BatchNorm(3), r(4, 5, 5, 3) * 3 + 1
    y, state = bn(L.asarray(x), bn.init_state())
    close(y.numpy().mean((0, 1, 2)), np.zeros(3))
    close(state["mean"], 0.1 * x.mean((0, 1, 2)))
    close(state["var"], 0.9 + 0.1 * x.var((0, 1, 2), ddof=1), 1e-4)
    z, same = bn(L.asarray(x), state, train=False)
    assert same is state
    close(z, (x - state["mean"].numpy()) / np.sqrt(state["var"].numpy() + 1e-5), 1e-4)

    class Net(nn.Module):
        def __init__(self):
            self.blocks = [nn.BatchNorm(2), nn.LayerNorm(2)]
            self.norm = nn.BatchNorm(2)

    state = Net().init_state()
    assert set(state) == {"blocks", "norm"} and state["blocks"][1] is None


def test_embedding():
    m = nn.Embedding(7, 3, key=key(0))
    tokens = np.array([[0, 6], [2, 2]])
    close(m(L.asarray(tokens)), m.weight.numpy()[tokens])
    with pytest.raises(L.errors.DTypeError, match="integers"):
        m(L.ones(2))


def test_gpt_decodes_what_it_computes_at_once():
    m = nn.GPT(vocabulary=13, context=9, layers=2, heads=2, width=8, key=key(0))
    tokens = L.asarray(rng.integers(0, 13, (2, 6)).astype(np.int32))
    whole = m(tokens).numpy()
    cache = m.init_cache(2)
    first, cache = m.decode(tokens[:, :3], cache, 0)
    parts = [first]
    step = L.compile(lambda t, c, p: m.decode(t, c, p))
    for k in range(3, 6):
        y, cache = step(tokens[:, k:k + 1], cache, L.asarray(k))
        parts.append(y)
    close(np.concatenate(parts, 1), whole)
    with pytest.raises(L.errors.ShapeError, match="10 tokens exceed the context of 9"):
        m(L.zeros((1, 10), dtype="int32"))
    a = m(tokens, key=key(1)).numpy()  # no dropout: a key changes nothing
    np.testing.assert_array_equal(a, whole)


def test_a_donated_cache_is_updated_in_place():
    """What a compiled step makes beside its arguments is smaller than one of the cache's arrays."""
    m = nn.GPT(vocabulary=13, context=2048, layers=2, heads=2, width=32, key=key(0))
    cache = m.init_cache(1)
    size = {a.nbytes for a in L.tree.leaves(cache)}
    step = L.compile(lambda m, t, c, p: m.decode(t, c, p), donate="c")
    report = step.plan(m, L.spec((1, 1), "int32"), cache, L.spec((), "int32"))
    given = sum(a.nbytes for a in L.tree.leaves((m, cache))) + 8
    assert size == {2048 * 32 * 4} and report.peak - given < min(size)
    for k in range(100):
        _, cache = step(m, L.zeros((1, 1), dtype="int32"), cache, L.asarray(k))
    assert len(step.entries) == 1


def test_losses():
    x, t = r(4, 5), np.array([0, 4, 2, 2], np.int32)
    logp = x - np.log(np.exp(x).sum(1, keepdims=True))
    close(nn.losses.cross_entropy(L.asarray(x), t), -logp[range(4), t].mean())
    close(nn.losses.mse(x, x + 2), 4)
    close(nn.losses.mae(x, x - 2), 2)
    close(nn.losses.huber(x, x - 2), 1.5)
    close(nn.losses.accuracy(L.asarray(x), x.argmax(1)), 1)
    p = 1 / (1 + np.exp(-x[0]))
    y = np.array([1, 0, 1, 1, 0], np.float32)
    wanted = -(y * np.log(p) + (1 - y) * np.log(1 - p)).mean()
    close(nn.losses.binary_cross_entropy(x[0], y), wanted)
    with pytest.raises(L.errors.ShapeError, match="mse"):
        nn.losses.mse(x, x[0])


@pytest.mark.torch
def test_against_pytorch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    x, w, b = r(2, 7, 6, 3), r(4, 3, 2, 3), r(4)
    nchw = torch.from_numpy(x.transpose(0, 3, 1, 2).copy())
    conv = nn.Conv2d(3, 4, (3, 2), key=key(0), stride=2, padding=1).replace(
        weight=L.asarray(w), bias=L.asarray(b))
    oihw = torch.from_numpy(w.transpose(0, 3, 1, 2).copy())
    theirs = F.conv2d(nchw, oihw, torch.from_numpy(b), stride=2, padding=1)
    close(conv(L.asarray(x)), theirs.numpy().transpose(0, 2, 3, 1), 1e-4)
    close(nn.MaxPool(3, stride=2, padding=1)(L.asarray(x)),
          F.max_pool2d(nchw, 3, 2, 1).numpy().transpose(0, 2, 3, 1))
    close(nn.AvgPool(2)(L.asarray(x)), F.avg_pool2d(nchw, 2).numpy().transpose(0, 2, 3, 1))
    t = torch.from_numpy(x)
    close(nn.gelu(x, approximate=True), F.gelu(t, approximate="tanh").numpy())
    close(nn.gelu(x), F.gelu(t).numpy())
    close(nn.silu(x), F.silu(t).numpy())
    close(nn.layer_norm(x, np.ones(3, "f"), np.zeros(3, "f")), F.layer_norm(t, (3,)).numpy(), 1e-4)
    q, k, v = (r(2, 3, 5, 4) for _ in range(3))
    for causal in (False, True):
        close(nn.attention(q, k, v, causal=causal), F.scaled_dot_product_attention(
            *map(torch.from_numpy, (q, k, v)), is_causal=causal).numpy(), 1e-4)


def test_same_padding():
    for size, stride in ((7, 1), (7, 2), (8, 3)):
        x = L.ones((1, size, size, 2))
        y = nn.conv2d(x, L.ones((3, 3, 3, 2)), stride=stride, padding="same")
        assert y.shape == (1, -(-size // stride), -(-size // stride), 3)
    with pytest.raises(L.errors.ShapeError, match="padding"):
        nn.conv2d(L.ones((1, 2, 2, 2)), L.ones((3, 3, 3, 2)))


@pytest.mark.torch
def test_gpt_against_pytorch():
    torch = pytest.importorskip("torch")
    F = torch.nn.functional
    m = nn.GPT(vocabulary=11, context=7, layers=2, heads=2, width=8, key=key(0))
    p = {n: torch.from_numpy(a.numpy().copy()) for n, a in
         zip(tree.paths(m), tree.leaves(m), strict=True)}
    tokens = rng.integers(0, 11, (3, 5)).astype(np.int32)

    def dense(x, name):
        y = x @ p[f"{name}.weight"]
        return y + p[f"{name}.bias"] if f"{name}.bias" in p else y

    def norm(x, name):
        return F.layer_norm(x, x.shape[-1:], p[f"{name}.weight"], p[f"{name}.bias"])

    x = p["tokens.weight"][tokens] + p["positions.weight"][:5]
    for k in range(2):
        b = f"blocks.{k}."
        q, kk, v = dense(norm(x, b + "norm1"), b + "attention.qkv").view(3, 5, 3, 2, 4).permute(
            2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, kk, v, is_causal=True)
        x = x + dense(y.transpose(1, 2).reshape(3, 5, 8), b + "attention.projection")
        x = x + dense(F.gelu(dense(norm(x, b + "norm2"), b + "hidden"), approximate="tanh"),
                      b + "output")
    close(m(L.asarray(tokens)), dense(norm(x, "norm"), "head").numpy(), 1e-4)
