"""The worst error of the elementary functions over all 2^32 inputs of float32, in compiled kernels.

    python -m bench.ulp [--only exp,log,...] [--chunks N] [--record FILE] [--write]

The exact value is the function's float64 kernel, whose own error is some 2^-29 of the unit here;
the worst input of each function is looked at again with mpmath, where it knows the function. Errors
are in units in the last place of the exact result; both infinite or both NaN is no error, one alone
is an infinite one. sin and cos count below 2^44, where docs/functions.md states them. Prints a line
for each function, then one JSON line. --record keeps each result as a line of FILE and leaves out
what stands there already; --write puts the figures of complete runs into the pages.
"""

from __future__ import annotations

import argparse
import json
import math
import re
import time
from functools import partial
from pathlib import Path

import numpy as np

import lamella as L
from lamella.api.arrays.array import wrap
from lamella.base import dtypes
from lamella.lang import scalar
from lamella.ops.pointwise import apply

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGES = DOCS / "functions.md", DOCS / "special_functions.md"
CHUNK, ROW = 1 << 24, 1 << 16
LARGE = {"sin": 2.0 ** 44, "cos": 2.0 ** 44, "tan": 2.0 ** 44}
EXACT = ("neg", "abs", "sign", "floor", "ceil", "round", "trunc", "stop_gradient", "conj", "real",
         "imag", "not")


def functions() -> list[str]:
    """The scalar functions of one floating argument that round."""
    return [s.name for s in scalar.ALL.values() if s.arity == 1 and "float" in s.kinds
            and s.result == "same" and s.name not in (*EXACT, "cast", "bitcast")]


def called(name: str, x):
    """The function of that name, of an array."""
    return wrap(apply(name, x.node))


def error(name: str, x):
    """The error at each float32 x in units of the exact result, float64."""
    wide = x.astype("float64")
    exact, found = called(name, wide), called(name, x).astype("float64")
    top = 2.0 ** 128  # as which an infinity counts beside a number in its last unit
    near = L.maximum(L.minimum(exact, top), -top)
    rounds = L.abs(near) >= top * (1 - 2.0 ** -24)
    close = L.where(rounds, L.maximum(L.minimum(found, top), -top), found)
    word = L.bitcast(L.where(L.isnan(near), 1.0, L.abs(near)), "int64") >> 52
    exponent = L.where(word < 1023 - 126, 1023 - 126, L.where(word > 1150, 1150, word))
    unit = L.bitcast((exponent - 23) << 52, "float64")
    off = L.abs(close - near) / unit
    same = (L.isnan(exact) & L.isnan(found)) | (found == exact)
    off = L.where(same, 0.0, L.where(L.isnan(off), math.inf, off))
    if name in LARGE:
        off = L.where(L.abs(x) < LARGE[name], off, 0.0)
    return off


def inputs(start, count: int):
    """The floats of `count` neighbouring words from `start` on."""
    return L.bitcast(L.arange(count, dtype="uint32") + start, "float32")


def measure(name: str, chunks: int) -> dict:
    """The worst error and its input, over `chunks` of the 256 chunks of words, evenly spread."""
    begun = time.perf_counter()

    def worst_of_rows(start):
        return L.max(error(name, inputs(start, CHUNK)).reshape(-1, ROW), axis=1)

    rows = L.compile(worst_of_rows)
    worst, at = -1.0, 0
    for c in range(chunks):
        start = c * (256 // chunks) * CHUNK
        found = rows(np.uint32(start)).numpy()
        row = int(found.argmax())
        if found[row] > worst:
            worst, at = float(found[row]), start + row * ROW
    errors = error(name, inputs(np.uint32(at), ROW)).numpy()
    x = float(inputs(np.uint32(at), ROW).numpy()[int(errors.argmax())])
    return {"function": name, "worst_ulp": round(worst, 4), "input": x.hex(),
            "checked_ulp": checked(name, x), "inputs": chunks * CHUNK,
            "seconds": round(time.perf_counter() - begun, 1)}


def checked(name: str, x: float) -> float | None:
    """The error at x by mpmath, or None where it does not know the function."""
    import mpmath
    known = {"sigmoid": lambda v: 1 / (1 + mpmath.exp(-v)), "rsqrt": lambda v: 1 / mpmath.sqrt(v),
             "exp2": lambda v: mpmath.mpf(2) ** v, "log2": lambda v: mpmath.log(v, 2),
             "lgamma": lambda v: mpmath.log(abs(mpmath.gamma(v))),
             "erfcx": lambda v: mpmath.exp(v * v) * mpmath.erfc(v),
             "ndtri": lambda v: mpmath.sqrt(2) * mpmath.erfinv(2 * v - 1)}
    for k in (0, 1):
        known |= {f"i{k}": partial(mpmath.besseli, k), f"k{k}": partial(mpmath.besselk, k),
                  f"i{k}e": lambda v, k=k: mpmath.besseli(k, v) * mpmath.exp(-abs(v)),
                  f"k{k}e": lambda v, k=k: mpmath.besselk(k, v) * mpmath.exp(v),
                  f"bessel_j{k}": partial(mpmath.besselj, k),
                  f"bessel_y{k}": partial(mpmath.bessely, k)}
    f = known.get(name, getattr(mpmath, name, None))
    if f is None or not math.isfinite(x):
        return None
    with mpmath.workprec(200):
        try:
            exact = f(mpmath.mpf(x))
        except (ValueError, ZeroDivisionError):
            return None
        if not mpmath.isfinite(exact) or mpmath.im(exact) != 0:
            return None
        found = float(called(name, L.asarray(np.float32(x))).numpy())
        exponent = max(-126, mpmath.frexp(abs(exact))[1] - 1) if exact else -126
        return round(float(abs(mpmath.mpf(found) - exact) / mpmath.mpf(2) ** (exponent - 23)), 4)


def write(found: list[dict]) -> None:
    """Put the figures of complete runs into the pages' tables."""
    for page in PAGES:
        text = page.read_text()
        for f in found:
            if f["inputs"] == 1 << 32:
                worst = f["worst_ulp"] + 1e-4  # as it was rounded
                shown = f"{math.ceil(worst * 100) / 100:.2f}"
                text = re.sub(rf"(\| {f['function']} \| float32 \|) [\d.]+ \| [^|]+ \|",
                              rf"\1 {shown} | all |", text)
        page.write_text(text)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default="")
    parser.add_argument("--chunks", type=int, default=256, choices=[2 ** k for k in range(9)])
    parser.add_argument("--record", type=Path)
    parser.add_argument("--write", action="store_true")
    options = parser.parse_args()
    record = options.record
    found = [json.loads(line) for line in record.read_text().splitlines()] \
        if record and record.exists() else []
    known = {f["function"] for f in found}
    for name in options.only.split(",") if options.only else functions():
        if name in known:
            continue
        f = measure(name, options.chunks)
        print(f"{name:<10} {f['worst_ulp']:>8.4f} ulp at {f['input']:<22} mpmath "
              f"{f['checked_ulp']}  {f['seconds']} s", flush=True)
        found.append(f)
        if record:
            record.open("a").write(json.dumps(f) + "\n")
    if options.write:
        write(found)
    print(json.dumps({"chunk": CHUNK, "dtype": dtypes.float32.name, "functions": found}))


if __name__ == "__main__":
    main()
