"""New arrays."""

from __future__ import annotations

import math

from .common import L

KEY = 7


def _key():
    return L.random.key(KEY)


def _like(f):
    return lambda x, *a, dtype=None: f(x, *a, dtype=x.dtype if dtype is None else dtype)


def _shape(args):
    return tuple(args[0]) if len(args) == 1 and isinstance(args[0], list | tuple) else tuple(args)


def _named(f):
    """A function of a shape and a dtype, written with PyTorch's float32 as the default."""
    return lambda *shape, dtype=None, **k: f(_shape(shape), dtype=dtype or "float32")


def _new(f):
    return lambda x, shape, *a, dtype=None, **k: f(_shape((shape,)), *a, dtype=dtype or x.dtype)


def _linspace(start, stop, steps, dtype=None):
    start, stop = (v.item() if isinstance(v, L.Array) else v for v in (start, stop))
    return L.linspace(start, stop, steps, dtype=dtype or "float32")


def _logspace(start, stop, steps, base=10.0, dtype=None):
    return L.astype(base ** _linspace(start, stop, steps, "float64"), dtype or "float32")


def _indices(keep):
    def f(rows, cols, offset=0, dtype=None):
        i, j = L.arange(rows).reshape(-1, 1), L.arange(cols)
        hit = L.broadcast_to(keep(j - i, offset), (rows, cols))
        return L.stack(L.nonzero(hit), axis=0) if rows and cols else L.zeros((2, 0), dtype="int32")
    return f


def _window(f):
    """A window of m points from a function of the position over the last one, both float64."""
    def g(m, *, sym=True, dtype=None, **more):
        dtype = dtype or "float32"
        if m <= 1:
            return L.ones((m,), dtype=dtype)
        n = m if sym else m + 1
        return L.astype(f(L.arange(m, dtype="float64"), n, **more), dtype)
    return g


def _cosines(k, n, weights):
    return sum((L.cos(k * (2 * math.pi * j / (n - 1))) * ((-1) ** j * w)
                for j, w in enumerate(weights[1:], 1)), weights[0] + 0 * k)


def _general(k, n, a):
    return _cosines(k, n, a)


def _exponential(k, n, center=None, tau=1.0):
    center = (n - 1) / 2 if center is None else center
    return L.exp(-L.abs(k - center) / tau)


def _kaiser(k, n, beta=12.0):
    r = (k - (n - 1) / 2) / ((n - 1) / 2)
    return L.i0(beta * L.sqrt(L.maximum(1 - r * r, 0.0))) / L.i0(L.asarray(beta, dtype="float64"))


def _to(x, *args, **kwargs):
    target = kwargs.get("dtype") or next((a for a in args if isinstance(a, str) and a in _NAMES),
                                         None)
    for a in args:
        target = a.dtype if isinstance(a, L.Array) else target
    return x if target is None else L.astype(x, target)


def _multinomial(p, n, replacement=False, **k):
    rows = p.reshape(-1, p.shape[-1])
    drawn = [L.random.choice(_key(), p.shape[-1], (n,), replace=replacement, p=rows[r])
             for r in range(rows.shape[0])]
    return L.stack(drawn).reshape(*p.shape[:-1], n)


_NAMES = {"float32", "float64", "float16", "bfloat16", "int32", "int64", "int16", "int8", "uint8",
          "bool"}

TABLE = {
    "zeros": _named(L.zeros), "ones": _named(L.ones), "empty": _named(L.zeros),
    "full": lambda shape, v, dtype=None, **k: L.full(_shape((shape,)), v, dtype=dtype),
    "zeros_like": _like(L.zeros_like), "ones_like": _like(L.ones_like),
    "empty_like": _like(L.zeros_like), "full_like": _like(L.full_like),
    "new_zeros": _new(L.zeros), "new_ones": _new(L.ones), "new_empty": _new(L.zeros),
    "new_full": _new(L.full), "scalar_tensor": lambda v, dtype=None: L.asarray(
        v, dtype=dtype or "float32"),
    "arange": lambda *a, dtype=None, **k: L.arange(*a, dtype=dtype, **{
        "stop" if n == "end" else n: v for n, v in k.items()}),
    "eye": lambda *n, dtype=None: L.eye(*n, dtype=dtype or "float32"),
    "linspace": _linspace, "linspace/tensor_overload": _linspace, "logspace": _logspace,
    "logspace/tensor_overload": _logspace, "tril_indices": _indices(lambda d, o: d <= o),
    "triu_indices": _indices(lambda d, o: d >= o), "to": _to,
    "broadcast_shapes": lambda *shapes: L.broadcast_arrays(
        *[L.zeros(s) for s in shapes])[0].shape,
    # windows
    "signal.windows.bartlett": _window(lambda k, n: 1 - L.abs(2 * k / (n - 1) - 1)),
    "signal.windows.blackman": _window(lambda k, n: _cosines(k, n, (0.42, 0.5, 0.08))),
    "signal.windows.cosine": _window(lambda k, n: L.sin((k + 0.5) * (math.pi / n))),
    "signal.windows.exponential": _window(_exponential),
    "signal.windows.gaussian": _window(
        lambda k, n, std=1.0: L.exp(-0.5 * ((k - (n - 1) / 2) / std) ** 2)),
    "signal.windows.general_cosine": _window(_general),
    "signal.windows.general_hamming": _window(
        lambda k, n, alpha=0.54: _cosines(k, n, (alpha, 1 - alpha))),
    "signal.windows.hamming": _window(lambda k, n, alpha=0.54: _cosines(k, n, (alpha, 1 - alpha))),
    "signal.windows.hann": _window(lambda k, n: _cosines(k, n, (0.5, 0.5))),
    "signal.windows.kaiser": _window(_kaiser),
    "signal.windows.nuttall": _window(
        lambda k, n: _cosines(k, n, (0.3635819, 0.4891775, 0.1365995, 0.0106411))),
    # random: shapes are compared
    "rand_like": lambda x, **k: L.random.uniform(_key(), x.shape),
    "randn_like": lambda x, **k: L.random.normal(_key(), x.shape),
    "randint_like": lambda x, *a, **k: L.random.randint(_key(), x.shape, 0, 9),
    "randn": lambda *shape, **k: L.random.normal(_key(), _shape(shape)),
    "randint": lambda *a, **k: L.random.randint(_key(), next(
        v for v in a if isinstance(v, list | tuple)), 0, 9),
    "bernoulli": lambda x, *a, **k: L.random.bernoulli(_key(), x),
    "normal": lambda m, s, *a, **k: m + s * L.random.normal(
        _key(), L.broadcast_arrays(L.asarray(m), L.asarray(s))[0].shape),
    "normal/number_mean": lambda m, s, *a, **k: m + s * L.random.normal(
        _key(), s.shape if isinstance(s, L.Array) else (a[0] if a else k["size"])),
    "uniform": lambda x, a=0.0, b=1.0, **k: L.random.uniform(_key(), x.shape, low=a, high=b),
    "exponential": lambda x, *a, **k: L.random.exponential(_key(), 1.0, x.shape),
    "cauchy": lambda x, *a, **k: L.random.cauchy(_key(), x.shape),
    "geometric": lambda x, p, **k: L.random.geometric(_key(), p, x.shape),
    "log_normal": lambda x, *a, **k: L.exp(L.random.normal(_key(), x.shape)),
    "multinomial": _multinomial,
}
