"""Measuring a machine: the tables that its figures come from."""

import ctypes

import numpy as np

from lamella.base.dtypes import float32
from lamella.engine import calibrate
from lamella.lang.expr import load
from lamella.lang.loops import Store


def test_launches_of_several_kernels_run_in_turns(monkeypatch):
    """Each with its own sizes and tasks; what one wrote is what the next one reads."""
    def adding(more: int):
        place = calibrate._TASK
        return calibrate._kernel([Store("y", place, load("y", place, float32) * 2 + more)])

    found = []

    def once(table, bases):
        table.run(bases)
        found.extend(np.ctypeslib.as_array(
            (ctypes.c_float * 4).from_address(bases[1])).tolist())
        return [1]

    monkeypatch.setattr(calibrate, "_timed", once)
    one, two = adding(1), adding(5)
    assert calibrate._run([(one, [4, 0], 4), (two, [2, 0], 2), (one, [4, 0], 4)], [64, 64]) == 1
    assert found == [15.0, 15.0, 3.0, 3.0]
