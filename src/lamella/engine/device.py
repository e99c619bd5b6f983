"""A Plan on a device: its steps as commands over one arena, replayed for each call.

What a call works on is given by addresses: of arguments, results, constants and the arena, which
holds the temporaries and, behind them, the workspace of kernels whose programs need memory of their
own. A call over the same addresses as one before is queued as the graph that was recorded of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from ..base import events
from ..base.errors import ExecutionError
from ..base.extents import evaluate, solve
from ..base.source import render
from ..codegen.emit import scratch_bytes
from ..codegen.triton import TritonSource, emit
from ..ir.types import TensorType, tensor
from ..lang.loops import Kernel
from ..planner.memory.place import place, place_in_file
from ..planner.plan import Branch, Buffer, Copy, Host, Launch, Loop, Plan, Step, inner_steps
from ..runtime.blocks import Blocks, DeviceBlock, Pinned
from ..runtime.device import ALIGN, Code, Device, NullDevice, Span
from .host import results_of

SMALL = 1 << 30     # elements up to which places fit in 32 bits
ARENA = 0
GRAPHS = 8          # of one program for one value of its symbols: for so many sets of addresses
OFTEN = 64          # sets of addresses that are remembered, to see which come again


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


class UnderWay(NamedTuple):
    """A copy to the host's memory or (it is `written`) from there: device bytes, and its ticket."""

    start: int
    end: int
    written: bool
    ticket: object


class Arena:
    """The bytes for temporaries and workspaces that programs on one device share, one after the
    other; `kept` from call to call, or taken anew for each."""

    def __init__(self, blocks: Blocks, kept: bool = True):
        self.blocks, self.kept = blocks, kept
        self.block: DeviceBlock | None = None

    def take(self, size: int) -> DeviceBlock:
        """At least so many bytes, for a call that is queued while they are held."""
        block = self.block
        if block is None or block.size < size:
            self.block = None   # given back before more is taken
            del block
            block = self.blocks.allocate(size)
            self.block = block if self.kept else None
        return block


class DeviceExecutable:
    """Runs a plan on a device, bound once for each value of its symbols. Constants and, where the
    arena is kept, its bytes stay there from call to call, until `close`. Where it `replays`, calls
    over the same addresses are queued as a graph."""

    def __init__(self, plan: Plan, device: Device, blocks: Blocks | None = None,
                 arena: Arena | None = None, replays: bool = True):
        self.plan, self.device, self.replays = plan, device, replays
        self.blocks = blocks or Blocks(device)
        self.arena = arena or Arena(self.blocks)
        self.bound: dict[tuple, Binding] = {}

    def run(self, shapes: Sequence[tuple], arguments: Sequence[DeviceBlock],
            begins: Callable[[], None] | None = None
            ) -> list[tuple[DeviceBlock, int, TensorType]]:
        """Queue the steps over arguments of these shapes: for each result the block that it lies
        in, its address and its type. `begins` is called when all is there that they need."""
        env = self.sizes(shapes)
        with self.blocks.turn:
            return self.binding(env).run(self.blocks, self.arena, arguments, begins)

    def sizes(self, shapes: Sequence[tuple]) -> dict[str, int]:
        """The values of the plan's symbols for arguments of these shapes."""
        env: dict[str, int] = {}
        for t, shape in zip(self.plan.program.input_types, shapes, strict=True):
            for e, n in zip(t.shape, shape, strict=True):
                solve(e, n, env)
        return env

    def binding(self, env: Mapping[str, int]) -> Binding:
        """The plan for these values of its symbols, its kernels loaded."""
        self.device.enter()
        key = tuple(sorted(env.items()))
        bound = self.bound.get(key)
        if bound is None:
            bound = self.bound[key] = Binding(self.plan, env, self.device)
            bound.replayed &= self.replays
        return bound

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """The results for NumPy arrays, as NumPy arrays."""
        given = []
        for a in arrays:
            given.append(self.blocks.allocate(a.nbytes))
            upload(self.device, given[-1].address, a)
        found = self.run([a.shape for a in arrays], given)
        return [download(self.device, address, t) for _, address, t in found]

    def close(self) -> None:
        """Give the device's memory back; the next call allocates anew."""
        self.bound.clear()
        self.arena.block = None
        self.blocks.trim()


def upload(device: Device, to: int, array: np.ndarray) -> None:
    """Queue a copy of the array's elements to an address of the device."""
    if array.nbytes:
        device.upload(to, np.ascontiguousarray(array).reshape(-1).view(np.uint8))


def download(device: Device, address: int, t: TensorType) -> np.ndarray:
    """Wait for the device's queue, then the elements at the address."""
    out = np.empty(t.shape, t.dtype.numpy)  # type: ignore[arg-type]
    if out.nbytes:
        device.download(out.reshape(-1).view(np.uint8), address)
    return out


def codes_of(plan: Plan, env: Mapping[str, int]) -> list[Code]:
    """The distinct kernels of a plan, as a device is given them."""
    return list(Binding(plan, env, NullDevice()).codes)


def every_step(steps: Sequence[Step]) -> Iterator[Step]:
    """The steps, and those within them."""
    for s in steps:
        yield s
        for inner in inner_steps(s):
            yield from every_step(inner)


def recordable(steps: Sequence[Step]) -> bool:
    """Whether no step waits for the host, so that a graph can have all of them."""
    return not any(isinstance(s, Host | Branch) or (isinstance(s, Loop) and s.trips is None)
                   for s in every_step(steps))


class Binding:
    """A plan for one value of each symbol."""

    def __init__(self, plan: Plan, env: Mapping[str, int], device: Device):
        self.plan, self.env, self.device = plan, env, device
        self.layout = place(plan, env)
        self.workspace = 0
        self.bases: dict[int, int] = {}
        self.fresh: list[int] = []      # bytes of each result that gets bytes of its own
        self.made: list[int] = []       # bytes of each constant
        for b in plan.arguments:
            self._base(b)
        for b in (r.root for r in plan.results):
            if self._base(b):
                self.fresh.append(evaluate(b.bytes, env))
        for b in plan.constants:
            if self._base(b):
                self.made.append(evaluate(b.bytes, env))
        self.commands: dict[int, Command] = {}
        self.codes: dict[Code, object] = {}
        self.sources: dict[tuple[int, bool], TritonSource] = {}
        self._prepare([*plan.prologue, *plan.steps])
        self.outputs = [(self._place(b), self._type(node.type)) for b, node in
                        zip(plan.results, plan.program.outputs, strict=True)]
        self.replayed = recordable(plan.steps)
        self.constants: list[DeviceBlock] = []
        self.graphs: OrderedDict[tuple, Callable[[], None]] = OrderedDict()
        self.seen: OrderedDict[tuple, None] = OrderedDict()
        self.addresses: list[int] = []
        self.trips: dict[int, int] = {}
        self.resting = place_in_file(plan, env)     # in the host's memory
        self.pinned: Pinned | None = None
        self.under_way: list[UnderWay] = []

    def _base(self, b: Buffer) -> bool:
        """Number the owner of bytes, if it has no number yet."""
        new = id(b) not in self.bases
        self.bases.setdefault(id(b), len(self.bases) + 1)
        return new

    # -- once --

    def _prepare(self, steps: Sequence[Step]) -> None:
        """Commands for all launches; their kernels are loaded together."""
        found = {id(s): self._command(s) for s in every_step(steps) if isinstance(s, Launch)}
        codes = list(dict.fromkeys(code for code, _ in found.values()))
        self.codes = dict(zip(codes, self.device.load(codes), strict=True))
        self.commands = {k: c._replace(kernel=self.codes[code]) for k, (code, c) in found.items()}

    def _command(self, s: Launch) -> tuple[Code, Command]:
        """The code of a launch's kernel, and its command, which has no kernel yet."""
        sizes = [evaluate(e, self.env) for e in s.sizes]
        operands = []
        for o in s.operands:
            at = evaluate(o.offset, self.env) * o.buffer.dtype.bytes
            operands.append((self._place(o.buffer), at, o.writes))
        programs = s.programs(self.env)
        narrow = all(abs(n) < SMALL for n in sizes) and all(
            evaluate(o.buffer.root.count, self.env) < SMALL for o in s.operands)
        source = self._source(s.kernel, narrow)
        if source.scratch:
            self.workspace = max(self.workspace, programs * scratch_bytes(s.kernel, sizes))
        aligned = [k for k, (p, at, _) in enumerate(operands)
                   if not (p.offset + at) % 16 and not any(step % 16 for _, step in p.moves)]
        aligned += [len(operands) + k for k, n in enumerate(sizes) if n % 16 == 0]
        aligned += [len(source.arguments) - 1] if source.scratch else []
        code = Code(source.text, source.name, tuple(source.arguments), tuple(aligned),
                    source.warps, source.stages)
        return code, Command(None, programs, tuple(operands), tuple(sizes), source.scratch)

    def _source(self, kernel: Kernel, narrow: bool) -> TritonSource:
        """A kernel's text, written once for all its launches."""
        key = id(kernel), narrow
        if key not in self.sources:
            self.sources[key] = emit(kernel, narrow)
        return self.sources[key]

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

    def run(self, blocks: Blocks, arena: Arena, arguments: Sequence[DeviceBlock],
            begins: Callable[[], None] | None = None
            ) -> list[tuple[DeviceBlock, int, TensorType]]:
        """Queue the steps; from the second call over the same addresses on as what the device
        recorded of them, where no step waits for the host."""
        temporaries = -(-self.layout.size // ALIGN) * ALIGN
        held = arena.take(temporaries + self.workspace)
        fresh = [blocks.allocate(n) for n in self.fresh]
        first = len(self.constants) < len(self.made)
        if first:
            self.constants = [blocks.allocate(n) for n in self.made]
        owners = [held, *arguments, *fresh, *self.constants]
        self.addresses = [*(o.address for o in owners), held.address + temporaries]
        if self.resting.size and self.pinned is None:
            self.pinned = blocks.pin(self.resting.size)
        if first:
            self._steps(self.plan.prologue)
        if begins is not None:
            begins()
        self._queue(blocks)
        return [(owners[p.base], self._address(p), t) for p, t in self.outputs]

    def _queue(self, blocks: Blocks) -> None:
        key = tuple(self.addresses)
        graph = self.graphs.get(key)
        if graph is None and self.replayed and key in self.seen:
            graph = self.graphs[key] = blocks.record(self.all)
            if len(self.graphs) > GRAPHS:
                self.graphs.popitem(last=False)
        if graph is None:
            self.all()
            self.seen[key] = None
            if len(self.seen) > OFTEN:
                self.seen.popitem(last=False)
        else:
            self.graphs.move_to_end(key)
            graph()

    def all(self, steps: Sequence[Step] | None = None) -> None:
        """Queue these steps, all of them where none are named, over the last call's addresses."""
        self._steps(self.plan.steps if steps is None else steps)
        if self.under_way:      # what comes may take the same bytes
            self.device.after(self.under_way[-1].ticket)
            self.under_way = []

    def _settle(self, address: int, size: int, writes: bool) -> None:
        """Have what is queued from now on wait for the copies beside it that write these bytes, or,
        where it `writes`, read them."""
        met = [k for k, c in enumerate(self.under_way) if c.start < address + size
               and address < c.end and (writes or c.written)]
        if met:
            self.device.after(self.under_way[met[-1]].ticket)
            self.under_way = self.under_way[met[-1] + 1:]

    def _address(self, p: Place) -> int:
        return self.addresses[p.base] + p.offset + sum(
            self.trips[loop] * stride for loop, stride in p.moves)

    def _type(self, t: TensorType) -> TensorType:
        return tensor(t.dtype, tuple(evaluate(e, self.env) for e in t.shape))

    def _flag(self, buffer: Buffer, k: int = 0) -> bool:
        value = np.zeros(1, np.uint8)
        address = self._address(self._place(buffer)) + k
        self._settle(address, 1, False)
        self.device.download(value, address)
        return bool(value[0])

    def _steps(self, steps: Sequence[Step]) -> None:
        for s in steps:
            if isinstance(s, Launch):
                self._launch(s, self.commands[id(s)])
            elif isinstance(s, Copy):
                if size := evaluate(s.source_buffer.bytes, self.env):
                    self._copy(s, size)
            elif isinstance(s, Loop):
                self._loop(s)
            elif isinstance(s, Branch):
                chosen = (arm for k, arm in enumerate(s.arms[:-1]) if self._flag(s.flags, k))
                self._steps(next(chosen, s.arms[-1]))
            else:
                assert isinstance(s, Host)
                self._host(s)

    def _copy(self, s: Copy, size: int) -> None:
        """Within the device; or to the host's memory or from there, beside the steps that come."""
        if not (s.spills or s.fetches):
            to, source = (self._address(self._place(b)) for b in (s.target, s.source_buffer))
            self._settle(source, size, False)
            self._settle(to, size, True)
            self.device.copy(to, source, size)
            return
        there, here = (s.source_buffer, s.target) if s.spills else (s.target, s.source_buffer)
        assert self.pinned is not None
        address = self._address(self._place(there))
        resting = self.pinned.address + self.resting.offsets[id(here)]
        self._settle(address, size, s.fetches)
        with events.span(f"queue {s.names}", bytes=size):
            ticket = self.device.send(resting, address, size) if s.spills else \
                self.device.fetch(address, resting, size)
        self.under_way.append(UnderWay(address, address + size, s.fetches, ticket))

    def _launch(self, s: Launch, c: Command) -> None:
        spans = []
        for p, at, writes in c.operands:
            start = self._address(p)
            self._settle(start, p.bytes, writes)
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
        for touched in s.buffers():
            p = self._place(touched)
            self._settle(self._address(p), p.bytes, True)
        operands = [download(self.device, self._address(self._place(b)), self._type(t))
                    for b, t in s.operands]
        for found, (b, t) in zip(results_of(s, operands), s.results, strict=True):
            if b is not None:
                upload(self.device, self._address(self._place(b)),
                       found.astype(t.dtype.numpy))
