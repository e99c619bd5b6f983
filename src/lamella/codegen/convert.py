"""Casts, bitcasts, and the 16-bit floats, as LLVM text.

float16 and bfloat16 live in registers as the float32 of the same value: an operation computes in
float32 and rounds its result to the nearest (ties to even), so storing loses nothing.
"""

from __future__ import annotations

import numpy as np

from ..base import dtypes
from ..base.dtypes import DType
from .scalars import Site
from .text import float_literal, register_type, vector


def convert(site: Site, x: str, how: str, from_scalar: str, to_scalar: str) -> str:
    """One LLVM conversion instruction."""
    given, wanted = vector(from_scalar, site.lanes), vector(to_scalar, site.lanes)
    return site.op(f"{how} {given} {x} to {wanted}")


def bits_of(site: Site, x: str) -> str:
    """The bits of a float32."""
    return convert(site, x, "bitcast", "float", "i32")


# ---- 16-bit floats ------------------------------------------------------------------------------

def round_narrow(site: Site, x: str, dtype: DType) -> str:
    """A float32 rounded to the nearest value of a 16-bit float, as a float32."""
    if dtype is dtypes.float16:
        return convert(site, convert(site, x, "fptrunc", "float", "half"), "fpext", "half", "float")
    bits, i32 = bits_of(site, x), vector("i32", site.lanes)
    last = site.op(f"lshr {i32} {bits}, {site.constant(16, 'i32')}")
    last = site.op(f"and {i32} {last}, {site.constant(1, 'i32')}")
    half = site.op(f"add {i32} {last}, {site.constant(0x7FFF, 'i32')}")
    near = site.op(f"add {i32} {bits}, {half}")
    quiet = site.op(f"or {i32} {bits}, {site.constant(0x400000, 'i32')}")
    near = site.select(site.compare("uno", x, x, "float"), quiet, near, "i32")
    near = site.op(f"and {i32} {near}, {site.constant(-65536, 'i32')}")
    return convert(site, near, "bitcast", "i32", "float")


def to_memory(site: Site, x: str, dtype: DType) -> str:
    """A register value as it is stored."""
    if dtype is dtypes.bool_:
        return convert(site, x, "zext", "i1", "i8")
    if dtype is dtypes.float16:
        return convert(site, convert(site, x, "fptrunc", "float", "half"), "bitcast", "half", "i16")
    if dtype is dtypes.bfloat16:
        high = site.op(f"lshr {vector('i32', site.lanes)} {bits_of(site, x)}, "
                       f"{site.constant(16, 'i32')}")
        return convert(site, high, "trunc", "i32", "i16")
    return x


def from_memory(site: Site, x: str, dtype: DType) -> str:
    """A stored value as it is held in registers."""
    if dtype is dtypes.bool_:
        return site.compare("ne", x, site.constant(0, "i8"), "i8")
    if dtype is dtypes.float16:
        return convert(site, convert(site, x, "bitcast", "i16", "half"), "fpext", "half", "float")
    if dtype is dtypes.bfloat16:
        wide = convert(site, x, "zext", "i16", "i32")
        high = site.op(f"shl {vector('i32', site.lanes)} {wide}, {site.constant(16, 'i32')}")
        return convert(site, high, "bitcast", "i32", "float")
    return x


# ---- casts --------------------------------------------------------------------------------------

def cast(site: Site, x: str) -> str:
    """x of site.dtype as the nearest value of site.result."""
    a, b = site.dtype, site.result
    to = register_type(b)
    if b is dtypes.bool_:
        return site.compare("une" if a.is_float else "ne", x, _zero(site))
    if a.is_float:
        return _resize_float(site, x) if b.is_float else _float_to_int(site, x)
    signed = a.kind == "int"
    if b.is_float:
        y = convert(site, x, "sitofp" if signed else "uitofp", site.scalar, to)
        return round_narrow(site, y, b) if b.bits == 16 else y
    if site.scalar == to:
        return x
    if b.bits < a.bits:
        return convert(site, x, "trunc", site.scalar, to)
    return convert(site, x, "sext" if signed else "zext", site.scalar, to)


def _zero(site: Site) -> str:
    return site.constant("0.0" if site.dtype.is_float else 0)


def _resize_float(site: Site, x: str) -> str:
    a, b = site.dtype, site.result
    if b is dtypes.float64:
        return convert(site, x, "fpext", "float", "double")
    if a is dtypes.float64:
        y = convert(site, x, "fptrunc", "double", "float")
        return y if b is dtypes.float32 else round_narrow(site, _round_to_odd(site, x, y), b)
    return x if b is dtypes.float32 else round_narrow(site, x, b)


def _round_to_odd(site: Site, x: str, y: str) -> str:
    """A float64 x, of which y is the nearest float32, so that rounding it again rounds it once."""
    back = convert(site, y, "fpext", "float", "double")
    inexact = site.compare("one", back, x)
    over = site.compare("ogt", site.call("fabs", [back]), site.call("fabs", [x]))
    i32 = vector("i32", site.lanes)
    step = convert(site, over, "sext", "i1", "i32")
    odd = site.op(f"or {i32} {site.op(f'add {i32} {bits_of(site, y)}, {step}')}, "
                  f"{convert(site, inexact, 'zext', 'i1', 'i32')}")
    return convert(site, odd, "bitcast", "i32", "float")


def _float_to_int(site: Site, x: str) -> str:
    """Towards zero, saturating, NaN to 0: clamped first, since the instructions differ outside."""
    to, wide = site.result, register_type(site.result)
    info = np.iinfo(to.numpy)
    via = "i32" if to.bits < 32 else wide
    kind = np.float64 if site.scalar == "double" else np.float32
    high = kind(info.max)
    exact = int(high) == info.max
    if not exact:
        high = np.nextafter(high, kind(0))
    low_text, high_text = (site.constant(_literal(site, v)) for v in (info.min, high))
    clamped = site.select(site.compare("ogt", x, low_text), x, low_text)
    clamped = site.select(site.compare("olt", clamped, high_text), clamped, high_text)
    signed = to.kind == "int" or to.bits < 32
    y = convert(site, clamped, "fptosi" if signed else "fptoui", site.scalar, via)
    if via != wide:
        y = convert(site, y, "trunc", via, wide)
    if not exact:
        y = site.select(site.compare("ogt", x, high_text), site.constant(info.max, wide), y, wide)
    if to.kind == "int":
        y = site.select(site.compare("uno", x, x), site.constant(0, wide), y, wide)
    return y


def _literal(site: Site, value) -> str:
    dtype = dtypes.float64 if site.scalar == "double" else dtypes.float32
    return float_literal(float(value).hex(), dtype)


def bitcast(site: Site, x: str) -> str:
    """x's bits as another dtype of the same width."""
    a, b = site.dtype, site.result
    if a.bits == 16 and (a.is_float or b.is_float):
        return from_memory(site, to_memory(site, x, a), b)
    if site.scalar == register_type(b):
        return x
    return convert(site, x, "bitcast", site.scalar, register_type(b))
