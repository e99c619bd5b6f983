"""Recorded runs: steps, loading and checkpoints, and that recording changes no bit."""

from __future__ import annotations

import json
import threading

import numpy as np

import lamella
from lamella import data, nn, optim, train
from lamella.data import loader as loading

X = np.random.default_rng(0).standard_normal((96, 6)).astype(np.float32)
Y = (X[:, 0] > X[:, 1]).astype(np.int32)


def run(path=None, epochs=2):
    model = nn.MLP([6, 8, 2], key=lamella.random.key(0))
    trainer = train.Trainer(model, optim.AdamW(0.01),
                            lambda m, x, y: nn.losses.cross_entropy(m(x), y))
    trainer.fit(data.Loader((X, Y), batch_size=16, seed=3), epochs, checkpoint=path)
    return [a.numpy().copy() for a in lamella.tree.leaves(trainer.model)]


def test_a_trace_has_the_steps_the_batches_and_the_checkpoints(tmp_path):
    plain = run()
    with lamella.recording(tmp_path / "trace.json"):
        traced = run(tmp_path / "run.checkpoint")
    assert all(np.array_equal(a, b) for a, b in zip(plain, traced, strict=True))
    found = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    tracks = {e["tid"]: e["args"]["name"] for e in found if e["ph"] == "M"}
    spans = [e for e in found if e["ph"] == "X"]
    names = {(tracks[e["tid"]].split("_")[0], e["name"]) for e in spans}
    assert ("checkpoints", "write a checkpoint") in names
    assert any(track == "steps" and "contract" in name for track, name in names)
    calls = [e for e in spans if tracks[e["tid"]] == "calls" and e["name"] == "train_step"]
    assert len(calls) == 12 and all(e["dur"] > 0 for e in calls)
    assert len([e for e in spans if e["name"] == "load a batch"]) == 12


def test_a_host_call_states_what_it_reads_and_writes(tmp_path):
    x = lamella.ones((4, 4))
    f = lamella.compile(lambda x: lamella.linalg.inv(x + x.T + 5 * lamella.eye(4)))
    f(x)
    with lamella.recording(tmp_path / "trace.json"):
        f(x)
    found = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    host, = [e for e in found if e["ph"] == "X" and "reads" in e["args"]]
    assert host["args"]["reads"] and host["args"]["writes"]


def test_large_batches_are_loaded_ahead_in_the_same_order(monkeypatch):
    def batches():
        return [x.copy() for x, _ in data.Loader((X, Y), batch_size=16, seed=3)]

    threads = set()
    plain, load = batches(), data.Loader.batch
    monkeypatch.setattr(loading, "AHEAD", 1)
    monkeypatch.setattr(data.Loader, "batch", lambda self, *place: (
        threads.add(threading.current_thread().name), load(self, *place))[1])
    assert all(np.array_equal(a, b) for a, b in zip(plain, batches(), strict=True))
    assert any(name.startswith("loader") for name in threads)


def test_a_loader_that_is_moved_meanwhile_gives_what_stands_there(monkeypatch):
    monkeypatch.setattr(loading, "AHEAD", 1)
    loader = data.Loader((X, Y), batch_size=16, seed=3)
    state = None
    for k, (x, _) in enumerate(loader):
        if k == 0:
            first, state = x.copy(), {**loader.state(), "position": 0}
            loader.restore(state)
        elif k == 1:
            assert np.array_equal(x, first)
