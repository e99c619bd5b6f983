"""Arrays on a device, and programs over several: the null device listens, or the interpreter runs.

Nothing here needs a GPU: `cuda:0` is a stand-in that keeps the bytes and checks each launch.
"""

import threading

import numpy as np
import pytest

pytest.importorskip("triton")

from gpu.installed import install
from gpu.interpreted import Interpreted

import lamella
from lamella import nn, optim
from lamella.base.errors import BudgetError, DeviceError, DonatedError, UnsupportedError
from lamella.engine import stations
from lamella.runtime import blocks as blocks_module


class Counting(Interpreted):
    """It counts what goes to the device and what comes back."""

    def __init__(self):
        super().__init__()
        self.up = self.down = self.replays = 0

    def upload(self, to, data):
        self.up += data.nbytes
        super().upload(to, data)

    def download(self, data, source):
        self.down += data.nbytes
        super().download(data, source)

    def record(self, work):
        def again():
            self.replays += 1
            work()
        return again


@pytest.fixture
def device(monkeypatch):
    found = install(monkeypatch, Counting())
    return found


def _x(*shape):
    return np.random.default_rng(0).standard_normal(shape).astype(np.float32)


def test_an_array_goes_there_and_back(device):
    x = _x(5, 3)
    a = lamella.asarray(x, device="cuda:0")
    assert str(a.device) == "cuda:0" and device.up == x.nbytes
    assert np.array_equal(a.numpy(), x) and device.down == x.nbytes
    assert a.to_device("cuda:0") is a
    assert np.array_equal(a.to_device("cpu").numpy(), x)
    assert str(a.to_device("cpu").device) == "cpu"


def test_operations_run_where_their_operands_are(device):
    x = _x(5, 3)
    a = lamella.asarray(x, device="cuda:0")
    there = (lamella.sin(a) * 2.0 + lamella.arange(3)).sum(axis=0)
    here = (lamella.sin(lamella.asarray(x)) * 2.0 + lamella.arange(3)).sum(axis=0)
    assert str(there.device) == "cuda:0" and str(here.device) == "cpu"
    assert np.allclose(there.numpy(), here.numpy(), atol=1e-6)
    up = device.up
    (a * 2.0 + 1.0).numpy()
    (lamella.sin(a) * 2.0).numpy()
    assert device.up - up <= 8      # numbers are known there


def test_what_depends_on_no_array_is_made_there(device):
    made = [lamella.zeros((3, 4), device="cuda:0"), lamella.arange(5, device="cuda:0") * 2,
            lamella.zeros_like(lamella.asarray(_x(2, 2), device="cuda:0")),
            lamella.to_device(lamella.linspace(0.0, 1.0, 5), "cuda:0")]
    up = device.up
    assert all(str(a.device) == "cuda:0" for a in made)
    assert [a.numpy().sum() for a in made] == [0, 20, 0, 2.5]
    assert device.up == up


def test_operands_on_different_devices_are_refused_at_the_user_s_line(device):
    a, b = lamella.asarray(_x(3), device="cuda:0"), lamella.asarray(_x(3))
    with pytest.raises(DeviceError, match=r"add: operands on cuda:0 and on cpu.*to_device.*"
                                          r"test_arrays.py"):
        a + b
    with pytest.raises(DeviceError, match=r"add: operands on .*test_arrays.py"):
        lamella.compile(lambda x, y: lamella.sin(x) + y)(a, b)
    with pytest.raises(UnsupportedError, match="use 'cpu' or 'cuda:0'"):
        a.to_device("tpu")


def test_loops_choices_and_transforms_keep_to_the_device(device):
    x = _x(4, 3)
    a, w = lamella.asarray(x, device="cuda:0"), lamella.asarray(_x(3, 3), device="cuda:0")

    def loop(a, w):
        def step(c, row):
            c = lamella.tanh(c @ w + row)
            return c, c.sum()
        c, sums = lamella.scan(step, lamella.zeros((3,)), a)
        return lamella.cond(c.sum() > 0, lambda c: c * 2.0, lambda c: c, c), sums

    def loss(a, w):
        return loop(a, w)[1].sum()

    for f in (loop, lamella.grad(loss, argnums=(0, 1)), lamella.vmap(lambda r, w: r @ w,
                                                                     in_axes=(0, None))):
        there, here = f(a, w), f(lamella.asarray(x), lamella.asarray(w.numpy()))
        for p, q in zip(lamella.tree.leaves(there), lamella.tree.leaves(here), strict=True):
            assert str(p.device) == "cuda:0"
            assert np.allclose(p.numpy(), q.numpy(), atol=1e-5)


def test_a_compiled_function_s_results_stay_there(device):
    f = lamella.compile(lambda x, y: lamella.softmax(x @ y), device="cuda:0")
    x, y = _x(8, 4), _x(4, 8)
    first = f(x, y)
    assert str(first.device) == "cuda:0" and device.down == 0
    up = device.up
    f(first @ lamella.ones((8, 4)), lamella.asarray(y, device="cuda:0"))
    assert device.up == up + y.nbytes     # the one transfer that was asked for
    assert len(f.entries) == 1            # whatever device the arguments are on
    want = lamella.compile(lambda x, y: lamella.softmax(x @ y))(x, y)
    assert np.allclose(first.numpy(), want.numpy(), atol=1e-6)


def test_captured_arrays_are_copied_once(device):
    w = lamella.asarray(_x(64, 64))
    f = lamella.compile(lambda x: x @ w, device="cuda:0")
    x = lamella.asarray(_x(2, 64), device="cuda:0")
    f(x)
    up = device.up
    f(x)
    assert device.up == up


def test_a_training_step_keeps_its_state_there_and_is_replayed(device):
    x, y = _x(16, 12), np.arange(16, dtype=np.int32) % 5

    def loss(model, x, y):
        return nn.losses.cross_entropy(model(x), y)

    def trainer(device=None):
        from lamella.train import Trainer
        return Trainer(nn.MLP([12, 20, 5], key=lamella.random.key(0)), optim.AdamW(1e-2), loss,
                       device=device)

    there, here = trainer("cuda:0"), trainer()
    losses = [float(there.step(x, y)) for _ in range(3)]
    up, down, in_use = device.up, device.down, len(device.memory.known)
    losses += [float(there.step(x, y)) for _ in range(3)]
    assert device.up - up == 3 * (x.nbytes + y.nbytes) and device.down - down == 3 * 4
    assert device.replays >= 2              # donated state lies where it lay
    assert len(device.memory.known) == in_use   # and a step allocates nothing
    assert np.allclose(losses, [float(here.step(x, y)) for _ in range(6)], rtol=1e-3)
    assert there.report().peak > 0 and str(there.key.device) == "cuda:0"


def test_what_was_donated_there_is_gone(device):
    f = lamella.compile(lambda x: x + 1.0, donate=0, device="cuda:0")
    a = lamella.asarray(_x(100), device="cuda:0")
    at = a.node.data.address
    b = f(a)
    assert b.node.data.address == at        # in place
    with pytest.raises(DonatedError, match="donated"):
        a.numpy()
    with pytest.raises(DonatedError):
        f(a)
    kept = b.to_device("cuda:0") * 1.0
    f(b)
    assert np.allclose(kept.numpy(), _x(100) + 1.0)


def _mixed(x, w):
    h = lamella.tanh(x @ w)
    there = lamella.softmax(lamella.to_device(h, "cuda:0") * 2.0)
    back = lamella.to_device(there, "cpu")
    return back.sum(axis=0) + h[0], there


def test_a_program_on_two_devices(device):
    x, w = _x(6, 4), _x(4, 8)
    f = lamella.compile(_mixed)
    plain, there = f(x, w)
    assert (str(plain.device), str(there.device)) == ("cpu", "cuda:0")
    assert device.up == 6 * 8 * 4 and device.down == 6 * 8 * 4
    e = np.exp(2 * np.tanh(x @ w))
    want = (e / e.sum(1, keepdims=True)).sum(0) + np.tanh(x @ w)[0]
    assert np.allclose(plain.numpy(), want, atol=1e-5)
    eager = _mixed(lamella.asarray(x), lamella.asarray(w))
    assert np.array_equal(eager[0].numpy(), plain.numpy())


def test_its_plan_shows_stages_and_transfers(device):
    text = str(lamella.plan(_mixed, lamella.spec((6, 4)), lamella.spec((4, 8))))
    assert "3 stages, 2 transfers" in text and "cpu to cuda:0: float32[6, 8], 192 B" in text
    assert "test_arrays.py" in text
    report = lamella.plan(_mixed, lamella.spec((6, 4)), lamella.spec((4, 8)))
    assert report.transferred == 2 * 192 and "softmax" not in report.kernels()
    with pytest.raises(UnsupportedError, match="leave memory out"):
        lamella.plan(_mixed, lamella.spec((6, 4)), lamella.spec((4, 8)), memory="1 MiB")


def test_its_gradient_goes_the_same_ways_back(device):
    x, w = lamella.asarray(_x(6, 4)), lamella.asarray(_x(4, 8))

    def loss(x, w):
        return (_mixed(x, w)[0] ** 2).sum()

    def plain(x, w):
        h = lamella.tanh(x @ w)
        return ((lamella.softmax(h * 2.0).sum(axis=0) + h[0]) ** 2).sum()

    want = lamella.grad(plain, argnums=(0, 1))(x, w)
    step = lamella.grad(loss, argnums=(0, 1))
    for found in (step(x, w), lamella.compile(step)(x, w)):
        assert all(str(g.device) == "cpu" for g in found)
        assert all(np.allclose(g.numpy(), h.numpy(), atol=1e-5) for g, h in zip(found, want))


def test_a_transfer_within_a_loop_is_refused(device):
    def f(x):
        return lamella.fori_loop(0, 3, lambda i, y: lamella.to_device(
            lamella.to_device(y, "cuda:0") * 2.0, "cpu"), x)
    with pytest.raises(DeviceError, match="within a loop"):
        lamella.compile(f)(_x(3))


def test_the_peak_is_what_the_device_is_asked_for(device):
    def f(x, w, v):
        return lamella.softmax(lamella.tanh(x @ w) @ v)

    run = lamella.compile(f, device="cuda:0")
    blocks = stations.station(lamella.base.devices.named("cuda:0")).blocks
    args = [lamella.asarray(_x(*s), device="cuda:0") for s in ((64, 32), (32, 96), (96, 16))]
    result = run(*args)
    arena = next(iter(run.entries.values())).executable.runs
    arena = next(iter(arena.values())).run.arena.block
    assert blocks.used_bytes == run.plan(*args).peak
    assert arena is not None and result is not None


def test_blocks_are_used_again_and_given_back(device):
    blocks = stations.station(lamella.base.devices.named("cuda:0")).blocks
    a = lamella.asarray(_x(1000), device="cuda:0")
    at = a.node.data.address
    del a
    assert lamella.asarray(_x(1000), device="cuda:0").node.data.address == at
    assert blocks.used_bytes == 0 and blocks.idle_bytes
    blocks.trim()
    assert not device.memory.known


def test_nothing_is_given_back_while_work_is_recorded(device, monkeypatch):
    monkeypatch.setattr(blocks_module, "LEAST", 0)
    blocks = stations.station(lamella.base.devices.named("cuda:0")).blocks
    held = [blocks.allocate(1000) for _ in range(3)]
    known = len(device.memory.known)

    def work():
        while held:
            held.pop()
        assert len(device.memory.known) == known

    monkeypatch.setattr(device, "record", lambda work: work() or work)
    blocks.record(work)
    assert blocks.idle_bytes == 3 * 1024 and blocks.used_bytes == 0
    other = threading.Thread(target=lambda: held.append(blocks.allocate(5000)) or held.clear())
    with blocks.turn:       # this thread queues: the other gives back later
        other.start()
        other.join()
        assert len(device.memory.known) == known + 1
    blocks.allocate(1000)   # used once more and given up, so that what lies idle is looked at
    assert not device.memory.known


def test_pinned_bytes_are_not_given_back_while_work_is_recorded(device, monkeypatch):
    """For that the device is waited for, which ends a recording with an error."""
    blocks = stations.station(lamella.base.devices.named("cuda:0")).blocks
    held, begun, ended = [blocks.pin(100)], threading.Event(), threading.Event()

    def work():
        held.clear()
        assert device.pinned.known

    def slow():
        begun.set()
        ended.wait(10)

    monkeypatch.setattr(device, "record", lambda work: work() or work)
    blocks.record(work)
    assert not device.pinned.known
    held.append(blocks.pin(100))
    other = threading.Thread(target=blocks.record, args=(slow,))
    other.start()
    begun.wait(10)
    held.clear()        # this thread drops them while the other records
    assert device.pinned.known
    ended.set()
    other.join()
    assert not device.pinned.known


def test_an_exported_model_runs_anywhere(device, tmp_path):
    from lamella.formats.export import export
    from lamella.formats.lamella_file import load
    model = lamella.to_device(nn.MLP([4, 3], key=lamella.random.key(0)), "cuda:0")
    assert all(str(a.device) == "cuda:0" for a in lamella.tree.leaves(model))
    export(tmp_path / "m.lamella", model, {"x": lamella.spec((2, 4))})
    assert load(tmp_path / "m.lamella")


def test_every_stage_is_explained(device):
    text = lamella.explain(_mixed, lamella.spec((6, 4)), lamella.spec((4, 8)), code=True)
    assert "@triton.jit" in text and "define void @" in text and "cpu to cuda:0" in text
    one = lamella.compile(lambda x: lamella.sin(x), device="cuda:0")
    assert "@triton.jit" in lamella.explain(one, lamella.spec((8,)), code=True)
    with pytest.raises(UnsupportedError, match="leave html out"):
        lamella.explain(_mixed, lamella.spec((6, 4)), lamella.spec((4, 8)), html="page.html")
    with pytest.raises(UnsupportedError, match="leave the profile"):
        lamella.plan(_mixed, lamella.spec((6, 4)), lamella.spec((4, 8)), profile="h200")


def test_a_budget_is_kept_there(device):
    def f(x, w):
        for _ in range(4):
            x = lamella.tanh(x @ w)
        return lamella.grad(lambda x: lamella.square(lamella.tanh(x @ w)).sum())(x)

    spec = lamella.spec((64, 64)), lamella.spec((64, 64))
    whole = lamella.compile(f, device="cuda:0").plan(*spec).peak
    with pytest.raises(BudgetError):
        lamella.compile(f, device="cuda:0", memory=whole // 4).plan(*spec)
    assert lamella.compile(f, device="cuda:0", memory=whole).plan(*spec).peak <= whole


def test_a_model_is_served_from_there(device, tmp_path):
    from lamella.formats.export import export
    from lamella.formats.lamella_file import load
    from lamella.serve.registry import Served
    from lamella.serve.server import describe, executable
    export(tmp_path / "m.lamella", nn.MLP([4, 8, 3], key=lamella.random.key(0)),
           {"x": lamella.spec((lamella.symbol("B", 1, 16), 4))}, batch="B")
    model = load(tmp_path / "m.lamella")
    there, here = (Served(model, executable(model, device=d)) for d in ("cuda:0", ""))
    weights, up = sum(a.nbytes for a in model.weights.values()), device.up
    assert up == weights and "peak" in describe(there)
    for rows in (3, 16):
        x = _x(rows, 4)
        assert np.allclose(there.infer([x])[0], here.infer([x])[0], atol=1e-5)
    assert device.up - up == 19 * 4 * 4     # the weights stay there
    with pytest.raises(lamella.errors.ShapeError, match="must be"):
        there.infer([_x(3, 5)])
    with pytest.raises(lamella.errors.LamellaError, match="no fast mode"):
        executable(model, True, "cuda:0")
