"""JAX's side of the GPU benchmark: jitted functions, state donated, cuDNN's attention.

Runs are queued in a row and waited for together; what is too short for that is bound by the host.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator

import jax
import jax.numpy as jnp
import numpy as np

from . import cells

GPU = jax.default_backend() == "gpu"
RUNS = 10
Row = tuple[str, Callable[[], dict]]


def normal(*shape: int, dtype=jnp.bfloat16):
    return jax.random.normal(jax.random.key(sum(shape)), shape, dtype)


def whole(most: int, *shape: int):
    return jnp.asarray(np.random.default_rng(0).integers(0, most, shape), jnp.int32)


def measured(f: Callable, operands: tuple, seconds: float, donate=(), kept: int = 0) -> dict:
    """The least milliseconds of a run among several; the first `kept` results are the first
    operands of the next."""
    run, given = jax.jit(f, donate_argnums=donate), list(operands)

    def once():
        found = run(*given)
        if kept:
            given[:kept] = found[:kept]
        return found

    jax.block_until_ready(once())
    best, end = float("inf"), time.perf_counter() + seconds
    while best == float("inf") or time.perf_counter() < end:
        began = time.perf_counter()
        for _ in range(RUNS):
            found = once()
        jax.block_until_ready(found)
        best = min(best, (time.perf_counter() - began) / RUNS)
    return {"ms": 1e3 * best}


# ---- kernels -------------------------------------------------------------------------------------

def products(cell: str, small: bool, seconds: float) -> Iterator[Row]:
    for shape in (cells.products if cell == "products" else cells.shapes)(small):
        def product(shape=shape) -> dict:
            turns = [t == "t" for t in shape.layout]
            return measured(lambda a, b: (a.mT if turns[0] else a) @ (b.mT if turns[1] else b),
                            tuple(normal(*s) for s in shape.operands), seconds)
        yield str(shape), product


def attend(q, k, v):
    """Causal, of [batch, length, heads, width]."""
    return jax.nn.dot_product_attention(q, k, v, is_causal=True,
                                        implementation="cudnn" if GPU else "xla")


def attention(small: bool, seconds: float) -> Iterator[Row]:
    for s in cells.attention(small):
        for half in ("forward", "gradients"):
            yield f"{half} {s}", lambda s=s, half=half: attended(s, half, seconds)


def attended(s: cells.Attention, half: str, seconds: float) -> dict:
    q, k, v = (normal(s.batch, s.length, n, s.width) for n in (s.heads, s.groups, s.groups))
    g = normal(s.batch, s.length, s.heads, s.width)

    def forward(q, k, v):
        return jax.nn.dot_product_attention(q, k, v, is_causal=s.causal,
                                            implementation="cudnn" if GPU else "xla")

    def both(q, k, v, g):
        y, pull = jax.vjp(forward, q, k, v)
        return y, pull(g)

    if half == "forward":
        return measured(forward, (q, k, v), seconds)
    return measured(both, (q, k, v, g), seconds)


def memory(small: bool, seconds: float) -> Iterator[Row]:
    k = cells.kernels(small)
    matrix, vector = (k.rows, k.columns), (k.columns,)

    def row(name: str, f, *shapes, dtype=jnp.bfloat16) -> Row:
        def run() -> dict:
            given = [whole(k.words, k.rows) if s is None else normal(*s, dtype=dtype)
                     for s in shapes]
            return measured(f, tuple(given), seconds)
        return name, run

    def loss(logits, words):
        return cross_entropy(logits, words)

    yield row("bias and gelu", lambda x, b: jax.nn.gelu(x + b), matrix, vector)
    yield row("softmax", lambda x: jax.nn.softmax(x, -1), matrix)
    yield row("layer norm", layer_norm, matrix, vector, vector)
    yield row("layer norm's gradients", lambda x, w, b, g: jax.vjp(layer_norm, x, w, b)[1](g),
              matrix, vector, vector, matrix)
    yield row("cross-entropy", loss, (k.rows, k.words), None)
    yield row("cross-entropy with gradients", jax.value_and_grad(loss), (k.rows, k.words), None)
    yield row("sum", jnp.sum, (k.elements,), dtype=jnp.float32)
    yield row("sum over rows", lambda x: x.astype(jnp.float32).sum(0), matrix)
    yield row("transpose", lambda x: x.mT, matrix)
    many = (k.elements,)
    yield "adamw", lambda: measured(
        lambda p, m, v, g: adamw(p, m, v, g, 2.0),
        tuple(abs(normal(*many, dtype=jnp.float32)) for _ in range(4)), seconds, (0, 1, 2), 3)


# ---- models --------------------------------------------------------------------------------------

def half(x):
    return x.astype(jnp.bfloat16)


def dense(p, x):
    """A product of bfloat16; p is (weight,) or (weight, bias)."""
    y = half(x) @ half(p[0])
    return y if len(p) == 1 else y + half(p[1])


def layer_norm(x, weight, bias):
    wide = x.astype(jnp.float32)
    mean = wide.mean(-1, keepdims=True)
    var = wide.var(-1, keepdims=True)
    return ((wide - mean) * jax.lax.rsqrt(var + 1e-5) * weight + bias).astype(x.dtype)


def rms_norm(x, weight):
    return x * jax.lax.rsqrt((x * x).mean(-1, keepdims=True) + 1e-6) * weight


def cross_entropy(logits, words):
    logits = logits.astype(jnp.float32)
    own = jnp.take_along_axis(logits, words[:, None], -1)[:, 0]
    return (jax.nn.logsumexp(logits, -1) - own).mean()


def adamw(p, m, v, g, t):
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    step = (m / (1 - 0.9 ** t)) / (jnp.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
    return p * (1 - 1e-5) - 1e-3 * step, m, v


def _linear(a: int, b: int, bias: bool = True) -> tuple:
    weight = normal(a, b, dtype=jnp.float32) * a ** -0.5
    return (weight, jnp.zeros(b)) if bias else (weight,)


def split(x, p, heads: int):
    """Queries, keys and values, [b, t, heads, width]."""
    b, t, width = x.shape
    parts = dense(p, x).reshape(b, t, 3, heads, width // heads)
    return parts[:, :, 0], parts[:, :, 1], parts[:, :, 2]


def gpt2(s: cells.Transformer):
    """Parameters and the loss of (parameters, tokens, targets)."""
    w = s.width
    norm = lambda: (jnp.ones(w), jnp.zeros(w))
    blocks = [{"norm1": norm(), "norm2": norm(), "qkv": _linear(w, 3 * w), "out": _linear(w, w),
               "hidden": _linear(w, s.inner), "output": _linear(s.inner, w)}
              for _ in range(s.layers)]
    p = {"words": normal(s.words, w, dtype=jnp.float32) * 0.02,
         "places": normal(s.length, w, dtype=jnp.float32) * 0.02, "blocks": blocks, "norm": norm()}

    def loss(p, tokens, targets):
        x = p["words"][tokens] + p["places"]
        for b in p["blocks"]:
            y = attend(*split(layer_norm(x, *b["norm1"]), b["qkv"], s.heads))
            x = x + dense(b["out"], y.reshape(x.shape))
            x = x + dense(b["output"], jax.nn.gelu(dense(b["hidden"], layer_norm(x, *b["norm2"]))))
        x = half(layer_norm(x, *p["norm"])).reshape(-1, w)
        return cross_entropy(x @ half(p["words"]).mT, targets.reshape(-1))

    return p, loss


def llama(s: cells.Transformer):
    w, pairs = s.width, s.width // s.heads // 2
    blocks = [{"norm1": jnp.ones(w), "norm2": jnp.ones(w), "qkv": _linear(w, 3 * w, False),
               "out": _linear(w, w, False), "gate": _linear(w, s.inner, False),
               "up": _linear(w, s.inner, False), "down": _linear(s.inner, w, False)}
              for _ in range(s.layers)]
    p = {"words": normal(s.words, w, dtype=jnp.float32) * 0.02, "blocks": blocks,
         "norm": jnp.ones(w), "head": _linear(w, s.words, False)}

    def loss(p, tokens, targets):
        rates = jnp.exp(jnp.arange(pairs) * (-math.log(1e4) / pairs))
        angles = (jnp.arange(s.length)[:, None] * rates)[:, None]
        cos, sin = half(jnp.cos(angles)), half(jnp.sin(angles))

        def turn(x):
            a, b = jnp.split(x, 2, -1)
            return jnp.concatenate([a * cos - b * sin, b * cos + a * sin], -1)

        x = p["words"][tokens]
        for b in p["blocks"]:
            q, k, v = split(rms_norm(x, b["norm1"]), b["qkv"], s.heads)
            x = x + dense(b["out"], attend(turn(q), turn(k), v).reshape(x.shape))
            y = half(rms_norm(x, b["norm2"]))
            x = x + dense(b["down"], jax.nn.silu(dense(b["gate"], y)) * dense(b["up"], y))
        x = rms_norm(x, p["norm"]).reshape(-1, w)
        return cross_entropy(dense(p["head"], x), targets.reshape(-1))

    return p, loss


def resnet50(s: cells.Images):
    """Channels last; statistics of the batch, as training takes them."""
    def filters(i: int, o: int, taps: int) -> dict:
        return {"w": normal(taps, taps, i, o, dtype=jnp.float32) * (2 / (i * taps * taps)) ** 0.5,
                "scale": jnp.ones(o), "shift": jnp.zeros(o)}

    p, strides, inputs = {"stem": filters(3, s.width, 7), "blocks": []}, [], s.width
    for stage, count in enumerate((3, 4, 6, 3)):
        wide = s.width << stage
        for k in range(count):
            strides.append(2 if stage and not k else 1)
            block = {"chain": [filters(inputs, wide, 1), filters(wide, wide, 3),
                               filters(wide, 4 * wide, 1)]}
            if not k:
                block["short"] = filters(inputs, 4 * wide, 1)
            p["blocks"].append(block)
            inputs = 4 * wide
    p["head"] = _linear(inputs, s.classes)

    def convolved(f: dict, x, stride: int = 1):
        pad = [(f["w"].shape[0] // 2,) * 2] * 2
        y = jax.lax.conv_general_dilated(x, half(f["w"]), (stride, stride), pad,
                                         dimension_numbers=("NHWC", "HWIO", "NHWC"))
        wide = y.astype(jnp.float32)
        mean, var = wide.mean((0, 1, 2)), wide.var((0, 1, 2))
        return half((wide - mean) * jax.lax.rsqrt(var + 1e-5) * f["scale"] + f["shift"])

    def loss(p, x, y):
        x = jax.nn.relu(convolved(p["stem"], x, 2))
        x = jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1),
                                  [(0, 0), (1, 1), (1, 1), (0, 0)])
        for b, stride in zip(p["blocks"], strides, strict=True):
            first, second, third = b["chain"]
            z = jax.nn.relu(convolved(second, jax.nn.relu(convolved(first, x)), stride))
            short = convolved(b["short"], x, stride) if "short" in b else x
            x = jax.nn.relu(convolved(third, z) + short)
        return cross_entropy(dense(p["head"], x.mean((1, 2))), y)

    return p, loss


def training(cell: str, small: bool) -> tuple[Callable, list, tuple]:
    """The jitted step of (state, inputs) to (state, loss), the state, and the inputs."""
    if cell == "resnet50":
        size = cells.resnet(small)
        p, loss = resnet50(size)
        inputs = (normal(size.batch, size.size, size.size, 3), whole(size.classes, size.batch))
    else:
        decoder = (cells.gpt2 if cell == "gpt2" else cells.llama)(small)
        p, loss = (gpt2 if cell == "gpt2" else llama)(decoder)
        tokens = whole(decoder.words, decoder.batch, decoder.length)
        inputs = (tokens, tokens)
    zeros = lambda: jax.tree.map(jnp.zeros_like, p)

    def sgd(state, *given):
        p, m = state
        value, g = jax.value_and_grad(loss)(p, *given)
        m = jax.tree.map(lambda m, g: 0.9 * m + g, m, g)
        return (jax.tree.map(lambda p, m: p - 0.1 * m, p, m), m), value

    def adam(state, *given):
        p, m, v, t = state
        value, g = jax.value_and_grad(loss)(p, *given)
        leaves, form = jax.tree.flatten(p)
        found = [adamw(*x, t) for x in zip(leaves, *map(jax.tree.leaves, (m, v, g)), strict=True)]
        p, m, v = (jax.tree.unflatten(form, x) for x in zip(*found, strict=True))
        return (p, m, v, t + 1), value

    if cell == "resnet50":
        return jax.jit(sgd, donate_argnums=0), [(p, zeros())], inputs
    return jax.jit(adam, donate_argnums=0), [(p, zeros(), zeros(), jnp.float32(1))], inputs


def trained(cell: str, small: bool, seconds: float) -> Iterator[Row]:
    def step() -> dict:
        run, state, inputs = training(cell, small)
        loss: list = [None]

        def once():
            state[0], loss[0] = run(state[0], *inputs)

        return {**cells.steps(once, lambda: float(loss[0]), seconds), "loss": float(loss[0])}

    def taken() -> dict:
        found = jax.devices()[0].memory_stats() or {}
        return {"touched": found["peak_bytes_in_use"]} if "peak_bytes_in_use" in found else {}

    yield "step", step
    yield "bytes", taken


def rows_of(cell: str, small: bool, seconds: float) -> Iterator[Row]:
    if cell in ("products", "shapes"):
        return products(cell, small, seconds)
    if cell == "attention":
        return attention(small, seconds)
    if cell == "memory":
        return memory(small, seconds)
    return trained(cell, small, seconds)
