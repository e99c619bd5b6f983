"""Laws: cotangents are the slopes of the function, tangents are the transpose of cotangents.

All in float64 on the reference interpreter, so that no rounding of a kernel stands in the way.
"""

import numpy as np
import pytest
from ops.cases import has_gradient, is_float, only, widened

from lamella.ir.interpret import interpret
from lamella.ir.node import placeholder
from lamella.ir.program import Program
from lamella.transform.jvp import pushforward
from lamella.transform.vjp import vjp_program

STEP = 1e-5


def is_smooth(case) -> bool:
    """An op that stops derivatives, and conversions to fewer bits, have no slope to find."""
    to = case.params.get("dtype")
    return has_gradient(case) and not case.op.facts & {"stops"} and (
        to is None or to.name in ("float64", "complex128"))


def nearby(case) -> list[np.ndarray]:
    """The sample in float64, off ties, zeros, integers and infinities, which have no slope."""
    rng = np.random.default_rng(2)

    def moved(a):
        if a.dtype.kind == "c":
            return moved(a.real) + 1j * moved(a.imag)
        away = np.where(rng.random(a.shape) < 0.5, -1, 1) * rng.uniform(0.003, 0.02, a.shape)
        return np.where(np.abs(a) < 1e6, a, 0.7) + away

    return [moved(a) if is_float(a) else a for a in widened(case.arrays)]


def directions(arrays, seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)

    def drawn(a):
        if a.dtype.kind == "c":
            return rng.standard_normal(a.shape) + 1j * rng.standard_normal(a.shape)
        return rng.standard_normal(a.shape) if is_float(a) else np.zeros_like(a)

    return [drawn(a) for a in arrays]


def dot(xs, ys) -> float:
    """The pairing of values with cotangents: the real part of the products' sum."""
    return float(sum(np.sum(x * y).real for x, y in zip(xs, ys, strict=True) if is_float(x)))


def slope(program: Program, arrays, way, weights) -> tuple[float, float]:
    """(the slope of <weights, outputs> along `way` by central differences, its size's bound)."""
    def outputs(h):
        return interpret(program, [a + h * w if is_float(a) else a
                                   for a, w in zip(arrays, way, strict=True)])

    # Richardson's extrapolation: the error is of fourth order in the step
    near, far = ((dot(weights, outputs(h)) - dot(weights, outputs(-h))) / (2 * h)
                 for h in (STEP, 2 * STEP))
    return (4 * near - far) / 3, sum(np.abs(w * y).sum() for w, y in
                                     zip(weights, outputs(0.0), strict=True) if is_float(y))


def check_slope(program: Program, arrays) -> None:
    way, values = directions(arrays, 3), interpret(program, arrays)
    weights = directions(values, 4)
    cotangents = interpret(vjp_program(program), [*arrays, *weights])[len(values):]
    measured, size = slope(program, arrays, way, weights)
    stated = dot(cotangents, way)
    assert np.isfinite(stated)
    assert stated == pytest.approx(measured, rel=1e-6, abs=1e-7 * (1.0 + abs(size)))


@pytest.mark.parametrize("case", **only(is_smooth))
def test_cotangents_are_the_slopes_of_the_function(case):
    arrays = nearby(case)
    check_slope(case.program(arrays), arrays)


@pytest.mark.parametrize("case", **only(is_smooth))
def test_second_cotangents_are_the_slopes_of_the_first(case):
    arrays = nearby(case)
    check_slope(case.with_gradients(arrays), arrays)


@pytest.mark.parametrize("case", **only(is_smooth))
def test_third_cotangents_are_the_slopes_of_the_second(case):
    arrays = nearby(case)
    gradients = case.with_gradients(arrays)
    weights = directions(interpret(gradients, arrays), 7)
    check_slope(vjp_program(gradients), [*arrays, *weights])


def has_both(case) -> bool:
    return has_gradient(case) and "reverse only" not in case.op.facts


@pytest.mark.parametrize("case", **only(has_both))
def test_tangents_are_the_transpose_of_cotangents(case):
    """<w, J v> = <J' w, v>, at the samples themselves: ties and zeros must agree too."""
    arrays = case.arrays if "dtype" in case.params else widened(case.arrays)
    program = case.program(arrays)
    y, = program.outputs
    way = [d.astype(a.dtype) for a, d in zip(arrays, directions(arrays, 5), strict=True)]
    weights, = directions([np.empty(y.shape, y.dtype.numpy)], 6)
    weights = weights.astype(y.dtype.numpy)
    ways = [placeholder(i.type) if i.dtype.is_inexact else None for i in program.inputs]
    tangent, = pushforward([y], program.inputs, ways)
    forward = Program([*program.inputs, *(w for w in ways if w is not None)], [tangent])
    moved, = interpret(forward, [*arrays, *(d for d in way if is_float(d))])
    with np.errstate(invalid="ignore"):
        _, *cotangents = interpret(vjp_program(program), [*arrays, weights])
    left, right = dot([weights], [moved]), dot(cotangents, way)
    narrowest = min(a.real.dtype.itemsize for a in (weights, *cotangents) if is_float(a))
    rounding = {2: 1e-2, 4: 1e-7, 8: 2e-16}[narrowest]
    size = float(np.sum(np.abs(weights * moved)))
    assert left == pytest.approx(right, rel=0, abs=100 * rounding * size + 1e-300, nan_ok=True)
