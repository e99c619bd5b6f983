"""Law: a batched op is the op of each member of the batch, stacked, bit for bit."""

from itertools import product

import numpy as np
import pytest
from ops.cases import CASES, inputs_of, is_float, run, same_bits

from lamella.base.errors import ShapeError
from lamella.ir.program import Program
from lamella.transform.vmap import batch

SIZE = 3


def members(case) -> list[list[np.ndarray]]:
    """Three versions of the sample's arrays: itself, its elements rolled, and reversed."""
    return [case.arrays, [np.roll(a.reshape(-1), 1).reshape(a.shape) for a in case.arrays],
            [np.flip(a.reshape(-1)).reshape(a.shape).copy() for a in case.arrays]]


def choices(case) -> list[tuple[bool, ...]]:
    """Which inputs are batched: all, each alone, all but each."""
    count = len(case.arrays)
    found = [tuple(k == j for j in range(count)) for k in range(count)]
    found += [tuple(k != j for j in range(count)) for k in range(count)] if count > 2 else []
    return list(dict.fromkeys([(True,) * count, *found])) if count else []


CHOICES = [(c, flags) for c in CASES for flags in choices(c)]


def batched(case, flags, versions) -> tuple[Program, list[np.ndarray]]:
    arrays = [np.stack([v[k] for v in versions]) if flag else case.arrays[k]
              for k, flag in enumerate(flags)]
    single, given = case.program(), inputs_of(arrays)
    stop = [i for i, f in zip(single.inputs, flags, strict=True) if f]
    more = [g for g, f in zip(given, flags, strict=True) if f]
    outputs = batch(single.outputs, stop, more, SIZE)
    inputs = [g if f else i for i, g, f in zip(single.inputs, given, flags, strict=True)]
    return Program(inputs, outputs), arrays


@pytest.mark.parametrize(("case", "flags"), CHOICES,
                         ids=[f"{c.name}-{''.join('ib'[f] for f in flags)}"
                              for c, flags in CHOICES])
def test_a_batch_is_its_members_stacked(case, flags):
    versions = members(case)
    try:
        program, arrays = batched(case, flags, versions)
    except ShapeError as e:
        assert "inside vmap" in str(e)  # a stated limit that names the remedy
        assert any(f and not is_float(a) for f, a in zip(flags, case.arrays, strict=True))
        return
    together, = run(program, arrays)
    for k, version in enumerate(versions):
        mixed = [v if f else a for v, f, a in zip(version, flags, case.arrays, strict=True)]
        alone, = run(case.program(), mixed)
        assert same_bits(together[k], alone)


def test_a_batch_of_batches_is_a_batch():
    """Batching twice must not confuse the two axes."""
    case = next(c for c in CASES if c.op.name == "contract")
    a, b = case.program().inputs
    outer = inputs_of([np.zeros((2, 3, *x.shape), x.dtype) for x in case.arrays])
    inner = inputs_of([np.zeros((3, *x.shape), x.dtype) for x in case.arrays])
    once = batch([case.apply([a, b])], [a, b], inner, 3)
    twice = batch(once, inner, outer, 2)
    rng = np.random.default_rng(8)
    arrays = [rng.standard_normal(n.shape).astype(np.float32) for n in outer]
    together, = run(Program(outer, twice), arrays)
    for i, j in product(range(2), range(3)):
        alone, = run(case.program(), [x[i, j] for x in arrays])
        assert same_bits(together[i, j], alone)

