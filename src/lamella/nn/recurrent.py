"""Recurrent layers over sequences [batch, time, features]: RNN, LSTM and GRU.

Several layers, both directions, first states and lengths, in PyTorch's conventions; the loop over
time is a `scan`, whose gradient keeps each step's values.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ..api import namespace as F
from ..api.arrays.array import Array
from ..api.arrays.values import error
from ..api.programs.control import scan
from ..api.randomness import random
from ..base.errors import LamellaError, ShapeError
from .layers import uniform_init
from .module import Module


class Cell(Module):
    """One layer in one direction: x w_input + b_input and h w_state + b_state, in `gates` parts.

    All start uniform in +-1/sqrt(hidden).
    """

    def __init__(self, inputs: int, hidden: int, gates: int, *, key: Array, bias: bool, dtype):
        a, b, c, d = random.split(key, 4)
        self.w_input = uniform_init(a, (inputs, gates * hidden), hidden, dtype)
        self.w_state = uniform_init(b, (hidden, gates * hidden), hidden, dtype)
        self.b_input = uniform_init(c, (gates * hidden,), hidden, dtype) if bias else None
        self.b_state = uniform_init(d, (gates * hidden,), hidden, dtype) if bias else None

    def input(self, x: Array) -> Array:
        """The input's part, for all steps at once."""
        y = x @ self.w_input
        return y if self.b_input is None else y + self.b_input

    def state(self, h: Array) -> Array:
        """The state's part of one step."""
        y = h @ self.w_state
        return y if self.b_state is None else y + self.b_state


class Recurrent(Module):
    """What RNN, LSTM and GRU have in common; `step` is one step of one cell.

    x [batch, time, inputs]; gives (y [batch, time, hidden], or 2 hidden where bidirectional, and
    the last states [layers * directions, batch, hidden]). state: the first states, zeros where
    None. lengths: int [batch]; behind its length a sequence's state stays and its y is 0.
    """

    gates = 1
    states = 1

    def __init__(self, inputs: int, hidden: int, layers: int = 1, *, key: Array,
                 bidirectional: bool = False, bias: bool = True, dtype="float32"):
        if layers < 1:
            raise error(LamellaError, f"{type(self).__name__}: needs at least 1 layer, got "
                                      f"{layers}")
        self.inputs, self.hidden, self.bidirectional = inputs, hidden, bidirectional
        directions = 1 + bidirectional
        keys = iter(random.split(key, layers * directions))
        self.cells = [[Cell(inputs if n == 0 else directions * hidden, hidden, self.gates,
                            key=next(keys), bias=bias, dtype=dtype) for _ in range(directions)]
                      for n in range(layers)]

    def step(self, x: Array, h: Array, states: tuple) -> tuple:
        """The next states from the mapped input and the mapped state; the first one is y."""
        raise NotImplementedError

    def __call__(self, x: Array, state: Any = None, lengths: Array | None = None):
        name = type(self).__name__
        if x.ndim != 3 or x.shape[2] != self.inputs:
            raise error(ShapeError, f"{name}: x {x.shape} must be [batch, time, {self.inputs}]")
        if lengths is not None and lengths.shape != x.shape[:1]:
            raise error(ShapeError, f"{name}: lengths {lengths.shape} must be one for each of the "
                                    f"{x.shape[0]} sequences")
        first = self._first(x, state)
        live = None if lengths is None else (
            F.arange(x.shape[1]).reshape((-1, 1, 1)) < lengths.reshape((1, -1, 1)))
        last: list[tuple] = []
        y = F.permute_dims(x, (1, 0, 2))
        for directions in self.cells:
            parts = []
            for backwards, cell in enumerate(directions):
                begin = tuple(s[len(last)] for s in first)
                end, part = self._run(cell, y, begin, live, bool(backwards))
                last.append(end)
                parts.append(part)
            y = parts[0] if len(parts) == 1 else F.concat(parts, axis=2)
        ends = tuple(F.stack([s[k] for s in last]) for k in range(self.states))
        return F.permute_dims(y, (1, 0, 2)), ends if self.states > 1 else ends[0]

    def _first(self, x: Array, state: Any) -> tuple:
        shape = (len(self.cells) * (1 + self.bidirectional), x.shape[0], self.hidden)
        if state is None:
            return (F.zeros(shape, dtype=x.dtype),) * self.states
        given = state if self.states > 1 else (state,)
        if len(given) != self.states or any(s.shape != shape for s in given):
            found = ", ".join(str(s.shape) for s in given)
            raise error(ShapeError, f"{type(self).__name__}: the state ({found}) must be "
                                    f"{self.states} of {shape}: [layers * directions, batch, "
                                    f"hidden]")
        return tuple(given)

    def _run(self, cell: Cell, x: Array, begin: tuple, live: Array | None, backwards: bool):
        """One cell over x [time, batch, features]: (last states, y)."""
        def trip(states, given):
            mapped, on = given
            new = self.step(mapped, cell.state(states[0]), states)
            if on is None:
                return new, new[0]
            kept = tuple(F.where(on, a, b) for a, b in zip(new, states, strict=True))
            return kept, F.where(on, new[0], 0.0)

        return scan(trip, begin, (cell.input(x), live), reverse=backwards, save="all")


class RNN(Recurrent):
    """h = activation(x W + h U + b), the activation tanh by default."""

    def __init__(self, *args, activation: Callable[[Array], Array] = F.tanh, **options):
        super().__init__(*args, **options)
        self.activation = activation

    def step(self, x: Array, h: Array, states: tuple) -> tuple:
        return (self.activation(x + h),)


class LSTM(Recurrent):
    """c = sigmoid(f) c + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c); the gates in the order i, f,
    g, o. The state is the pair (h, c)."""

    gates = 4
    states = 2

    def step(self, x: Array, h: Array, states: tuple) -> tuple:
        i, f, g, o = F.split(x + h, 4, axis=1)
        c = F.sigmoid(f) * states[1] + F.sigmoid(i) * F.tanh(g)
        return F.sigmoid(o) * F.tanh(c), c


class GRU(Recurrent):
    """n = tanh(x_n + r h_n), h = (1 - z) n + z h; the gates in the order r, z, n."""

    gates = 3

    def step(self, x: Array, h: Array, states: tuple) -> tuple:
        x_r, x_z, x_n = F.split(x, 3, axis=1)
        h_r, h_z, h_n = F.split(h, 3, axis=1)
        r, z = F.sigmoid(x_r + h_r), F.sigmoid(x_z + h_z)
        n = F.tanh(x_n + r * h_n)
        return ((1 - z) * n + z * states[0],)
