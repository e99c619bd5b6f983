"""Lamella against PyTorch's operator database: values and gradients of every entry.

    python -m bench.torch_ops [--only a,b] [--samples 24] [--record FILE] [--write FILE]

The samples are those of `torch.testing._internal.common_methods_invocations.op_db`, on the CPU, in
float32 and float64 (or the integers and bools that an entry takes where it takes no floats). The
table `bench/torch_table` says what stands for an entry here. Values must agree to the dtype's
tolerance, and so must the gradients of a weighted sum of all outputs. Dtypes agree in kind: indices
are int32 here and int64 there. --record keeps each outcome as a line of FILE, from which a run goes
on: entries that agreed are not compared again. The last line of output is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

import lamella
from bench import torch_table
from bench.torch_table.common import Different, Uncompared

TOLERANCE = {"float32": (2e-4, 2e-5), "float64": (1e-9, 1e-10)}  # relative, of the largest
GRADIENT = 10.0  # times the tolerance
SECONDS = 60  # of one sample
DROPPED = ("device", "layout", "pin_memory", "requires_grad", "memory_format", "out")


@dataclass
class Outcome:
    """What became of one entry."""

    name: str
    agreed: int = 0
    different: dict[str, int] = field(default_factory=dict)  # reason: samples
    failures: list[str] = field(default_factory=list)
    missing: str = ""

    @property
    def status(self) -> str:
        if self.missing:
            return "not_covered"
        if self.failures:
            return "failed"
        if self.name in torch_table.SHAPE_ONLY and self.agreed:
            return "shapes_only"
        return "passed" if self.agreed else "expected_failures" if self.different else "failed"


class Late(Exception):
    """A sample took longer than SECONDS."""


# ---- PyTorch's side -----------------------------------------------------------------------------

def entries() -> dict[str, Any]:
    """Every entry by its name and, after a slash, its variant's."""
    import torch.testing._internal.common_methods_invocations as db
    found: dict[str, Any] = {}
    for op in db.op_db:
        name = op.name + (f"/{op.variant_test_name}" if op.variant_test_name else "")
        found.setdefault(name, op)
    return found


def dtypes_of(op) -> list:
    """float32 and float64; else an integer; else bool; else complex numbers."""
    import torch
    taken = op.dtypes
    floats = [d for d in (torch.float32, torch.float64) if d in taken]
    others = (torch.int32, torch.int64, torch.bool, torch.complex64)
    return floats or [d for d in others if d in taken][:1]


def chosen(samples: Iterable, most: int) -> list:
    """At most so many of the samples, spread over all."""
    every = list(samples)
    if len(every) <= most:
        return every
    return [every[round(k * (len(every) - 1) / (most - 1))] for k in range(most)]


# ---- from one side to the other -----------------------------------------------------------------

def tensors_in(value) -> list:
    """The tensors of nested lists, tuples and dicts, in order."""
    import torch
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, dict):
        value = list(value.values())
    return [t for v in value for t in tensors_in(v)] if isinstance(value, list | tuple) else []


def translated(value, arrays: dict):
    """The value with tensors as arrays and PyTorch's dtypes as names."""
    import torch
    if isinstance(value, torch.Tensor):
        return arrays[id(value)]
    if isinstance(value, torch.dtype):
        return str(value).removeprefix("torch.")
    if isinstance(value, torch.Size):
        return tuple(value)
    if isinstance(value, dict):
        return {k: translated(v, arrays) for k, v in value.items() if k not in DROPPED}
    if isinstance(value, list | tuple):
        return type(value)(translated(v, arrays) for v in value) if type(value) in (
            list, tuple) else tuple(translated(v, arrays) for v in value)
    return value


def numpy_of(tensor) -> np.ndarray:
    """The tensor's values, those of bfloat16 as float32; views are resolved."""
    wide = tensor.float() if str(tensor.dtype) == "torch.bfloat16" else tensor
    return wide.detach().numpy(force=True)


def outputs_of(result) -> list:
    """The arrays (or tensors, or numbers) of a result, in order."""
    if isinstance(result, dict):
        result = list(result.values())
    if isinstance(result, list | tuple):
        return [o for r in result for o in outputs_of(r)]
    return [] if result is None else [result]


# ---- comparison ---------------------------------------------------------------------------------

def difference(ours, theirs, scale: float = 1.0) -> str:
    """What differs between two values; empty where they agree."""
    theirs = numpy_of(theirs) if hasattr(theirs, "detach") else np.asarray(theirs)
    ours = np.asarray(ours)
    ours = ours.astype(np.float32) if ours.dtype.kind == "V" else ours  # bfloat16
    if ours.shape != theirs.shape:
        return f"shape {ours.shape}, not {theirs.shape}"
    kinds = {"u": "i"}
    if kinds.get(ours.dtype.kind, ours.dtype.kind) != kinds.get(theirs.dtype.kind,
                                                                theirs.dtype.kind):
        return f"dtype {ours.dtype}, not {theirs.dtype}"
    if theirs.dtype.kind not in "fc":
        return "" if np.array_equal(ours, theirs) else "values"
    narrow = min(ours.dtype, theirs.dtype, key=lambda d: d.itemsize)
    single = narrow in (np.float32, np.complex64)
    relative, absolute = TOLERANCE["float32" if single else "float64"]
    finite = np.abs(theirs[np.isfinite(theirs)])
    size = float(finite.max(initial=0.0)) or 1.0
    with np.errstate(all="ignore"):
        if np.allclose(ours, theirs, rtol=relative * scale, atol=absolute * scale * max(size, 1.0),
                       equal_nan=True):
            return ""
        gap = np.abs(ours.astype(theirs.dtype) - theirs)
    return f"values by {np.nanmax(gap, initial=0.0):.3g} of {size:.3g}"


def weights_of(k: int, shape, dtype) -> np.ndarray:
    """Fixed weights of output k, for the gradient of a weighted sum."""
    return np.random.default_rng(k).standard_normal(shape).astype(dtype)


# ---- one sample ---------------------------------------------------------------------------------

def check(op, function: Callable, sample, shape_only: bool, gradients: bool,
          scale: float = 1.0) -> str:
    """What differs in this sample; empty where values and gradients agree."""
    tensors = tensors_in([sample.input, sample.args, sample.kwargs])
    given = [lamella.asarray(numpy_of(t)) for t in tensors]

    def ours(*arrays):
        by_id = {id(t): a for t, a in zip(tensors, arrays, strict=True)}
        args = translated([sample.input, *sample.args], by_id)
        return outputs_of(function(*args, **translated(sample.kwargs, by_id)))

    raw = op(sample.input, *sample.args, **sample.kwargs)
    theirs = outputs_of(raw if op.name in torch_table.RAW else sample.output_process_fn_grad(raw))
    found = ours(*given)
    if len(found) < len(theirs):
        return f"{len(found)} results, not {len(theirs)}"
    found = found[:len(theirs)]
    for mine, his in zip(found, theirs, strict=True):
        if isinstance(mine, Uncompared):
            continue
        if shape_only:
            if tuple(mine.shape) != tuple(his.shape):
                return f"shape {mine.shape}, not {tuple(his.shape)}"
        elif told := difference(mine, his, scale):
            return told
    theirs = [None if isinstance(m, Uncompared) else t for m, t in zip(found, theirs, strict=True)]
    return gradient_difference(ours, given, tensors, theirs, scale) if gradients else ""


def gradient_difference(ours: Callable, given: list, tensors: list, theirs: list,
                        scale: float) -> str:
    """What differs between the gradients of a weighted sum of all differentiable outputs."""
    import torch
    leaves = [k for k, t in enumerate(tensors) if t.requires_grad]
    kept = [k for k, o in enumerate(theirs)
            if isinstance(o, torch.Tensor) and o.requires_grad and o.dtype.is_floating_point]
    if not leaves or not kept:
        return ""
    weights = {k: weights_of(k, theirs[k].shape, numpy_of(theirs[k]).dtype) for k in kept}
    total = sum((theirs[k] * torch.from_numpy(np.asarray(w))).sum() for k, w in weights.items())
    expected = torch.autograd.grad(total, [tensors[k] for k in leaves], allow_unused=True)

    def loss(*arrays):
        outputs = ours(*arrays)
        parts = [(outputs[k] * lamella.asarray(w)).sum() for k, w in weights.items()]
        return sum(parts[1:], parts[0])

    found = lamella.grad(loss, tuple(leaves))(*given)
    for k, mine, his in zip(leaves, found, expected, strict=True):
        his = torch.zeros_like(tensors[k]) if his is None else his
        if told := difference(mine, his, GRADIENT * scale):
            return f"gradient {k}: {told}"
    return ""


# ---- one entry ----------------------------------------------------------------------------------

def run(name: str, op, most: int) -> Outcome:
    """The outcome of an entry that the table has."""
    import torch
    out, function = Outcome(name), torch_table.TABLE[name]
    shape_only = name in torch_table.SHAPE_ONLY
    for dtype in dtypes_of(op):
        differentiable = op.supports_autograd and dtype.is_floating_point \
            and not shape_only
        torch.manual_seed(0)
        samples = op.sample_inputs("cpu", dtype, requires_grad=differentiable)
        for k, sample in enumerate(chosen(samples, most)):
            try:
                told = within(SECONDS, check, op, function, sample, shape_only, differentiable,
                              scale_of(name, str(dtype)[6:]))
            except Different as e:
                out.different[str(e)] = out.different.get(str(e), 0) + 1
                continue
            except AttributeError as e:
                if "lamella" in str(e) and "has no attribute" in str(e):
                    out.missing = f"needs {str(e).rsplit(' ', 1)[-1]}"
                    return out
                told = f"AttributeError: {e}"
            except Exception as e:  # an entry may fail in any way; the next one goes on
                told = f"{type(e).__name__}: {e}"
            if told:
                shown = " ".join(told.split())
                out.failures.append(f"{str(dtype)[6:]} sample {k}: {shown[:200]}")
            else:
                out.agreed += 1
    return out


def scale_of(name: str, dtype: str) -> float:
    """How many times the tolerance an entry has in this dtype."""
    wider, scale, _ = torch_table.LOOSER.get(name, ("", 1.0, ""))
    return scale if dtype == wider else 1.0


def within(seconds: int, f: Callable, *args):
    """f of the arguments, or Late after so many seconds of processor time."""
    def late(*_):
        raise Late(f"more than {seconds} s")
    before = signal.signal(signal.SIGPROF, late)
    signal.setitimer(signal.ITIMER_PROF, seconds, 1.0)  # once more where Python drops the error
    try:
        return f(*args)
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


# ---- the whole ----------------------------------------------------------------------------------

def outcomes(names: Sequence[str], known: dict, most: int, record: Path | None = None):
    """(name, outcome) of each entry; None for an excluded one."""
    lines = record.read_text().splitlines() if record and record.exists() else []
    kept = {o.name: o for o in (Outcome(**json.loads(line)) for line in lines)}
    for name in names:
        if name in torch_table.EXCLUDED:
            yield name, None
        elif name not in torch_table.TABLE:
            yield name, Outcome(name, missing="no counterpart yet")
        elif name in kept and kept[name].status != "failed":
            yield name, kept[name]
        else:
            found = run(name, known[name], most)
            if record:
                with record.open("a") as file:
                    file.write(json.dumps(asdict(found)) + "\n")
            yield name, found


def page(found: dict[str, Outcome | None], most: int) -> str:
    """docs/torch_ops.md."""
    counts = summary(found)
    covered = sum(counts.values()) - counts["excluded"]
    lines = ["# PyTorch's operators and Lamella", "",
             "Printed by `python -m bench.torch_ops --write docs/torch_ops.md`. Each entry of "
             "PyTorch's operator\ndatabase is computed by both on the database's own samples.", "",
             f"Of {len(found)} entries {counts['excluded']} are excluded, by the classes below. Of "
             f"the other {covered}, **{counts['passed']} agree "
             f"({counts['passed'] / max(covered, 1):.1%})**, in values and gradients; of "
             f"{counts['shapes_only']} only\nshapes can be compared, {counts['expected_failures']} "
             f"differ on purpose, {counts['failed']} disagree, and {counts['not_covered']} have no "
             f"counterpart.", "", *_limits(most)]
    groups = {"Disagree": "failed", "Without counterpart": "not_covered",
              "Different on purpose": "expected_failures"}
    for title, status in groups.items():
        lines += [f"## {title}", ""]
        for name, o in found.items():
            if o is not None and o.status == status:
                why = o.missing or (o.failures or [*o.different, "no samples"])[0]
                lines.append(f"- `{name}`: {why}".replace("\n", " "))
        lines.append("")
    lines += ["## Shapes only", "", "The numbers are random, or not set.", ""]
    lines += [f"- `{n}`" for n, o in found.items() if o is not None and o.status == "shapes_only"]
    lines += ["", "## Excluded", ""]
    for reason in torch_table.CLASSES:
        names = [n for n in found if torch_table.EXCLUDED.get(n) == reason]
        if names:
            lines.append(f"- {reason}: {', '.join(f'`{n}`' for n in names)}")
    lines += ["", "## Agree", "", "With the number of samples that were compared.", ""]
    for name, o in found.items():
        if o is not None and o.status == "passed":
            notes = "; ".join(f"{n} differ on purpose: {why}" for why, n in o.different.items())
            lines.append(f"- `{name}` ({o.agreed}{f'; {notes}' if notes else ''})")
    return "\n".join(lines) + "\n"


def _limits(most: int) -> list[str]:
    """How closely values and gradients must agree."""
    lines = ["## Limits", "",
             f"At most {most} samples of each entry and dtype, spread evenly over the database's; "
             f"float32 and float64,\nor an integer dtype, bool or complex64 where an entry takes "
             f"no floats. A sample may take {SECONDS} s of processor time.", "",
             "| dtype | relative | of the largest element |", "|---|---|---|"]
    lines += [f"| {name} | {relative:.0e} | {absolute:.0e} |"
              for name, (relative, absolute) in TOLERANCE.items()]
    lines += ["", f"Gradients: {GRADIENT:.0f} times as much. Wider for", ""]
    by_reason: dict[tuple, list[str]] = {}
    for name, limit in torch_table.LOOSER.items():
        by_reason.setdefault(limit, []).append(name)
    lines += [f"- {', '.join(f'`{n}`' for n in names)} in {dtype}, {scale:,.0f} times: {reason}"
              for (dtype, scale, reason), names in by_reason.items()]
    return [*lines, ""]


def summary(found: dict[str, Outcome | None]) -> dict[str, int]:
    counts = dict.fromkeys(("passed", "failed", "expected_failures", "not_covered", "shapes_only",
                            "excluded"), 0)
    for o in found.values():
        counts["excluded" if o is None else o.status] += 1
    return counts


def main(arguments: Sequence[str] | None = None) -> dict[str, int]:
    """Compare; gives and prints the counts of outcomes."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", help="entries, or beginnings of names ending in *, with commas")
    parser.add_argument("--samples", type=int, default=24, help="at most, of each entry and dtype")
    parser.add_argument("--record", type=Path, help="keep outcomes, and go on from them")
    parser.add_argument("--write", type=Path, help="write the page")
    parser.add_argument("--quiet", action="store_true", help="print only the last line")
    given = parser.parse_args(arguments)
    os.environ.setdefault("PYTORCH_TESTING_DEVICE_ONLY_FOR", "cpu")
    warnings.simplefilter("ignore")
    known = entries()
    names = sorted(known)
    if given.only:
        names = [n for n in names if any(
            n.startswith(w[:-1]) if w.endswith("*") else n == w for w in given.only.split(","))]
    found: dict[str, Outcome | None] = {}
    for name, o in outcomes(names, known, given.samples, given.record):
        found[name] = o
        if not given.quiet and o is not None and o.status in ("failed", "not_covered"):
            why = o.missing or (o.failures or ["no sample ran"])[0]
            more = f" (+{len(o.failures) - 1})" if len(o.failures) > 1 else ""
            print(f"{o.status:12} {name}: {why}{more}; {o.agreed} agreed", flush=True)
    if given.write:
        given.write.write_text(page(found, given.samples), encoding="utf-8")
    counts = summary(found)
    print(json.dumps({"suite": "torch-ops", **counts}))
    return counts


if __name__ == "__main__":
    sys.exit(1 if main()["failed"] else 0)
