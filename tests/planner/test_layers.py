"""Which layer of a model what is planned belongs to."""

import lamella
from lamella import nn, optim
from lamella.planner.memory.alive import alive_at_peak, alive_text
from lamella.planner.page import page
from lamella.planner.plan import Launch, Order


def planned():
    model = nn.MLP([32, 64, 48, 8], key=lamella.random.key(0))
    opt = optim.AdamW(1e-3)

    def step(model, state, x, y):
        loss, grads = lamella.value_and_grad(
            lambda m: nn.losses.cross_entropy(m(x), y))(model)
        return (*opt.update(model, grads, state), loss)

    return lamella.plan(lamella.compile(step, donate=("model", "state")), model, opt.init(model),
                        lamella.spec((256, 32)), lamella.spec((256,), "int32"))


def test_steps_and_values_have_the_layer_of_the_parameters_they_read():
    report = planned()
    products = [s for s in Order(report.plan.steps).leaves
                if isinstance(s, Launch) and s.kernel.name == "contract"]
    names = [report.layers.of(s) for s in products]
    assert names[:3] == ["layers.0", "layers.1", "layers.2"]
    assert set(names[3:]) == {"layers.0", "layers.1", "layers.2"}
    for s in products:
        for o in s.operands:
            if o.writes and o.buffer.root.role == "temporary":
                assert report.layers.of(o.buffer)


def test_an_update_has_the_layer_of_its_parameter():
    report = planned()
    for s in Order(report.plan.steps).leaves:
        if not isinstance(s, Launch):
            continue
        updated = {o.buffer.root.label.split(".layers.")[1][0] for o in s.operands
                   if o.writes and ".layers." in o.buffer.root.label}
        assert len(updated) <= 1
        if updated:
            assert report.layers.of(s) == f"layers.{updated.pop()}"


def test_layers_are_shown():
    report = planned()
    assert any(a.layer == "layers.0" for a in alive_at_peak(report))
    for text in (alive_text(report), report.kernels(), page(report)):
        assert "layers.0" in text and "layers.2" in text


def test_functions_without_a_model_have_none():
    report = lamella.plan(lambda x, w: (x @ w).sum(), lamella.spec((8, 8)), lamella.spec((8, 8)))
    assert not report.layers and " layer " not in report.kernels()
