"""Convolutions beside PyTorch's, ONNX Runtime's and OpenVINO's, shape by shape, in turn, in one
process.

    python -m bench.convolution [--nets resnet50,lenet,...] [--what forward,input,weight]
                                [--rounds 3] [--seconds 0.1] [--threads 1] [--fast]

The distinct shapes of ResNet-50 and MobileNet at 224 x 224, batch 1, of ResNet-18 at 32 x 32, batch
32, of LeNet at 28 x 28, batch 256, and of a U-Net at 64 x 64, batch 4; float32. `forward` has its
weights as constants, as in a model file; `input` and `weight` are the gradients. PyTorch takes the
better of channels last and channels first, ONNX Runtime and OpenVINO run a model of one node with a
bound output, forward only. Times are least ones of a call in ms, on one thread of its CPU clock
(which other work on the machine disturbs less; OpenVINO works on a thread of its own and is held to
the wall's), else of the wall's. --fast compiles Lamella's in that mode.
GFLOP/s count every tap, those in the padding too, so that the fraction of the peak (fused
multiply-adds in registers, measured first and last) may be above 1. The ratio is the best peer's
time over Lamella's. A peer that is not installed is left out. The last line is JSON.
"""

from __future__ import annotations

import argparse
import functools
import json
import math
import os
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple


class Shape(NamedTuple):
    """A convolution of square images: images, extent, channels, filters, taps, stride, groups."""

    n: int
    size: int
    channels: int
    filters: int
    taps: int
    stride: int = 1
    groups: int = 1

    @property
    def out(self) -> int:
        return -(-self.size // self.stride)

    @property
    def flops(self) -> int:
        return 2 * self.n * self.out ** 2 * self.filters * self.taps ** 2 * (
            self.channels // self.groups)

    def __str__(self) -> str:
        kind = f" groups {self.groups}" if self.groups > 1 else ""
        return (f"{self.channels}-{self.filters} {self.taps}x{self.taps} s{self.stride} "
                f"@{self.size} n{self.n}{kind}")


def _resnet50() -> list[Shape]:
    found, inputs, size = [Shape(1, 224, 3, 64, 7, 2)], 64, 56
    for stage in range(4):
        width, stride = 64 << stage, 2 if stage else 1
        for step in (stride, 1):
            found += [Shape(1, size, inputs, width, 1), Shape(1, size, width, width, 3, step)]
            if inputs != 4 * width:
                found.append(Shape(1, size, inputs, 4 * width, 1, step))
            size //= step
            found.append(Shape(1, size, width, 4 * width, 1))
            inputs = 4 * width
    return found


def _resnet18() -> list[Shape]:
    found, size = [Shape(32, 32, 3, 64, 3), Shape(32, 32, 64, 64, 3)], 32
    for width in (64, 128, 256):
        found += [Shape(32, size, width, 2 * width, 3, 2), Shape(32, size, width, 2 * width, 1, 2)]
        size //= 2
        found.append(Shape(32, size, 2 * width, 2 * width, 3))
    return found


def _mobilenet() -> list[Shape]:
    return [Shape(1, 112, 32, 32, 3, 1, 32), Shape(1, 112, 64, 64, 3, 2, 64),
            Shape(1, 56, 128, 128, 3, 1, 128), Shape(1, 56, 128, 128, 3, 2, 128),
            Shape(1, 28, 256, 256, 3, 1, 256), Shape(1, 28, 256, 256, 3, 2, 256),
            Shape(1, 14, 512, 512, 3, 1, 512), Shape(1, 14, 512, 512, 3, 2, 512),
            Shape(1, 7, 1024, 1024, 3, 1, 1024)]


def _lenet() -> list[Shape]:
    return [Shape(256, 28, 1, 8, 5), Shape(256, 14, 8, 16, 5)]


def _unet() -> list[Shape]:
    found = [Shape(4, 64, 3, 16, 3), Shape(4, 64, 16, 16, 3), Shape(4, 64, 16, 4, 1)]
    for level in range(3):
        size, width = 32 >> level, 16 << level
        found += [Shape(4, size, width, 2 * width, 3), Shape(4, size, 2 * width, 2 * width, 3),
                  Shape(4, 2 * size, 2 * width, width, 3)]
    return found


NETS = {"resnet50": _resnet50, "resnet18": _resnet18, "mobilenet": _mobilenet, "lenet": _lenet,
        "unet": _unet}
WHAT = ("forward", "input", "weight")
OPENVINO = "openvino"
Calls = dict[str, Callable[[], Any]]


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench.convolution", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--nets", default=",".join(NETS))
    p.add_argument("--what", default=",".join(WHAT))
    p.add_argument("--rounds", type=int, default=3)
    p.add_argument("--seconds", type=float, default=0.1)
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--fast", action="store_true")
    return p.parse_args(arguments)


def arrays(s: Shape) -> tuple:
    """Images and cotangents [n, y, z, c], weights [f, r, s, c]."""
    import numpy as np
    rng = np.random.default_rng(0)
    shapes = ((s.n, s.size, s.size, s.channels), (s.n, s.out, s.out, s.filters),
              (s.filters, s.taps, s.taps, s.channels // s.groups))
    return tuple(rng.standard_normal(shape, "float32") for shape in shapes)


def lamella_calls(s: Shape, what: str, fast: bool = False) -> Calls:
    """Lamella's call."""
    import lamella
    x, g, w = map(lamella.asarray, arrays(s))
    for a in (x, g, w):
        a.numpy()

    def conv(x, w):
        return lamella.conv2d(x, w, stride=s.stride, padding=s.taps // 2, groups=s.groups)

    compiled = functools.partial(lamella.compile, fast=fast)
    forward = compiled(lambda x: conv(x, w))
    by_input = compiled(lambda w, g: lamella.vjp(lambda x: conv(x, w), x)[1](g)[0])
    by_weight = compiled(lambda x, g: lamella.vjp(lambda w: conv(x, w), w)[1](g)[0])
    call = {"forward": lambda: forward(x), "input": lambda: by_input(w, g),
            "weight": lambda: by_weight(x, g)}[what]
    return {"lamella": call}


def torch_calls(s: Shape, what: str, threads: int) -> Calls:
    """PyTorch's calls, one for each layout."""
    try:
        import torch
    except ImportError:
        return {}
    torch.set_num_threads(threads)
    pad, mask = s.taps // 2, [what == "input", what == "weight", False]

    def call(layout) -> Callable[[], Any]:
        x, g, w = (torch.tensor(a.transpose(0, 3, 1, 2)).contiguous(memory_format=layout)
                   for a in arrays(s))
        if what == "forward":
            return lambda: torch.conv2d(x, w, None, s.stride, pad, 1, s.groups)
        return lambda: torch.ops.aten.convolution_backward(
            g, x, w, None, [s.stride] * 2, [pad] * 2, [1, 1], False, [0, 0], s.groups, mask)

    return {"torch": call(torch.contiguous_format), "torch last": call(torch.channels_last)}


def onnx_model(s: Shape, x, g, w) -> bytes:
    """A model of one node."""
    import onnx
    info = [onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, a.shape)
            for name, a in (("x", x), ("y", g))]
    node = onnx.helper.make_node("Conv", ["x", "w"], ["y"], strides=[s.stride] * 2,
                                 pads=[s.taps // 2] * 4, group=s.groups)
    graph = onnx.helper.make_graph([node], "conv", info[:1], info[1:],
                                   [onnx.numpy_helper.from_array(w, "w")])
    return onnx.helper.make_model(graph, ir_version=8, opset_imports=[
        onnx.helper.make_opsetid("", 17)]).SerializeToString()


def _node(s: Shape, what: str) -> tuple[Any, Any, bytes] | None:
    """Input, room for the output and model of one node, channels first; None without such a one."""
    try:
        import numpy as np
        import onnx  # noqa: F401
    except ImportError:
        return None
    if what != "forward":
        return None
    x, g, w = (np.ascontiguousarray(a.transpose(0, 3, 1, 2)) for a in arrays(s))
    return x, np.empty_like(g), onnx_model(s, x, g, w)


def onnx_calls(s: Shape, what: str, threads: int) -> Calls:
    """ONNX Runtime's call."""
    try:
        import onnxruntime as ort
    except ImportError:
        return {}
    if (found := _node(s, what)) is None:
        return {}
    x, y, model = found
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads
    session = ort.InferenceSession(model, options,
                                   providers=["CPUExecutionProvider"])
    bound = session.io_binding()
    bound.bind_cpu_input("x", x)
    bound.bind_ortvalue_output("y", ort.OrtValue.ortvalue_from_numpy(y))
    return {"onnxruntime": lambda: session.run_with_iobinding(bound)}


def openvino_calls(s: Shape, what: str, threads: int) -> Calls:
    """OpenVINO's call."""
    try:
        import openvino
    except ImportError:
        return {}
    if (found := _node(s, what)) is None:
        return {}
    x, y, model = found
    core = openvino.Core()
    compiled = core.compile_model(core.read_model(model), "CPU", {
        "INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32"})
    request = compiled.create_infer_request()
    request.set_input_tensor(openvino.Tensor(x))
    request.set_output_tensor(openvino.Tensor(y))
    return {OPENVINO: request.infer}


def least(calls: Calls, rounds: int, seconds: float, threads: int) -> dict[str, float]:
    """The least time of each call in ms; the calls take turns."""
    found = dict.fromkeys(calls, math.inf)
    for call in calls.values():
        call()
    for _ in range(rounds):
        for name, call in calls.items():
            end = time.perf_counter() + seconds
            clock = time.perf_counter if threads > 1 or name == OPENVINO else time.thread_time
            while True:
                began = clock()
                call()
                found[name] = min(found[name], 1e3 * (clock() - began))
                if time.perf_counter() >= end:
                    break
    return found


def peak(threads: int) -> float:
    """GFLOP/s of fused multiply-adds in registers, all threads together."""
    from lamella.engine.calibrate import arithmetic
    from lamella.engine.kernels import target
    return threads * 2 * target().vector_bits / 32 / min(arithmetic(threads) for _ in range(5))


def row_of(s: Shape, what: str, options: argparse.Namespace, best: float) -> dict:
    """The figures of one shape; `best` is the machine's peak in GFLOP/s."""
    n = options.threads
    times = least({**lamella_calls(s, what, options.fast), **torch_calls(s, what, n),
                   **onnx_calls(s, what, n), **openvino_calls(s, what, n)},
                  options.rounds, options.seconds, n)
    own = times.pop("lamella")
    row = {"what": what, "shape": str(s), "ms": own, "gflops": s.flops / own / 1e6,
           "of_peak": s.flops / own / 1e6 / best, "peers": times}
    if times:
        row["ratio"] = min(times.values()) / own
    return row


def line_of(row: dict) -> str:
    line = (f"{row['what']:<8} {row['shape']:<36} {row['ms']:>9.3f} ms {row['gflops']:>6.1f} "
            f"{row['of_peak']:>5.0%}")
    if "ratio" not in row:
        return line
    return f"{line}  x{row['ratio']:.2f}  " + "  ".join(
        f"{name} {t:.3f}" for name, t in row["peers"].items())


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    os.environ["LAMELLA_THREADS"] = str(options.threads)
    os.environ["OMP_NUM_THREADS"] = str(options.threads)
    best, rows = peak(options.threads), []
    print(f"peak {best:.0f} GFLOP/s on {options.threads} threads")
    for net in options.nets.split(","):
        print(net)
        for what in options.what.split(","):
            for s in dict.fromkeys(NETS[net]()):
                rows.append({"net": net, **row_of(s, what, options, best)})
                print(line_of(rows[-1]), flush=True)
    ratios = [r["ratio"] for r in rows if "ratio" in r]
    mean = math.exp(sum(map(math.log, ratios)) / len(ratios)) if ratios else None
    print(json.dumps({"peak_gflops": best, "peak_after": peak(options.threads), "ratio": mean,
                      "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1:])
