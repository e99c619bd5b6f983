"""Lamella's side of the GPU benchmark: `python -m bench.gpu.ours CELL`, a line for each row."""

from __future__ import annotations

import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator

import numpy as np

import lamella
from lamella import nn, optim
from lamella.api.arrays.array import wrap
from lamella.api.arrays.values import known
from lamella.base.devices import named
from lamella.engine.stations import Station, station

from ..compare import ROOT
from . import cells, models

GPU = "cuda:0"
Row = tuple[str, Callable[[], dict]]


def at() -> Station:
    return station(named(GPU))


def there(array: np.ndarray, dtype: str = "bfloat16"):
    """A NumPy array's elements on the device."""
    return lamella.to_device(lamella.asarray(array).astype(dtype), GPU)


def normal(*shape: int, dtype: str = "bfloat16"):
    """Random numbers, made on the device."""
    key = lamella.random.key(sum(shape))
    return ready(lamella.to_device(lamella.random.normal(key, shape, dtype=dtype), GPU))


def whole(most: int, *shape: int):
    """Whole numbers below `most`."""
    found = np.random.default_rng(0).integers(0, most, shape).astype("int32")
    return there(found, "int32")


def ready(tree):
    """The tree, its arrays computed; they stay where they are."""
    for a in lamella.tree.leaves(tree):
        known(a.node)
    return tree


def apart(tree):
    """The tree with copies for arrays that lie where another one does (zeros, ones): what is
    donated has bytes of its own."""
    seen: set[int] = set()

    def own(a):
        value = known(a.node)
        found = wrap(value.copy()) if value.address in seen else a
        seen.add(value.address)
        return found

    return lamella.tree.map(own, tree)


def measured(f: Callable, *arguments, donate=()) -> dict:
    """Milliseconds of a run by the device's clock, and bytes: planned, and touched."""
    run = lamella.compile(f, device=GPU, donate=donate)
    found, planned = lamella.measure(run, *arguments), lamella.plan(run, *arguments)
    return {"ms": 1e3 * found.seconds, "planned": planned.peak, "touched": found.peak}


# ---- kernels -------------------------------------------------------------------------------------

def products(cell: str, small: bool) -> Iterator[Row]:
    for shape in (cells.products if cell == "products" else cells.shapes)(small):
        yield str(shape), functools.partial(product, shape)


def product(shape: cells.Shape) -> dict:
    left, right = (t == "t" for t in shape.layout)
    return measured(lambda a, b: (a.mT if left else a) @ (b.mT if right else b),
                    *(normal(*s) for s in shape.operands))


def attention(small: bool) -> Iterator[Row]:
    for s in cells.attention(small):
        yield f"forward {s}", functools.partial(attended, s, False)
        yield f"gradients {s}", functools.partial(attended, s, True)


def attended(s: cells.Attention, gradients: bool) -> dict:
    def attend(q, k, v):
        return lamella.attention(q, k, v, causal=s.causal)

    def both(q, k, v, g):
        y, pull = lamella.vjp(attend, q, k, v)
        return y, pull(g)

    operands = [normal(s.batch, n, s.length, s.width) for n in (s.heads, s.groups, s.groups)]
    if not gradients:
        return measured(attend, *operands)
    return measured(both, *operands, normal(s.batch, s.heads, s.length, s.width))


def memory(small: bool) -> Iterator[Row]:
    k = cells.kernels(small)
    x = functools.cache(lambda: normal(k.rows, k.columns))
    scores = functools.cache(lambda: (normal(k.rows, k.words), whole(k.words, k.rows)))
    vector = functools.cache(lambda: normal(k.columns))
    long = functools.cache(lambda: normal(k.elements, dtype="float32"))

    def loss(logits, words):
        return nn.losses.cross_entropy(logits.astype("float32"), words)

    def normalised(x, weight, bias, g):
        return lamella.vjp(lamella.layer_norm, x, weight, bias)[1](g)

    yield "copy", lambda: copied(4 * k.elements)
    yield "bias and gelu", lambda: measured(
        lambda x, b: lamella.gelu(x + b, approximate=True), x(), vector())
    yield "softmax", lambda: measured(lamella.softmax, x())
    yield "layer norm", lambda: measured(lamella.layer_norm, x(), vector(), vector())
    yield "layer norm's gradients", lambda: measured(normalised, x(), vector(), vector(), x())
    yield "cross-entropy", lambda: measured(loss, *scores())
    yield "cross-entropy with gradients", lambda: measured(lamella.value_and_grad(loss), *scores())
    scores.cache_clear()
    yield "sum", lambda: measured(lambda x: x.sum(), long())
    yield "sum over rows", lambda: measured(
        lambda x: x.astype("float32").sum(axis=0), x())
    yield "transpose", lambda: measured(lambda x: x.mT, x())
    yield "adamw", lambda: updated(k.elements)


def copied(size: int) -> dict:
    """A copy within the device, by the driver."""
    a, b = (at().blocks.allocate(size) for _ in range(2))
    device = at().runtime
    device.upload(a.address, np.zeros(size, np.uint8))
    device.copy(b.address, a.address, size)
    return {"ms": 1e3 * min(device.seconds(lambda: [
        device.copy(b.address, a.address, size) for _ in range(10)]) / 10 for _ in range(5))}


def updated(elements: int) -> dict:
    opt, model = optim.AdamW(1e-3), {"p": normal(elements, dtype="float32")}

    def step(model, state, grads):
        return opt.update(model, grads, state)

    return measured(step, model, ready(lamella.to_device(opt.init(model), GPU)),
                    {"p": normal(elements, dtype="float32")}, donate=("model", "state"))


# ---- models --------------------------------------------------------------------------------------

class Training:
    """A step of a model, its state on the device; `loss(model, running, x, y)` gives a pair.

    The state is made there, by one program of what `made` returns, a model and what runs along:
    arrays that wait to be computed are computed by the processor once there are hundreds.
    """

    def __init__(self, made: Callable[[], tuple], loss: Callable, opt: optim.Optimizer,
                 inputs: tuple):
        def start():
            model, running = made()
            return model, opt.init(model), running

        def update(model, state, running, x, y):
            (value, running), grads = lamella.value_and_grad(loss, has_aux=True)(
                model, running, x, y)
            model, state = opt.update(model, grads, state)
            return model, state, running, value

        self.run = lamella.compile(update, device=GPU, donate=("model", "state", "running"))
        self.held = list(apart(lamella.compile(start, device=GPU)()))
        self.inputs = inputs
        self.loss: object = None

    def step(self) -> None:
        *self.held[:], self.loss = self.run(*self.held, *self.inputs)

    def wait(self) -> float:
        return float(self.loss)     # type: ignore[arg-type]

    def bytes(self) -> dict:
        """Of the plan, of a run over painted memory, and what the device has less of by now."""
        given = (*self.held, *self.inputs)
        found, planned = lamella.measure(self.run, *given), lamella.plan(self.run, *given)
        return {"planned": planned.peak, "touched": found.peak, "blocks": at().blocks.used_bytes,
                "device_ms": 1e3 * found.seconds}


def training(cell: str, small: bool) -> Training:
    if cell == "resnet50":
        size = cells.resnet(small)
        inputs = (normal(size.batch, size.size, size.size, 3), whole(size.classes, size.batch))

        def resnet():
            model = models.resnet(size, key=lamella.random.key(0))
            return model, model.init_state()

        return Training(resnet, models.images_loss, optim.SGD(0.1, momentum=0.9), inputs)
    decoder = (cells.gpt2 if cell == "gpt2" else cells.llama)(small)
    tokens = whole(decoder.words, decoder.batch, decoder.length)
    kind = models.GPT2 if cell == "gpt2" else models.Llama
    return Training(lambda: (kind(decoder, key=lamella.random.key(0)), None),
                    lambda m, r, x, y: (m.loss(x, y), r), optim.AdamW(1e-3), (tokens, tokens))


def trained(cell: str, small: bool, seconds: float) -> Iterator[Row]:
    case = functools.cache(lambda: training(cell, small))
    yield "step", lambda: {**cells.steps(case().step, case().wait, seconds),
                           "loss": case().wait()}
    yield "bytes", lambda: case().bytes()


def launch(small: bool) -> Iterator[Row]:
    def step() -> dict:
        """Microseconds until a call is back, the device idle before it; the least and the median.
        """
        case, times = training("gpt2", True), []
        for _ in range(20 if small else 300):
            case.wait() if times else case.step()
            began = time.perf_counter()
            case.step()
            times.append(1e6 * (time.perf_counter() - began))
        return {"us": min(times), "median_us": float(np.median(times[len(times) // 2:]))}

    yield "step", step


def compiling(small: bool) -> Iterator[Row]:
    """In processes of their own: the second finds what the first has left."""
    folder = tempfile.TemporaryDirectory()
    own = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path)),
           "LAMELLA_CACHE": f"{folder.name}/objects",
           "TRITON_CACHE_DIR": f"{folder.name}/triton"}

    def first() -> dict:
        done = subprocess.run([sys.executable, "-m", "bench.gpu.ours", "first",
                               *["--small"] * small], cwd=ROOT, env=own, capture_output=True,
                              text=True)
        if done.returncode:
            raise RuntimeError(done.stderr.strip().splitlines()[-1])
        return json.loads(done.stdout.splitlines()[-1])

    yield "cold", first
    yield "warm", first
    folder.cleanup()


def first(small: bool) -> dict:
    """Seconds of the first GPT-2 step less those of a later one."""
    case, times = training("gpt2", small), []
    for _ in range(4):
        began = time.perf_counter()
        case.step()
        case.wait()
        times.append(time.perf_counter() - began)
    return {"ms": 1e3 * (times[0] - min(times[1:]))}


# ---- right results -------------------------------------------------------------------------------

def worst(found, wanted) -> float:
    """The largest error of an array by its norm; one much smaller than the largest, as a gradient
    that is zero but for rounding, by a thousandth of that."""
    ours, theirs = ([*map(_plain, lamella.tree.leaves(t))] for t in (found, wanted))
    least = 1e-3 * max(np.linalg.norm(b) for b in theirs)
    errors = [np.linalg.norm(a - b) / max(np.linalg.norm(b), least, 1e-30)
              for a, b in zip(ours, theirs, strict=True)]
    return float(max(errors)) if np.isfinite(errors).all() else float("inf")


def _plain(a) -> np.ndarray:
    return np.asarray(a.numpy(), np.float64)


def verdict(error: float, bound: float) -> dict:
    return {"worst": error, "right": error <= bound}


def agreement(small: bool) -> Iterator[Row]:
    from .. import zoo
    for name in cells.ZOO:
        def agree(name=name) -> dict:
            work = zoo.work(name)
            model, state, running = zoo.evaluated(work.held)

            def gradients(model, running, *inputs):
                return work.gradients(model, running, inputs)

            given = (model, running, *work.inputs)
            here = lamella.compile(gradients)(*given)
            found = lamella.compile(gradients, device=GPU)(*given)
            step = lamella.compile(work.step, device=GPU)(model, state, running, *work.inputs)
            known = [float(found[2]), float(step[-1])]      # the loss, twice
            return verdict(worst((found, lamella.asarray(known)),
                                 (here, lamella.asarray([float(here[2])] * 2))), 1e-3)
        yield name, agree


def device(small: bool) -> Iterator[Row]:
    n = 64 if small else 1024
    x, y = (np.random.default_rng(k).standard_normal((n, n), "float32") for k in range(2))

    def f(x, y):
        for _ in range(2):
            x = lamella.softmax(lamella.tanh(x @ y), axis=-1) + x
        return x, x.sum()

    def facts() -> dict:
        runtime = at().runtime
        return {"name": runtime.name, "capability": runtime.arch, "bytes": runtime.bytes,
                "room": runtime.room(), "context": runtime.context_bytes}

    def kernels() -> dict:
        return verdict(worst(lamella.compile(f, device=GPU)(x, y), lamella.compile(f)(x, y)), 1e-4)

    def transfers() -> dict:
        sizes = (1, 5, 4096, *([] if small else [(8 << 20) + 3, 100 << 20]))
        given = [np.random.default_rng(s).integers(0, 255, s).astype("uint8") for s in sizes]
        wrong = [len(g) for g in given if not np.array_equal(
            lamella.asarray(g, device=GPU).numpy(), g)]
        return {"right": not wrong, "wrong": wrong}

    def replay() -> dict:
        cases = [training_mlp(device) for device in (GPU, "cpu")]
        losses = [[float(case.step(x[:, :64], np.arange(n) % 8)) for _ in range(6)]
                  for case in cases]
        return verdict(worst(*(lamella.asarray(np.array(v)) for v in losses)), 1e-3)

    def offload() -> dict:
        """Values that rest on the host: the same bits as without a budget."""
        def chain(x, y):
            return lamella.grad(lambda x: lamella.square(f(x, y)[0]).sum())(x)

        free = lamella.compile(chain, device=GPU)
        peak = lamella.plan(free, x, y).peak
        for part in (0.7, 0.8, 0.9):
            try:
                tight = lamella.compile(chain, device=GPU, memory=int(part * peak), spill=True)
                return verdict(worst([tight(x, y) for _ in range(3)], [free(x, y)] * 3), 0.0)
            except lamella.errors.BudgetError:
                continue
        return {"error": "no plan keeps nine tenths of the peak"}

    yield from (("facts", facts), ("kernels", kernels), ("transfers", transfers),
                ("replay", replay), ("offload", offload))


def training_mlp(device: str):
    from lamella.train import Trainer
    return Trainer(nn.MLP([64, 96, 8], key=lamella.random.key(0)), optim.AdamW(1e-2),
                   lambda model, x, y: nn.losses.cross_entropy(model(x), y), device=device)


def rows_of(cell: str, small: bool, seconds: float) -> Iterator[Row]:
    if cell in ("products", "shapes"):
        return products(cell, small)
    if cell in ("gpt2", "resnet50", "llama"):
        return trained(cell, small, seconds)
    sides = {"device": device, "attention": attention, "memory": memory, "compile": compiling,
             "launch": launch, "agreement": agreement}
    return sides[cell](small)


def main(arguments: list[str]) -> None:
    if arguments[:1] == ["first"]:
        print(json.dumps(first("--small" in arguments)))
        return
    options = cells.options_of(arguments, "python -m bench.gpu.ours")
    cells.emit(rows_of(options.cell, options.small, options.seconds), options)


if __name__ == "__main__":
    main(sys.argv[1:])
