"""Attention beside PyTorch's scaled_dot_product_attention, in turn, in one process.

    python -m bench.attention [--shapes 12x4x64x32,1x4x4096x64] [--rounds 5] [--threads 2]

A shape is batch x heads x length x width, float32. Queries, keys and values lie as a projection
leaves them, [batch, length, 3, heads, width]; the result is [batch, length, heads * width]. Times
are least ones in ms: forward, and forward with gradients. The ratio is PyTorch's over Lamella's.
The last line is JSON. Without PyTorch only Lamella is timed.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

SHAPES = "12x4x64x32,8x6x256x64,1x12x128x32,16x12x128x32,1x8x512x64,1x4x1024x64,1x4x4096x64"


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    p = argparse.ArgumentParser(prog="python -m bench.attention", description=__doc__,
                                formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shapes", default=SHAPES)
    p.add_argument("--rounds", type=int, default=5)
    p.add_argument("--threads", type=int, default=2)
    return p.parse_args(arguments)


def least(f: Callable, seconds: float = 0.15) -> float:
    """The least time of a call in ms, of some within so many seconds."""
    found, end = float("inf"), time.perf_counter() + seconds
    while time.perf_counter() < end or found == float("inf"):
        began = time.perf_counter()
        f()
        found = min(found, 1e3 * (time.perf_counter() - began))
    return found


def ours(x, g, causal: bool) -> dict[str, Callable]:
    import lamella

    def attend(x):
        b, t, _, h, d = x.shape
        q, k, v = lamella.unstack(x.transpose(2, 0, 3, 1, 4))
        y = lamella.attention(q, k, v, causal=causal)
        return y.transpose(0, 2, 1, 3).reshape(b, t, h * d)

    def pulled(x, g):
        y, pull = lamella.vjp(attend, x)
        return y, pull(g)

    x, g = lamella.asarray(x), lamella.asarray(g)
    forward, both = lamella.compile(attend), lamella.compile(pulled)
    return {"forward": lambda: forward(x), "gradients": lambda: both(x, g)}


def theirs(x, g, causal: bool) -> dict[str, Callable]:
    try:
        import torch
    except ImportError:
        return {}
    import torch.nn.functional as F

    torch.set_num_threads(int(os.environ["LAMELLA_THREADS"]))
    x, g = torch.from_numpy(x), torch.from_numpy(g)

    def attend(x):
        b, t, _, h, d = x.shape
        q, k, v = x.permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        return y.transpose(1, 2).reshape(b, t, h * d)

    def forward():
        with torch.inference_mode():
            attend(x)

    def both():
        own = x.detach().requires_grad_()
        attend(own).backward(g)

    return {"forward": forward, "gradients": both}


def compare(shape: tuple[int, ...], causal: bool, rounds: int) -> dict:
    """The least times of some rounds in turn."""
    import numpy as np

    b, h, t, d = shape
    rng = np.random.default_rng(0)
    x = rng.standard_normal((b, t, 3, h, d), dtype=np.float32)
    g = rng.standard_normal((b, t, h * d), dtype=np.float32)
    systems = {"lamella": ours(x, g, causal), "torch": theirs(x, g, causal)}
    result: dict = {"shape": "x".join(map(str, shape)), "causal": causal}
    for _ in range(rounds):
        for name, calls in systems.items():
            for what, call in calls.items():
                key = f"{name}_{what}"
                result[key] = min(result.get(key, float("inf")), round(least(call), 4))
    for what in ("forward", "gradients"):
        if f"torch_{what}" in result:
            result[f"ratio_{what}"] = round(result[f"torch_{what}"] / result[f"lamella_{what}"], 3)
    return result


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    os.environ["LAMELLA_THREADS"] = str(options.threads)
    results = []
    for text in options.shapes.split(","):
        for causal in (False, True):
            results.append(compare(tuple(map(int, text.split("x"))), causal, options.rounds))
            print("  ".join(f"{k} {v}" for k, v in results[-1].items()), flush=True)
    print(json.dumps({"results": results}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
