"""Law: a user's mistake raises an error that names the op, the shapes (or dtypes), the remedy and
the user's file and line."""

from __future__ import annotations

import re
from functools import partial

import numpy as np
import pytest

import lamella as lm
from lamella.base.errors import DTypeError, LamellaError, ShapeError, TraceError


def ones(*shape, dtype=np.float32):
    return lm.asarray(np.ones(shape, dtype))


X, Y, Z = partial(ones, 3, 4), partial(ones, 2, 4), partial(ones, 5, 4)
IMAGE = partial(ones, 1, 8, 8, 3)


def positions():
    return lm.asarray(np.array([0, 1], np.int32))


def branch(a):
    return a if a.sum() > 0 else -a


# name: (the call, the error's class, what the message says besides the line)
BAD = {
    "add": (lambda: X() + Y(), ShapeError, ("add", "(3, 4)", "(2, 4)", "reshape")),
    "mul with a row": (lambda: X() * ones(3), ShapeError, ("mul", "(3, 4)", "(3,)", "reshape")),
    "matmul": (lambda: X() @ Z(), ShapeError, ("matmul", "(3, 4)", "(5, 4)", "did you mean b.T?")),
    "matmul without hint": (lambda: X() @ ones(5, 6), ShapeError,
                            ("matmul", "(5, 6)", "4 against 5")),
    "matmul compiled": (lambda: lm.compile(lambda a, b: a @ b)(X(), Z()), ShapeError,
                        ("matmul", "(3, 4)", "(5, 4)", "b.T")),
    "reshape": (lambda: lm.reshape(X(), (5, 2)), ShapeError,
                ("reshape", "(3, 4)", "12", "(5, 2)", "10", "counts must agree")),
    "broadcast": (lambda: lm.broadcast_to(X(), (2, 4)), ShapeError,
                  ("broadcast", "(3, 4)", "(2, 4)", "equal or 1")),
    "concat": (lambda: lm.concat([X(), ones(4, 3)]), ShapeError,
               ("concat", "(3, 4)", "(4, 3)", "all axes but 0", "another axis")),
    "stack": (lambda: lm.stack([X(), Y()]), ShapeError, ("stack", "(3, 4)", "(2, 4)")),
    "transpose": (lambda: lm.permute_dims(X(), (0, 0)), ShapeError,
                  ("transpose", "(0, 0)", "(3, 4)")),
    "a summed axis of one": (lambda: lm.tensordot(ones(1, 1), ones(2, 3), axes=([0], [0])),
                             ShapeError, ("einsum", "axis a is 1", "(1, 1)", "(2, 3)")),
    "einsum": (lambda: lm.einsum("ij,jk->ik", X(), X()), ShapeError,
               ("axis j", "(3, 4)", "4", "3")),
    "axis of sum": (lambda: lm.sum(X(), axis=3), ShapeError, ("sum", "axis 3", "-2..1")),
    "axis of softmax": (lambda: lm.softmax(X(), axis=5), ShapeError,
                        ("softmax", "axis 5", "-2..1")),
    "axis of take": (lambda: lm.take(X(), positions(), axis=2), ShapeError,
                     ("take", "axis 2", "-2..1")),
    "empty max": (lambda: lm.max(ones(0, 3), axis=0), ShapeError, ("max", "(0, 3)", "empty")),
    "float positions": (lambda: lm.take(X(), ones(2), axis=0), DTypeError,
                        ("index", "float32[2]", "astype")),
    "float labels": (lambda: lm.cross_entropy(X(), ones(3)), ShapeError,
                     ("cross_entropy", "float32[3, 4]", "integer labels", "(3,)", "float32[3]")),
    "labels' shape": (lambda: lm.cross_entropy(X(), positions()), ShapeError,
                      ("cross_entropy", "float32[3, 4]", "(3,)", "int32[2]")),
    "condition": (lambda: lm.where(X(), X(), X()), DTypeError, ("where", "float32", "compare")),
    "bits of floats": (lambda: X() & X(), DTypeError, ("and", "int", "float32", "astype")),
    "number too large": (lambda: ones(3, dtype=np.uint8) + 300, LamellaError,
                         ("300", "uint8", "cast")),
    "too many classes": (lambda: lm.one_hot(ones(3, dtype=np.uint8), 1000), DTypeError,
                         ("iota", "uint8", "0..999", "(1, 1000)", "wider")),
    "attention": (lambda: lm.attention(X(), Y(), Z()), ShapeError,
                  ("attention", "(3, 4)", "(2, 4)", "(5, 4)", "[..., s, d]")),
    "layer_norm": (lambda: lm.layer_norm(X(), ones(2), ones(2)), ShapeError,
                   ("layer_norm", "(3, 4)", "(2,)", "reshape")),
    "channels": (lambda: lm.conv2d(IMAGE(), ones(2, 3, 3, 4)), ShapeError,
                 ("conv2d", "(1, 8, 8, 3)", "(2, 3, 3, 4)", "share c")),
    "kernel": (lambda: lm.conv2d(IMAGE(), ones(2, 9, 9, 3)), ShapeError,
               ("conv2d", "(9, 9)", "(1, 8, 8, 3)", "enlarge the padding")),
    "stride": (lambda: lm.conv2d(IMAGE(), ones(2, 3, 3, 3), stride=0), ShapeError,
               ("conv2d", "stride is an integer of 1 or more", "got 0")),
    "dilation": (lambda: lm.conv_transpose2d(IMAGE(), ones(3, 3, 3, 2), dilation=(1, 1, 1)),
                 ShapeError, ("conv_transpose2d", "one for each of the 2 axes", "(1, 1, 1)")),
    "padding": (lambda: lm.conv2d(IMAGE(), ones(2, 3, 3, 3), padding="full"), ShapeError,
                ("conv2d", "'same', 'valid' or given in numbers", "'full'")),
    "padding of a transpose": (lambda: lm.conv_transpose2d(
        IMAGE(), ones(3, 3, 3, 2), padding="same"), ShapeError, ("padding is 'valid' or",)),
    "padding in parts": (lambda: lm.avg_pool(IMAGE(), 2, padding=0.5), ShapeError,
                         ("avg_pool", "a pair (before, after)", "0.5")),
    "no window": (lambda: lm.max_pool(IMAGE(), 0), ShapeError,
                  ("max_pool", "window is an integer of 1 or more", "got 0")),
    "no step": (lambda: lm.unfold(IMAGE(), 2, stride=(1, 0)), ShapeError,
                ("unfold", "stride is an integer of 1 or more", "(1, 0)")),
    "power 0": (lambda: lm.lp_pool(IMAGE(), 0, 2), ShapeError, ("lp_pool", "power 0")),
    "negative size": (lambda: lm.interpolate(IMAGE(), -2), ShapeError,
                      ("interpolate", "size is an integer of 1 or more", "-2")),
    "negative adaptive size": (lambda: lm.adaptive_avg_pool(IMAGE(), (None, -1)), ShapeError,
                               ("adaptive_avg_pool", "size is an integer of 0 or more", "-1")),
    "window": (lambda: lm.max_pool(IMAGE(), 9), ShapeError, ("max_pool", "(9, 9)", "(1, 8, 8, 3)")),
    "large window": (lambda: lm.max_pool(ones(1, 99, 99, 3), 80), ShapeError,
                     ("max_pool", "(80, 80)", "(1, 99, 99, 3)", "4096", "pool twice")),
    "slice": (lambda: lm.dynamic_slice(X(), (0, 0), (4, 4)), ShapeError,
              ("dynamic_slice", "4 elements", "axis 0", "(3, 4)")),
    "update": (lambda: lm.update_slice(Y(), X(), (0, 0)), ShapeError,
               ("update_slice", "float32[3, 4]", "float32[2, 4]")),
    "pad": (lambda: lm.pad(X(), ((-1, 0), (0, 0))), ShapeError, ("pad", "negative", "(-1, 0)")),
    "truth of a traced array": (lambda: lm.compile(branch)(X()), TraceError,
                                ("branch", "not known", "lamella.where")),
    "gradient of an array": (lambda: lm.grad(lambda a: a * 2)(X()), ShapeError,
                             ("grad", "(3, 4)", "sum or mean")),
    "beyond memory": (lambda: lm.broadcast_to(X(), (1 << 50, 3, 4)), ShapeError,
                      ("broadcast", str(1 << 50), "2**48")),
}


@pytest.mark.parametrize("name", BAD)
def test_an_error_names_the_op_the_shapes_the_remedy_and_the_line(name):
    call, kind, told = BAD[name]
    with pytest.raises(kind) as e:
        call()
    message = str(e.value)
    assert [t for t in told if t not in message] == [], message
    lines = re.findall(r"\(test_errors\.py:(\d+)\)", message)
    assert len(lines) == 1, message
    first = (branch if name.startswith("truth") else call).__code__.co_firstlineno
    assert first <= int(lines[0]) <= first + 2, message


def test_labels_of_few_bits_pick_among_many_classes():
    logits = np.random.default_rng(0).standard_normal((3, 1000)).astype(np.float32)
    labels = np.array([0, 7, 255])
    few, many = (lm.grad(lambda a, at=at: lm.cross_entropy(a, at).sum())(lm.asarray(logits))
                 for at in (lm.asarray(labels.astype(d)) for d in (np.uint8, np.int32)))
    np.testing.assert_array_equal(few.numpy(), many.numpy())
