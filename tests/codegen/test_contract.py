"""The register tiles of contractions: right to the bit, and held in registers."""

import re

import numpy as np
import pytest
from codegen.machine import TARGETS, check

from lamella.base.dtypes import float32, index
from lamella.codegen import emit
from lamella.lang import scalar
from lamella.lang.expr import lit, load, var
from lamella.lang.loops import LANES, Buffer, Kernel, Loop, Set, Store, index_var
from lamella.runtime import llvm

K, k, u, t = map(index_var, "Kkut")


def nat(n):
    return lit(n, index)


def micro_kernel(rows: int, columns: int, packed: bool = True, unroll: int = 1) -> Kernel:
    """c[rows, columns * LANES] += a . b over K, from panels a[K, rows] (or a[rows, K]) and b."""
    cells = [(i, j) for i in range(rows) for j in range(columns)]
    acc = {c: var(f"c{c[0]}_{c[1]}", float32, LANES) for c in cells}
    at = {(i, j): nat((i * columns + j) * LANES) for i, j in cells}
    step = k * unroll + u
    body = []
    for i, j in cells:
        a = load("a", step * rows + i if packed else nat(i) * K * unroll + step, float32)
        b = load("b", step * (columns * LANES) + j * LANES, float32, LANES)
        body.append(Set(acc[i, j], scalar.fma(a, b, acc[i, j])))
    tile = [Set(acc[c], load("c", at[c], float32, LANES)) for c in cells]
    tile += [Loop(k, nat(0), K, [Loop(u, nat(0), nat(unroll), body, "unroll")])]
    tile += [Store("c", at[c], acc[c]) for c in cells]
    buffers = [Buffer("a", float32), Buffer("b", float32), Buffer("c", float32, True)]
    return Kernel("micro", buffers, [K], [Loop(t, nat(0), nat(0), tile, "parallel")])


TILES = [(target, *tile) for target in TARGETS for tile in target.contract_tiles]


@pytest.mark.parametrize("target,rows,columns", TILES, ids=str)
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "rows"])
def test_tiles_stay_in_registers(target, rows, columns, packed):
    source = emit(micro_kernel(rows, columns, packed), target)
    text = llvm.assembly(source.text, cpu=target.cpu, features=target.features)
    fused = [line for line in text.splitlines() if "vfmadd" in line]
    assert len(fused) == rows * columns * 512 // target.vector_bits
    assert not [line for line in text.splitlines()
                if re.search(r"[yz]mm", line) and re.search(r"\((%rsp|%rbp)\)", line)]


@pytest.mark.parametrize("rows,columns,unroll", [(14, 2, 1), (6, 1, 1), (3, 2, 4)])
@pytest.mark.parametrize("packed", [True, False], ids=["packed", "rows"])
def test_tiles_are_ascending_chains_of_fused_steps(rows, columns, unroll, packed):
    rng = np.random.default_rng(0)
    for depth in (0, 1, 5):
        shapes = {"a": rows * depth * unroll, "b": depth * unroll * columns * LANES,
                  "c": rows * columns * LANES}
        arrays = {name: rng.standard_normal(max(n, 1)).astype(np.float32)
                  for name, n in shapes.items()}
        check(micro_kernel(rows, columns, packed, unroll), arrays, [depth])
