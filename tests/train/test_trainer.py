"""Training: it learns, resumes with the same bits, keeps whole checkpoints."""

import os
import signal

import numpy as np
import pytest

import lamella as L
from lamella import data, nn, optim, train
from lamella.base.errors import LamellaError
from lamella.train.progress import Progress

rng = np.random.default_rng(0)
X = rng.standard_normal((96, 6)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(np.int32)


def loss_fn(model, x, y):
    return nn.losses.cross_entropy(model(x), y)


def trainer(loss=loss_fn, **options):
    model = nn.MLP([6, 8, 2], key=L.random.key(0))
    return train.Trainer(model, optim.AdamW(0.01), loss, **options)


def loader():
    return data.Loader((X, Y), batch_size=16, seed=3)


def same(a, b):
    for p, q in zip(L.tree.leaves((a.model, a.state)), L.tree.leaves((b.model, b.state)),
                    strict=True):
        np.testing.assert_array_equal(p.numpy(), q.numpy())


def test_it_learns_the_same_compiled_and_not():
    a, b = trainer(), trainer(compiled=False)
    first = float(a.step(X, Y))
    b.step(X, Y)
    assert float(a.fit(loader(), 4)) < first
    b.fit(loader(), 4)
    assert a.steps == b.steps == 25
    same(a, b)


def test_a_fast_step_is_compiled():
    assert trainer(fast=True).plan(X[:8], Y[:8]).plan.fast
    with pytest.raises(LamellaError, match="op by op is not fast; leave fast or compiled=False"):
        trainer(fast=True, compiled=False)


def dropped(model, x, y, key):
    return loss_fn(model, nn.dropout(x, 0.3, key), y)


@pytest.mark.parametrize("stop", [1, 6, 9])
def test_resuming_goes_on_with_the_same_bits(tmp_path, stop):
    whole = trainer(dropped)
    whole.fit(loader(), 2)
    part, order = trainer(dropped), loader()
    done = 0
    while done < stop:
        for batch in order:
            part.step(*batch)
            done += 1
            if done == stop:
                break
    part.save(tmp_path / "c", loader=order)
    again, order = trainer(dropped, seed=5), loader()
    again.restore(tmp_path / "c", loader=order)
    again.fit(order, 2)
    assert again.steps == whole.steps == 12
    same(again, whole)
    assert os.listdir(tmp_path) == ["c"]


def test_batch_statistics_are_part_of_the_state(tmp_path):
    class Net(nn.Module):
        def __init__(self):
            self.norm, self.out = nn.BatchNorm(6), nn.Linear(6, 2, key=L.random.key(0))

        def __call__(self, x, state):
            x, norm = self.norm(x, state["norm"])
            return self.out(x), {"norm": norm}

    def loss(model, x, y, state):
        logits, state = model(x, state)
        return nn.losses.cross_entropy(logits, y), state

    t = train.Trainer(Net(), optim.SGD(0.1), loss)
    t.step(X, Y)
    np.testing.assert_allclose(t.state["model"]["norm"]["mean"].numpy(), X.mean(0) * 0.1, rtol=1e-4)
    t.save(tmp_path / "c")
    arrays, manifest = train.read_checkpoint(tmp_path / "c")
    assert "state.model.norm.mean" in arrays and manifest["steps"] == 1


def test_a_checkpoint_is_whole_or_nothing(tmp_path, monkeypatch):
    t = trainer()
    t.step(X, Y)
    t.save(tmp_path / "c")
    before = (tmp_path / "c").read_bytes()
    t.step(X, Y)
    monkeypatch.setattr(os, "replace", lambda *a: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        t.save(tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == before and os.listdir(tmp_path) == ["c"]


def test_interrupt_saves_after_the_step(tmp_path):
    t, order = trainer(), loader()
    step = t.step

    def interrupted(*batch):
        if t.steps == 3:
            os.kill(os.getpid(), signal.SIGINT)
        return step(*batch)

    t.step = interrupted
    with pytest.raises(KeyboardInterrupt):
        t.fit(order, 3, checkpoint=tmp_path / "c")
    again, order = trainer(), loader()
    again.restore(tmp_path / "c", loader=order)
    assert again.steps == 4 and order.position == 4
    again.fit(order, 3)
    whole = trainer()
    whole.fit(loader(), 3)
    same(again, whole)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_wrong_files(tmp_path):
    t = trainer()
    t.save(tmp_path / "c")
    other = train.Trainer(nn.MLP([6, 9, 2], key=L.random.key(0)), optim.AdamW(0.01), loss_fn)
    with pytest.raises(L.errors.FormatError, match=r"model.layers.0.bias is float32\[8\]"):
        other.restore(tmp_path / "c")
    other = train.Trainer(nn.MLP([6, 8, 2], key=L.random.key(0)), optim.SGD(0.01), loss_fn)
    with pytest.raises(L.errors.FormatError, match="only in the file"):
        other.restore(tmp_path / "c")
    with pytest.raises(L.errors.FormatError, match="without a loader"):
        t.restore(tmp_path / "c", loader=loader())
    (tmp_path / "d").write_bytes(b"12345678 nonsense")
    with pytest.raises(L.errors.FormatError, match="no readable checkpoint"):
        t.restore(tmp_path / "d")


def test_a_damaged_checkpoint_is_refused(tmp_path):
    t, path = trainer(), tmp_path / "c"
    t.save(path)
    data = path.read_bytes()
    for at in [*range(0, len(data), 97), len(data) - 1]:
        path.write_bytes(data[:at])
        with pytest.raises(L.errors.FormatError, match="c: "):
            t.restore(path)
        flipped = bytearray(data)
        flipped[at] ^= 1 << at % 8
        path.write_bytes(flipped)
        with pytest.raises(L.errors.FormatError, match="c: "):
            t.restore(path)


def test_a_checkpoint_of_other_numerics_says_so(tmp_path, monkeypatch):
    t = trainer()
    monkeypatch.setattr(train.checkpoint, "NUMERICS", 0)
    t.save(tmp_path / "c")
    with pytest.warns(UserWarning, match="numerics version 0"):
        t.restore(tmp_path / "c")


def test_sigterm_saves_after_the_step(tmp_path):
    t = trainer()
    step = t.step

    def ended(*batch):
        os.kill(os.getpid(), signal.SIGTERM)
        return step(*batch)

    t.step = ended
    with pytest.raises(SystemExit) as e:
        t.fit(loader(), 3, checkpoint=tmp_path / "c")
    assert e.value.code == 143 and train.read_checkpoint(tmp_path / "c")[1]["steps"] == 1
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL


def test_low_precision_checkpoints(tmp_path):
    t = train.Trainer(nn.Linear(6, 2, key=L.random.key(0), dtype="bfloat16"), optim.AdamW(0.01),
                      lambda m, x, y: loss_fn(m, x.astype("bfloat16"), y))
    t.step(X, Y)
    t.save(tmp_path / "c")
    before = t.model.weight.numpy().copy()
    t.step(X, Y)
    t.restore(tmp_path / "c")
    np.testing.assert_array_equal(t.model.weight.numpy(), before)


def test_progress_is_silent_without_a_terminal(capfd):
    with Progress(2, shown=False) as bar:
        bar.advance(4, L.asarray(1.0))
    assert capfd.readouterr() == ("", "")
    with Progress(2, shown=True) as bar:
        bar.advance(4, L.asarray(1.25))
        bar.advance(4, L.asarray(1.25))
    assert "loss 1.25" in capfd.readouterr().err


def test_a_report_is_of_the_largest_batch_with_the_least_time_of_its_steps():
    t = trainer()
    assert t.report() is None
    t.step(X[:5], Y[:5])
    t.step(X[:16], Y[:16])
    t.step(X[:16], Y[:16])
    found = t.report()
    assert found.run_seconds == t.seconds[16] > 0 and set(t.seconds) == {5, 16}
    assert found.peak == t.plan(L.spec((16, 6)), L.spec((16,), "int32")).peak
    once = trainer(compiled=False)
    once.step(X[:5], Y[:5])
    assert once.report() is None
