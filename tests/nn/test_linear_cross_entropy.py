"""Cross-entropy of a linear layer by blocks of rows: the whole's values, without its logits."""

import numpy as np
import pytest

import lamella
from lamella import nn
from lamella.base.errors import LamellaError, ShapeError
from lamella.nn import losses

rng = np.random.default_rng(0)


def given(*lead, width=8, classes=33):
    x = rng.standard_normal((*lead, width)).astype(np.float32)
    w = rng.standard_normal((width, classes)).astype(np.float32)
    return tuple(map(lamella.asarray, (x, w, rng.integers(0, classes, lead).astype(np.int32))))


@pytest.mark.parametrize(("lead", "rows"), [((10,), 4), ((12,), 4), ((3, 5), 4), ((7,), 8),
                                            ((4,), 1), ((0,), 4)])
def test_the_losses_are_the_whole_s(lead, rows):
    x, w, labels = given(*lead)
    found = lamella.compile(lambda *a: losses.linear_cross_entropy(
        *a, rows=rows, reduction="none"))(x, w, labels).numpy()
    whole = lamella.compile(lambda x, w, y: losses.cross_entropy(
        x @ w, y, reduction="none"))(x, w, labels).numpy()
    assert found.shape == lead
    assert found.tobytes() == whole.tobytes()


def test_the_gradients_are_the_whole_s():
    x, w, labels = given(3, 7)
    by_blocks = lamella.grad(lambda x, w: losses.linear_cross_entropy(x, w, labels, rows=4),
                             argnums=(0, 1))
    whole = lamella.grad(lambda x, w: losses.cross_entropy(x @ w, labels), argnums=(0, 1))
    for a, b in zip(by_blocks(x, w), whole(x, w), strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)


def test_the_logits_are_never_stored():
    count, width, classes = 4096, 16, 2000
    specs = [lamella.spec((count, width)), lamella.spec((width, classes)),
             lamella.spec((count,), dtype="int32")]
    plans = [lamella.plan(lamella.value_and_grad(f, argnums=(0, 1)), *specs) for f in (
        lambda x, w, y: losses.linear_cross_entropy(x, w, y, rows=256),
        lambda x, w, y: losses.cross_entropy(x @ w, y))]
    logits = count * classes * 4
    assert plans[0].peak < logits / 4 < logits < plans[1].peak


def test_a_model_s_loss_is_that_of_its_logits():
    model = nn.GPT(vocabulary=11, context=6, layers=1, heads=2, width=8,
                   key=lamella.random.key(0))
    tokens = lamella.asarray(rng.integers(0, 11, (2, 6)).astype(np.int32))
    found, whole = model.loss(tokens, tokens), losses.cross_entropy(model(tokens), tokens)
    assert found.numpy().tobytes() == whole.numpy().tobytes()


def test_what_does_not_fit_is_said():
    x, w, labels = given(4)
    with pytest.raises(ShapeError, match=r"x \(4, 8\) needs integer labels of shape \(4,\)"):
        losses.linear_cross_entropy(x, w, labels[:3])
    with pytest.raises(LamellaError, match="rows is 0"):
        losses.linear_cross_entropy(x, w, labels, rows=0)
