"""Batches: complete, repeatable, and resumable anywhere."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lamella.base.errors import FormatError, RecipeError, ShapeError
from lamella.data import Loader


def rows(count):
    return np.arange(count), np.arange(count) * 10


def epochs(loader, count):
    return [[batch[0].tolist() for batch in loader] for _ in range(count)]


@given(st.integers(1, 60), st.integers(1, 70), st.integers(0, 2**64 - 1))
def test_an_epoch_holds_every_row_once(count, batch_size, seed):
    batches = epochs(Loader(rows(count), batch_size, seed), 1)[0]
    assert sorted(sum(batches, [])) == list(range(count))
    assert all(len(batch) == batch_size for batch in batches[:-1])


@given(st.integers(1, 40), st.integers(1, 9), st.integers(0, 60), st.booleans())
def test_resumed_anywhere_it_goes_on_with_the_same_batches(count, batch_size, stop, drop_last):
    batch_size = min(batch_size, count)
    make = lambda: Loader(rows(count), batch_size, 3, drop_last=drop_last)
    flat = lambda loader: (batch for _ in range(70) for batch in loader)
    first = make()
    going_on = flat(first)
    for _ in range(stop):
        next(going_on)
    second = make()
    second.restore(json.loads(json.dumps(first.state())))
    for ours, theirs in zip(going_on, flat(second)):
        assert ours[0].tolist() == theirs[0].tolist()
        if second.epoch > 62:
            break


def test_rows_of_all_arrays_stay_together():
    for x, y in Loader(rows(50), 7, 1):
        assert np.array_equal(x * 10, y)


def test_equal_seeds_agree_and_other_seeds_and_epochs_do_not():
    once, again = epochs(Loader(rows(50), 50, 5), 2), epochs(Loader(rows(50), 50, 5), 2)
    assert once == again
    assert once[0] != once[1]
    assert once != epochs(Loader(rows(50), 50, 6), 2)


def test_the_order_is_the_same_for_ever():
    loader = Loader(rows(10), 10, 0)
    assert loader.order(0).tolist() == [0, 2, 9, 1, 8, 5, 4, 3, 6, 7]
    assert loader.order(1).tolist() == [5, 3, 7, 8, 2, 4, 1, 0, 6, 9]


def test_any_batch_can_be_asked_for_out_of_turn():
    loader = Loader(rows(20), 6, 2)
    there = loader.batch(3, 1)[0].tolist()
    assert (loader.epoch, loader.position) == (0, 0)
    assert epochs(loader, 4)[3][1] == there


def test_drop_last_leaves_the_rest_out():
    loader = Loader(rows(10), 4, drop_last=True)
    assert len(loader) == 2 and [len(x) for x, _ in loader] == [4, 4]
    assert len(Loader(rows(10), 4)) == 3


def test_without_shuffle_the_order_is_the_arrays():
    assert epochs(Loader(rows(5), 2, shuffle=False), 2) == [[[0, 1], [2, 3], [4]]] * 2


def test_a_batch_is_a_copy():
    array = np.zeros((4, 2))
    next(iter(Loader((array,), 4)))[0][:] = 1
    assert array.sum() == 0


def test_named_arrays_come_in_their_order():
    x, y = next(iter(Loader({"x": np.ones((4, 2)), "y": np.zeros(4)}, 4)))
    assert x.shape == (4, 2) and y.shape == (4,)


@pytest.mark.parametrize(
    "arrays, told",
    [
        ((np.zeros(3), np.zeros(4)), r"arrays\[0\] has 3, arrays\[1\] has 4"),
        ({"x": np.zeros(3), "y": np.zeros(2)}, "x has 3, y has 2"),
        ((np.zeros(3), np.float32(1)), r"arrays\[1\] has shape \(\)"),
        ((np.zeros((0, 3)),), r"arrays\[0\] has shape \(0, 3\)"),
    ],
)
def test_arrays_that_do_not_fit_are_named(arrays, told):
    with pytest.raises(ShapeError, match=told):
        Loader(arrays, 2)


@pytest.mark.parametrize(
    "arguments, told",
    [
        ({"arrays": np.zeros((3, 2)), "batch_size": 1}, "one array"),
        ({"arrays": (), "batch_size": 1}, "no arrays"),
        ({"arrays": rows(3), "batch_size": 0}, "batch_size 0"),
        ({"arrays": rows(3), "batch_size": 4, "drop_last": True}, "no whole batch of 4"),
        ({"arrays": rows(3), "batch_size": 1, "seed": -1}, "seed -1"),
    ],
)
def test_wrong_settings_are_refused(arguments, told):
    with pytest.raises(RecipeError, match=told):
        Loader(**arguments)


@pytest.mark.parametrize(
    "change, told",
    [
        ({"seed": 9}, "seed is 9 in the state, 0 in this loader"),
        ({"rows": 11}, "rows is 11"),
        ({"batch_size": 2}, "batch_size is 2"),
        ({"position": 99}, "no epoch 0, position 99"),
        ({"epoch": -1}, "no epoch -1"),
    ],
)
def test_a_state_of_another_loader_is_refused(change, told):
    loader = Loader(rows(10), 3)
    with pytest.raises(FormatError, match=told):
        loader.restore({**loader.state(), **change})


def test_a_state_with_a_missing_entry_is_refused():
    loader = Loader(rows(10), 3)
    state = {name: value for name, value in loader.state().items() if name != "seed"}
    with pytest.raises(FormatError, match="no 'seed'"):
        loader.restore(state)
