"""PyTorch's side of the GPU benchmark: eager, and by torch.compile with max-autotune.

Products of float32 parameters are bfloat16 by autocast; attention takes the fastest of PyTorch's
kernels. Kernels are timed as graphs of many runs, as Lamella's are. Without a GPU (small sizes, in
a test) the processor's clock is taken.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import torch
from torch import nn
from torch.nn import functional as F

from . import cells

HERE = "cuda" if torch.cuda.is_available() else "cpu"
RUNS, REPEATS = 10, 5
MODE = "max-autotune"
GRAPHED = "max-autotune-no-cudagraphs"      # of what is recorded here
Row = tuple[str, Callable[[], dict]]


def normal(*shape: int, dtype=torch.bfloat16, grad: bool = False):
    return torch.randn(shape, device=HERE, dtype=dtype).requires_grad_(grad)


def whole(most: int, *shape: int):
    return torch.randint(0, most, shape, device=HERE)


def compiled(f, mode: str = GRAPHED):
    return torch.compile(f, mode=mode) if HERE == "cuda" else torch.compile(f)


def wait() -> None:
    if HERE == "cuda":
        torch.cuda.synchronize()


def measured(f: Callable[[], object], seconds: float) -> dict:
    """The least milliseconds of a call, in a graph of several."""
    if HERE == "cpu":
        return {"ms": cells.steps(f, wait, seconds)["ms"]}
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            f()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        for _ in range(RUNS):
            f()
    best, end = float("inf"), time.perf_counter() + seconds
    graph.replay()
    while best == float("inf") or time.perf_counter() < end:
        for _ in range(REPEATS):
            begin, done = (torch.cuda.Event(enable_timing=True) for _ in range(2))
            begin.record()
            graph.replay()
            done.record()
            done.synchronize()
            best = min(best, begin.elapsed_time(done) / RUNS)
    return {"ms": best}


# ---- kernels -------------------------------------------------------------------------------------

def products(cell: str, small: bool, seconds: float, compile: bool) -> Iterator[Row]:
    for shape in (cells.products if cell == "products" else cells.shapes)(small):
        def product(shape=shape) -> dict:
            torch._dynamo.reset()
            a, b = (normal(*s) for s in shape.operands)
            a, b = (x.mT if t == "t" else x for x, t in zip((a, b), shape.layout, strict=True))
            f = compiled(torch.matmul) if compile else torch.matmul
            return measured(lambda: f(a, b), seconds)
        yield str(shape), product


def attention(small: bool, seconds: float, compile: bool) -> Iterator[Row]:
    for s in cells.attention(small):
        for half in ("forward", "gradients"):
            yield f"{half} {s}", lambda s=s, half=half: attended(s, half, seconds, compile)


def attended(s: cells.Attention, half: str, seconds: float, compile: bool) -> dict:
    """The fastest of PyTorch's ways."""
    from torch.nn.attention import SDPBackend, sdpa_kernel
    q, k, v = (normal(s.batch, n, s.length, s.width, grad=half == "gradients")
               for n in (s.heads, s.groups, s.groups))
    g = normal(s.batch, s.heads, s.length, s.width)

    def attend(q, k, v):
        return F.scaled_dot_product_attention(q, k, v, is_causal=s.causal,
                                              enable_gqa=s.heads != s.groups)

    f = compiled(attend) if compile else attend

    def run():
        y = f(q, k, v)
        return torch.autograd.grad(y, (q, k, v), g) if half == "gradients" else y

    ways = [SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION] if HERE == "cuda" else \
        [SDPBackend.MATH]
    found, errors = {}, []
    for way in ways:
        try:
            with sdpa_kernel(way):
                found[way.name] = measured(run, seconds)["ms"]
        except RuntimeError as e:
            errors.append(f"{way.name}: {e}")
    if not found:
        raise RuntimeError("; ".join(errors))
    best = min(found, key=found.__getitem__)
    return {"ms": found[best], "by": best}


def memory(small: bool, seconds: float, compile: bool) -> Iterator[Row]:
    k = cells.kernels(small)

    def scores(grad: bool):
        return normal(k.rows, k.words, grad=grad), whole(k.words, k.rows)

    def matrix(grad: bool = False):
        return normal(k.rows, k.columns, grad=grad)

    def loss(logits, words):
        return F.cross_entropy(logits.float(), words)

    def normalised(x, w, b):
        return F.layer_norm(x, (k.columns,), w, b)

    def timed(f, make, pulled: bool = False) -> Callable[[], dict]:
        def run() -> dict:
            torch._dynamo.reset()
            g, own = compiled(f) if compile else f, make()
            if not pulled:
                with torch.no_grad():
                    return measured(lambda: g(*own), seconds)
            wanted = [x for x in own if x.requires_grad]
            seed = torch.ones_like(g(*own))
            return measured(lambda: torch.autograd.grad(g(*own), wanted, seed), seconds)
        return run

    def vector(grad: bool = False):
        return normal(k.columns, grad=grad)

    long = lambda: normal(k.elements, dtype=torch.float32)
    yield "copy", timed(lambda x, y: y.copy_(x), lambda: (long(), long()))
    yield "bias and gelu", timed(lambda x, b: F.gelu(x + b, approximate="tanh"),
                                 lambda: (matrix(), vector()))
    yield "softmax", timed(lambda x: torch.softmax(x, -1), lambda: (matrix(),))
    yield "layer norm", timed(normalised, lambda: (matrix(), vector(), vector()))
    yield "layer norm's gradients", timed(
        normalised, lambda: (matrix(True), vector(True), vector(True)), True)
    yield "cross-entropy", timed(loss, lambda: scores(False))
    yield "cross-entropy with gradients", timed(loss, lambda: scores(True), True)
    yield "sum", timed(torch.sum, lambda: (long(),))
    yield "sum over rows", timed(lambda x: x.sum(0, dtype=torch.float32), lambda: (matrix(),))
    yield "transpose", timed(lambda x: x.mT.contiguous(), lambda: (matrix(),))
    yield "adamw", lambda: updated(k.elements, seconds)


def updated(elements: int, seconds: float) -> dict:
    p = normal(elements, dtype=torch.float32).requires_grad_()
    p.grad = torch.randn_like(p)
    opt = torch.optim.AdamW([p], 1e-3, fused=True, capturable=HERE == "cuda")
    return measured(opt.step, seconds)


# ---- models --------------------------------------------------------------------------------------

class Attention(nn.Module):
    def __init__(self, s: cells.Transformer, bias: bool):
        super().__init__()
        self.heads = s.heads
        self.qkv = nn.Linear(s.width, 3 * s.width, bias=bias)
        self.project = nn.Linear(s.width, s.width, bias=bias)

    def forward(self, x, turn=None):
        b, t, width = x.shape
        q, k, v = self.qkv(x).view(b, t, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        if turn is not None:
            q, k = turn(q), turn(k)
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.project(y.transpose(1, 2).reshape(b, t, width))


class Block(nn.Module):
    def __init__(self, s: cells.Transformer):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(s.width), nn.LayerNorm(s.width)
        self.attention = Attention(s, True)
        self.hidden, self.output = nn.Linear(s.width, s.inner), nn.Linear(s.inner, s.width)

    def forward(self, x):
        x = x + self.attention(self.norm1(x))
        return x + self.output(F.gelu(self.hidden(self.norm2(x)), approximate="tanh"))


class GPT2(nn.Module):
    def __init__(self, s: cells.Transformer):
        super().__init__()
        self.words, self.places = nn.Embedding(s.words, s.width), nn.Embedding(s.length, s.width)
        self.blocks, self.norm = nn.ModuleList(Block(s) for _ in range(s.layers)), \
            nn.LayerNorm(s.width)
        nn.init.normal_(self.words.weight, std=0.02)

    def forward(self, tokens, targets):
        x = self.words(tokens) + self.places.weight
        for block in self.blocks:
            x = block(x)
        logits = F.linear(self.norm(x), self.words.weight)
        return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


class LlamaBlock(nn.Module):
    def __init__(self, s: cells.Transformer):
        super().__init__()
        self.norm1, self.norm2 = nn.RMSNorm(s.width, 1e-6), nn.RMSNorm(s.width, 1e-6)
        self.attention = Attention(s, False)
        self.gate, self.up = (nn.Linear(s.width, s.inner, bias=False) for _ in range(2))
        self.down = nn.Linear(s.inner, s.width, bias=False)

    def forward(self, x, turn):
        x = x + self.attention(self.norm1(x), turn)
        y = self.norm2(x)
        return x + self.down(F.silu(self.gate(y)) * self.up(y))


class Llama(nn.Module):
    def __init__(self, s: cells.Transformer):
        super().__init__()
        self.words = nn.Embedding(s.words, s.width)
        self.blocks = nn.ModuleList(LlamaBlock(s) for _ in range(s.layers))
        self.norm = nn.RMSNorm(s.width, 1e-6)
        self.head = nn.Linear(s.width, s.words, bias=False)
        nn.init.normal_(self.words.weight, std=0.02)
        pairs = s.width // s.heads // 2
        angles = torch.outer(torch.arange(s.length), 1e4 ** (-torch.arange(pairs) / pairs))
        self.register_buffer("cos", angles.cos().bfloat16())
        self.register_buffer("sin", angles.sin().bfloat16())

    def turn(self, x):
        a, b = x.chunk(2, -1)
        return torch.cat((a * self.cos - b * self.sin, b * self.cos + a * self.sin), -1)

    def forward(self, tokens, targets):
        x = self.words(tokens)
        for block in self.blocks:
            x = block(x, self.turn)
        return F.cross_entropy(self.head(self.norm(x)).flatten(0, 1), targets.flatten())


class Classified(nn.Module):
    """ResNet-50 (that of bench/torch_zoo.py) and its loss."""

    def __init__(self, s: cells.Images):
        from ..torch_zoo import ResNet
        super().__init__()
        self.model = ResNet(50, s.classes, s.width)

    def forward(self, x, y):
        return F.cross_entropy(self.model(x), y)


def training(cell: str, small: bool) -> tuple[nn.Module, tuple, torch.optim.Optimizer]:
    torch.manual_seed(0)
    if cell == "resnet50":
        size = cells.resnet(small)
        model = Classified(size).to(HERE, memory_format=torch.channels_last)
        x = normal(size.batch, 3, size.size, size.size).to(memory_format=torch.channels_last)
        opt = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, fused=HERE == "cuda")
        return model, (x, whole(size.classes, size.batch)), opt
    decoder = (cells.gpt2 if cell == "gpt2" else cells.llama)(small)
    model = (GPT2 if cell == "gpt2" else Llama)(decoder).to(HERE)
    tokens = whole(decoder.words, decoder.batch, decoder.length)
    return model, (tokens, tokens), torch.optim.AdamW(model.parameters(), 1e-3, fused=True)


def trained(cell: str, small: bool, seconds: float, compile: bool) -> Iterator[Row]:
    def step() -> dict:
        model, inputs, opt = training(cell, small)
        run, loss = compiled(model, MODE) if compile else model, [None]

        def once():
            with torch.autocast(HERE, torch.bfloat16):
                loss[0] = run(*inputs)
            loss[0].backward()
            opt.step()
            opt.zero_grad(set_to_none=True)

        return {**cells.steps(once, wait, seconds), "loss": float(loss[0].detach())}

    def taken() -> dict:
        if HERE == "cpu":
            return {}
        free, total = torch.cuda.mem_get_info()
        return {"touched": torch.cuda.max_memory_allocated(),
                "reserved": torch.cuda.max_memory_reserved(), "device": total - free}

    yield "step", step
    yield "bytes", taken


def rows_of(system: str, cell: str, small: bool, seconds: float) -> Iterator[Row]:
    """The rows of a cell by PyTorch; `system` is torch or torch.compile."""
    compile = system == "torch.compile"
    if cell in ("products", "shapes"):
        return products(cell, small, seconds, compile)
    if cell == "attention":
        return attention(small, seconds, compile)
    if cell == "memory":
        return memory(small, seconds, compile)
    return trained(cell, small, seconds, compile)
