"""The Plan: a tree of steps with each operand's place and each step's cost.

Sizes are extents: a Plan of a program with symbols is bound to their values by `bind`
(planner/memory/place.py), everything else stays as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ..base.dtypes import DType
from ..base.extents import Extent, evaluate
from ..ir.types import TensorType
from ..lang.loops import Kernel

ALIGN = 64
CHUNKS = 32     # of a launch that each thread finds, where there are many tasks
PROGRAMS = 1024     # of a device's kernel that run at once, where each needs memory of its own


class Buffer:
    """Memory of one value. `role`: argument, result, state, constant, temporary or scratch; or
    file: its bytes lie in the run's file, which copies alone write and read.

    `alias`: the buffer whose bytes it shares (in place, or a donated argument), else None; then it
    begins `offset` elements behind it, and by `advance` = (loop, elements) farther on each trip.
    `parted`: steps that write it, and do not read it, write elements of their own each.
    """

    __slots__ = ("advance", "alias", "count", "dtype", "index", "label", "offset", "parted", "role",
                 "space")

    def __init__(self, dtype: DType, count: Extent, role: str, label: str = "", index: int = -1,
                 space: str = "host"):
        self.dtype, self.count, self.role, self.label = dtype, count, role, label
        self.index, self.space = index, space
        self.alias: Buffer | None = None
        self.offset: Extent = 0
        self.advance: tuple[Loop, Extent] | None = None
        self.parted = False

    @property
    def bytes(self) -> Extent:
        """Bytes of its elements, before rounding up to the alignment."""
        return self.count * self.dtype.bytes

    @property
    def root(self) -> Buffer:
        """The buffer that owns the bytes."""
        return self if self.alias is None else self.alias.root

    @property
    def place(self) -> tuple:
        """Where it lies: the owner of its bytes, and how it moves within them."""
        if self.alias is None:
            return (id(self),)
        own = () if self.offset == 0 and self.advance is None else (self.offset, self.advance)
        return self.alias.place + own

    def __repr__(self) -> str:
        return f"<{self.role} {self.label} {self.dtype}[{self.count}]>"


class Operand:
    """A buffer as a kernel sees it: the element offset at which its element 0 lies, and how many
    elements it touches."""

    __slots__ = ("buffer", "count", "offset", "writes")

    def __init__(self, buffer: Buffer, offset: Extent = 0, writes: bool = False,
                 count: Extent | None = None):
        self.buffer, self.offset, self.writes = buffer, offset, writes
        self.count: Extent = buffer.count if count is None else count

    @property
    def bytes(self) -> Extent:
        """Bytes of the elements that it touches."""
        return self.count * self.buffer.dtype.bytes


class Launch:
    """A step: one kernel over its operands and sizes.

    `tasks` is the extent of its parallel range, `grain` how many are worth claiming at a time;
    `flops` and `traffic` (bytes read and written) are its price; `names` what it computes;
    `lays_out`: it copies an operand, or writes a table, for another step; `again`: it computes what
    an earlier step did, so that the bytes need not be kept in between; `origin`: what it was
    scheduled from, while its plan is sought (planner/schedule.py).
    """

    __slots__ = ("again", "flops", "grain", "kernel", "lays_out", "names", "operands", "origin",
                 "sizes", "source", "tasks", "traffic")

    def __init__(self, kernel: Kernel, operands: list[Operand], sizes: list[Extent], tasks: Extent,
                 grain: Extent = 1, names: str = "", source=None):
        self.kernel, self.operands, self.sizes = kernel, operands, sizes
        self.tasks, self.grain, self.names, self.source = tasks, grain, names, source
        self.lays_out = self.again = False
        self.origin: Any = None
        self.flops: Extent = 0
        self.traffic: Extent = 0

    def buffers(self) -> list[Buffer]:
        return [o.buffer for o in self.operands]

    def programs(self, env: Mapping[str, int]) -> int:
        """Programs of a device that run it: one for each task, but no more than have memory."""
        tasks = evaluate(self.tasks, env)
        return min(tasks, PROGRAMS) if self.kernel.scratch else tasks

    def claims(self, env: Mapping[str, int], threads: int) -> tuple[int, int]:
        """(tasks, how many are claimed at a time) for the values of symbols: no thread claims more
        often than some CHUNKS times."""
        tasks = evaluate(self.tasks, env)
        return tasks, max(1, evaluate(self.grain, env), tasks // (CHUNKS * threads))


class Copy:
    """A step: the bytes of one buffer into another; it spills a value into the run's file, or
    fetches it from there, where one of them is of that role."""

    __slots__ = ("again", "flops", "names", "source", "source_buffer", "target", "traffic")

    def __init__(self, source_buffer: Buffer, target: Buffer, names: str = "copy", source=None):
        self.source_buffer, self.target = source_buffer, target
        self.names, self.source, self.again = names, source, False
        self.flops: Extent = 0
        self.traffic: Extent = source_buffer.bytes * 2

    @property
    def spills(self) -> bool:
        """Whether it writes into the run's file."""
        return self.target.role == "file"

    @property
    def fetches(self) -> bool:
        """Whether it reads from there."""
        return self.source_buffer.role == "file"

    @property
    def in_vain(self) -> bool:
        """Whether the bytes would be copied onto themselves."""
        return self.source_buffer.place == self.target.place

    def buffers(self) -> list[Buffer]:
        return [self.source_buffer, self.target]


class Host:
    """A step: a registered host function, called on the thread that entered the program.

    `call(arrays)` gives the results' arrays. `operands` and `results` pair buffers with types (a
    result that nobody reads has no buffer). `workspace` bounds what the call allocates itself;
    where `same_bits` is false, its bits are as the function's library gives them.
    """

    __slots__ = ("call", "flops", "names", "operands", "results", "same_bits", "source", "traffic",
                 "workspace")

    def __init__(self, call: Callable, operands: list[tuple[Buffer, TensorType]],
                 results: list[tuple[Buffer | None, TensorType]], workspace: Extent,
                 same_bits: bool, names: str, source=None):
        self.call, self.operands, self.results = call, operands, results
        self.workspace, self.same_bits = workspace, same_bits
        self.names, self.source = names, source
        self.flops: Extent = 0
        self.traffic: Extent = sum((b.bytes for b in self.buffers()), start=0)

    def buffers(self) -> list[Buffer]:
        return [*(b for b, _ in self.operands), *(b for b, _ in self.results if b is not None)]


class Loop:
    """A step: `body` run `trips` times. An open loop (`trips` is None) runs `head` before each
    trip, which writes the boolean in `flag`, and ends where that is false.

    `carries` pairs (what a trip makes, where the next one reads it): a copy at the body's end says
    so, which vanishes where both are the same bytes. `parts`: how many parts of a region the trips
    compute, those of loops inside together, where the planner made the loop to keep a budget.
    """

    __slots__ = ("body", "carries", "flag", "head", "names", "parts", "source", "trips")

    def __init__(self, trips: Extent | None, names: str = "loop", source=None):
        self.trips, self.names, self.source = trips, names, source
        self.parts = 0
        self.head: list[Step] = []
        self.body: list[Step] = []
        self.flag: Buffer | None = None
        self.carries: list[tuple[Buffer, Buffer]] = []

    def buffers(self) -> list[Buffer]:
        return [] if self.flag is None else [self.flag]


class Branch:
    """A step: the arm of the first of `flags` (booleans in one buffer) that holds, else the last
    arm."""

    __slots__ = ("arms", "flags", "names", "source")

    def __init__(self, flags: Buffer, arms: list[list[Step]], names: str = "cond", source=None):
        self.flags, self.arms, self.names, self.source = flags, arms, names, source

    def buffers(self) -> list[Buffer]:
        return [self.flags]


class Parallel:
    """A step: launches of which none needs another; the team shares out the tasks of all of them
    together, in this order. The first may be a call of a host function, which the thread that
    entered runs meanwhile (planner/parallel.py)."""

    __slots__ = ("members", "names", "source")

    def __init__(self, members: list[Launch | Host]):
        self.members, self.source = members, members[0].source
        self.names = ", ".join(dict.fromkeys(s.names for s in members))

    def buffers(self) -> list[Buffer]:
        return []


def inner_steps(s) -> list[list]:
    """The lists of steps within a step: a loop's head and body, a branch's arms, launches that run
    in parallel."""
    if isinstance(s, Loop):
        return [s.head, s.body]
    if isinstance(s, Parallel):
        return [s.members]
    return s.arms if isinstance(s, Branch) else []


Step = Launch | Copy | Host | Loop | Branch | Parallel


class Plan:
    """What a compiled function does: steps in order over buffers.

    `arguments` and `results` are in call order; `symbols` are the names a call binds. Arguments
    numbered in `donated` may be overwritten, those in `fixed` are the same at every call. The
    steps of the `prologue` write the `constants`, once. A `fast` plan may sum in other orders than
    the program states. `level` is the target's: "loops" for a processor, "tiles" for a GPU.
    """

    __slots__ = ("arguments", "constants", "donated", "fast", "fixed", "level", "name", "program",
                 "prologue", "results", "steps", "symbols", "temporaries")

    def __init__(self, name: str, program, steps: list[Step], arguments: list[Buffer],
                 results: list[Buffer], temporaries: list[Buffer], donated: frozenset[int],
                 fixed: frozenset[int], symbols: tuple, fast: bool = False,
                 level: str = "loops"):
        self.name, self.program, self.steps = name, program, steps
        self.arguments, self.results, self.temporaries = arguments, results, temporaries
        self.donated, self.fixed, self.symbols, self.fast = donated, fixed, symbols, fast
        self.level = level
        self.prologue: list[Launch] = []
        self.constants: list[Buffer] = []

    @property
    def transfers(self) -> list[Copy]:
        """The copies into the run's file and from there, loops and branches walked through."""
        return [s for s in Order(self.steps).leaves
                if isinstance(s, Copy) and (s.spills or s.fetches)]

    def launches(self) -> list[Launch]:
        """Every launch, loops and branches walked through."""
        return [s for s in Order(self.steps).leaves if isinstance(s, Launch)]


class End:
    """A place in the order of steps: where a loop's trip ends."""

    __slots__ = ()

    def buffers(self) -> list[Buffer]:
        return []


class Order:
    """The steps one after another, loops and branches walked through.

    `leaves`: launches and copies; an open loop stands where its flag is read (behind its head), a
    branch before its arms, an End behind a loop's body. `loops`: (loop, its first place, its End's
    place), inner ones first. `spans`: of each place in a Parallel step, that step's first and last.
    """

    __slots__ = ("leaves", "loops", "spans")

    def __init__(self, steps: list[Step]):
        self.leaves: list = []
        self.loops: list[tuple[Loop, int, int]] = []
        self.spans: dict[int, tuple[int, int]] = {}
        self._walk(steps)

    def _walk(self, steps: list[Step]) -> None:
        for s in steps:
            if isinstance(s, Loop):
                first = len(self.leaves)
                self._walk(s.head)
                if s.trips is None:
                    self.leaves.append(s)
                self._walk(s.body)
                self.loops.append((s, first, len(self.leaves)))
                self.leaves.append(End())
            elif isinstance(s, Parallel):
                span = len(self.leaves), len(self.leaves) + len(s.members) - 1
                self.spans |= dict.fromkeys(range(span[0], span[1] + 1), span)
                self.leaves += s.members
            else:
                self.leaves.append(s)
                for arm in s.arms if isinstance(s, Branch) else ():
                    self._walk(arm)

    def span(self, at: int) -> tuple[int, int]:
        """The first and the last place that run at the same time as this one."""
        return self.spans.get(at, (at, at))

    def alone(self, at: int, root: Buffer) -> bool:
        """Whether of the steps that run at this place's time only its own touches the bytes."""
        if not self.spans:
            return True
        begin, end = self.span(at)
        return all(b.root is not root for k in range(begin, end + 1) if k != at
                   for b in self.leaves[k].buffers())

    def lives(self, results: list[Buffer]) -> tuple[dict[int, int], dict[int, int]]:
        """The first and the last place of each owner of bytes; arguments are there before all
        places. What a loop finds or leaves behind is alive during all of its trips, what a launch
        touches while others run, until they have run; results live beyond the last place."""
        first: dict[int, int] = {}
        last: dict[int, int] = {}
        for at, step in enumerate(self.leaves):
            begin, end = self.span(at) if self.spans else (at, at)
            for b in step.buffers():
                root = b.root
                if id(root) not in first:
                    first[id(root)] = -1 if root.role == "argument" else begin
                last[id(root)] = end
        for b in results:
            last[id(b.root)] = len(self.leaves)
        for _, begin, end in self.loops:
            for k in first:
                if first[k] <= end and last[k] >= begin and not (
                        begin <= first[k] and last[k] <= end):
                    first[k], last[k] = min(first[k], begin), max(last[k], end)
        return first, last
