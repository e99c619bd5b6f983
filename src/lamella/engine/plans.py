"""Plans by what decides them: a program that was planned before is not planned again.

What is kept is the plan, the names of its kernels' code in the object cache, and where its
temporaries lie. The key is the hash of the program's text (with its source lines), what may be
overwritten, the target, the versions, and Lamella's own files.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from functools import cache
from pathlib import Path

import msgspec

from ..base import knobs
from ..codegen.gpu import GpuTarget
from ..ir.printer import to_text
from ..ir.program import Program
from ..lang.order import VERSION
from ..planner.build import build_plan
from ..planner.memory.budget import Budget
from ..planner.memory.place import Layout, laid, place
from ..planner.plan import Plan
from ..planner.saved import Unsavable, from_bytes, to_bytes
from ..runtime import llvm, walker
from ..runtime.cache import process_cache
from . import kernels
from .executable import Executable
from .value import Value


def executable(program: Program, donated: frozenset[int], fixed: Mapping[int, Value],
               budget: Budget | None = None, fast: bool = False, folder: str = "") -> Executable:
    """The program ready to run, by a plan of the cache where it is there. `fixed` are the values of
    inputs that never change; a `fast` plan may sum in other orders; in `folder` are the files of a
    plan that spills. BudgetError, before anything is compiled, where no plan keeps the budget."""
    key = _key(program, donated, frozenset(fixed), budget, fast)
    kept = _kept(key, program)
    if kept is not None:
        return Executable(kept[0], None, fixed, kept[1], folder)
    with kernels.Compilation() as new:
        plan = build_plan(program, kernels.target(), donated, frozenset(fixed), budget=budget,
                          fast=fast, ahead=new.add, threads=walker.threads())
        distinct = _distinct(plan)
        for kernel in distinct:
            new.add(kernel)
        layout = None if plan.symbols else place(plan, {})
        saved = _saved(plan)
        new.finish()
    if saved:
        offsets = layout and [i.offset for i in layout.intervals]
        names = kernels.names_of(distinct)
        process_cache().put(key, msgspec.msgpack.encode([saved, names, offsets]))
    return Executable(plan, None, fixed, layout, folder)


def plan_for(target: GpuTarget, program: Program, donated: frozenset[int],
             budget: Budget | None = None) -> Plan:
    """The program's plan for a device of that target, from the cache where it is there. Its kernels
    are compiled by a compiler that has a cache of its own."""
    key = _hash("plan for a device", to_text(program), str(sorted(donated)), repr(budget),
                target.name, str(target.tuned))
    found = process_cache().get(key)
    if found is not None:
        return from_bytes(found, program)
    plan = build_plan(program, target, donated, budget=budget)
    if saved := _saved(plan):
        process_cache().put(key, saved)
    return plan


def _saved(plan: Plan) -> bytes:
    """The plan as bytes; none where it cannot be."""
    try:
        return to_bytes(plan)
    except Unsavable:
        return b""


def _kept(key: str, program: Program) -> tuple[Plan, Layout | None] | None:
    """The plan under the key, and where its temporaries lie if it has no symbols."""
    found = process_cache().get(key)
    if found is None:
        return None
    data, names, offsets = msgspec.msgpack.decode(found)
    plan = from_bytes(data, program)
    kernels.adopt(_distinct(plan), names)
    if knobs.logs("compile"):
        print(f"lamella: the plan of {program.name} is from the cache")
    return plan, None if offsets is None else laid(plan, offsets)


def _distinct(plan: Plan) -> list:
    """The kernels of a plan, each once."""
    return list({id(s.kernel): s.kernel for s in (*plan.prologue, *plan.launches())}.values())


def _key(program: Program, donated: frozenset[int], fixed: frozenset[int] = frozenset(),
         budget: Budget | None = None, fast: bool = False) -> str:
    at = kernels.target()
    return _hash("plan", to_text(program), str(sorted(donated)), str(sorted(fixed)), repr(budget),
                 str(fast), str(walker.threads()), at.name, str(at.threads), str(at.tuned),
                 llvm.version())


def _hash(*parts: str) -> str:
    """Of all that decides a plan: these parts, and Lamella's own files."""
    return hashlib.sha256("\0".join((*parts, str(VERSION), _own_files())).encode()).hexdigest()


@cache
def _own_files() -> str:
    """What changes when a file of this package does: names, sizes and times."""
    root = Path(__file__).resolve().parent.parent
    seen = ((p, p.stat()) for p in sorted(root.rglob("*.py")))
    return " ".join(f"{p.relative_to(root)}:{s.st_size}:{s.st_mtime_ns}" for p, s in seen)
