"""The families of layers: shapes, weights, transposes, whole channels dropped, what errors say."""

import numpy as np
import pytest

import lamella as L
from lamella import nn, random


def normal(*shape, seed=0):
    return L.asarray(np.random.default_rng(seed).standard_normal(shape).astype(np.float32))


@pytest.mark.parametrize(("layer", "shape", "out"), [
    (lambda k: nn.Conv1d(4, 6, 3, key=k, padding="same", groups=2), (2, 9, 4), (2, 9, 6)),
    (lambda k: nn.Conv2d(4, 8, 3, key=k, groups=4, bias=False), (1, 6, 5, 4), (1, 4, 3, 8)),
    (lambda k: nn.Conv3d(2, 3, (1, 2, 3), key=k, stride=2), (1, 3, 4, 5, 2), (1, 2, 2, 2, 3)),
    (lambda k: nn.ConvTranspose1d(4, 2, 3, key=k, stride=2), (2, 5, 4), (2, 11, 2)),
    (lambda k: nn.ConvTranspose2d(4, 6, 2, key=k, stride=2, groups=2, output_padding=1),
     (1, 3, 4, 4), (1, 7, 9, 6)),
    (lambda k: nn.ConvTranspose3d(2, 1, 2, key=k), (1, 2, 3, 4, 2), (1, 3, 4, 5, 1)),
    (lambda k: nn.GroupNorm(2, 6), (2, 5, 4, 6), (2, 5, 4, 6)),
    (lambda k: nn.InstanceNorm(3), (2, 5, 3), (2, 5, 3)),
    (lambda k: nn.RMSNorm(7), (2, 5, 7), (2, 5, 7))],
    ids=["conv1d", "conv2d", "conv3d", "transpose1d", "transpose2d", "transpose3d", "group",
         "instance", "rms"])
def test_a_layer_s_shapes_and_gradients(layer, shape, out):
    model, x = layer(random.key(0)), normal(*shape)
    assert model(x).shape == out

    def loss(model, x):
        return (model(x) * normal(*out, seed=1)).sum()

    grads = L.grad(loss)(model, x)
    assert all(np.isfinite(g.numpy()).all() for g in L.tree.leaves(grads))
    assert np.array_equal(L.compile(lambda m, x: m(x))(model, x).numpy(), model(x).numpy())


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("padding", [0, 1, (2, 0), ((0, 1), (2, 1))])
def test_a_transposed_convolution_is_the_transpose(stride, padding):
    w = normal(4, 3, 3, 2, seed=1)
    f = lambda x: L.conv2d(x, w, stride=stride, padding=padding)
    x = normal(2, 7, 8, 2)
    y = f(x)
    g = normal(*y.shape, seed=2)
    pulled, = L.vjp(f, x)[1](g)
    extra = [(7 + sum(p) - 3) % stride for p in _pairs(padding)[:1]] + \
        [(8 + sum(p) - 3) % stride for p in _pairs(padding)[1:]]
    back = L.conv_transpose2d(g, w, stride=stride, padding=padding, output_padding=tuple(extra))
    assert np.allclose(back.numpy(), pulled.numpy(), atol=1e-5)


def _pairs(padding):
    each = (padding,) * 2 if isinstance(padding, int) else padding
    return [(p, p) if isinstance(p, int) else p for p in each]


def test_dropout_of_whole_channels():
    x = L.ones((4, 5, 6, 8))
    y = nn.Dropout(0.5, whole=(1, 2))(x, random.key(0)).numpy()
    flat = y.reshape(4, 30, 8)
    assert (flat == flat[:, :1]).all() and set(np.unique(y)) == {0.0, 2.0}
    assert nn.dropout(x, 0.5, None, whole=(1, 2)) is x


def test_segments():
    x = L.asarray(np.array([[1.0, 2], [3, 4], [5, 6], [7, 8]], np.float32))
    ids = L.asarray([2, 0, 2, -1])
    assert L.segment_sum(x, ids, 4).tolist() == [[3, 4], [0, 0], [6, 8], [0, 0]]
    assert L.segment_prod(x, ids, 3).tolist() == [[3, 4], [1, 1], [5, 12]]
    assert L.segment_max(x, ids, 3).tolist() == [[3, 4], [-np.inf, -np.inf], [5, 6]]
    assert L.segment_min(x, ids, 3).tolist() == [[3, 4], [np.inf, np.inf], [1, 2]]
    assert L.segment_mean(x, ids, 3).tolist() == [[3, 4], [0, 0], [3, 4]]
    assert L.segment_sum(x.T, ids, 3, axis=1).shape == (2, 3)
    assert L.segment_max(L.asarray([3, 1, 2]), L.asarray([0, 0, 9]), 1).tolist() == [3]
    g = L.grad(lambda x: (L.segment_mean(x, ids, 3) ** 2).sum())(x)
    assert np.allclose(g.numpy(), [[3, 4], [6, 8], [3, 4], [0, 0]])
    with pytest.raises(L.errors.ShapeError, match="integer ids"):
        L.segment_sum(x, L.asarray([0, 1]), 2)


@pytest.mark.parametrize(("call", "told"), [
    (lambda: nn.Conv2d(3, 4, key=random.key(0), groups=2), "2 groups of 3 and 4"),
    (lambda: nn.GroupNorm(2, 5), "do not divide 5"),
    (lambda: L.conv2d(L.ones((1, 4, 4, 4)), L.ones((3, 2, 2, 2)), groups=2), "divide f"),
    (lambda: L.pad(L.ones((0,)), 1, mode="edge"), "from within"),
    (lambda: L.pad(L.ones((2,)), 1, mode="mirror"), "not one of constant"),
    (lambda: L.interpolate(L.ones((1, 2, 2, 1)), 3, method="sharp"), "method one of nearest"),
    (lambda: L.grid_sample(L.ones((1, 2, 2, 1)), L.ones((1, 2, 2, 3))), "needs a grid"),
    (lambda: L.unfold(L.ones((1, 2, 2, 1)), 3), "enlarge the padding"),
    (lambda: L.fold(L.ones((1, 2, 2, 2, 2, 1)), 9), "has windows"),
    (lambda: L.pixel_shuffle(L.ones((2, 2, 3)), 2), "no multiple of 2"),
    (lambda: L.attention(L.ones((1, 5, 2, 4)), L.ones((1, 2, 3, 4)), L.ones((1, 2, 3, 4))),
     "no groups"),
    (lambda: L.attention(L.ones((2, 4)), L.ones((3, 4)), L.ones((3, 4)),
                         mask=L.ones((5, 3), dtype="bool")), "broadcast"),
    (lambda: nn.losses.mse(L.ones(2), L.ones(3)), "differ in shape"),
    (lambda: nn.losses.cross_entropy(L.ones((2, 3)), L.ones(2)), r"astype\('int32'\)"),
    (lambda: nn.conv2d(L.ones((1, 8, 8, 3)), L.ones((4, 3, 3, 5))), "3 channels against 5"),
    (lambda: L.ones(2, device="gpu"), "ones: no device is called 'gpu'; use 'cpu' or 'cuda:0'"),
    (lambda: nn.losses.mse(L.ones(2), L.ones(2), reduction="median"), "mean, sum, none"),
    (lambda: nn.losses.nll(L.ones((2, 3)), L.ones(2)), "integer labels"),
    (lambda: nn.losses.ctc(L.ones((2, 5, 3)), L.ones((1, 2), dtype="int32"), [5, 5], [1, 1]),
     "integer labels"),
    (lambda: L.polygamma(-1, L.ones(2)), "order -1"),
    (lambda: L.adaptive_avg_pool(L.ones((1, 4, 4, 1)), (2, 2, 2)), "each of the 2 axes")])
def test_errors_say_what_is_wrong(call, told):
    with pytest.raises(L.errors.LamellaError, match=told):
        call()


def test_fold_adds_what_unfold_copied():
    x = normal(2, 5, 6, 3)
    ones = L.fold(L.unfold(L.ones_like(x), 2, padding=1), (5, 6), padding=1)
    again = L.fold(L.unfold(x, 2, padding=1), (5, 6), padding=1)
    assert np.allclose(again.numpy(), (x * ones).numpy(), atol=1e-5)


def test_a_query_that_sees_nothing_gives_zero_and_a_finite_gradient():
    q, k, v = (normal(2, 3, 4, seed=s) for s in range(3))
    mask = L.asarray(np.array([[True, True, False], [False] * 3, [True] * 3]))
    f = lambda q, k, v: L.attention(q, k, v, mask=mask)
    assert (f(q, k, v)[:, 1].numpy() == 0).all()
    grads = L.grad(lambda *a: (f(*a) ** 2).sum(), (0, 1, 2))(q, k, v)
    assert all(np.isfinite(g.numpy()).all() for g in grads)
