"""What is measured on a GPU: cells of rows, the same for each system, with operations and bytes.

Imports nothing that has to be installed, as each system's side reads it. A side prints a JSON line
for each row: {"row": ..., "ms": ...}, or {"row": ..., "error": ...}, after which it goes on.
"""

from __future__ import annotations

import argparse
import gc
import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import NamedTuple

from ..product import Shape

PEERS = ("torch", "torch.compile", "jax")
OURS = "lamella"
CELLS = {   # what it measures; whether peers take part
    "device": ("what the device is; kernels, transfers, graphs and offload give right results",
               False),
    "products": ("square products of bfloat16", True),
    "shapes": ("60 products of bfloat16 that training has", True),
    "attention": ("attention of bfloat16, forward and with gradients", True),
    "memory": ("kernels that only move bytes, and a copy", True),
    "gpt2": ("training GPT-2 124M, bfloat16 products, AdamW", True),
    "resnet50": ("training ResNet-50, bfloat16, SGD with momentum", True),
    "llama": ("training a Llama-style model of 1.3 billion parameters, AdamW", True),
    "compile": ("the first GPT-2 step, without a cache and with one", False),
    "launch": ("what the host does to queue a training step that is replayed", False),
    "agreement": ("loss and gradients of each of the zoo's models beside the processor's", False),
}


class Work(NamedTuple):
    """What a row does at least: operations of products, and bytes read and written."""

    flops: float = 0.0
    bytes: float = 0.0


class Attention(NamedTuple):
    """Queries of `heads`, keys and values of `groups` heads, [batch, heads, length, width]."""

    batch: int
    heads: int
    groups: int
    length: int
    width: int
    causal: bool

    @property
    def flops(self) -> float:
        """Of the forward half: two products, of which a causal mask leaves half."""
        whole = 4.0 * self.batch * self.heads * self.length ** 2 * self.width
        return whole / 2 if self.causal else whole

    def __str__(self) -> str:
        return (f"{self.batch}x{self.heads}/{self.groups}x{self.length}x{self.width}"
                f"{' causal' if self.causal else ''}")


class Transformer(NamedTuple):
    """A decoder in training; `inner` is the width between a block's last products."""

    batch: int
    length: int
    layers: int
    heads: int
    width: int
    inner: int
    words: int

    @property
    def tokens(self) -> int:
        return self.batch * self.length

    def flops(self, gated: bool) -> float:
        """Of products, forward and backward; causal attention counts half."""
        block = 4 * self.width ** 2 + (3 if gated else 2) * self.width * self.inner
        each = self.layers * (block + self.length * self.width) + self.width * self.words
        return 6.0 * self.tokens * each


class Images(NamedTuple):
    """Images in training, [batch, size, size, 3]; `width` of the first convolution."""

    batch: int
    size: int
    width: int
    classes: int

    @property
    def flops(self) -> float:
        """Of ResNet-50's products, forward and backward: 4.09 billion multiply-adds forward at 224,
        64."""
        return 6 * 4.09e9 * self.batch * (self.size / 224) ** 2 * (self.width / 64) ** 2


GPT2 = Transformer(32, 1024, 12, 12, 768, 3072, 50304)
LLAMA = Transformer(4, 2048, 24, 16, 2048, 5504, 32000)
RESNET = Images(256, 224, 64, 1000)
_SMALL = Transformer(2, 16, 1, 2, 32, 64, 96)


def gpt2(small: bool) -> Transformer:
    return _SMALL if small else GPT2


def llama(small: bool) -> Transformer:
    return _SMALL if small else LLAMA


def resnet(small: bool) -> Images:
    return Images(2, 32, 4, 10) if small else RESNET


def products(small: bool) -> list[Shape]:
    return [Shape(1, n, n, n) for n in ((64,) if small else (4096, 8192, 16384))]


def _layer(rows: int, inputs: int, outputs: int) -> list[Shape]:
    """A layer's product, and those of its gradients for the input and for the weight."""
    return [Shape(1, rows, inputs, outputs), Shape(1, rows, outputs, inputs, "nt"),
            Shape(1, inputs, rows, outputs, "tn")]


def shapes(small: bool) -> list[Shape]:
    """60 products of training steps: GPT-2, its head, BERT-large, Llama-style 1.3B and 7B, scores
    of attention, pixels of ResNet-50, and squares."""
    if small:
        return [Shape(1, 64, 32, 48), Shape(2, 32, 32, 32, "nt")]
    layers = [(32768, 768, 2304), (32768, 768, 768), (32768, 768, 3072), (32768, 3072, 768),
              (8192, 768, 50304), (16384, 1024, 3072), (16384, 1024, 1024), (16384, 1024, 4096),
              (16384, 4096, 1024), (8192, 2048, 6144), (8192, 2048, 2048), (8192, 2048, 5504),
              (8192, 5504, 2048), (4096, 4096, 4096), (4096, 4096, 11008), (4096, 11008, 4096)]
    return [*(s for layer in layers for s in _layer(*layer)),
            Shape(384, 1024, 64, 1024, "nt"), Shape(384, 1024, 1024, 64),
            Shape(64, 2048, 128, 2048, "nt"), Shape(64, 2048, 2048, 128),
            Shape(1, 802816, 64, 256), Shape(1, 802816, 256, 64), Shape(1, 200704, 128, 512),
            Shape(1, 12544, 512, 2048), Shape(1, 1024, 1024, 1024), Shape(1, 2048, 2048, 2048),
            Shape(1, 1000, 1000, 1000), Shape(1, 65536, 256, 256)]


def attention(small: bool) -> list[Attention]:
    if small:
        return [Attention(1, 2, 1, 64, 32, True)]
    return [Attention(32, 12, 12, 1024, 64, True), Attention(4, 16, 16, 4096, 128, True),
            Attention(4, 16, 16, 4096, 128, False), Attention(8, 32, 8, 2048, 128, True),
            Attention(1, 16, 16, 16384, 128, True)]


class Kernels(NamedTuple):
    """Sizes of the cell `memory`: rows x columns of 16 bits, rows x words of scores, elements of
    32 bits."""

    rows: int
    columns: int
    words: int
    elements: int


def kernels(small: bool) -> Kernels:
    return Kernels(32, 64, 96, 1 << 12) if small else Kernels(16384, 8192, 50304, 1 << 27)


def memory(small: bool) -> dict[str, Work]:
    """Each kernel with the bytes that it has to move."""
    k = kernels(small)
    matrix, scores, vector = 2.0 * k.rows * k.columns, 2.0 * k.rows * k.words, 4.0 * k.elements
    moved = {"copy": 2 * vector, "bias and gelu": 2 * matrix, "softmax": 2 * matrix,
             "layer norm": 2 * matrix, "layer norm's gradients": 3 * matrix,
             "cross-entropy": scores, "cross-entropy with gradients": 2 * scores,
             "sum": vector, "sum over rows": matrix, "transpose": 2 * matrix, "adamw": 7 * vector}
    return {name: Work(bytes=n) for name, n in moved.items()}


ZOO = ("mlp", "lenet", "resnet18", "resnet50", "unet", "mobilenet", "lstm", "gpt", "bert", "vit",
       "moe", "autoencoder", "dlrm")


def rows(cell: str, small: bool = False) -> dict[str, Work]:
    """The rows of a cell, in order."""
    if cell in ("products", "shapes"):
        return {str(s): Work(flops=s.flops) for s in (products if cell == "products" else shapes)(
            small)}
    if cell == "attention":
        halves = (("forward", 1.0), ("gradients", 3.5))
        return {f"{half} {s}": Work(flops=s.flops * more) for s in attention(small)
                for half, more in halves}
    if cell == "memory":
        return memory(small)
    if cell == "resnet50":
        return {"step": Work(flops=resnet(small).flops), "bytes": Work()}
    if cell in ("gpt2", "llama"):
        size = gpt2(small) if cell == "gpt2" else llama(small)
        return {"step": Work(flops=size.flops(cell == "llama")), "bytes": Work()}
    names: Iterable[str] = {"device": ("facts", "kernels", "transfers", "replay", "offload"),
                            "compile": ("cold", "warm"), "launch": ("step",),
                            "agreement": ZOO}[cell]
    return dict.fromkeys(names, Work())


# ---- what each side does with rows ---------------------------------------------------------------

def options_of(arguments: Sequence[str], prog: str, systems: Sequence[str] = ()
               ) -> argparse.Namespace:
    """The arguments of a system's side: [SYSTEM] CELL --seconds S --limit S --rows TEXT --small."""
    p = argparse.ArgumentParser(prog=prog)
    if systems:
        p.add_argument("system", choices=systems)
    p.add_argument("cell", choices=list(CELLS))
    p.add_argument("--seconds", type=float, default=0.5, help="of each row's timed runs")
    p.add_argument("--limit", type=float, default=240.0, help="after so many no row is begun")
    p.add_argument("--rows", default="", help="rows whose name contains this")
    p.add_argument("--small", action="store_true", help="sizes of a test")
    return p.parse_args(arguments)


def emit(found: Iterable[tuple[str, Callable[[], dict]]], options: argparse.Namespace) -> None:
    """Print a line for each row, whatever happens in it, until the time is up."""
    end = time.monotonic() + options.limit
    for name, measure in found:
        if options.rows not in name:
            continue
        if time.monotonic() > end:
            line = {"error": f"not begun: {options.limit:.0f} s were over"}
        else:
            try:
                line = measure()
            except Exception as e:  # one row's failure is its own
                line = {"error": f"{type(e).__name__}: {e}"[:400]}
            gc.collect()
        print(json.dumps({"row": name, **line}), flush=True)


def steps(step: Callable[[], object], wait: Callable[[], object], seconds: float, each: int = 5
          ) -> dict:
    """The first step's seconds, and the least milliseconds of a step among several queued in a row
    and waited for."""
    began = time.perf_counter()
    step()
    wait()
    first = time.perf_counter() - began
    for _ in range(3):
        step()
    wait()
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(each):
            step()
        wait()
        best = min(best, (time.perf_counter() - began) / each)
    return {"ms": 1e3 * best, "first_s": round(first, 3)}
