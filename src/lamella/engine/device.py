"""A Plan on a device: its steps as commands over one arena, replayed for each call."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..base.errors import ExecutionError
from ..base.extents import evaluate, solve
from ..base.source import render
from ..codegen.emit import scratch_bytes
from ..codegen.triton import emit
from ..ir.types import TensorType, tensor
from ..planner.memory.place import aligned, place
from ..planner.plan import Branch, Buffer, Copy, Host, Launch, Loop, Plan, Step, inner_steps
from ..runtime.device import Code, Device, NullDevice, Span
from .host import results_of

SMALL = 1 << 30     # elements up to which places fit in 32 bits
ARENA = 0


class Place(NamedTuple):
    """A buffer's first byte and its length: a base, an offset, and (loop, bytes) of each trip."""

    base: int
    offset: int
    bytes: int
    moves: tuple[tuple[int, int], ...]


class Command(NamedTuple):
    """A launch with everything but its addresses: places, and where each operand begins."""

    kernel: object
    programs: int
    operands: tuple[tuple[Place, int, bool], ...]
    sizes: tuple[int, ...]
    scratch: bool


class DeviceExecutable:
    """Runs a plan on a device over NumPy arrays. The device's memory is kept from call to call, for
    each value of the symbols, until `close`."""

    def __init__(self, plan: Plan, device: Device):
        self.plan, self.device = plan, device
        self.bound: dict[tuple, _Bound] = {}
        self.lock = threading.Lock()

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results for these arguments."""
        env: dict[str, int] = {}
        for t, a in zip(self.plan.program.input_types, arrays, strict=True):
            for e, n in zip(t.shape, a.shape, strict=True):
                solve(e, n, env)
        key = tuple(sorted(env.items()))
        with self.lock:
            bound = self.bound.get(key)
            if bound is None:
                bound = self.bound[key] = _Bound(self.plan, env, self.device)
            return bound.run(arrays)

    def close(self) -> None:
        """Give the device's memory back; the next call allocates anew."""
        with self.lock:
            for bound in self.bound.values():
                bound.close()
            self.bound.clear()

    def __del__(self):
        self.close()


def codes_of(plan: Plan, env: Mapping[str, int]) -> list[Code]:
    """The distinct kernels of a plan, as a device is given them."""
    return list(_Bound(plan, env, NullDevice()).codes)


def every_step(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, and those within them."""
    for s in steps:
        yield s
        for inner in inner_steps(s):
            yield from every_step(inner)


class _Bound:
    """A plan for one value of each symbol."""

    def __init__(self, plan: Plan, env: Mapping[str, int], device: Device):
        self.plan, self.env, self.device = plan, env, device
        self.layout = place(plan, env)
        self.workspace = 0
        self.bases: dict[int, int] = {}
        self.base_bytes = [self.layout.size]
        for b in (*plan.arguments, *(r.root for r in plan.results), *plan.constants):
            if id(b) not in self.bases:
                self.bases[id(b)] = len(self.base_bytes)
                self.base_bytes.append(evaluate(b.bytes, env))
        self.commands: dict[int, Command] = {}
        self.codes: dict[Code, object] = {}
        self._prepare([*plan.prologue, *plan.steps])
        self.addresses: list[int] = []
        self.again: Callable[[], None] | None = None
        self.trips: dict[int, int] = {}

    # -- once --

    def _prepare(self, steps: Sequence[Step]) -> None:
        for s in every_step(steps):
            if isinstance(s, Launch):
                self.commands[id(s)] = self._command(s)

    def _command(self, s: Launch) -> Command:
        sizes = [evaluate(e, self.env) for e in s.sizes]
        operands = []
        for o in s.operands:
            at = evaluate(o.offset, self.env) * o.buffer.dtype.bytes
            operands.append((self._place(o.buffer), at, o.writes))
        programs = s.programs(self.env)
        narrow = all(abs(n) < SMALL for n in sizes) and all(
            evaluate(o.buffer.root.count, self.env) < SMALL for o in s.operands)
        source = emit(s.kernel, narrow)
        if source.scratch:
            self.workspace = max(self.workspace, programs * scratch_bytes(s.kernel, sizes))
        aligned = [k for k, (p, at, _) in enumerate(operands)
                   if not (p.offset + at) % 16 and not any(step % 16 for _, step in p.moves)]
        aligned += [len(operands) + k for k, n in enumerate(sizes) if n % 16 == 0]
        aligned += [len(source.arguments) - 1] if source.scratch else []
        code = Code(source.text, source.name, tuple(source.arguments), tuple(aligned),
                    source.warps, source.stages)
        if code not in self.codes:
            self.codes[code] = self.device.load(code)
        return Command(self.codes[code], programs, tuple(operands), tuple(sizes), source.scratch)

    def _place(self, buffer: Buffer) -> Place:
        size, offset, moves = evaluate(buffer.bytes, self.env), 0, []
        while buffer.alias is not None:
            offset += evaluate(buffer.offset, self.env) * buffer.dtype.bytes
            if buffer.advance is not None:
                loop, stride = buffer.advance
                moves.append((id(loop), evaluate(stride, self.env) * buffer.dtype.bytes))
            buffer = buffer.alias
        base = self.bases.get(id(buffer), ARENA)
        if base == ARENA:
            offset += self.layout.offsets[id(buffer)]
        return Place(base, offset, size, tuple(moves))

    # -- at each call --

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The first call queues the steps one by one; from the second on they are queued as what
        the device recorded of them, where no step waits for the host."""
        if not self.addresses:
            sizes = [*self.base_bytes, aligned(self.workspace)]
            self.addresses = [self.device.allocate(n) for n in sizes]
        elif self.again is None and not any(
                isinstance(s, Host | Branch) or (isinstance(s, Loop) and s.trips is None)
                for s in every_step(self.plan.steps)):
            self.again = self.device.record(lambda: self._steps(self.plan.steps))
        for b, a in zip(self.plan.arguments, arrays, strict=True):
            self._upload(self._address(self._place(b)), a)
        if self.again is not None:
            self.again()
        else:
            self._steps([*self.plan.prologue, *self.plan.steps])
        return [self._download(self._place(b), self._type(node.type)) for b, node in
                zip(self.plan.results, self.plan.program.outputs, strict=True)]

    def close(self) -> None:
        """Give the memory back."""
        self.again = None
        for address in self.addresses:
            self.device.free(address)
        self.addresses = []

    def _address(self, p: Place) -> int:
        return self.addresses[p.base] + p.offset + sum(
            self.trips[loop] * stride for loop, stride in p.moves)

    def _upload(self, to: int, array: np.ndarray) -> None:
        if array.nbytes:
            self.device.upload(to, np.ascontiguousarray(array).reshape(-1).view(np.uint8))

    def _download(self, p: Place, t: TensorType) -> np.ndarray:
        out = np.empty(t.shape, t.dtype.numpy)  # type: ignore[arg-type]
        if out.nbytes:
            self.device.download(out.reshape(-1).view(np.uint8), self._address(p))
        return out

    def _type(self, t: TensorType) -> TensorType:
        return tensor(t.dtype, tuple(evaluate(e, self.env) for e in t.shape))

    def _flag(self, buffer: Buffer, k: int = 0) -> bool:
        value = np.zeros(1, np.uint8)
        self.device.download(value, self._address(self._place(buffer)) + k)
        return bool(value[0])

    def _steps(self, steps: Sequence[Step]) -> None:
        for s in steps:
            if isinstance(s, Launch):
                self._launch(s, self.commands[id(s)])
            elif isinstance(s, Copy):
                size = evaluate(s.source_buffer.bytes, self.env)
                if size:
                    self.device.copy(self._address(self._place(s.target)),
                                     self._address(self._place(s.source_buffer)), size)
            elif isinstance(s, Loop):
                self._loop(s)
            elif isinstance(s, Branch):
                chosen = (arm for k, arm in enumerate(s.arms[:-1]) if self._flag(s.flags, k))
                self._steps(next(chosen, s.arms[-1]))
            else:
                assert isinstance(s, Host)
                self._host(s)

    def _launch(self, s: Launch, c: Command) -> None:
        spans = []
        for p, at, writes in c.operands:
            start = self._address(p)
            spans.append(Span(start + at, start, p.bytes, writes))
        words = list(c.sizes)
        if c.scratch:
            words.append(self.addresses[-1])
        if c.programs <= 0:
            return
        try:
            self.device.launch(c.kernel, c.programs, spans, words)
        except ExecutionError as e:
            raise ExecutionError(f"{s.names}: {e} ({render(s.source) or 'no source line'})") from e

    def _loop(self, s: Loop) -> None:
        self.trips[id(s)] = 0
        trips = None if s.trips is None else evaluate(s.trips, self.env)
        while trips is None or self.trips[id(s)] < trips:
            self._steps(s.head)
            if trips is None and s.flag is not None and not self._flag(s.flag):
                break
            self._steps(s.body)
            self.trips[id(s)] += 1

    def _host(self, s: Host) -> None:
        """A host function: its operands come to the host, its results go back."""
        operands = [self._download(self._place(b), self._type(t)) for b, t in s.operands]
        for found, (b, t) in zip(results_of(s, operands), s.results, strict=True):
            if b is not None:
                self._upload(self._address(self._place(b)), found.astype(t.dtype.numpy))
