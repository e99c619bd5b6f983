"""The loop level: what a kernel does, as a small tree of statements over scalar expressions.

    statement := Loop(var, low, high, body, kind, step) | Set(var, value)
               | Store(buffer, offset, value, cond) | When(cond, body) | Prefetch(buffer, offset)
    kind      := "parallel" | "serial" | "vector" | "unroll"

A kernel's operands are buffers (pointers) and sizes (64-bit integers), both given at run time, so
one kernel serves every shape. Offsets count elements of the buffer's dtype.

Lanes. `LANES` = 16 values are computed together. A vector loop runs its body for low..high-1,
LANES iterations at a time, the last block masked: there a load from an inactive lane is not made
(it reads `fill`), a store is not made, and a register keeps its value. Inside it an expression that
depends on the loop variable has one value per lane. A register (`var` with lanes=LANES) set in a
vector loop holds in lane l what iterations low+l, low+l+LANES, ... accumulated, and is a vector
outside of it too. Outside of vector loops, `load` with lanes=LANES reads LANES consecutive
elements, and scalar operations apply to vectors lane by lane; a one-lane value is broadcast.

Tiles. A tile loop (kind "tile", for devices that compute with whole tiles) runs its body once, for
all of low..high-1 together; these are at most `step` positions, a power of two. Inside it an
expression that depends on the loop variable has one value for each of them, and one that depends on
the variables of several tile loops has a value for each combination. Loads and stores of positions
that are not there are not made. `fold` joins an expression's values along one tile variable, and
`tile_product` multiplies two tiles. A register whose `lanes` are tile variables has a value for
each combination of their positions, before and after those loops too; what it holds at positions
that are not there is not said.

Matrices. A register with lanes=MATRIX holds LANES rows of LANES values of 32 bits, on targets with
`matrices`. It is set to zero, to rows in memory (`matrix_load`) or to the sum of a matrix and a
product of two others (`matrix_product`), and stored as rows (`rows_apart`); nothing else is made of
it.

Registers are in scope from their first Set to the end of the enclosing body; a Set inside a loop or
a When of a register first set outside is carried.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..base import dtypes
from ..base.dtypes import DType
from .expr import Expr, make, var

LANES = 16
MATRIX = LANES * LANES      # "lanes" of a register that holds LANES rows of LANES words


class Loop:
    """Runs body for var = low, low + step, ... < high. A vector or parallel loop has step 1.

    "parallel": the outermost loop of a kernel, exactly one; its range is handed out to threads, so
    low and high are the kernel's task range at run time and `high` here is the number of tasks.
    "unroll": low and high are literals. "tile": at most `step` positions, all of them together.
    """

    __slots__ = ("body", "high", "kind", "low", "step", "var")

    def __init__(self, var: Expr, low: Expr, high: Expr, body: list, kind: str = "serial",
                 step: int = 1):
        self.var, self.low, self.high = var, low, high
        self.body, self.kind, self.step = body, kind, step


class Set:
    """var = value. A vector register may be set to a one-lane value (broadcast)."""

    __slots__ = ("value", "var")

    def __init__(self, var: Expr, value: Expr):
        self.var, self.value = var, value


class Store:
    """buffer[offset] = value, where `cond` (if given) holds; a vector value goes to LANES
    consecutive elements outside of vector loops. `stream` asks for a store past the caches."""

    __slots__ = ("buffer", "cond", "offset", "stream", "value")

    def __init__(self, buffer: str, offset: Expr, value: Expr, cond: Expr | None = None,
                 stream: bool = False):
        self.buffer, self.offset, self.value = buffer, offset, value
        self.cond, self.stream = cond, stream


class Prefetch:
    """Brings the line of buffer[offset] near, in the innermost scope; any offset is allowed. `core`
    asks for it in the second cache alone, where so much is called for before it that the first one
    would not keep it."""

    __slots__ = ("buffer", "core", "offset")

    def __init__(self, buffer: str, offset: Expr, core: bool = False):
        self.buffer, self.offset, self.core = buffer, offset, core


class When:
    """Runs body if the one-lane condition holds; in a vector loop it has to be uniform. Outside of
    them a condition of LANES lanes lets only those lanes load and store in which it holds."""

    __slots__ = ("body", "cond")

    def __init__(self, cond: Expr, body: list):
        self.cond, self.body = cond, body


class Buffer:
    """A buffer of a kernel: an operand (`space` "global"), or scratch of `count` elements.

    `writes`: whether the kernel stores to it; a buffer it does not write may be read ahead, and
    buffers that are written do not overlap any other (in-place operands share one Buffer name).
    Scratch is per thread, 64-byte aligned; its `count` may use the kernel's sizes.
    """

    __slots__ = ("count", "dtype", "name", "space", "writes")

    def __init__(self, name: str, dtype: DType, writes: bool = False, space: str = "global",
                 count: Expr | None = None):
        self.name, self.dtype, self.writes = name, dtype, writes
        self.space, self.count = space, count


class Kernel:
    """One kernel: buffers, sizes (variables given at run time) and the statements.

    Arguments at run time are 8-byte words: a pointer for each global buffer in order, then each
    size in order. `scratch` buffers are carved from the thread's scratch memory in order. On a
    device `warps` of threads compute one task, and loads run `stages` trips of a loop ahead.
    """

    __slots__ = ("body", "buffers", "name", "sizes", "stages", "warps")

    def __init__(self, name: str, buffers: Iterable[Buffer], sizes: Iterable[Expr], body: list,
                 warps: int = 1, stages: int = 1):
        self.name, self.buffers = name, list(buffers)
        self.sizes, self.body = list(sizes), body
        self.warps, self.stages = warps, stages

    @property
    def operands(self) -> list[Buffer]:
        """The buffers given at run time, in argument order."""
        return [b for b in self.buffers if b.space == "global"]

    @property
    def scratch(self) -> list[Buffer]:
        return [b for b in self.buffers if b.space == "scratch"]

    def __repr__(self) -> str:
        return show_kernel(self)


def index_var(name: str) -> Expr:
    """A loop variable or run-time size."""
    return var(name, dtypes.index)


def lane_tree(monoid: str, x: Expr) -> Expr:
    """One value from a vector register: (l, l+8), (l, l+4), (l, l+2), (l, l+1) by the monoid."""
    return make("lanes", (x,), monoid, x.dtype)


def lane_index() -> Expr:
    """0, 1, ..., LANES-1 as a vector of indices (outside of vector loops)."""
    return make("lane", (), None, dtypes.index)


def lane_at(x: Expr, k: int) -> Expr:
    """The value in lane k of a vector."""
    return make("lane_at", (x,), k, x.dtype)


def transposed(rows: Sequence[Expr], k: int) -> Expr:
    """Column k of LANES vectors: lane l is lane k of rows[l] (outside of vector loops)."""
    assert len(rows) == LANES, "a square is transposed"
    return make("transposed", tuple(rows), k, rows[0].dtype)


def pair_product(a: Expr, b: Expr, start: Expr) -> Expr:
    """start + two products of bfloat16: a and b are words (int32) that hold two each. The upper
    halves are multiplied and added first, then the lower ones, each with one rounding; what is
    smaller than 2^-126 may count as zero. Only for targets with `pairs`."""
    return make("pair", (a, b, start), None, start.dtype)


def quad_product(a: Expr, b: Expr, start: Expr) -> Expr:
    """start + four products of 8-bit integers, modulo 2^32: a is a word (int32) of four without
    signs, b of four with signs. Only for targets with `quads`."""
    return make("quad", (a, b, start), None, start.dtype)


def matrix_load(buffer: str, offset: Expr, pitch: Expr, dtype: DType) -> Expr:
    """A matrix of values of 32 bits, whose rows begin `pitch` elements apart from an offset on."""
    return make("load", (offset, pitch), (buffer, MATRIX, 0), dtype)


def rows_apart(matrix: Expr, pitch: Expr) -> Expr:
    """A matrix as it is stored: its rows begin `pitch` elements apart."""
    return make("rows", (matrix, pitch), None, matrix.dtype)


def matrix_product(a: Expr, b: Expr, start: Expr, kinds: tuple[DType, DType]) -> Expr:
    """start + a @ b: row i of a has the words of row i of the left operand, row k of b word k of
    each column, of as many elements of these dtypes as a word holds. Both are int8 or uint8, and
    the sum is int32, modulo 2^32; or both are bfloat16, and the sum is float32, in an order of the
    processor's own. The three are different matrices. Only for targets with `matrices`."""
    return make("matrix", (a, b, start), tuple(k.name for k in kinds), start.dtype)


def trailing_zeros(x: Expr) -> Expr:
    """The number of trailing zero bits of a one-lane index that is not zero."""
    return make("ctz", (x,), None, dtypes.index)


def tile(var: Expr, low: Expr, high: Expr, width: int, body: list) -> Loop:
    """A tile loop over low..high-1, which are at most `width` positions."""
    return Loop(var, low, high, body, "tile", width)


def fold(monoid: str, over: Expr, x: Expr) -> Expr:
    """The values of x along the tile variable `over` joined, in the device's own fixed order."""
    return make("fold", (x,), (monoid, over), x.dtype)


def tile_product(a: Expr, b: Expr, start: Expr, over: Expr) -> Expr:
    """start + the sum along `over` of a * b, two tiles that share that variable, in start's dtype
    and the device's own fixed order. A factor may be a 16-bit float that was widened, or a
    float8."""
    return make("product", (a, b, start), over, start.dtype)


def structure(kernel: Kernel) -> tuple:
    """What the kernel is, hashable: equal kernels have equal structures."""
    buffers = tuple((b.name, b.dtype.name, b.writes, b.space, b.count) for b in kernel.buffers)
    return (buffers, tuple(kernel.sizes), _structure(kernel.body))


def _structure(body: list) -> tuple:
    out: list = []
    for s in body:
        if isinstance(s, Loop):
            out.append((s.kind, s.var, s.low, s.high, s.step, _structure(s.body)))
        elif isinstance(s, Set):
            out.append((s.var, s.value))
        elif isinstance(s, Store):
            out.append((s.buffer, s.offset, s.value, s.cond, s.stream))
        elif isinstance(s, Prefetch):
            out.append((s.buffer, s.offset, s.core))
        else:
            assert isinstance(s, When)
            out.append((s.cond, _structure(s.body)))
    return tuple(out)


def show_kernel(kernel: Kernel) -> str:
    """The kernel as readable text."""
    buffers = [f"{b.name}: {b.dtype}" + (f" scratch({b.count})" if b.space == "scratch" else
                                          " out" if b.writes else "") for b in kernel.buffers]
    sizes = [s.attr[0] for s in kernel.sizes]
    lines = [f"kernel {kernel.name}({', '.join(buffers)}; {', '.join(sizes)})"]
    _show_body(kernel.body, 1, lines)
    return "\n".join(lines)


def _show_body(body: list, depth: int, lines: list[str]) -> None:
    pad = "  " * depth
    for s in body:
        if isinstance(s, Loop):
            step = "" if s.step == 1 else f" of {s.step}" if s.kind == "tile" else f" by {s.step}"
            lines.append(f"{pad}{s.kind} {s.var} in {s.low}..{s.high}{step}:")
            _show_body(s.body, depth + 1, lines)
        elif isinstance(s, Set):
            lines.append(f"{pad}{s.var} = {s.value}")
        elif isinstance(s, Store):
            cond = f" if {s.cond}" if s.cond is not None else ""
            past = " past the caches" if s.stream else ""
            lines.append(f"{pad}{s.buffer}[{s.offset}] = {s.value}{cond}{past}")
        elif isinstance(s, Prefetch):
            to = " to the second cache" if s.core else ""
            lines.append(f"{pad}prefetch {s.buffer}[{s.offset}]{to}")
        else:
            lines.append(f"{pad}when {s.cond}:")
            _show_body(s.body, depth + 1, lines)
