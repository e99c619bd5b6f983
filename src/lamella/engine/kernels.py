"""Kernels to machine code: each distinct kernel is compiled once and remembered.

Two kernels are the same when their statements are the same interned expressions; then not even
their text is made again. What is new is compiled in modules of some length, by all cores, through
the object cache.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

from ..base import knobs
from ..codegen.emit import Source, emit, module
from ..codegen.target import Target, detect
from ..lang.loops import Kernel, structure
from ..lang.order import VERSION
from ..runtime import cache, llvm, walker
from .cuts import remembered

LENGTH = 60_000         # characters of LLVM text, about, that make a module

_lock = threading.RLock()
_known: dict[tuple, Compiled] = {}
counters = {"kernels": 0, "modules": 0}


class Compiled:
    """A kernel's address, its function's name, and the key of its module in the object cache."""

    __slots__ = ("address", "module", "name")

    def __init__(self, name: str, module: str, address: int):
        self.name, self.module, self.address = name, module, address


def target() -> Target:
    """The target of this machine (or the knob's); raises where the processor is not supported."""
    global _target
    if _target is None:
        found = detect(llvm.host().features, knobs.target.value)
        _target = found.with_tuned(remembered(found.name)).with_threads(walker.threads())
    return _target


_target: Target | None = None


def key_of(kernel: Kernel) -> tuple:
    """A kernel's structure as a hashable key (of interned expressions)."""
    return (target().name, *structure(kernel))


def compile_kernels(kernels: Sequence[Kernel]) -> list[Compiled]:
    """The compiled form of each kernel; all new ones are compiled together."""
    keys = {i: key_of(k) for i, k in {id(k): k for k in kernels}.items()}
    with _lock:
        if any(key not in _known for key in keys.values()):
            with Compilation() as new:
                for k in kernels:
                    new.add(k)
                new.finish()
        return [_known[keys[id(k)]] for k in kernels]


class Compilation:
    """New kernels on their way to machine code, in modules of some length: the cores that are idle
    begin with them while more are added. To be used as a context."""

    def __init__(self):
        t = target()
        self._objects = cache.Objects(cpu=t.cpu, features=t.features, level=1,
                                      numerics=str(VERSION))
        self._sources: dict[tuple, Source] = {}
        self._names: dict[str, str] = {}        # of functions: the keys of their modules
        self._open: dict[str, Source] = {}      # functions of the module that is not yet whole
        self._length = 0
        self.kernels: list[Kernel] = []

    def __enter__(self) -> Compilation:
        return self

    def __exit__(self, *error) -> None:
        self._objects.__exit__(*error)

    def add(self, kernel: Kernel) -> None:
        """One kernel more; nothing happens where it is known."""
        key = key_of(kernel)
        if key in _known or key in self._sources:
            return
        source = self._sources[key] = emit(kernel, target())
        self.kernels.append(kernel)
        if source.name in self._names or source.name in self._open:
            return
        self._open[source.name] = source
        self._length += len(source.body)
        if self._length > LENGTH:
            self._close()

    def _close(self) -> None:
        """The module is whole."""
        if self._open:
            place = self._objects.add(module([*self._open.values()]))
            self._names |= dict.fromkeys(self._open, place)
            self._open, self._length = {}, 0

    def finish(self) -> None:
        """All kernels known by their addresses."""
        self._close()
        codes = self._objects.finish()
        modules: dict[str, list[str]] = {}
        for name, place in self._names.items():
            modules.setdefault(place, []).append(name)
        found = {name: Compiled(name, place, address) for place, names in modules.items()
                 for name, address in llvm.load(codes[place], names).items()}
        with _lock:
            for key, source in self._sources.items():
                _known.setdefault(key, found[source.name])
            counters["kernels"] += len(found)
            counters["modules"] += len(modules)
        if found and knobs.logs("compile"):
            print(f"lamella: compiled {len(found)} kernels: "
                  f"{', '.join(k.name for k in self.kernels)}")


def names_of(kernels: Sequence[Kernel]) -> list[tuple[str, str]]:
    """(function, module) of each compiled kernel, by which `adopt` finds its code again."""
    return [(c.name, c.module) for c in compile_kernels(kernels)]


def code_bytes(kernels: Sequence[Kernel]) -> int:
    """Bytes of the machine code that holds the kernels, others of the same modules included; 0 for
    what is not in the object cache any more."""
    codes = map(cache.process_cache().get, {c.module for c in compile_kernels(kernels)})
    return sum(llvm.code_bytes(code) for code in codes if code is not None)


def adopt(kernels: Sequence[Kernel], names: Sequence[tuple[str, str]]) -> None:
    """Take the kernels' code from modules in the object cache, where they are still there."""
    with _lock:
        keys = [key_of(k) for k in kernels]
        wanted: dict[str, dict[str, None]] = {}
        for key, (name, module) in zip(keys, names, strict=True):
            if key not in _known:
                wanted.setdefault(module, {})[name] = None
        for module, functions in wanted.items():
            code = cache.process_cache().get(module)
            found = {} if code is None else llvm.load(code, functions)
            for key, (name, place) in zip(keys, names, strict=True):
                if place == module and name in found:
                    _known[key] = Compiled(name, module, found[name])
