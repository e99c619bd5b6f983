"""The zoo's models learn, in the bytes that were planned: small ones, for a few steps."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest

import lamella
from bench import zoo, zoo_peers

SMALL = {
    "mlp": {"batch": 16, "width": 16, "layers": 2}, "lenet": {"batch": 8, "width": 2},
    "resnet18": {"batch": 2, "width": 4, "image": 16},
    "resnet50": {"batch": 2, "width": 4, "image": 32},
    "unet": {"batch": 1, "width": 4, "image": 16, "levels": 2},
    "mobilenet": {"batch": 2, "width": 2, "image": 32},
    "lstm": {"batch": 2, "length": 8, "width": 16, "vocabulary": 20},
    "gpt": {"batch": 2, "length": 8, "layers": 1, "width": 16, "heads": 2, "vocabulary": 20},
    "bert": {"batch": 2, "length": 8, "layers": 1, "width": 16, "heads": 2, "vocabulary": 20},
    "vit": {"batch": 2, "image": 16, "layers": 1, "width": 16, "heads": 2},
    "moe": {"batch": 2, "length": 8, "layers": 1, "width": 16, "experts": 4, "vocabulary": 20},
    "autoencoder": {"batch": 8, "width": 16},
    "dlrm": {"batch": 8, "tables": 2, "rows": 20, "width": 4}}


def test_each_model_is_here_in_small():
    assert SMALL.keys() == zoo.WORKS.keys()


@pytest.mark.parametrize("name", SMALL)
def test_a_model_learns(name):
    work = zoo.work(name, **SMALL[name])
    run = lamella.compile(work.step, donate=work.donate)
    before = work.infer(work.held[0], work.held[2], *work.inputs)
    assert before.shape[0] == work.inputs[0].shape[0]
    held, losses = zoo.evaluated(work.held), []
    for _ in range(5):
        *held, loss = run(*held, *work.inputs)
        losses.append(float(loss))
    assert all(map(math.isfinite, losses)) and losses[-1] < losses[0], losses
    given = *held, *work.inputs
    assert lamella.measure(run, *given).peak == lamella.plan(run, *given).peak


@pytest.mark.parametrize("name", ("lenet", "gpt", "lstm"))
def test_ways_to_take_a_step_agree(name):
    work = zoo.work(name, **SMALL[name])
    plain = [a.numpy() for a in lamella.tree.leaves(work.step(*work.held, *work.inputs))]
    for checkpoint, micro in ((True, 1), (False, 2), (True, 2)):
        run = lamella.compile(work.stepping(checkpoint, micro))
        found = [a.numpy() for a in lamella.tree.leaves(run(*work.held, *work.inputs))]
        for a, b in zip(plain, found, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4)
            assert micro > 1 or a.tobytes() == b.tobytes()


def test_an_unknown_size_is_refused():
    with pytest.raises(ValueError, match="gpt takes batch, length"):
        zoo.work("gpt", depth=3)


def test_the_zoo_beside_pytorch(monkeypatch, capsys):
    """Each system in turn, least of its rounds; the ratio is to the better of the peers."""
    times = iter([4.0, 9.0, 8.0, 3.0, 7.0, 6.0])

    def measured(command, environment, limit):
        if command[-1] == "dlrm" and "compile" in command:
            return {"error": "not compiled"}
        ms = next(times)
        return {"model": command[-1], "step_ms": ms, "infer_ms": ms / 2}

    monkeypatch.setattr(zoo_peers, "measured", measured)
    zoo_peers.main(["lenet", "--rounds", "2"])
    out = capsys.readouterr().out.splitlines()
    assert "lamella 3.00  eager 7.00  compile 6.00  x2.00" in out[1]
    assert json.loads(out[-1])["geomean"] == {"step_ms": 2.0, "infer_ms": 2.0}
    times = iter([4.0, 8.0])
    zoo_peers.main(["dlrm", "--rounds", "1"])
    out = capsys.readouterr().out.splitlines()
    assert "compile not compiled  x2.00" in out[1]
    with pytest.raises(SystemExit):
        zoo_peers.main(["alexnet"])


def test_pytorch_has_the_same_models():
    pytest.importorskip("torch")
    from bench import torch_zoo
    assert torch_zoo.WORKS.keys() == zoo.WORKS.keys()
    for name in ("lenet", "dlrm"):
        ours = zoo.work(name)
        model, loss, inputs, _ = torch_zoo.WORKS[name]()
        assert math.prod(inputs[0].shape) == math.prod(ours.inputs[0].shape)
        leaves = lamella.tree.leaves(ours.held[0])
        assert sum(p.numel() for p in model.parameters()) == sum(
            math.prod(a.shape) for a in leaves)
        assert math.isfinite(loss(model, *inputs).item())
