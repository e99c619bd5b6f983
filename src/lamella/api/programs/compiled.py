"""Compiled: a Python function as planned programs, one for each kind of arguments.

The function is called once for each kind (structure, dtypes, shapes), on stand-ins; what it did is
a Program, which is planned, compiled and from then on run.
"""

from __future__ import annotations

import functools
import os
import sys
from typing import Any

from ...base import knobs, outline
from ...base.devices import cpu
from ...base.errors import AllocationError, UnsupportedError
from ...engine.executable import Executable
from ...engine.kernels import target
from ...engine.measure import Measurement
from ...engine.measure import measure as run_measured
from ...engine.pause import collection_paused
from ...engine.profile import profile
from ...ir.types import TensorType
from ...planner.build import build_plan
from ...planner.build import memory_curve as memory_curve_of
from ...planner.memory.budget import Point
from ...planner.report import Report
from ...planner.staged import StagedReport
from ...runtime.walker import threads
from ..arrays.scope import state
from ..arrays.values import error, locate
from .donation import donated_leaves
from .entry import Entry
from .leaf import type_of, value_of
from .options import Options
from .parameters import Parameters
from .sizes import symbolic, values_of_symbols
from .traced import traced


class Compiled:
    """A function that runs as planned programs; made by `compile`."""

    def __init__(self, parameters: Parameters, options: Options):
        functools.update_wrapper(self, parameters.f)
        self.f, self.name, self.count = parameters.f, parameters.name, parameters.count
        self.parameters, self.options = parameters, options
        self.entries: dict[tuple, Entry] = {}
        self.known: dict[tuple, tuple[Entry, tuple, list]] = {}
        self.last: tuple[tuple, Entry | None] = (), None    # structures and entry of a call

    def __call__(self, *args, **kwargs):
        if kwargs or len(args) != self.count:
            args = self.parameters.arguments(args, kwargs)
        if state.scopes:  # a part of what is being derived, batched or compiled around it
            return self.f(*args)
        leaves, structures = outline.flatten_arguments(args)
        last_structures, entry = self.last
        try:
            if entry and structures == last_structures:
                gone = entry.taker() if entry.donated else None
                results = entry.executable.call(leaves + entry.captured, gone)
                if results is not None:
                    return entry.returned(results)
            return self._looked_up(args, leaves, structures)
        except AllocationError as e:
            locate(e)
            raise

    def _looked_up(self, args: tuple, leaves: list, structures: tuple):
        """A call with other types than the last, or with what is no array or has no value yet."""
        types = self._types(leaves)
        entry = self._found(args, structures, types)
        self.last = structures, entry
        return entry.returned(entry.run([value_of(a) for a in leaves + entry.captured]))

    def __get__(self, instance: Any, owner: type | None = None):
        return self if instance is None else functools.partial(self, instance)

    def _found(self, args: tuple, structures: tuple, types: list[TensorType]) -> Entry:
        """The specialisation of a call, looked up by the ids of shared structures and types first,
        which are cheaper to hash; they are kept alive, so that their ids stay theirs."""
        key = (*map(id, structures), *map(id, types))
        found = self.known.get(key)
        if found is not None:
            return found[0]
        entry = self._entry(args, structures, types)
        if all(map(outline.is_shared, structures)):
            if len(self.known) > 4096:
                self.known.clear()
            self.known[key] = entry, structures, types
        return entry

    def _entry(self, args: tuple, structures: tuple, types: list[TensorType]) -> Entry:
        """The specialisation for arguments of these types, made at the first call."""
        types = self._symbolic(structures, types)
        key = (structures, *types)
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = self._compile(key, args, structures, types)
        return entry

    def _compile(self, key: tuple, args: tuple, structures: tuple,
                 types: list[TensorType]) -> Entry:
        if knobs.logs("compile"):
            print(f"lamella: compiling {self.name}: {self._reason(key)}", file=sys.stderr)
        with collection_paused():
            return Entry(traced(self.f, args, types, self.name), self.options,
                         donated_leaves(self.options.donate, structures))

    def _reason(self, key: tuple) -> str:
        if not self.entries:
            return "first call"
        last = next(reversed(self.entries))
        if last[0] != key[0]:
            return "the structure of the arguments changed"
        changed = [f"leaf {k}: {a} -> {b}" for k, (a, b) in enumerate(zip(last[1:], key[1:],
                                                                          strict=True)) if a != b]
        return "types changed, " + "; ".join(changed[:3])

    def _types(self, leaves: list) -> list[TensorType]:
        """The types of a call's leaves, where the function runs."""
        found, device = [type_of(a, self.name) for a in leaves], self.options.device
        return found if device is cpu else [t.on(device) for t in found]

    def _symbolic(self, structures: tuple, types: list[TensorType]) -> list[TensorType]:
        """The types with what `sizes` declares in place of a call's extents."""
        sizes = self.options.sizes
        return symbolic(self.name, sizes, structures, types) if sizes else types

    def _prepared(self, args: tuple, kwargs: dict):
        """(arguments, leaves, structures, types) of a call."""
        args = self.parameters.arguments(args, kwargs)
        leaves, structures = outline.flatten_arguments(args)
        return args, leaves, structures, self._types(leaves)

    def _traced(self, args: tuple, kwargs: dict):
        """(what these arguments or specs ask for, their types, what is donated)."""
        args, _, structures, given = self._prepared(args, kwargs)
        found = traced(self.f, args, self._symbolic(structures, given), self.name)
        return found, given, frozenset(donated_leaves(self.options.donate, structures))

    def within(self, memory: str | int | None, spill: bool | str | os.PathLike = False) -> Compiled:
        """The same function with another budget, not compiled yet; spilling where it did, or where
        `spill` says so."""
        return Compiled(self.parameters, self.options.within(self.name, memory, spill))

    def reports(self) -> list[Report | StagedReport]:
        """The plans of what was compiled so far, of programs with symbols at their bounds."""
        return [e.executable.report(threads()) for e in self.entries.values()]

    def plan(self, *args, **kwargs) -> Report | StagedReport:
        """The plan for these arguments or specs; nothing is compiled."""
        asked = self.options
        found, given, donated = self._traced(args, kwargs)
        env = values_of_symbols(found.program, given)
        if asked.elsewhere(found.program):
            from ...engine.placed import report  # devices are loaded where programs run there

            return report(found.program, asked.home, donated, asked.budget, threads(), env)
        with collection_paused():
            plan = build_plan(found.program, target(), donated, frozenset(found.fixed()),
                              budget=asked.budget, fast=asked.fast, threads=threads())
        return Report(plan, profile(), threads(), env)

    def memory_curve(self, *args, **kwargs) -> list[Point]:
        """The plans that memory budgets choose from, for these arguments or specs."""
        found, _, donated = self._traced(args, kwargs)
        if self.options.elsewhere(found.program):
            raise error(UnsupportedError, f"memory_curve: {self.name} runs on a device; leave "
                                          "device out, or ask plan(..., memory=...)")
        with collection_paused():
            return memory_curve_of(found.program, target(), donated, frozenset(found.fixed()),
                                   threads(), self.options.fast, self.options.spills)

    def measure(self, *args, **kwargs) -> Measurement:
        """Bytes really touched and time, step by step, of a call, on copies of its arguments."""
        args, leaves, structures, types = self._prepared(args, kwargs)
        entry = self._entry(args, structures, types)
        values = [value_of(a) for a in leaves + entry.captured]
        if isinstance(entry.executable, Executable):
            return run_measured(entry.executable, values)
        return entry.executable.measure(values)
