"""compile, trace, plan and explain: a Python function as one planned program.

The function is called once for each kind of arguments (structure, dtypes, shapes), on stand-ins;
what it did is a Program, which is planned, compiled and from then on run. Python side effects
happen while tracing only; Python numbers given as arguments are 0-d inputs; arrays it closes over
become inputs.
"""

from __future__ import annotations

import functools
import inspect
import os
import sys
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from ...base import devices, knobs, outline, source, tree
from ...base.devices import Device, cpu
from ...base.dtypes import as_dtype, bool_, float32, int32
from ...base.errors import (
    AllocationError,
    DonatedError,
    DTypeError,
    LamellaError,
    ShapeError,
    UnsupportedError,
)
from ...base.extents import Extent, Size, solve
from ...engine.executable import Executable
from ...engine.kernels import target
from ...engine.measure import Measurement
from ...engine.measure import measure as run_measured
from ...engine.pause import collection_paused
from ...engine.plans import executable
from ...engine.profile import profile
from ...engine.value import Donated, Value
from ...ir.node import Node, literal, placeholder
from ...ir.program import Program, replaced
from ...ir.types import TensorType, tensor
from ...planner.build import build_plan
from ...planner.build import memory_curve as memory_curve_of
from ...planner.elsewhere import elsewhere
from ...planner.memory.budget import Budget, Point
from ...planner.pricing.roofline import device
from ...planner.report import Report
from ...planner.staged import StagedReport
from ...planner.stages import crosses
from ...runtime.blocks import DeviceBlock
from ...runtime.memory import Block
from ..arrays.array import Array, asarray, wrap
from ..arrays.placing import compute_device, placed
from ..arrays.scope import Scope, state
from ..arrays.shapes import as_shape
from ..arrays.values import error, force, locate, located, settle
from . import effects
from .amounts import parse_bytes
from .closing import captured, mark

_NUMBERS = {bool: tensor(bool_, ()), int: tensor(int32, ()), float: tensor(float32, ())}


class Spec:
    """The type of an argument without its values: `spec((32, 64), "float32")`."""

    __slots__ = ("type",)

    def __init__(self, shape: tuple[Extent, ...], dtype="float32"):
        self.type = tensor(as_dtype(dtype), as_shape(shape, "spec"))

    @property
    def shape(self) -> tuple:
        return self.type.shape

    @property
    def dtype(self):
        return self.type.dtype

    def __repr__(self) -> str:
        return f"spec({self.type})"


def spec(shape: tuple[Extent, ...], dtype="float32") -> Spec:
    """A stand-in for an array: its extents (integers or symbols) and dtype; holds no values."""
    return Spec(shape, dtype)


class Traced:
    """A function's Program: `structure` of the results, `captured` nodes behind extra inputs."""

    __slots__ = ("captured", "program", "structure")

    def __init__(self, program: Program, structure: Any, captured: list[Node]):
        self.program, self.structure, self.captured = program, structure, captured

    def fixed(self) -> dict[int, Value]:
        """The captured arrays' values, by the numbers of their inputs."""
        first = len(self.program.inputs) - len(self.captured)
        return {first + k: n.data for k, n in enumerate(self.captured)}


class Entry:
    """One compiled specialisation."""

    __slots__ = ("captured", "donated", "executable", "structure")

    def __init__(self, executable: Any, structure: Any, captured: list[Node], donated: list[int],
                 device: Device | None = None):
        self.executable = executable
        self.captured = [wrap(placed(n, device)) for n in captured]
        self.structure = tree.LEAF if structure == tree.LEAF else structure
        self.donated = donated
        executable.sign(Array, donated)

    def returned(self, arrays: list[Array]) -> Any:
        """The results as the function returns them."""
        s = self.structure
        if s is tree.LEAF:
            return arrays[0]
        return outline.unflatten(s, arrays if len(arrays) == s.num_leaves else
                                 arrays[:s.num_leaves])


class Compiled:
    """A function that runs as planned programs; made by `compile`."""

    def __init__(self, f: Callable, donate, memory, sizes: Mapping[str, tuple], device=None,
                 fast: bool = False, spill: bool | str | os.PathLike = False):
        if not callable(f):
            raise error(LamellaError, f"compile: takes a function, got {type(f).__name__}")
        functools.update_wrapper(self, f)
        self.f, self.name = f, getattr(f, "__name__", type(f).__name__)
        self.parameters, self.variadic = _parameters(f)
        self.budget = None if memory is None else located(parse_bytes)(memory)
        self.donate = frozenset(self._position(d) for d in _as_tuple(donate))
        self.sizes = {self._position(k): _extents(k, v) for k, v in sizes.items()}
        self.device, self.fast = compute_device("compile", device), _as_flag(fast)
        if self.fast and self.device is not cpu:
            raise error(UnsupportedError, f"compile: {self.name} runs on {self.device}, which has "
                                          "no fast mode; leave fast or device out")
        self.spills, self.folder = bool(spill), "" if spill is True else os.fspath(spill or "")
        if self.folder and self.device is not cpu:
            raise error(UnsupportedError, f"compile: {self.name} runs on {self.device}, whose "
                                          "values rest in this machine's memory; write spill=True")
        self.entries: dict[tuple, Entry] = {}
        self.known: dict[tuple, tuple[Entry, tuple, list]] = {}
        self.last: tuple[tuple, Entry | None] = (), None    # structures and entry of a call

    def _position(self, parameter: str | int) -> int:
        known = self.parameters
        if isinstance(parameter, int) and (self.variadic or 0 <= parameter < len(known)):
            return parameter
        if parameter in known:
            return known.index(parameter)  # type: ignore[arg-type]
        names = f"it has {', '.join(known)}" if known else "it has none that are named"
        raise error(LamellaError, f"{self.name} has no parameter {parameter!r}; {names}")

    def arguments(self, args: tuple, kwargs: dict) -> tuple:
        """Positional arguments, keywords put in their places and defaults filled in."""
        if not kwargs and (self.variadic or len(args) == len(self.parameters)):
            return args
        if self.variadic:
            raise error(LamellaError, f"{self.name} takes *args or **kwargs: pass its arguments by "
                                      "position when it is compiled")
        fixed = [n for n in kwargs if n not in self.parameters]
        if fixed:
            raise error(LamellaError, f"{self.name}: {', '.join(fixed)} is not positional; "
                                      "fix it with functools.partial before compiling")
        try:
            bound = inspect.signature(self.f).bind(*args, **kwargs)
        except TypeError as e:
            raise TypeError(f"{self.name}: {e}") from None
        bound.apply_defaults()
        return tuple(bound.arguments[n] for n in self.parameters)

    def __call__(self, *args, **kwargs):
        if kwargs or self.variadic or len(args) != len(self.parameters):
            args = self.arguments(args, kwargs)
        if state.scopes:  # a part of what is being derived, batched or compiled around it
            return self.f(*args)
        leaves, structures = outline.flatten_arguments(args)
        last_structures, entry = self.last
        try:
            if entry and structures == last_structures:
                results = entry.executable.call(leaves + entry.captured, self._taker(entry))
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
        values = [_value_of(a) for a in leaves + entry.captured]
        results = self._donating(values, entry) if entry.donated else entry.executable(values)
        return entry.returned([Array(v) for v in results])

    def __get__(self, instance: Any, owner: type | None = None):
        return self if instance is None else functools.partial(self, instance)

    def _taker(self, entry: Entry) -> Donated | None:
        """What stands for the memory that a call takes; what may depend on it is evaluated."""
        if not entry.donated:
            return None
        settle()
        return Donated(self.name, source.here())

    def _donating(self, values: list[Value], entry: Entry) -> list[Value]:
        gone = self._taker(entry)
        values = _given_away(values, entry.donated)
        results = entry.executable(values)
        for k in entry.donated:
            values[k].owner = gone
            values[k].address = None  # type: ignore[assignment]
        return results

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
        if self.sizes:
            types = self._symbolic(structures, types)
        key = (structures, *types)
        entry = self.entries.get(key)
        if entry is None:
            entry = self.entries[key] = self._compile(key, args, structures, types)
        return entry

    def _donated_leaves(self, structures: tuple) -> list[int]:
        out: list[int] = []
        at = 0
        for k, s in enumerate(structures):
            if k in self.donate:
                out += range(at, at + s.num_leaves)
            at += s.num_leaves
        return out

    def _symbolic(self, structures: tuple, types: list[TensorType]) -> list[TensorType]:
        """Types with declared symbols in place of the extents of this call."""
        out: list[TensorType] = []
        env: dict[str, int] = {}
        for k, s in enumerate(structures):
            declared = self.sizes.get(k)
            for t in types[len(out):len(out) + s.num_leaves]:
                out.append(t if declared is None else _declared(self.name, t, declared, env))
        return out

    def _compile(self, key: tuple, args: tuple, structures: tuple,
                 types: list[TensorType]) -> Entry:
        if knobs.logs("compile"):
            print(f"lamella: compiling {self.name}: {self._reason(key)}", file=sys.stderr)
        with collection_paused():
            traced = trace_types(self.f, args, types, self.name)
            home, donated = self._home(), self._donated_leaves(structures)
            made = self._made(traced, frozenset(donated), home)
            return Entry(made, traced.structure, traced.captured, donated, home)

    def _made(self, traced: Traced, donated: frozenset[int], home: Device | None) -> Any:
        """The program ready to run."""
        if not self._elsewhere(traced.program):
            return executable(traced.program, donated, traced.fixed(), self._budget(), self.fast,
                              self.folder)
        from ...engine.placed import Placed  # devices are loaded where programs run there

        return Placed(traced.program, home, donated, True, self._budget())

    def _home(self) -> Device | None:
        """The device that was asked for; None where each part runs where its operands are."""
        return None if self.device is cpu else self.device

    def _elsewhere(self, program: Program) -> bool:
        """Whether anything of the program runs on a device beside the processor."""
        if not devices.beside or (self.device is cpu and not crosses(program)):
            return False
        if self.fast or self.folder:
            raise error(UnsupportedError, f"compile: a part of {self.name} runs on a device, which "
                                          "has no fast mode and no files; leave both out")
        return True

    def _reason(self, key: tuple) -> str:
        if not self.entries:
            return "first call"
        last = next(reversed(self.entries))
        if last[0] != key[0]:
            return "the structure of the arguments changed"
        changed = [f"leaf {k}: {a} -> {b}" for k, (a, b) in enumerate(zip(last[1:], key[1:],
                                                                          strict=True)) if a != b]
        return "types changed, " + "; ".join(changed[:3])

    def _budget(self) -> Budget | None:
        return None if self.budget is None else Budget(self.budget, threads(), self.spills)

    def within(self, memory: str | int | None, spill: bool | str | os.PathLike = False) -> Compiled:
        """The same function with another budget, not compiled yet; spilling where it did, or where
        `spill` says so."""
        spill = spill or (self.spills and (self.folder or True))
        found = Compiled(self.f, tuple(self.donate), memory, {}, self.device, self.fast, spill)
        found.sizes = self.sizes
        return found

    def _prepared(self, args: tuple, kwargs: dict):
        """(arguments, leaves, structures, types) of a call."""
        args = self.arguments(args, kwargs)
        leaves, structures = outline.flatten_arguments(args)
        return args, leaves, structures, self._types(leaves)

    def _types(self, leaves: list) -> list[TensorType]:
        """The types of a call's leaves, where the function runs."""
        found = [_type_of(a, self.name) for a in leaves]
        return found if self.device is cpu else [t.on(self.device) for t in found]

    def measure(self, *args, **kwargs) -> Measurement:
        """Bytes really touched and time, step by step, of a call, on copies of its arguments."""
        args, leaves, structures, types = self._prepared(args, kwargs)
        entry = self._entry(args, structures, types)
        if not isinstance(entry.executable, Executable):
            raise error(UnsupportedError, f"measure: {self.name} runs on a device, where nothing "
                                          "is measured yet; leave device out")
        values = [_value_of(a) for a in leaves + entry.captured]
        return run_measured(entry.executable, values)

    def _traced(self, args: tuple, kwargs: dict):
        """(the program that these arguments or specs ask for, their types, what is donated)."""
        args, _, structures, given = self._prepared(args, kwargs)
        types = self._symbolic(structures, given) if self.sizes else given
        traced = trace_types(self.f, args, types, self.name)
        return traced, given, frozenset(self._donated_leaves(structures))

    def reports(self) -> list[Report | StagedReport]:
        """The plans of what was compiled so far, of programs with symbols at their bounds."""
        return [e.executable.report(threads()) for e in self.entries.values()]

    def memory_curve(self, *args, **kwargs) -> list[Point]:
        """The plans that memory budgets choose from, for these arguments or specs."""
        traced, _, donated = self._traced(args, kwargs)
        if self._elsewhere(traced.program):
            raise error(UnsupportedError, f"memory_curve: {self.name} runs on a device; leave "
                                          "device out, or ask plan(..., memory=...)")
        return memory_curve_of(traced.program, target(), donated, frozenset(traced.fixed()),
                               threads(), self.fast, self.spills)

    def plan(self, *args, **kwargs) -> Report | StagedReport:
        """The plan for these arguments or specs; nothing is compiled."""
        traced, given, donated = self._traced(args, kwargs)
        env = _bound_symbols(traced.program, given)
        if self._elsewhere(traced.program):
            from ...engine.placed import report

            return report(traced.program, self._home(), donated, self._budget(), threads(), env)
        plan = build_plan(traced.program, target(), donated, frozenset(traced.fixed()),
                          budget=self._budget(), fast=self.fast, threads=threads())
        return Report(plan, profile(), threads(), env)


def compile(f: Callable | None = None, *, donate: str | int | tuple = (),
            memory: str | int | None = None, sizes: Mapping[str, tuple] | None = None,
            device: str | Device | None = None, fast: bool = False,
            spill: bool | str | os.PathLike = False):
    """f as one planned and compiled program; may be used as a decorator.

    donate: parameters (names or positions) whose arrays the call may overwrite; they cannot be used
    afterwards. memory: a budget in bytes ("64 MiB"): where the plan needs more, values are computed
    again instead of kept (the bits stay the same); where that does not help either, BudgetError
    says what would, before anything is compiled. spill: to keep the budget, values may also rest in
    a file between their uses, in the folder of that name, or (True) in that for temporary files,
    which should lie on a disk; ExecutionError where that is full. Those of a GPU rest in this
    machine's memory. sizes: symbols for extents that
    vary, for example `sizes={"x": (symbol("B", 1, 256), None)}`: one compile then serves every
    value in the bounds.
    Called within a transform or another compiled function it is a part of that: f as it was
    written, which donates nothing, has no budget of its own and is not fast. On a method, self is
    an argument.
    device: "cuda:0" runs it on that GPU, to which arguments that are elsewhere are copied at each
    call, and where its results stay; without it each operation runs where its operands are, and
    `to_device` within the function is a transfer of its plan.
    MissingExtra or UnsupportedError where the GPU or what it needs is not here. fast: sums may be
    computed in other orders and by other algorithms than the rules of docs/numerics.md state, where
    that is faster: the bits are then not those of the uncompiled function, but still the same at
    every call and at any number of threads. Convolutions with 3 x 3 taps of float32 are the first
    to gain, by Winograd's F(4x4, 3x3).
    """
    if f is None:
        return functools.partial(compile, donate=donate, memory=memory, sizes=sizes, device=device,
                                 fast=fast, spill=spill)
    return Compiled(f, donate, memory, sizes or {}, device, fast, spill)


def _extents(parameter: str | int, given: Any) -> tuple:
    """What `sizes` says of a parameter: a symbol, a number or None (any) for each axis."""
    if not isinstance(given, tuple | list) or not all(
            e is None or isinstance(e, int | Size) for e in given):
        raise error(ShapeError, f"compile: sizes of {parameter!r} are a tuple with a symbol, a "
                                f"number or None for each axis, got {given!r}")
    return tuple(given)


def trace(f: Callable, *args) -> Program:
    """The Program that f does for arguments (arrays or specs) of these types."""
    f = f.f if isinstance(f, Compiled) else f
    name = getattr(f, "__name__", type(f).__name__)
    leaves, _ = tree.flatten(args)
    return trace_types(f, args, [_type_of(a, name) for a in leaves], name).program


def plan(f: Callable, *args, memory: str | int | None = None, profile: str | None = None,
         spill: bool = False, **kwargs) -> Report | StagedReport:
    """What a call of f with these arguments (arrays or specs) needs; nothing is compiled or run.

    memory: a budget in bytes ("64 MiB") that the plan keeps in place of f's own; BudgetError where
    none is found that does. spill: values may rest in a file for it. profile: a device ("h200") to
    plan and price it for, or a JSON file with its peak rates, in place of this machine
    (planner/pricing/roofline.py). f's own parameters of these names go by position.
    """
    found = f if isinstance(f, Compiled) else Compiled(f, (), None, {})
    if memory is not None:
        found = found.within(memory, spill)
    if profile is None:
        return found.plan(*args, **kwargs)
    return elsewhere(lambda budget: found.within(budget).plan(*args, **kwargs), device(profile),
                     found.budget, found.spills)


def memory_curve(f: Callable, *args, spill: bool = False, **kwargs) -> list[Point]:
    """Time against memory: the plans for these arguments (arrays or specs) that memory budgets
    choose from, each with its peak in bytes, predicted seconds, steps that run again, and bytes
    that go into a file and come back (with `spill`, or where f is compiled with it). The first is
    the one without a budget, the last the floor; nothing is compiled or run."""
    found = f if isinstance(f, Compiled) else Compiled(f, (), None, {})
    return (found.within(None, True) if spill else found).memory_curve(*args, **kwargs)


def measure(f: Callable, *args, **kwargs) -> Measurement:
    """What a call of f really touches and takes, to be held against `plan`; f is run on copies."""
    found = f if isinstance(f, Compiled) else Compiled(f, (), None, {})
    return found.measure(*args, **kwargs)


def explain(f: Callable, *args, code: bool = False, run: bool = False,
            html: str | os.PathLike | None = None) -> str:
    """Every stage of f for these arguments as text: program, kernels, memory map, and with `code`
    the loop nests and the generated LLVM text. With `run` f is run, on copies of the arguments,
    and the table of kernels shows measured times beside the predicted ones. `html` names a file for
    a page with the memory map, the timeline, the roofline and the kernels."""
    from ...engine.explain import explain_plan, write_page
    report = measure(f, *args).report if run else plan(f, *args)
    if html is not None:
        if isinstance(report, StagedReport):
            raise error(UnsupportedError, "explain: a page shows a plan of one device; leave html "
                                          "out")
        write_page(report, html)
    return explain_plan(report, code)


def threads() -> int:
    """Threads that a plan of this process runs on."""
    from ...runtime.walker import threads as team
    return team()


def trace_types(f: Callable, args: tuple, types: list[TensorType], name: str) -> Traced:
    """Call f on stand-ins of these types for the leaves of args."""
    _, structure = tree.flatten(args)
    names = tree.paths(args)
    nodes = [placeholder(t, n) for t, n in zip(types, names, strict=True)]
    scope, since = Scope("compile", name), mark()
    with scope:
        out = f(*tree.unflatten(structure, [wrap(n) for n in nodes]))
        leaves, out_structure = outline.flatten(out)
        outputs = [_output(name, a) for a in leaves]
    if effects.moved(scope):    # one more result, which the caller does not see
        stand = {id(effects.start_of(scope)): literal(0, int32)}
        outputs = replaced([*outputs, scope.order], stand)
    inputs, outputs, found = captured(nodes, outputs, since)
    return Traced(Program(inputs, outputs, name), out_structure, found)


def _output(name: str, leaf: Any) -> Node:
    try:
        return asarray(leaf).node
    except LamellaError as e:
        raise error(DTypeError, f"{name} returned {type(leaf).__name__}, "
                                f"which is no array: {e}") from None


def _type_of(leaf: Any, name: str) -> TensorType:
    if isinstance(leaf, Array):
        return leaf.node.type
    found = _NUMBERS.get(type(leaf))
    if found is not None:
        return found
    if isinstance(leaf, Spec):
        return leaf.type
    if isinstance(leaf, np.ndarray | np.generic):
        return tensor(as_dtype(leaf.dtype), leaf.shape)
    raise error(DTypeError, f"{name}: {type(leaf).__name__} is no array, number or pytree of them")


def _value_of(leaf: Any) -> Value:
    if isinstance(leaf, Array):
        node = leaf.node
        if node.data is None:
            force([node])
        return node.data
    if isinstance(leaf, Spec):
        raise error(DTypeError, f"{leaf} has no values; give an array")
    dtype = _NUMBERS[type(leaf)].dtype.numpy if type(leaf) in _NUMBERS else None
    return Value.from_numpy(np.asarray(leaf, dtype), copy=False)


def _given_away(values: list[Value], donated: list[int]) -> list[Value]:
    """The values, with copies of donated ones that something else can still see."""
    seen = Counter(v.address for v in values)
    for k in donated:
        v = values[k]
        v.check()
        if seen[v.address] > 1:
            raise error(DonatedError, f"argument leaf {k} is donated and passed twice in one call; "
                                      "pass a copy or do not donate it")
        if not isinstance(v.owner, Block | DeviceBlock) or sys.getrefcount(v.owner) > 2:
            fresh = v.copy()
            v.owner, v.address = fresh.owner, fresh.address
    return values


def _declared(name: str, t: TensorType, declared: tuple, env: dict[str, int]) -> TensorType:
    if len(declared) != t.rank:
        raise error(ShapeError, f"{name}: sizes {declared} has {len(declared)} axes, the "
                                f"argument's shape is {t.shape}")
    shape = []
    for want, have in zip(declared, t.shape, strict=True):
        if isinstance(want, Size) and isinstance(have, int):
            solve(want, have, env)
        shape.append(want if isinstance(want, Size) else have)
    return tensor(t.dtype, tuple(shape))


def _bound_symbols(program: Program, types: list[TensorType]) -> dict[str, int] | None:
    env: dict[str, int] = {}
    for declared, given in zip(program.input_types, types, strict=False):
        for e, n in zip(declared.shape, given.shape, strict=True):
            if isinstance(e, Size) and isinstance(n, int):
                solve(e, n, env)
    return env or None


def _parameters(f: Callable) -> tuple[list[str], bool]:
    """The names of f's positional parameters, and whether it takes any number of them."""
    try:
        found = inspect.signature(f).parameters
    except (TypeError, ValueError):
        return [], True
    kinds = {p.kind for p in found.values()}
    names = [n for n, p in found.items() if p.kind is not inspect.Parameter.KEYWORD_ONLY]
    return names, bool(kinds & {inspect.Parameter.VAR_POSITIONAL,
                                      inspect.Parameter.VAR_KEYWORD})


def _as_flag(fast: Any) -> bool:
    if not isinstance(fast, bool):
        raise error(LamellaError, f"compile: fast is True or False, got {fast!r}")
    return fast


def _as_tuple(x) -> tuple:
    return x if isinstance(x, tuple | list) else (x,)  # type: ignore[return-value]


__all__ = ["Compiled", "Spec", "compile", "explain", "measure", "parse_bytes", "plan", "spec",
           "trace"]
