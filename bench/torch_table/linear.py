"""Linear algebra and Fourier transforms."""

from __future__ import annotations

import math

from .common import UNCOMPARED, Different, L, axes

LA = L.linalg


def _t(x):
    return x.mT


def _info(f):
    """A factorisation with PyTorch's error code, which is 0: failures raise here."""
    def g(x, *args, check_errors=False, **k):
        found = f(x, *args, **k)
        return [*found, L.zeros(x.shape[:-2], dtype="int32")] if isinstance(found, list | tuple) \
            else [found, L.zeros(x.shape[:-2], dtype="int32")]
    return g


def _solve(a, b, *, left=True):
    if not left:
        return _t(LA.solve(_t(a), _t(b)))
    return LA.solve(a, b) if b.ndim != a.ndim - 1 or b.ndim == 1 else LA.solve(
        a, L.expand_dims(b, axis=-1))[..., 0]


def _triangular(a, b, *, upper, left=True, unitriangular=False):
    n = a.shape[-1]
    if unitriangular:
        eye = L.eye(n, dtype=a.dtype)
        a = a * (1 - eye) + eye
    if not left:
        return _t(LA.solve_triangular(_t(a), _t(b), lower=upper))
    return LA.solve_triangular(a, b, lower=not upper)


def _svd(x, full_matrices=True, *, driver=None):
    s = LA.svd(x, full_matrices=False)[1]
    return UNCOMPARED, s, UNCOMPARED  # vectors are defined to their signs


def _matrix_norm(x, ord="fro", dim=(-2, -1), keepdim=False, *, dtype=None):
    x = x if dtype is None else L.astype(x, dtype)
    x = L.moveaxis(x, tuple(dim), (-2, -1))
    y = LA.matrix_norm(x, ord=ord, keepdims=keepdim)
    return L.moveaxis(y, (-2, -1), tuple(dim)) if keepdim else y


def _norm(x, ord=None, dim=None, keepdim=False, *, dtype=None):
    x = x if dtype is None else L.astype(x, dtype)
    dim = axes(dim)
    if ord is None:
        y = L.p_norm(x.reshape(-1) if dim is None else x, 2.0, dim, keepdims=keepdim and dim
                     is not None)
        return y.reshape((1,) * x.ndim) if keepdim and dim is None else y
    if dim is None:
        dim = tuple(range(x.ndim))
    if isinstance(dim, tuple) and len(dim) == 2:
        return _matrix_norm(x, ord, dim, keepdim)
    return L.p_norm(x, float(ord), dim, keepdims=keepdim)


def _multi(p):
    return lambda x, **k: _matrix_norm(x, "nuc", **k)


def _logdet(x):
    sign, value = LA.slogdet(x)
    return L.where(sign > 0, value, L.where(sign == 0, -math.inf, math.nan))


def _lstsq(a, b, **k):
    return [LA.lstsq(a, b), UNCOMPARED, UNCOMPARED, UNCOMPARED]


def _tensorsolve(a, b, dims=None):
    if dims is not None:
        rest = [d for d in range(a.ndim) if d not in [e % a.ndim for e in dims]]
        a = L.permute_dims(a, (*rest, *[e % a.ndim for e in dims]))
    shape = a.shape[b.ndim:]
    return LA.solve(a.reshape(b.size, math.prod(shape)), b.reshape(-1)).reshape(shape)


def _tensorinv(a, ind=2):
    lead, rest = a.shape[:ind], a.shape[ind:]
    return LA.inv(a.reshape(math.prod(lead), -1)).reshape(*rest, *lead)


def _vander(x, N=None, **k):
    x = x.reshape(1) if not x.ndim else x
    n = x.shape[-1] if N is None else N
    return L.stack([x * 0 + 1 if j == 0 else x ** j for j in range(n)], axis=-1)


def _cond(x, p=None):
    if p in (None, 2, -2):
        s = LA.svdvals(x)
        return s[..., 0] / s[..., -1] if p != -2 else s[..., -1] / s[..., 0]
    return LA.matrix_norm(x, ord=p) * LA.matrix_norm(LA.inv(x), ord=p)


def _rank(x, tol=None, *, atol=None, rtol=None, hermitian=False):
    if tol is not None or atol is not None:
        raise Different("an absolute tolerance is not offered")
    return LA.matrix_rank(x, rtol=rtol)


def _pinv(x, *args, rcond=None, rtol=None, atol=None, hermitian=False):
    if atol is not None:
        raise Different("an absolute tolerance is not offered")
    if hermitian:
        raise Different("reading one triangle as a whole matrix is not offered")
    return LA.pinv(x, rtol=rtol if rtol is not None else rcond)


def _half(x, uplo="L"):
    """The symmetric matrix that one triangle of x states."""
    low = L.tril(x) if uplo == "L" else L.triu(x).mT
    whole = low + L.tril(low, k=-1).mT
    return x + L.stop_gradient(whole - x)  # PyTorch gives the whole matrix the gradient


def _low_rank(a, b):
    return LA.pinv(a @ _t(b))


# ---- Fourier ------------------------------------------------------------------------------------

def _one(name):
    return lambda x, n=None, dim=-1, norm=None: getattr(L.fft, name)(
        x, n=n, axis=dim, norm=norm or "backward")


def _many(name, two=False):
    def f(x, s=None, dim=None, norm=None):
        dim = ((-2, -1) if two else (None if s is None else tuple(range(-len(s), 0)))) \
            if dim is None else (dim if isinstance(dim, int) else tuple(dim))
        dim = (dim,) if isinstance(dim, int) else dim
        return getattr(L.fft, name)(x, s=s, axes=dim, norm=norm or "backward")
    return f


def _hermitian(name, inner):
    """A Hermitian transform over several axes: the last by it, the others by plain ones."""
    def f(x, s=None, dim=None, norm=None):
        dim = (tuple(range(-len(s), 0)) if s is not None else tuple(range(x.ndim))) \
            if dim is None else ((dim,) if isinstance(dim, int) else tuple(dim))
        s = (None,) * len(dim) if s is None else ((s,) if isinstance(s, int) else tuple(s))
        norm = norm or "backward"
        last = lambda v: getattr(L.fft, name)(v, n=s[-1], axis=dim[-1], norm=norm)
        if name == "ihfft":
            x = last(x)
        for n, d in zip(s[:-1], dim[:-1], strict=True):
            x = getattr(L.fft, inner)(x, n=n, axis=d, norm=norm)
        return last(x) if name == "hfft" else x
    return f


def _two(f):
    return lambda x, s=None, dim=(-2, -1), norm=None: f(x, s, dim, norm)


TABLE = {
    "fft.hfftn": _hermitian("hfft", "fft"), "fft.hfft2": _two(_hermitian("hfft", "fft")),
    "fft.ihfftn": _hermitian("ihfft", "ifft"), "fft.ihfft2": _two(_hermitian("ihfft", "ifft")),
    "cholesky": lambda x, upper=False: LA.cholesky(x, upper=upper),
    "linalg.cholesky": lambda x, *, upper=False: LA.cholesky(x, upper=upper),
    "linalg.cholesky_ex": _info(lambda x, *, upper=False: LA.cholesky(x, upper=upper)),
    "linalg.det": lambda x: LA.det(x), "logdet": _logdet,
    "linalg.slogdet": lambda x: list(LA.slogdet(x)), "linalg.inv": lambda x: LA.inv(x),
    "linalg.inv_ex": _info(lambda x: LA.inv(x)), "linalg.solve": _solve,
    "linalg.solve_ex": lambda a, b, *, left=True, check_errors=False: [
        _solve(a, b, left=left), L.zeros(a.shape[:-2], dtype="int32")],
    "linalg.solve_triangular": _triangular, "linalg.svd": _svd,
    "linalg.svdvals": lambda x, **k: LA.svdvals(x), "linalg.qr": lambda x, mode="reduced": list(
        LA.qr(x, mode=mode)),
    "linalg.eigh": lambda x, UPLO="L": [LA.eigh(_half(x, UPLO))[0], UNCOMPARED],
    "linalg.eigvalsh": lambda x, UPLO="L": LA.eigvalsh(_half(x, UPLO)),
    "linalg.eig": lambda x: (lambda w, v: [w, L.abs(v)])(*LA.eig(x)),
    "linalg.eigvals": lambda x: LA.eigvals(x), "linalg.pinv": _pinv,
    "linalg.pinv/hermitian": _pinv, "linalg.pinv/singular": _low_rank, "pinverse": _pinv,
    "linalg.matrix_rank": _rank, "linalg.matrix_rank/hermitian": _rank,
    "linalg.matrix_norm": _matrix_norm, "linalg.norm": _norm,
    "linalg.norm/subgradients_at_zero": _norm, "norm/nuc": lambda x, p="nuc", dim=None,
    keepdim=False: _matrix_norm(x, "nuc", (-2, -1) if dim is None else dim, keepdim),
    "linalg.matrix_power": lambda x, n: LA.matrix_power(x, n), "matrix_exp": lambda x: LA.expm(x),
    "linalg.lstsq": _lstsq, "linalg.lstsq/grad_oriented": _lstsq,
    "linalg.tensorsolve": _tensorsolve, "linalg.tensorinv": _tensorinv, "linalg.vander": _vander,
    "linalg.cond": _cond, "linalg.diagonal": lambda x, *, offset=0, dim1=-2, dim2=-1: LA.diagonal(
        L.moveaxis(x, (dim1, dim2), (-2, -1)), offset=offset),
    **{f"fft.{n}": _one(n) for n in ("fft", "ifft", "rfft", "irfft", "hfft", "ihfft")},
    **{f"fft.{n}": _many(n) for n in ("fftn", "ifftn", "rfftn", "irfftn")},
    **{f"fft.{n}2": _many(f"{n}n", True) for n in ("fft", "ifft", "rfft", "irfft")},
    "fft.fftshift": lambda x, dim=None: L.fft.fftshift(x, axes=dim),
    "fft.ifftshift": lambda x, dim=None: L.fft.ifftshift(x, axes=dim),
    "view_as_real": lambda x: L.stack([L.real(x), L.imag(x)], axis=-1),
    "view_as_complex": lambda x: L.complex(x[..., 0], x[..., 1]),
}
