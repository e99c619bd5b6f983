"""Shapes that no machine has, and arguments that make no sense: named errors, never a crash."""

import math

import numpy as np
import pytest

import lamella as L
from lamella.base import knobs
from lamella.base.errors import AllocationError, DTypeError, LamellaError, ShapeError

X = np.ones((3, 4), np.float32)

SHAPES = {
    "zeros": lambda x: L.zeros((10**10, 10**10)), "below 0": lambda x: L.ones((-1, 3)),
    "float extent": lambda x: L.ones((2.5,)), "33 axes": lambda x: L.zeros((1,) * 33),
    "broadcast": lambda x: L.broadcast_to(x, (2**60, 3, 4)), "eye": lambda x: L.eye(-1),
    "linspace": lambda x: L.linspace(0, 1, -1), "repeat": lambda x: L.repeat(x, -1),
    "tile": lambda x: L.tile(x, (-1,)), "reshape": lambda x: x.reshape(-2, 6),
    "two open": lambda x: x.reshape(-1, -1), "arange 0": lambda x: L.arange(0, 5, 0),
    "arange nan": lambda x: L.arange(0, math.nan), "arange inf": lambda x: L.arange(0, math.inf),
    "axis": lambda x: x.sum(axis=5), "axis twice": lambda x: x.sum(axis=(0, 0)),
    "axis float": lambda x: x.sum(axis=1.5), "axis text": lambda x: x.sum(axis="a"),
    "expand_dims": lambda x: L.expand_dims(x, axis=7), "diff": lambda x: L.diff(x, n=-1),
    "number": lambda x: x.astype("int8") + 1000, "65 bits": lambda x: L.asarray([2**70]),
    "33 bits": lambda x: L.asarray([0, 2**40]),
    "negative": lambda x: L.asarray([-1], dtype="uint8"),
    "full": lambda x: L.full((2,), "a"), "ragged": lambda x: L.asarray([[1, 2], [3]]),
    "text": lambda x: L.asarray("hi"), "object": lambda x: L.asarray(object()),
    "dtype": lambda x: L.zeros(3, dtype="float7"), "mixed": lambda x: (
        L.ones(1, dtype="uint64") + L.ones(1, dtype="int64")),
    "repeats": lambda x: L.repeat(x, [1, -1, 0], axis=0),
    "repeats' number": lambda x: L.repeat(x, L.asarray([1, 2]), axis=0),
    "classes": lambda x: L.one_hot(L.arange(3), -2), "no dtype": lambda x: x.astype(None),
    "astype": lambda x: x.astype("complex999"), "name of a symbol": lambda x: L.symbol("a b", 1, 2),
    "bounds of a symbol": lambda x: L.symbol("n", 5, 2),
}


@pytest.mark.parametrize("name", SHAPES)
def test_what_makes_no_sense_is_named_at_once(name):
    with pytest.raises((ShapeError, DTypeError)) as found:
        SHAPES[name](L.asarray(X))
    assert str(found.value).endswith(")") and "test_absurd.py:" in str(found.value)


@pytest.mark.parametrize("call", [
    lambda x: L.expand_dims(x, 3), lambda x: L.flip(x, axis=2), lambda x: x.sum(axis=-3),
    lambda x: L.take(x, L.asarray([0]), axis=2), lambda x: L.stack([x, x], axis=4)])
def test_an_axis_that_is_not_there_is_an_index_error(call):
    with pytest.raises(IndexError, match="axis"):
        call(L.asarray(X))


HUGE = {
    "zeros": lambda x: L.zeros(2**45), "sum": lambda x: L.zeros(2**40) + 1,
    "arange": lambda x: L.arange(10**15, dtype="int64"),
    "broadcast": lambda x: L.broadcast_to(x, (2**40, 3, 4)),
    "outer": lambda x: L.zeros((2**24, 1)) + L.zeros((1, 2**24)),
    "tile": lambda x: L.tile(x, (2**40, 1)), "repeat": lambda x: L.repeat(x, 2**40),
    "eye": lambda x: L.eye(2**24), "pad": lambda x: L.pad(x, 2**22),
    "compiled": lambda x: L.compile(lambda x: L.broadcast_to(x, (2**38, 3, 4)) * 2)(x),
}


@pytest.mark.parametrize("name", HUGE)
def test_what_the_memory_cannot_hold_raises_at_the_user_s_line(name):
    with pytest.raises(AllocationError, match="GiB") as found:
        HUGE[name](L.asarray(X)).numpy()
    assert isinstance(found.value, MemoryError) and "test_absurd.py:" in str(found.value)
    assert L.ones(3).sum() == 3, "the process goes on"


def test_an_imported_array_too_large_to_copy_raises():
    with pytest.raises(AllocationError):
        L.asarray(np.broadcast_to(np.float32(1), (2**40,)))


def test_what_a_huge_view_needs_is_only_its_part():
    x = L.broadcast_to(L.asarray(X), (2**40, 3, 4))
    assert x[5, 1].tolist() == [1, 1, 1, 1]
    assert issubclass(AllocationError, LamellaError)


def test_what_does_not_fit_stays_lazy_when_others_are_looked_at():
    base = L.asarray(X) + 1
    huge = L.broadcast_to(base, (2**40, 3, 4)) * 2.0
    assert base[0, 0].tolist() == 2
    total = L.asarray(0.0)
    for _ in range(knobs.pending_nodes.value + 10):
        total = total + 1
    assert float(total) == knobs.pending_nodes.value + 10
    with pytest.raises(AllocationError):
        huge.numpy()


def test_long_chains_of_functions_compile():
    def chain(x):
        for _ in range(500):
            x = x * 1.01
        return x

    x = L.asarray(X)
    assert L.compile(chain)(x).numpy().tobytes() == chain(x).numpy().tobytes()
