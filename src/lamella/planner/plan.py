"""The Plan: a tree of steps with each operand's place and each step's cost.

Sizes are extents: a Plan of a program with symbols is bound to their values by `bind`
(planner/place.py), everything else stays as it is.
"""

from __future__ import annotations

from ..base.dtypes import DType
from ..base.extents import Extent
from ..lang.loops import Kernel

ALIGN = 64


class Buffer:
    """Memory of one value. `role`: argument, result, state, constant, temporary or scratch.

    `alias`: the buffer whose bytes it shares (in place, or a donated argument), else None.
    """

    __slots__ = ("alias", "count", "dtype", "index", "label", "role", "space")

    def __init__(self, dtype: DType, count: Extent, role: str, label: str = "", index: int = -1,
                 space: str = "host"):
        self.dtype, self.count, self.role, self.label = dtype, count, role, label
        self.index, self.space = index, space
        self.alias: Buffer | None = None

    @property
    def bytes(self) -> Extent:
        """Bytes of its elements, before rounding up to the alignment."""
        return self.count * self.dtype.bytes

    @property
    def root(self) -> Buffer:
        """The buffer that owns the bytes."""
        return self if self.alias is None else self.alias.root

    def __repr__(self) -> str:
        return f"<{self.role} {self.label} {self.dtype}[{self.count}]>"


class Operand:
    """A buffer as a kernel sees it: the element offset at which its element 0 lies."""

    __slots__ = ("buffer", "offset", "writes")

    def __init__(self, buffer: Buffer, offset: Extent = 0, writes: bool = False):
        self.buffer, self.offset, self.writes = buffer, offset, writes


class Launch:
    """A step: one kernel over its operands and sizes.

    `tasks` is the extent of its parallel range, `grain` how many are claimed at a time;
    `flops` and `traffic` (bytes read and written) are its price; `names` what it computes.
    """

    __slots__ = ("flops", "grain", "kernel", "names", "operands", "sizes", "source", "tasks",
                 "traffic")

    def __init__(self, kernel: Kernel, operands: list[Operand], sizes: list[Extent], tasks: Extent,
                 grain: Extent = 1, names: str = "", source=None):
        self.kernel, self.operands, self.sizes = kernel, operands, sizes
        self.tasks, self.grain, self.names, self.source = tasks, grain, names, source
        self.flops: Extent = 0
        self.traffic: Extent = 0

    def buffers(self) -> list[Buffer]:
        return [o.buffer for o in self.operands]


class Copy:
    """A step: the bytes of one buffer into another."""

    __slots__ = ("flops", "names", "source", "source_buffer", "target", "traffic")

    def __init__(self, source_buffer: Buffer, target: Buffer, names: str = "copy", source=None):
        self.source_buffer, self.target = source_buffer, target
        self.names, self.source = names, source
        self.flops: Extent = 0
        self.traffic: Extent = source_buffer.bytes * 2

    def buffers(self) -> list[Buffer]:
        return [self.source_buffer, self.target]


class Loop:
    """A step: `body` run `trips` times; `carries` pairs (buffer written, buffer read next trip);
    `strides` gives buffers that advance by so many elements each trip."""

    __slots__ = ("body", "carries", "names", "source", "strides", "trips")

    def __init__(self, trips: Extent, body: list, carries=(), strides=(), names="loop",
                 source=None):
        self.trips, self.body, self.carries = trips, body, tuple(carries)
        self.strides, self.names, self.source = tuple(strides), names, source


class Branch:
    """A step: `then` where the boolean in `flag` holds, else `otherwise`."""

    __slots__ = ("flag", "names", "otherwise", "source", "then")

    def __init__(self, flag: Buffer, then: list, otherwise: list, names="branch", source=None):
        self.flag, self.then, self.otherwise = flag, then, otherwise
        self.names, self.source = names, source


Step = Launch | Copy | Loop | Branch


class Plan:
    """What a compiled function does: steps in order over buffers.

    `arguments`, `results` and `constants` are in call order; `symbols` are the names a call binds.
    """

    __slots__ = ("arguments", "constants", "donated", "name", "program", "results", "steps",
                 "symbols", "temporaries")

    def __init__(self, name: str, program, steps: list[Step], arguments: list[Buffer],
                 results: list[Buffer], constants: list[Buffer], temporaries: list[Buffer],
                 donated: frozenset[int], symbols: tuple):
        self.name, self.program, self.steps = name, program, steps
        self.arguments, self.results, self.constants = arguments, results, constants
        self.temporaries, self.donated, self.symbols = temporaries, donated, symbols

    def launches(self) -> list[Launch]:
        """Every launch, loops and branches walked through."""
        found: list[Launch] = []

        def visit(steps: list[Step]) -> None:
            for s in steps:
                if isinstance(s, Launch):
                    found.append(s)
                elif isinstance(s, Loop):
                    visit(s.body)
                elif isinstance(s, Branch):
                    visit(s.then)
                    visit(s.otherwise)

        visit(self.steps)
        return found
