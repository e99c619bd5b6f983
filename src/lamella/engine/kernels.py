"""Kernels to machine code: each distinct kernel is compiled once and remembered.

Two kernels are the same when their statements are the same interned expressions; then not even
their text is made again. What is new is compiled in a module for each core, through the object
cache.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Sequence
from typing import Any

from ..base import knobs
from ..codegen.emit import Source, emit, module
from ..codegen.target import Target, detect
from ..lang.loops import Kernel, structure
from ..lang.order import VERSION
from ..runtime import cache, llvm
from ..runtime.cores import cores
from .cuts import remembered

WORTH = 400_000         # characters of LLVM text that are worth a process of their own

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
        _target = found.with_tuned(remembered(found.name))
    return _target


_target: Target | None = None


def key_of(kernel: Kernel) -> tuple:
    """A kernel's structure as a hashable key (of interned expressions)."""
    return (target().name, *structure(kernel))


def compile_kernels(kernels: Sequence[Kernel]) -> list[Compiled]:
    """The compiled form of each kernel; all new ones are compiled together."""
    keys = {i: key_of(k) for i, k in {id(k): k for k in kernels}.items()}
    with _lock:
        missing = {keys[id(k)]: k for k in kernels if keys[id(k)] not in _known}
        if missing:
            _compile(missing)
        return [_known[keys[id(k)]] for k in kernels]


def _compile(missing: dict[tuple, Kernel]) -> None:
    t = target()
    options: dict[str, Any] = {"cpu": t.cpu, "features": frozenset(t.features), "level": 1,
                               "numerics": str(VERSION)}
    sources = {key: emit(kernel, t) for key, kernel in missing.items()}
    parts = _parts({s.name: s for s in sources.values()}.values())
    texts = [module(part) for part in parts]
    found: dict[str, Compiled] = {}
    for part, text, code in zip(parts, texts, cache.compiled_all(texts, **options), strict=True):
        place = cache.key(text, **options)
        for name, address in llvm.load(code, [s.name for s in part]).items():
            found[name] = Compiled(name, place, address)
    for key, source in sources.items():
        _known[key] = found[source.name]
    counters["kernels"] += len(found)
    counters["modules"] += len(parts)
    if knobs.logs("compile"):
        print(f"lamella: compiled {len(found)} kernels: "
              f"{', '.join(k.name for k in missing.values())}")


def _parts(sources: Iterable[Source]) -> list[list[Source]]:
    """The sources as modules of much the same length, where they are long one for each core."""
    ordered = sorted(sources, key=lambda s: -len(s.body))
    total = sum(len(s.body) for s in ordered)
    count = max(1, min(cores(), len(ordered), total // WORTH))
    parts: list[list[Source]] = [[] for _ in range(count)]
    lengths = [0] * len(parts)
    for s in ordered:
        k = lengths.index(min(lengths))
        parts[k].append(s)
        lengths[k] += len(s.body)
    return parts


def names_of(kernels: Sequence[Kernel]) -> list[tuple[str, str]]:
    """(function, module) of each compiled kernel, by which `adopt` finds its code again."""
    return [(c.name, c.module) for c in compile_kernels(kernels)]


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
