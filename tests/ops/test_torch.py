"""The main functions and their gradients against PyTorch."""

import numpy as np
import pytest

import lamella
from lamella.api import namespace as F

pytestmark = pytest.mark.torch
torch = pytest.importorskip("torch")
T = torch.nn.functional


def normal(*shape, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


LABELS = np.array([3, 0, 9, 9, 1, 5], np.int64)

CTC_LABELS = np.array([[1, 1, 2, 4], [3, 2, 3, 0]], np.int64)

# name: (our function, PyTorch's, arrays)
FUNCTIONS = {
    "matmul": (lambda a, b: a @ b, lambda a, b: a @ b, [normal(33, 70), normal(70, 49, seed=1)]),
    "batched matmul": (lambda a, b: a @ b, lambda a, b: a @ b,
                       [normal(3, 5, 17), normal(3, 17, 4, seed=1)]),
    "einsum": (lambda a, b: F.einsum("bij,bkj->ibk", a, b),
               lambda a, b: torch.einsum("bij,bkj->ibk", a, b),
               [normal(3, 5, 17), normal(3, 4, 17, seed=1)]),
    "softmax": (lambda a: F.softmax(a, axis=1), lambda a: T.softmax(a, 1), [normal(6, 33)]),
    "log_softmax": (lambda a: F.log_softmax(a, axis=0), lambda a: T.log_softmax(a, 0),
                    [normal(6, 33)]),
    "layer_norm": (lambda a, w, b: F.layer_norm(a, w, b, eps=1e-5),
                   lambda a, w, b: T.layer_norm(a, (33,), w, b, 1e-5),
                   [normal(6, 33), normal(33, seed=1), normal(33, seed=2)]),
    "gelu": (lambda a: F.gelu(a), T.gelu, [normal(6, 33)]),
    "tanh gelu": (lambda a: F.gelu(a, approximate=True), lambda a: T.gelu(a, approximate="tanh"),
                  [normal(6, 33)]),
    "silu": (lambda a: F.silu(a), T.silu, [normal(6, 33)]),
    "cross_entropy": (lambda a: F.cross_entropy(a, lamella.asarray(LABELS)),
                      lambda a: T.cross_entropy(a, torch.from_numpy(LABELS), reduction="none"),
                      [normal(6, 10)]),
    "attention": (lambda q, k, v: F.attention(q, k, v, causal=True),
                  lambda q, k, v: T.scaled_dot_product_attention(q, k, v, is_causal=True),
                  [normal(2, 3, 17, 8, seed=s) for s in range(3)]),
    "conv2d": (lambda x, w: F.conv2d(x, w, stride=2, padding=1),
               lambda x, w: T.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), stride=2,
                                     padding=1).permute(0, 2, 3, 1),
               [normal(2, 9, 8, 3), normal(5, 3, 3, 3, seed=1)]),
    "max_pool": (lambda x: F.max_pool(x, 2),
                 lambda x: T.max_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1),
                 [normal(2, 8, 6, 3)]),
    "avg_pool": (lambda x: F.avg_pool(x, 2),
                 lambda x: T.avg_pool2d(x.permute(0, 3, 1, 2), 2).permute(0, 2, 3, 1),
                 [normal(2, 8, 6, 3)]),
    "depthwise conv2d": (
        lambda x, w: F.conv2d(x, w, padding=1, groups=3),
        lambda x, w: T.conv2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), padding=1,
                              groups=3).permute(0, 2, 3, 1),
        [normal(2, 9, 8, 3), normal(6, 3, 3, 1, seed=1)]),
    "conv_transpose2d": (
        lambda x, w: F.conv_transpose2d(x, w, stride=2, padding=1, output_padding=1),
        lambda x, w: T.conv_transpose2d(x.permute(0, 3, 1, 2), w.permute(0, 3, 1, 2), stride=2,
                                        padding=1, output_padding=1).permute(0, 2, 3, 1),
        [normal(2, 5, 4, 3), normal(3, 3, 3, 5, seed=1)]),
    "group_norm": (lambda x, w, b: F.group_norm(x, 2, w, b),
                   lambda x, w, b: T.group_norm(x.permute(0, 2, 1), 2, w, b).permute(0, 2, 1),
                   [normal(3, 7, 6), normal(6, seed=1), normal(6, seed=2)]),
    "grouped attention": (
        lambda q, k, v: F.attention(q, k, v, causal=True),
        lambda q, k, v: T.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True),
        [normal(2, 6, 9, 8), normal(2, 2, 9, 8, seed=1), normal(2, 2, 9, 5, seed=2)]),
    "bicubic": (lambda x: F.interpolate(x, (7, 11), method="bicubic"),
                lambda x: T.interpolate(x.permute(0, 3, 1, 2), (7, 11), mode="bicubic").permute(
                    0, 2, 3, 1), [normal(2, 4, 5, 3)]),
    "grid_sample": (lambda x, g: F.grid_sample(x, g, padding="border"),
                    lambda x, g: T.grid_sample(x.permute(0, 3, 1, 2), g, padding_mode="border",
                                               align_corners=False).permute(0, 2, 3, 1),
                    [normal(2, 5, 6, 3), normal(2, 4, 4, 2, seed=1) * 0.7]),
    "adaptive_avg_pool": (
        lambda x: F.adaptive_avg_pool(x, (3, 4)),
        lambda x: T.adaptive_avg_pool2d(x.permute(0, 3, 1, 2), (3, 4)).permute(0, 2, 3, 1),
        [normal(2, 7, 9, 3)]),
    "softplus": (lambda x: F.softplus(x, beta=2.0), lambda x: T.softplus(x, beta=2.0),
                 [normal(6, 33)]),
    "weighted cross_entropy": (
        lambda a, w: lamella.nn.losses.cross_entropy(
            a, lamella.asarray(LABELS), weights=lamella.stop_gradient(F.abs(w)), ignore_index=9,
            label_smoothing=0.1, reduction="none"),
        lambda a, w: T.cross_entropy(a, torch.from_numpy(LABELS), w.abs().detach(),
                                     ignore_index=9, label_smoothing=0.1, reduction="none")
        + 0 * w.sum(), [normal(6, 10), normal(10, seed=1)]),
    "ctc": (lambda a: lamella.nn.losses.ctc(
                F.log_softmax(a), lamella.asarray(CTC_LABELS), lamella.asarray([9, 7]),
                lamella.asarray([4, 3]), reduction="none"),
            lambda a: T.ctc_loss(torch.log_softmax(a, -1).permute(1, 0, 2),
                                 torch.from_numpy(CTC_LABELS), (9, 7), (4, 3), reduction="none"),
            [normal(2, 9, 5)]),
    "sum": (lambda x: x.sum(axis=(0, 2)), lambda x: x.sum((0, 2)), [normal(40, 7, 61)]),
    "max": (lambda x: x.max(axis=1), lambda x: x.amax(1), [normal(40, 7, 61)]),
    "prod": (lambda x: x.prod(axis=1), lambda x: x.prod(1), [normal(40, 7)]),
}


@pytest.mark.parametrize("name", FUNCTIONS)
def test_values_and_gradients_are_pytorch_s(name):
    ours, theirs, arrays = FUNCTIONS[name]
    tensors = [torch.from_numpy(a).requires_grad_() for a in arrays]
    expected = theirs(*tensors)
    weights = normal(*expected.shape, seed=9)
    (expected * torch.from_numpy(weights)).sum().backward()

    def loss(*xs):
        return (ours(*xs) * lamella.asarray(weights)).sum()

    given = [lamella.asarray(a) for a in arrays]
    close(lamella.compile(ours)(*given), expected.detach().numpy())
    for k, t in enumerate(tensors):
        close(lamella.compile(lamella.grad(loss, k))(*given), t.grad.numpy())


def close(found, expected) -> None:
    scale = float(np.abs(expected).max())
    np.testing.assert_allclose(np.asarray(found), expected, rtol=1e-4, atol=2e-6 * scale)
