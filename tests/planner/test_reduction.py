"""Which template a reduction is computed by."""

import pytest

import lamella
from lamella.planner.plan import Launch


def kernels(f, *shapes) -> list[str]:
    plan = lamella.plan(f, *(lamella.spec(s) for s in shapes)).plan
    return [s.kernel.name for s in plan.steps if isinstance(s, Launch)]


@pytest.mark.parametrize(("f", "template"), [
    (lambda x, m: (x * m).sum(0), "columns"),            # m is the same for a row of x
    (lambda x, m: (x * x * m * m).sum(0), "columns"),
    (lambda x, m: (x.mT * m[:, 0]).sum(-1), "columns"),  # x lies as above
    (lambda x, m: (x + m).sum(-1), "rows"),
    (lambda x, m: m.sum(0), "rows"),                     # one long column is a row
])
def test_the_contiguous_axis_of_what_has_both_decides(f, template):
    assert template in kernels(f, (96, 48), (96, 1))
