"""Options: how a function is compiled, as `compile` was asked and found possible."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NamedTuple

from ...base import devices
from ...base.amounts import parse_bytes
from ...base.devices import Device, cpu
from ...base.errors import LamellaError, UnsupportedError
from ...ir.program import Program
from ...planner.memory.budget import Budget
from ...planner.stages import crosses
from ...runtime.walker import threads
from ..arrays.placing import compute_device
from ..arrays.values import error, located
from .parameters import Parameters
from .sizes import declared


class Options(NamedTuple):
    """Parameters by their positions; a budget in bytes; of what spills, the folder of its files
    (the system's for temporary files where none is named)."""

    donate: frozenset[int]
    sizes: Mapping[int, tuple]
    bytes: int | None
    device: Device
    fast: bool
    spills: bool
    folder: str

    @property
    def home(self) -> Device | None:
        """The device that was asked for; None where each part runs where its operands are."""
        return None if self.device is cpu else self.device

    @property
    def budget(self) -> Budget | None:
        """The budget of a run on this process's threads."""
        return None if self.bytes is None else Budget(self.bytes, threads(), self.spills)

    def within(self, name: str, memory: str | int | None, spill: bool | str | os.PathLike
               ) -> Options:
        """These with another budget, spilling where they did, or where `spill` says so."""
        spills, folder = _file(name, spill or (self.spills and (self.folder or True)), self.device)
        return self._replace(bytes=_bytes(memory), spills=spills, folder=folder)

    def elsewhere(self, program: Program) -> bool:
        """Whether anything of the program runs on a device beside the processor."""
        if not devices.beside or (self.device is cpu and not crosses(program)):
            return False
        if self.fast or self.folder:
            raise error(UnsupportedError, f"compile: a part of {program.name} runs on a device, "
                                          "which has no fast mode and no files; leave both out")
        return True


def options(parameters: Parameters, donate: str | int | tuple = (),
            memory: str | int | None = None, sizes: Mapping[str, tuple] | None = None,
            device: str | Device | None = None, fast: bool = False,
            spill: bool | str | os.PathLike = False) -> Options:
    """What was asked for a function with these parameters; raises where that cannot be."""
    name, size = parameters.name, _bytes(memory)
    donated = donate if isinstance(donate, tuple | list) else (donate,)
    positions = frozenset(parameters.position(d) for d in donated)
    symbols = {parameters.position(k): declared(k, v) for k, v in (sizes or {}).items()}
    home = compute_device("compile", device)
    if _flag(fast) and home is not cpu:
        raise error(UnsupportedError, f"compile: {name} runs on {home}, which has no fast mode; "
                                      "leave fast or device out")
    return Options(positions, symbols, size, home, fast, *_file(name, spill, home))


def _bytes(memory: str | int | None) -> int | None:
    return None if memory is None else located(parse_bytes)(memory)


def _flag(fast: Any) -> bool:
    if not isinstance(fast, bool):
        raise error(LamellaError, f"compile: fast is True or False, got {fast!r}")
    return fast


def _file(name: str, spill: bool | str | os.PathLike, device: Device) -> tuple[bool, str]:
    """Whether values may rest in a file, and the folder that is named for it."""
    folder = "" if spill is True else os.fspath(spill or "")
    if folder and device is not cpu:
        raise error(UnsupportedError, f"compile: {name} runs on {device}, whose values rest in "
                                      "this machine's memory; write spill=True")
    return bool(spill), folder
