"""Law: a kernel gives what the op's reference gives in float64, to within stated errors."""

import numpy as np
import pytest
from ops.cases import each_case, has_gradient, is_float, only, results, widened

from lamella.base.dtypes import as_dtype
from lamella.ir.interpret import interpret

COMPLEX = 4.0       # the same of complex numbers, each part in units of the larger
ULPS = 2.0          # of each element, for pointwise ops: the largest in docs/functions.md
SUMMED = 32.0       # epsilons of the largest element, for what adds up several numbers
GRADIENT = 128.0    # the same, for cotangents


def truth(case, program_of) -> list[np.ndarray]:
    """The reference's results, in float64 where the op does not name its dtype itself."""
    arrays = case.arrays if "dtype" in case.params else widened(case.arrays)
    return interpret(program_of(arrays), arrays)


def errors(found: np.ndarray, exact: np.ndarray, unit: np.ndarray | float) -> np.ndarray:
    """|found - exact| in units; equal infinities and NaNs differ by nothing."""
    if found.dtype.kind == "c":
        return np.maximum(errors(found.real, exact.real, unit),
                          errors(found.imag, exact.imag, unit))
    found, exact = found.astype(np.float64), exact.astype(np.float64)
    with np.errstate(all="ignore"):
        same = (found == exact) | (np.isnan(found) & np.isnan(exact))
        return np.where(same, 0.0, np.abs(found - exact) / unit)


def ulp(exact: np.ndarray, dtype) -> np.ndarray:
    """The last place of each element; of complex numbers, that of the larger part."""
    with np.errstate(all="ignore"):
        if exact.dtype.kind == "c":
            exact, dtype = np.maximum(abs(exact.real), abs(exact.imag)), np.finfo(dtype).dtype
        return np.spacing(np.abs(exact).astype(dtype)).astype(np.float64)


def epsilon(exact: np.ndarray, dtype) -> float:
    """The rounding of the largest finite element."""
    finite = np.abs(exact[np.isfinite(exact)])
    return max(float(finite.max(initial=0.0)), 1e-30) * float(np.finfo(dtype).eps)


@pytest.mark.parametrize("case", **each_case)
def test_a_result_is_the_reference_s(case):
    found, (exact, *_) = results(case)[0], truth(case, case.program)
    if as_dtype(found.dtype).kind == "float8":
        assert np.array_equal(found.astype(np.float32), exact.astype(np.float32), equal_nan=True)
    elif not is_float(found) or found.dtype.kind == "V" or "dtype" in case.params:
        assert np.array_equal(found, exact, equal_nan=is_float(found))
    elif case.op.facts & {"pointwise", "move", "view"}:
        limit = COMPLEX if any(a.dtype.kind == "c" for a in (found, *case.arrays)) else ULPS
        assert errors(found, exact, ulp(exact, found.dtype)).max(initial=0.0) <= limit
    else:
        assert errors(found, exact, epsilon(exact, found.dtype)).max(initial=0.0) <= SUMMED


@pytest.mark.parametrize("case", **only(has_gradient))
def test_a_gradient_is_the_reference_s(case):
    for found, exact in zip(results(case), truth(case, case.with_gradients), strict=True):
        if found.dtype.itemsize < 4:
            assert np.allclose(found.astype(np.float64), exact.astype(np.float64), rtol=0.02,
                               equal_nan=True)
        else:
            assert errors(found, exact, epsilon(exact, found.dtype)).max(initial=0.0) <= GRADIENT
