"""Reductions, products and statistics."""

from __future__ import annotations

import math

from .common import Different, L, axes


def _kept(x, y, dim, keepdim: bool):
    """y, reduced over all axes where dim is None, with extents of 1."""
    return y.reshape((1,) * x.ndim) if keepdim and dim is None else y


def _plain(name):
    def f(x, dim=None, keepdim=False, *, dtype=None):
        x = x if dtype is None else L.astype(x, dtype)
        return getattr(L, name)(x, axis=axes(dim), keepdims=keepdim) if x.ndim else \
            getattr(L, name)(x)
    return f


def _var(root: bool, with_mean: bool = False):
    def f(x, dim=None, unbiased=None, *, correction=None, keepdim=False):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        c = correction if correction is not None else (1 if unbiased in (None, True) else 0)
        keep = {"axis": axes(dim), "keepdims": keepdim}
        y = (L.std if root else L.var)(x, correction=c, **keep)
        return (y, L.mean(x, **keep)) if with_mean else y
    return f


def _arg(name):
    def f(x, dim=None, keepdim=False):
        if not x.ndim:
            return L.zeros((), dtype="int32")
        return getattr(L, name)(x, axis=dim, keepdims=keepdim)
    return f


def _extreme(name):
    def f(x, dim=None, keepdim=False):
        if dim is None:
            return getattr(L, name)(x)
        if not x.ndim:
            return x, L.zeros((), dtype="int32")
        at = getattr(L, f"arg{name}")(x, axis=dim, keepdims=True)
        value = L.take_along_axis(x, at, axis=dim)
        return (value, at) if keepdim else (L.squeeze(value, dim), L.squeeze(at, dim))
    return f


def _nan(name):
    def f(x, dim=None, keepdim=False, *, dtype=None):
        x = x if dtype is None else L.astype(x, dtype)
        seen, over = ~L.isnan(x), axes(dim) if x.ndim else None
        total = L.sum(L.where(seen, x, 0.0), axis=over, keepdims=keepdim)
        if name == "sum":
            return total
        return total / L.sum(L.astype(seen, x.dtype), axis=over, keepdims=keepdim)
    return f


def _norm(x, p=2, dim=None, keepdim=False, *, dtype=None):
    x = x if dtype is None else L.astype(x, dtype)
    p = 2 if p in ("fro", None) else p
    return _vector_norm(x, p, dim, keepdim)


def _vector_norm(x, ord=2, dim=None, keepdim=False, *, dtype=None):
    x = x if dtype is None else L.astype(x, dtype)
    if not x.ndim:
        return _vector_norm(x.reshape(1), ord).reshape(())
    return L.p_norm(x, float(ord), axes(dim), keepdims=keepdim)


def _logsumexp(x, dim, keepdim=False):
    return L.logsumexp(x, axis=axes(dim), keepdims=keepdim) if x.ndim else x


def _cov(x, *, correction=1, fweights=None, aweights=None):
    x = x.reshape(1, -1) if x.ndim < 2 else x
    if aweights is not None and aweights.dtype != x.dtype:
        raise Different("weights are brought to the dtype of the values before they are summed")
    w = None
    for v in (fweights, aweights):
        if v is not None:
            v = L.astype(v, x.dtype)
            w = v if w is None else w * v
    n = x.shape[1] if w is None else L.sum(w)
    mean = (L.sum(x, axis=1, keepdims=True) if w is None
            else L.sum(x * w, axis=1, keepdims=True)) / n
    c = x - mean
    if aweights is not None:
        norm = n - correction * L.sum(w * L.astype(aweights, x.dtype)) / n
    else:
        norm = n - correction
    y = (c if w is None else c * w) @ c.mT / (L.maximum(norm, 0) if w is not None else norm)
    return y.reshape(()) if y.size == 1 else y


def _corrcoef(x):
    y = _cov(x)
    if not y.ndim:
        return y / y
    d = L.sqrt(L.sum(y * L.eye(y.shape[0], dtype=y.dtype), axis=1))
    return L.clip(y / d.reshape(-1, 1) / d.reshape(1, -1), -1, 1)


def _baddbmm(x, a, b, *, beta=1, alpha=1):
    y = (a @ b) * alpha
    return y if beta == 0 else x * beta + y


def _addr(x, a, b, *, beta=1, alpha=1):
    y = L.outer(a, b) * alpha
    return y if beta == 0 else x * beta + y


def _tensordot(a, b, dims=2):
    if not isinstance(dims, int) and any(a.shape[i] != b.shape[j]
                                         for i, j in zip(*dims, strict=True)):
        raise Different("summed axes have equal extents; one does not repeat")
    return L.tensordot(a, b, axes=dims)


def _dist(a, b, p=2):
    return _vector_norm(a - b, p)


def _renorm(x, p, dim, maxnorm):
    others = tuple(d for d in range(x.ndim) if d != dim % x.ndim)
    size = _vector_norm(x, p, others, True)
    return x * L.where(size > maxnorm, maxnorm / (size + 1e-7), 1.0)


def _cdist(a, b, p=2.0, compute_mode=None):
    gap = L.expand_dims(a, axis=-2) - L.expand_dims(b, axis=-3)
    return _vector_norm(gap, p, -1)


def _pdist(x, p=2):
    n = x.shape[0]
    rows = [i for i in range(n) for j in range(i + 1, n)]
    cols = [j for i in range(n) for j in range(i + 1, n)]
    if not rows:
        return L.zeros((0,), dtype=x.dtype)
    return _vector_norm(L.take(x, L.asarray(rows), axis=0) - L.take(x, L.asarray(cols), axis=0),
                        p, -1)


def _gradient_free_any(name):
    def f(x, dim=None, keepdim=False):
        return getattr(L, name)(x, axis=axes(dim), keepdims=keepdim) if x.ndim else \
            getattr(L, name)(x)
    return f


def _trapezoid(y, x=None, *, dim=-1, dx=1):
    lead = (slice(None),) * (dim % y.ndim)
    mean = (y[(*lead, slice(1, None))] + y[(*lead, slice(None, -1))]) / 2
    return mean * _steps(y, x, dim, dx)


def _steps(y, x, dim, dx):
    if x is None:
        return dx
    gap = L.diff(x, axis=dim if x.ndim > 1 else -1)
    return gap if x.ndim == y.ndim else gap.reshape(-1, *(1,) * (y.ndim - 1 - dim % y.ndim))


def _masked(f, fill):
    """A reduction over the elements that a mask keeps."""
    def g(x, dim=None, keepdim=False, *, dtype=None, mask=None, **more):
        x = x if dtype is None else L.astype(x, dtype)
        kept = None if mask is None else L.broadcast_to(mask, x.shape)
        over = axes(dim) if x.ndim else None
        return f(x if kept is None else L.where(kept, x, fill), kept, over, keepdim, **more)
    return g


def _count(x, kept, dim, keepdim):
    ones = L.ones_like(x) if kept is None else L.astype(kept, x.dtype)
    return L.sum(ones, axis=dim, keepdims=keepdim)


def _masked_mean(x, kept, dim, keepdim):
    return L.sum(x, axis=dim, keepdims=keepdim) / _count(x, kept, dim, keepdim)


def _masked_var(root):
    def f(x, kept, dim, keepdim, unbiased=None, correction=None):
        c = correction if correction is not None else (1 if unbiased in (None, True) else 0)
        n = _count(x, kept, dim, True)
        gap = x - L.sum(x, axis=dim, keepdims=True) / n
        gap = gap if kept is None else L.where(kept, gap, 0.0)
        y = L.sum(gap * gap, axis=dim, keepdims=keepdim) / L.maximum(
            _count(x, kept, dim, keepdim) - c, 0)
        return L.sqrt(y) if root else y
    return f


def _masked_softmax(name, sign=1):
    def f(x, dim, *, dtype=None, mask=None):
        x = (x if dtype is None else L.astype(x, dtype)) * sign
        if mask is not None:
            x = L.where(L.broadcast_to(mask, x.shape), x, -math.inf)
        return getattr(L, name)(x, axis=dim) if x.ndim else getattr(L, name)(
            x.reshape(1), axis=0).reshape(())
    return f


def _masked_norm(x, ord, dim=None, keepdim=False, *, dtype=None, mask=None):
    x = x if dtype is None else L.astype(x, dtype)
    fill = math.inf if ord < 0 else 0.0
    if mask is not None:
        x = L.where(L.broadcast_to(mask, x.shape), x, fill)
    return _vector_norm(x, ord, dim, keepdim)


def _masked_normalize(x, ord, dim, *, eps=1e-12, dtype=None, mask=None):
    x = x if dtype is None else L.astype(x, dtype)
    shown = x if mask is None else L.where(L.broadcast_to(mask, x.shape), x, 0.0)
    return shown / L.maximum(_vector_norm(shown, ord, dim, True), eps)


def _masked_logaddexp(a, b, *, dtype=None, input_mask=None, other_mask=None):
    if input_mask is not None:
        a = L.where(input_mask, a, -math.inf)
    if other_mask is not None:
        b = L.where(other_mask, b, -math.inf)
    return L.logaddexp(a, b)


def _masked_arg(name, fill):
    def f(x, dim=None, keepdim=False, *, mask=None, dtype=None):
        if mask is not None:
            x = L.where(L.broadcast_to(mask, x.shape), x, fill)
        if x.dtype.is_float:
            raise Different("positions are integers, not floats")
        return _arg(name)(x, dim, keepdim)
    return f


def _sum(x, kept, dim, keepdim):
    return L.sum(x, axis=dim, keepdims=keepdim)


TABLE = {
    **{name: _plain(name) for name in ("sum", "prod", "mean")},
    "all": _gradient_free_any("all"), "any": _gradient_free_any("any"),
    "amax": _plain("max"), "amin": _plain("min"),
    "aminmax": lambda x, *, dim=None, keepdim=False: (_plain("min")(x, dim, keepdim),
                                                      _plain("max")(x, dim, keepdim)),
    "argmax": _arg("argmax"), "argmin": _arg("argmin"),
    "max/reduction_no_dim": lambda x: L.max(x), "min/reduction_no_dim": lambda x: L.min(x),
    "max/reduction_with_dim": _extreme("max"), "min/reduction_with_dim": _extreme("min"),
    "var": _var(False), "var/unbiased": _var(False), "std": _var(True), "std/unbiased": _var(True),
    "var_mean": _var(False, True), "var_mean/unbiased": _var(False, True),
    "std_mean": _var(True, True), "std_mean/unbiased": _var(True, True),
    "nansum": _nan("sum"), "nanmean": _nan("mean"), "logsumexp": _logsumexp,
    "count_nonzero": lambda x, dim=None: L.count_nonzero(x, axis=axes(dim) if x.ndim else None),
    "norm": _norm, "norm/inf": _norm, "norm/fro": _norm,
    "linalg.vector_norm": _vector_norm, "dist": _dist, "renorm": _renorm,
    "cdist": _cdist, "nn.functional.pdist": _pdist,
    "sum_to_size": lambda x, *shape: _sum_to(x, shape[0] if len(shape) == 1 and isinstance(
        shape[0], list | tuple) else shape),
    "trace": lambda x: L.sum(x * L.eye(*x.shape, dtype=x.dtype)),
    "cov": _cov, "corrcoef": _corrcoef,
    "trapezoid": lambda y, x=None, *, dim=-1, dx=1: L.sum(_trapezoid(y, x, dim=dim, dx=dx),
                                                          axis=dim),
    "trapz": lambda y, x=None, *, dim=-1, dx=1: L.sum(_trapezoid(y, x, dim=dim, dx=dx), axis=dim),
    "cumulative_trapezoid": lambda y, x=None, *, dim=-1, dx=1: L.cumulative_sum(
        _trapezoid(y, x, dim=dim, dx=dx), axis=dim),
    # products
    "matmul": L.matmul, "mm": L.matmul, "bmm": L.matmul, "mv": L.matmul, "dot": L.matmul,
    "vdot": L.matmul, "inner": lambda a, b: L.tensordot(a, b, axes=([-1], [-1])) if
    a.ndim and b.ndim else a * b,
    "outer": L.outer, "tensordot": _tensordot,
    "einsum": lambda xs, equation: L.einsum(equation, *xs),
    "addmm": _baddbmm, "addmv": _baddbmm, "baddbmm": _baddbmm,
    "addbmm": lambda x, a, b, *, beta=1, alpha=1: _baddbmm(
        x, L.permute_dims(a, (1, 0, 2)).reshape(a.shape[1], -1), b.reshape(-1, b.shape[2]),
        beta=beta, alpha=alpha),
    "addr": _addr, "linalg.vecdot": lambda a, b, *, dim=-1: L.sum(a * b, axis=dim),
    "linalg.multi_dot": lambda xs: _chain(xs), "kron": lambda a, b: _kron(a, b),
    # masked
    "masked.sum": _masked(_sum, 0.0),
    "masked.prod": _masked(lambda x, kept, d, k: L.prod(x, axis=d, keepdims=k), 1.0),
    "masked.amax": _masked(lambda x, kept, d, k: L.max(x, axis=d, keepdims=k), -math.inf),
    "masked.amin": _masked(lambda x, kept, d, k: L.min(x, axis=d, keepdims=k), math.inf),
    "masked.mean": _masked(_masked_mean, 0.0), "masked.var": _masked(_masked_var(False), 0.0),
    "masked.std": _masked(_masked_var(True), 0.0),
    "masked.logsumexp": _masked(lambda x, kept, d, k: L.logsumexp(x, axis=d, keepdims=k),
                                -math.inf),
    "masked.softmax": _masked_softmax("softmax"),
    "masked.softmin": _masked_softmax("softmax", -1),
    "masked.log_softmax": _masked_softmax("log_softmax"), "masked.norm": _masked_norm,
    "masked.normalize": _masked_normalize, "masked.logaddexp": _masked_logaddexp,
    "masked.argmax": _masked_arg("argmax", -math.inf),
    "masked.argmin": _masked_arg("argmin", math.inf),
}


def _sum_to(x, shape):
    extra = x.ndim - len(shape)
    over = tuple(range(extra)) + tuple(d + extra for d, e in enumerate(shape)
                                       if e == 1 and x.shape[d + extra] != 1)
    return L.sum(x, axis=over).reshape(tuple(shape)) if over else x


def _chain(xs):
    y = xs[0]
    for x in xs[1:]:
        y = y @ x
    return y


def _kron(a, b):
    rank = max(a.ndim, b.ndim)
    sa, sb = (1,) * (rank - a.ndim) + a.shape, (1,) * (rank - b.ndim) + b.shape
    y = a.reshape(tuple(e for n in sa for e in (n, 1))) * b.reshape(
        tuple(e for n in sb for e in (1, n)))
    return y.reshape(tuple(m * n for m, n in zip(sa, sb, strict=True)))
