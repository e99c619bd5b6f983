"""What kernels are bounded by: the code that their operations expand to."""

import pytest

import lamella
from lamella.base import dtypes
from lamella.engine import kernels
from lamella.lang import expr, scalar
from lamella.planner.groups.code import code_of
from lamella.planner.groups.storing import MOST_CODE

LONG = 150


def test_an_operation_counts_with_all_that_it_expands_to():
    x, z = expr.var("x", dtypes.float32), expr.var("z", dtypes.complex64)
    assert code_of(x) == 0
    assert code_of(x * x + x) == 2
    assert code_of(scalar.exp(x) * x) == code_of(scalar.exp(x)) + 1 > 10
    assert code_of(z * z) == 6
    assert code_of(scalar.sin(z)) > code_of(scalar.sin(x)) + code_of(scalar.exp(x))


UNARY = [(name, dtype) for name in (
    "sin", "lgamma", "erfinv", "digamma", "erfc", "tanh", "log1p", "asinh", "i0", "bessel_y1")
    for dtype in ("float32", "float64", "float16", "complex64")
    if dtype != "complex64" or "complex" in scalar.ALL[name].kinds]


@pytest.mark.parametrize("name, dtype", [*UNARY, *(
    ("pow", d) for d in ("float32", "float64", "int64", "complex64"))])
def test_long_chains_become_a_few_kernels_of_bounded_code(name, dtype):
    op = scalar.ALL[name]
    args = [expr.var(f"x{k}", dtypes.by_name(dtype)) for k in range(op.arity)]
    one = code_of(op(*args))

    def chain(x, y):
        for _ in range(LONG):
            x = x ** y if name == "pow" else getattr(lamella, name)(x)
        return x

    spec = lamella.spec((1000,), dtype)
    plan = lamella.plan(chain, spec, spec).plan
    found = {kernels.key_of(s.kernel) for s in plan.launches()}
    per = LONG / len(list(plan.launches()))
    assert len(found) <= 2
    assert per * one <= 2 * (MOST_CODE + one), "operations of one kernel"
    assert per >= min(LONG, MOST_CODE // one) / 2, "what is small stays together"
