"""What Lamella costs besides the arithmetic: import, calls, nodes, compiling, bytes on disk.

    python -m bench.overhead [--quick] [--only import,call,...]

Prints a table, then one JSON line. Times are the least of several runs; compile times are those of
fresh processes, with an empty object cache (cold) and with the one that this filled (warm), less
one step. The size is that of the installed files of the package and of all that it requires.
"""

from __future__ import annotations

import argparse
import functools
import gc
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def least(f: Callable[[], object], runs: int, inner: int = 1) -> float:
    """Seconds of one f(), the least over `runs` of the mean over `inner` calls."""
    best = float("inf")
    for _ in range(runs):
        began = time.perf_counter()
        for _ in range(inner):
            f()
        best = min(best, (time.perf_counter() - began) / inner)
    return best


@functools.cache
def bytecode() -> tempfile.TemporaryDirectory:
    """A folder for bytecode: an installed package has it, a checkout perhaps not."""
    return tempfile.TemporaryDirectory()


def python(code: str, **environment: str) -> str:
    """What a fresh process prints for the code."""
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    settings = {**os.environ, "PYTHONPATH": path, "PYTHONPYCACHEPREFIX": bytecode().name,
                "PYTHONDONTWRITEBYTECODE": "", **environment}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT,
                          env=settings)
    if done.returncode:
        sys.exit(done.stderr)
    return done.stdout


# ---- what is measured: each gives {figure: (value, unit)} ----------------------------------------

def importing(quick: bool) -> dict:
    clock = "import time; t = time.perf_counter(); {}; print(time.perf_counter() - t)"
    runs = 1 if quick else 7
    names = {"import lamella": "import lamella", "import numpy": "import numpy",
             "import lamella and its arrays": "import lamella; lamella.asarray",
             "import lamella, arrays and nn": "import lamella, lamella.nn; lamella.ones(3)"}
    for code in names.values():
        python(code)
    return {name: (1e3 * min(float(python(clock.format(c))) for _ in range(runs)), "ms")
            for name, c in names.items()}


def calls(quick: bool) -> dict:
    import lamella
    from lamella import nn

    runs, inner = (2, 20) if quick else (20, 500)
    def leaves(n: int):
        return lambda x: [x + float(k) for k in range(n)]

    model = nn.MLP([8] * 11, key=lamella.random.key(0))
    x = lamella.ones((1, 8))
    forward = lamella.compile(lambda model, x: model(x))
    times = {}
    for n in (1, 33):
        f = lamella.compile(leaves(n))
        f(x)
        times[n] = least(functools.partial(f, x), runs, inner)
    forward(model, x)
    return {"compiled call, MLP of 20 leaves, 8 wide": (
                1e6 * least(lambda: forward(model, x), runs, inner), "us"),
            "compiled call, one leaf in and out": (1e6 * times[1], "us"),
            "each returned leaf more": (1e6 * (times[33] - times[1]) / 32, "us")}


def latency(quick: bool) -> dict:
    """A compiled call of a model of ten ops on 1x64 numbers, beside peers that are installed."""
    import numpy as np
    rng = np.random.default_rng(0)
    x = rng.standard_normal((1, 64), "float32")
    weights = [rng.standard_normal((64, 64), "float32") / 8 for _ in range(5)]
    found = {}
    for name, make in {"Lamella": _lamella_model, "PyTorch eager": _torch_model,
                       "JAX jit": _jax_model, "ONNX Runtime": _onnx_model}.items():
        try:
            run = make(x, weights)
        except ImportError as e:
            print(f"{name}: skipped, {e.name} is not installed")
            continue
        run()
        found[f"five products with tanh on 1x64: {name}"] = (
            1e6 * least(run, *((2, 20) if quick else (200, 50))), "us")
    return found


def _lamella_model(x, weights):
    import lamella
    x, weights = lamella.asarray(x), [lamella.asarray(w) for w in weights]

    @lamella.compile
    def model(x):
        for w in weights:
            x = lamella.tanh(x @ w)
        return x

    return lambda: model(x)


def _torch_model(x, weights):
    import torch
    x, weights = torch.from_numpy(x), [torch.from_numpy(w) for w in weights]

    @torch.inference_mode()
    def model(x):
        for w in weights:
            x = torch.tanh(x @ w)
        return x

    return lambda: model(x)


def _jax_model(x, weights):
    import jax
    x = jax.numpy.asarray(x)

    @jax.jit
    def model(x):
        for w in weights:
            x = jax.numpy.tanh(x @ w)
        return x

    return lambda: model(x).block_until_ready()


def _onnx_model(x, weights):
    import onnxruntime
    from onnx import TensorProto, helper, numpy_helper
    steps, name = [], "x"
    for k in range(len(weights)):
        steps += [helper.make_node("MatMul", [name, f"w{k}"], [f"p{k}"]),
                  helper.make_node("Tanh", [f"p{k}"], [f"y{k}"])]
        name = f"y{k}"
    def value(n):
        return helper.make_tensor_value_info(n, TensorProto.FLOAT, x.shape)
    graph = helper.make_graph(steps, "model", [value("x")], [value(name)],
                              [numpy_helper.from_array(w, f"w{k}") for k, w in enumerate(weights)])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    session = onnxruntime.InferenceSession(model.SerializeToString(),
                                           providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})


def nodes(quick: bool) -> dict:
    import lamella

    count, times = 500 if quick else 5000, []

    def chain(x):
        began = time.perf_counter()
        y = x
        for _ in range(count):
            y = y + x
        times.append((time.perf_counter() - began) / count)
        return y

    for _ in range(2 if quick else 7):
        lamella.trace(chain, lamella.spec((8,)))
    return {"one node (x + y)": (1e6 * min(times), "us")}


def uncompiled(quick: bool) -> dict:
    import numpy as np

    import lamella

    x, y = lamella.ones((8, 8)), lamella.full((8, 8), 0.5)

    def seen():
        np.asarray(lamella.tanh(x * 0.5 + y) - x)

    def unseen(k: int) -> float:
        z = x
        for bit in range(12):        # another order of known ops for each k
            z = z + y if k >> bit & 1 else z * y
        began = time.perf_counter()
        np.asarray(z)
        return time.perf_counter() - began

    def shaped(k: int) -> float:
        z = lamella.ones((k, 8))
        np.asarray(z)
        began = time.perf_counter()
        np.asarray(lamella.tanh(z * 0.5 + 0.25) - z)
        return time.perf_counter() - began

    count = 5 if quick else 60
    np.asarray(x), np.asarray(y), unseen(0), unseen(4095), shaped(9)
    return {"uncompiled, 4 ops, seen": (1e6 * least(seen, 3, count), "us"),
            "uncompiled, 4 ops, new shape": (1e6 * min(shaped(10 + k) for k in range(count)), "us"),
            "uncompiled, 12 ops in a new order": (
                1e6 * min(unseen(1 + 7 * k) for k in range(count)), "us")}


FIRST = """
import time
import numpy as np
import lamella as L
x = L.asarray(np.random.default_rng(0).random((64, 64), "float32"))
image, weight = x.reshape(1, 16, 16, 16), L.asarray(np.ones((4, 3, 3, 16), "float32"))
ops = [lambda: L.tanh(x), lambda: L.erf(x), lambda: x.sum(0), lambda: x.sum(1), lambda: x @ x,
       lambda: L.softmax(x), lambda: L.sort(x), lambda: L.conv2d(image, weight),
       lambda: L.cumulative_sum(x, axis=1), lambda: L.gelu(x), lambda: x[L.asarray([1, 2])],
       lambda: L.exp(-L.square(x - x[0]).sum(1) / 2) @ x]
np.asarray(x + 1)
for op in ops:
    began = time.perf_counter()
    np.asarray(op())
    print(time.perf_counter() - began)
"""


def first_uses(quick: bool) -> dict:
    """The first evaluation of each of 12 ops and expressions, with and without their kernels in the
    object cache."""
    found = {}
    with tempfile.TemporaryDirectory() as folder:
        for cache in ("empty", "filled"):
            told = python(FIRST, LAMELLA_CACHE=str(Path(folder) / "c")).split()
            times = sorted(1e3 * float(t) for t in told)
            name = f"first use of an op, object cache {cache}"
            found |= {f"{name}: median": (times[len(times) // 2], "ms"),
                      f"{name}: worst": (times[-1], "ms")}
    return found


COMPILE = """
import time
from bench.ours import case
found = case({work!r})
began = time.perf_counter(); found.plan(); planned = time.perf_counter() - began
began = time.perf_counter(); found.step(); first = time.perf_counter() - began
found.step()
began = time.perf_counter(); found.step(); again = time.perf_counter() - began
print(planned, first - again)
"""


def compiling(quick: bool) -> dict:
    found = {}
    for work in ("mlp_train",) if quick else ("mlp_train", "gpt_nano_train"):
        with tempfile.TemporaryDirectory() as folder:
            for heat in ("cold", "warm"):
                planned, first = map(float, python(
                    COMPILE.format(work=work), LAMELLA_CACHE=str(Path(folder) / "c")).split())
                found[f"{work}: plan and compile, {heat}"] = (1e3 * first, "ms")
            found[f"{work}: plan"] = (1e3 * planned, "ms")
    return found


def memory(quick: bool) -> dict:
    """`total += loss` over many steps must not keep what the losses came from."""
    import lamella

    x = lamella.ones((8,))
    found = {}
    few, many = (200, 1000) if quick else (20_000, 1_000_000)
    for name, loss in (("compiled", lamella.compile(_mean_square)), ("uncompiled", _mean_square)):
        _total(loss, x, few)
        gc.collect()
        before = _resident()
        _total(loss, x, many)
        found[f"growth over {many} times total += loss, {name}"] = (_resident() - before, "MiB")
    return found


def _mean_square(x):
    return (x * x).mean()


def _total(loss: Callable, x, steps: int) -> float:
    total = 0.0
    for _ in range(steps):
        total += loss(x)
    return float(total)


def _resident() -> float:
    """MiB of this process that are in memory now."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2 ** 20


SIZES = """
import time
import numpy as np
import lamella
from lamella import nn
count = {count}
rng, keys = np.random.default_rng(0), lamella.random.split(lamella.random.key(0), 2)
B, T = lamella.symbol("B", 1, 256), lamella.symbol("T", 1, 128)
mlp = nn.MLP([64, 256, 10], key=keys[0])
gpt = nn.GPT(vocabulary=65, context=128, layers=2, heads=4, width=64, key=keys[1])
x, labels = rng.standard_normal((256, 64), "float32"), rng.integers(0, 10, 256).astype("int32")
tokens = rng.integers(0, 65, (256, 128)).astype("int32")
rows = [(x[:n], labels[:n]) for n in range(1, count + 1)]
texts = [(t, t) for k in range(count) for t in [tokens[:1 + k % 8, :1 + 37 * k % 128]]]
def loss(model, x, y):
    return nn.losses.cross_entropy(model(x), y)
for model, sizes, given in ((mlp, dict(x=(B, None), y=(B,)), rows),
                            (gpt, dict(x=(B, T), y=(B, T)), texts)):
    f = lamella.compile(lamella.value_and_grad(loss), sizes=sizes)
    began = time.perf_counter()
    for a in given:
        float(f(model, *a)[0])
    print(time.perf_counter() - began, len(f.entries))
"""


def sizes(quick: bool) -> dict:
    """Forward and gradients at 200 sizes by one compile, with an empty object cache."""
    count = 10 if quick else 200
    told = python(SIZES.format(count=count), LAMELLA_CACHE="off").splitlines()
    found = {}
    for name, line in zip((f"{count} batch sizes of an MLP", f"{count} batches x lengths of a GPT"),
                          told, strict=True):
        seconds, compiles = line.split()
        found |= {name: (float(seconds), "s"), f"{name}: compiles": (float(compiles), "")}
    return found


def size(quick: bool) -> dict:
    folder = ROOT / "src" / "lamella"
    own = sum(f.stat().st_size for f in folder.rglob("*")
              if f.is_file() and f.suffix not in (".pyc",))
    parts = dict(sorted(_installed(_required()).items(), key=lambda p: -p[1]))
    whole = {f"installed: {name}": (n / 2 ** 20, "MiB") for name, n in list(parts.items())[:4]}
    return {"installed: lamella itself": (own / 2 ** 20, "MiB"), **whole,
            f"installed: with all {len(parts)} required": ((own + sum(parts.values())) / 2 ** 20,
                                                           "MiB")}


def _required() -> list[str]:
    import tomllib
    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["dependencies"]


def _installed(requirements: Iterable[str]) -> dict[str, int]:
    """Bytes of the installed files of these and of all that they require."""
    from importlib import metadata

    from packaging.requirements import Requirement
    found: dict[str, int] = {}
    waiting = list(requirements)
    while waiting:
        r = Requirement(waiting.pop())
        name = r.name.lower().replace("_", "-")
        if name in found or (r.marker is not None and not r.marker.evaluate({"extra": ""})):
            continue
        package = metadata.distribution(r.name)
        files = [Path(str(f.locate())) for f in package.files or ()]
        found[name] = sum(f.stat().st_size for f in files if f.is_file())
        waiting += package.requires or ()
    return found


PARTS = {"import": importing, "call": calls, "latency": latency, "node": nodes,
         "uncompiled": uncompiled, "first": first_uses, "compile": compiling, "memory": memory,
         "sizes": sizes, "size": size}


def main(arguments: Sequence[str]) -> None:
    p = argparse.ArgumentParser(prog="python -m bench.overhead", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--quick", action="store_true", help="few runs: to see that it works")
    p.add_argument("--only", default=",".join(PARTS), help="parts, by comma")
    options = p.parse_args(arguments)
    found: dict = {}
    for name in options.only.split(","):
        if name not in PARTS:
            p.error(f"no part {name!r}; known: {', '.join(PARTS)}")
        for figure, (value, unit) in PARTS[name](options.quick).items():
            found[figure] = {"value": round(value, 3), "unit": unit}
            print(f"{figure:<44} {value:>10.2f} {unit}", flush=True)
    print(json.dumps({"overhead": found}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
