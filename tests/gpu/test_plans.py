"""Plans for a device are kept beside the object cache, as the processor's are."""

import pytest
from gpu.cases import plan_of

import lamella
from lamella.base.errors import BudgetError
from lamella.codegen.gpu import SM80, SM90
from lamella.engine import plans
from lamella.engine.device import Binding, codes_of
from lamella.planner.kernels.tiles.contraction import Shape, candidates
from lamella.planner.memory.budget import Budget
from lamella.runtime.cache import Cache
from lamella.runtime.device import NullDevice


def _program():
    def loss(w, x):
        y, _ = lamella.scan(lambda c, row: (lamella.tanh(c @ w + row), None),
                            lamella.zeros((4, 32)), x)
        return lamella.square(y @ w).mean()
    return lamella.trace(lamella.value_and_grad(loss), lamella.spec((32, 32)),
                         lamella.spec((5, 4, 32)))


@pytest.fixture
def planned(monkeypatch, tmp_path):
    """How often something was planned; the cache is a new one."""
    count, build = [], plans.build_plan

    def counted(*args, **kwargs):
        count.append(args)
        return build(*args, **kwargs)

    monkeypatch.setattr(plans, "build_plan", counted)
    monkeypatch.setattr(plans, "process_cache", lambda: Cache(tmp_path))
    return count


def test_what_was_planned_before_is_read(planned):
    program = _program()
    first, again = (plans.plan_for(SM90, program, frozenset({0})) for _ in range(2))
    assert len(planned) == 1 and again is not first
    assert again.level == "tiles" and again.donated == {0}
    assert codes_of(again, {}) == codes_of(first, {}) == codes_of(
        plan_of(program), {})
    one, other = (Binding(p, {}, NullDevice()) for p in (first, again))
    assert (one.layout.size, one.workspace) == (other.layout.size, other.workspace)


def test_whatever_decides_a_plan_is_part_of_its_key(planned):
    program, shape = _program(), Shape(4, 32, 32, 1, 32)
    tuned = SM90.with_tuned({shape: candidates(shape, SM90)[-1]})
    for target, donated, budget in ((SM90, {0}, None), (SM90, set(), None), (SM80, {0}, None),
                                    (tuned, {0}, None), (SM90, {0}, Budget(1 << 20))):
        plans.plan_for(target, program, frozenset(donated), budget)
    assert len(planned) == 5
    with pytest.raises(BudgetError):
        plans.plan_for(SM90, program, frozenset({0}), Budget(1 << 10))


def test_a_kernel_s_text_is_written_once_for_its_launches(monkeypatch):
    from lamella.engine import device
    written, emit = [], device.emit
    monkeypatch.setattr(device, "emit", lambda *args: written.append(args) or emit(*args))

    def f(x, w):
        for _ in range(4):
            x = lamella.softmax(x @ w)
        return x

    plan = plan_of(lamella.trace(f, lamella.spec((64, 64)), lamella.spec((64, 64))))
    Binding(plan, {}, NullDevice())
    assert len(written) == len({(id(k), n) for k, n in written}) < len(plan.launches())
