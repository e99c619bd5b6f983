"""Lamella's side of the reference workloads, one process for each.

    python -m bench.ours list
    python -m bench.ours WORKLOAD       prints one JSON line
    python -m bench.ours WORKLOAD uncompiled     the training step without `lamella.compile`

The mathematics, shapes and optimizers are those of the peers' file (see `bench.compare`): float32,
THREADS threads (2 by default), BUDGET_S seconds of timed steps (12 by default). A step is forward,
backward and update, with the loss read; or one forward. `plan_peak_bytes` is what the plan states;
`first_s` holds planning and compiling, from the object cache where it has the code already.
"""

from __future__ import annotations

import functools
import json
import os
import resource
import sys
import time

os.environ["LAMELLA_THREADS"] = os.environ.get("THREADS", "2")

import numpy as np

import lamella
from lamella import nn, optim

from . import models

WORK = {
    "mlp_train": {"batch": 1000, "sizes": [784, 256, 100, 10]},
    "gpt_nano_train": {"L": 4, "H": 4, "D": 128, "T": 64, "B": 12, "V": 65},
    "gpt_mid_train": {"L": 6, "H": 6, "D": 384, "T": 256, "B": 8, "V": 65},
    "resnet18_train": {"B": 32, "img": 32, "classes": 10},
    "lstm_train": {"B": 32, "T": 64, "D": 256, "H": 256, "V": 1000},
    "resnet50_infer": {"B": 1, "img": 224, "classes": 1000},
    "bert_infer": {"B": 1, "T": 128, "L": 6, "H": 12, "D": 384, "V": 30522},
    "bert_infer_b16": {"B": 16, "T": 128, "L": 6, "H": 12, "D": 384, "V": 30522},
    "softmax_16m": {"rows": 4096, "cols": 4096},
    "layernorm_gelu": {"rows": 4096, "cols": 4096},
}
WARM, MOST = 3, 400


class Case:
    """A workload: `step()` runs it once, `plan()` is the plan of that step."""

    def __init__(self, step, plan):
        self.step, self.plan = step, plan


def case(name: str, compiled: bool = True, fast: bool = False, memory: int | None = None,
         ready: bool = True) -> Case:
    """The workload of that name, with `fast` in that mode, within `memory` bytes; `compiled` is for
    training steps. Where it is not `ready` its weights are still to be computed."""
    options = {"fast": fast, "memory": memory}
    training = functools.partial(_training, compiled, ready, options)
    inference = functools.partial(_inference, ready, options)
    w, rng, key = WORK[name], np.random.default_rng(0), lamella.random.key(0)
    if name == "mlp_train":
        x = rng.standard_normal((w["batch"], w["sizes"][0]), "float32")
        y = rng.integers(0, 10, w["batch"]).astype("int32")
        return training(nn.MLP(w["sizes"], key=key), optim.SGD(0.1), x, y)
    if name.startswith("gpt") or name == "lstm_train":
        tokens = rng.integers(0, w["V"], (w["B"], w["T"])).astype("int32")
        model = models.LSTM(w["V"], w["D"], w["H"], key=key) if name == "lstm_train" else nn.GPT(
            vocabulary=w["V"], context=w["T"], layers=w["L"], heads=w["H"], width=w["D"], key=key)
        return training(model, optim.AdamW(1e-3), tokens, tokens)
    if name.startswith("resnet"):
        model = models.ResNet(18 if "18" in name else 50, w["classes"], key=key)
        x = rng.standard_normal((w["B"], w["img"], w["img"], 3), "float32")
        if name.endswith("train"):
            y = rng.integers(0, w["classes"], w["B"]).astype("int32")
            return training(model, optim.SGD(0.1, momentum=0.9), x, y, model.init_state())
        state = model.init_state()
        return inference(lambda x: model(x, state, train=False)[0], x, held=(model, state))
    if name.startswith("bert"):
        model = models.Bert(w["V"], w["L"], w["H"], w["D"], key=key)
        return inference(model, rng.integers(0, w["V"], (w["B"], w["T"])).astype("int32"),
                         held=model)
    x = rng.standard_normal((w["rows"], w["cols"]), "float32")
    if name == "softmax_16m":
        return inference(lambda x: lamella.softmax(x * 0.5 + 1.0), x)
    g, b = (rng.standard_normal(w["cols"], "float32") for _ in range(2))
    return inference(lambda x, g, b: lamella.gelu(lamella.layer_norm(x, g, b), approximate=True),
                     x, g, b)


def _training(compiled: bool, ready: bool, options: dict, model, opt, x, y,
              running=None) -> Case:
    """Forward, backward, update; with `running` statistics the model takes and returns them."""
    def loss_fn(model, running, x, y):
        if running is None:
            return nn.losses.cross_entropy(model(x), y), None
        logits, running = model(x, running)
        return nn.losses.cross_entropy(logits, y), running

    def update(model, state, running, x, y):
        (loss, running), grads = lamella.value_and_grad(loss_fn, has_aux=True)(model, running, x, y)
        model, state = opt.update(model, grads, state)
        return model, state, running, loss

    compiled_update = lamella.compile(update, donate=("model", "state", "running"), **options)
    run = compiled_update if compiled else update
    x, y = lamella.asarray(x), lamella.asarray(y)
    held = [model, opt.init(model), running]
    if ready:
        evaluate(held)

    def step() -> float:
        *held[:], loss = run(*held, x, y)
        return float(loss)

    return Case(step, lambda: lamella.plan(compiled_update, *held, x, y))


def _inference(ready: bool, options: dict, f, *args, held=()) -> Case:
    """One forward; the weights in `held` are constants of the compiled function, as in a file."""
    run = lamella.compile(f, **options)
    args = tuple(map(lamella.asarray, args))
    if ready:
        evaluate((args, held))
    return Case(lambda: run(*args), lambda: lamella.plan(run, *args))


def evaluate(tree) -> None:
    """Arrays are lazy: the weights belong to the setup, not to the first step."""
    for a in lamella.tree.leaves(tree):
        a.numpy()


def timed(step, budget: float) -> dict:
    """The first call, then at least one and at most MOST calls within the budget of seconds."""
    began = time.perf_counter()
    step()
    first = time.perf_counter() - began
    for _ in range(WARM):
        step()
    times: list[float] = []
    end = time.perf_counter() + budget
    while not times or (time.perf_counter() < end and len(times) < MOST):
        t = time.perf_counter()
        step()
        times.append(time.perf_counter() - t)
    return {"first_s": round(first, 4), "median_ms": round(1e3 * float(np.median(times)), 4),
            "min_ms": round(1e3 * min(times), 4), "n": len(times)}


def main(arguments: list[str]) -> None:
    if arguments == ["list"]:
        print(*WORK)
        return
    compiled = arguments[1:] != ["uncompiled"]
    if len(arguments) != 2 - compiled or arguments[0] not in WORK:
        sys.exit(f"usage: python -m bench.ours list | {' | '.join(WORK)} [uncompiled]")
    began = time.perf_counter()
    found = case(arguments[0], compiled)
    setup = time.perf_counter() - began
    figures = timed(found.step, float(os.environ.get("BUDGET_S", "12")))
    rss = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    name, plan = "lamella" if compiled else "lamella uncompiled", found.plan()
    print(json.dumps({"peer": name, "work": arguments[0], "setup_s": round(setup, 2),
                      "peak_rss_mb": round(rss), **figures,
                      "plan_peak_bytes": plan.peak, "flops": plan.flops,
                      "traffic": plan.traffic}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
