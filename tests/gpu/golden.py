"""A dozen programs whose kernels' text is kept: `python tests/gpu/golden.py` writes it anew."""

from pathlib import Path

import lamella
from lamella.codegen.gpu import SM90
from lamella.engine.device import codes_of
from lamella.planner.build import build_plan

FOLDER = Path(__file__).with_name("golden")
spec = lamella.spec


PROGRAMS = {  # of operations that are one instruction each, so that no table of numbers stands here
    "map": (lambda x, y: lamella.relu(x * y) + 1.0, [spec((100, 300)), spec((300,))]),
    "transpose": (lambda x: x.T * 2.0, [spec((300, 200))]),
    "cast": (lambda x: x.astype("int8"), [spec((50,), "bfloat16")]),
    "rows": (lambda x: x / x.sum(axis=1, keepdims=True), [spec((64, 1000))]),
    "long_rows": (lambda x: x / x.sum(axis=1, keepdims=True), [spec((4, 50000))]),
    "layer_norm": (lambda x, w, b: lamella.layer_norm(x, w, b),
                   [spec((32, 768)), spec((768,)), spec((768,))]),
    "sum": (lambda x: x.sum(), [spec((4096, 512))]),
    "columns": (lambda x: x.max(axis=0), [spec((1000, 64))]),
    "matmul": (lambda x, w, b: lamella.relu(x @ w + b),
               [spec((512, 256), "bfloat16"), spec((256, 512), "bfloat16"),
                spec((512,), "bfloat16")]),
    "batched": (lambda x, y: x @ y, [spec((6, 40, 72)), spec((6, 72, 56))]),
    "conv": (lambda x, w: lamella.conv2d(x, w, padding=1),
             [spec((8, 16, 16, 32), "bfloat16"), spec((64, 3, 3, 32), "bfloat16")]),
    "take": (lambda x, i: lamella.take(x, i, axis=0), [spec((1000, 64)), spec((32,), "int32")]),
}


def text_of(name: str) -> str:
    """The kernels of one of the programs, one after another."""
    f, specs = PROGRAMS[name]
    codes = codes_of(build_plan(lamella.trace(f, *specs), SM90), {})
    return "\n".join(f"# {c.warps} warps, {c.stages} stages; multiples of 16: "
                     f"{', '.join(c.types[k][0] for k in c.aligned)}\n{c.text}" for c in codes)


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for each in PROGRAMS:
        (FOLDER / f"{each}.txt").write_text(text_of(each))
