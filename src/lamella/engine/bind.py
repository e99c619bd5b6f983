"""A Plan bound to values of its symbols: addresses, sizes and offsets as the walker reads them."""

from __future__ import annotations

from collections.abc import Mapping

from ..base.extents import evaluate
from ..codegen.emit import scratch_bytes
from ..ir.types import TensorType, tensor
from ..planner.memory.place import Layout, aligned, place, place_in_file
from ..planner.plan import Branch, Buffer, Copy, Host, Launch, Loop, Order, Parallel, Plan, Step
from ..runtime import steps as native
from ..runtime import walker
from ..runtime.available import require
from ..runtime.table import Table
from .host import host_call
from .kernels import compile_kernels
from .overwritten import overwritten

ARENA = 0


class Bound:
    """A plan ready to run for one value of each symbol.

    `table.run([arena, *arguments, *fresh results])`; `sources` says for each output which base it
    is, `fresh` the types of results that are allocated at each call; `one_to_one`: each of these is
    one output. `written` gives for each argument the first native step that may write into it.
    """

    __slots__ = ("arena_bytes", "constant_bytes", "fresh", "fresh_bytes", "layout", "one_to_one",
                 "origins", "outputs", "scratch_bytes", "table", "types", "written")

    def __init__(self, plan: Plan, env: Mapping[str, int], threads: int | None = None,
                 constants: Mapping[int, int] | None = None, layout: Layout | None = None,
                 folder: str = ""):
        """`folder` is where a run has the file of a plan that spills."""
        self.layout: Layout = layout or place(plan, env)
        self.arena_bytes = self.layout.size
        self.constant_bytes = sum(aligned(evaluate(b.bytes, env)) for b in plan.constants)
        bases = {id(b): 1 + k for k, b in enumerate(plan.arguments)}
        self.fresh: list[TensorType] = []
        self.outputs: list[tuple[int, TensorType]] = []
        for buffer, node in zip(plan.results, plan.program.outputs, strict=True):
            shape = tuple(evaluate(e, env) for e in node.shape)
            if id(buffer.root) not in bases:
                bases[id(buffer.root)] = 1 + len(plan.arguments) + len(self.fresh)
                self.fresh.append(tensor(buffer.root.dtype, (evaluate(buffer.root.count, env),)))
            self.outputs.append((bases[id(buffer.root)], tensor(node.dtype, shape)))
        self.fresh_bytes: list[int] = [t.bytes for t in self.fresh]  # type: ignore[misc]
        self.types = [t for _, t in self.outputs]
        first = 1 + len(plan.arguments)
        own = [b for b, _ in self.outputs if b >= first]
        self.one_to_one = own == [*range(first, first + len(self.fresh))]
        total = sum(self.fresh_bytes) + self.arena_bytes
        require(total, f"{plan.program.name}: {' and '.join(str(t) for _, t in self.outputs[:4])}")
        fixed = {b: a for b, a in (constants or {}).items() if b not in bases}
        w = Writer(plan.steps, env, bases, fixed, self.layout, threads,
                   place_in_file(plan, env) if plan.transfers else None)
        self.scratch_bytes, self.origins = aligned(w.scratch), w.origins
        self.written = overwritten(plan, w.begins)
        self.table = w.table(1 + len(plan.arguments) + len(self.fresh), folder)


class Writer:
    """Writes steps and the words that they read: `origins` gives each native step's own, `begins`
    each step's first native one, by id.

    A buffer lies in the base that `bases` gives, or at the address that `fixed` gives, or in the
    arena, or (as `in_file` says) in the run's file.
    """

    def __init__(self, steps: list[Step], env: Mapping[str, int], bases: Mapping[int, int],
                 fixed: Mapping[int, int], layout: Layout | None = None,
                 threads: int | None = None, in_file: Layout | None = None):
        self.in_file = in_file.offsets if in_file else {}
        self.env, self.layout, self.bases, self.fixed = env, layout, bases, fixed
        self.limit, self.threads = threads, threads or walker.threads()
        self.image: list[int] = []
        self.patches: list[tuple[int, int, int]] = []
        self.steps: list = []
        self.origins: list = []
        self.begins: dict[int, int] = {}
        self.scratch = 0
        self.known: dict[tuple, int] = {}   # scratch, by kernel and sizes
        self.moving: dict[int, list[tuple[int, int]]] = {}  # of each open loop: (word, stride)
        launches = [s for s in Order(steps).leaves if isinstance(s, Launch)]
        self.compiled = dict(zip(map(id, launches), compile_kernels([s.kernel for s in launches]),
                                 strict=True))
        self.write(steps)

    def table(self, n_bases: int, folder: str = "") -> Table:
        """The steps ready to run over so many bases."""
        return Table(self.steps, self.image or [0], self.patches, n_bases, aligned(self.scratch),
                     self.limit, folder=folder)

    def add(self, native_step, origin) -> int:
        self.steps.append(native_step)
        self.origins.append(origin)
        return len(self.steps) - 1

    def address(self, buffer: Buffer, offset: int = 0) -> int:
        """A word with the address of the byte `offset` of a buffer; it moves with the loops."""
        word = len(self.image)
        self.image.append(0)
        while buffer.alias is not None:
            offset += evaluate(buffer.offset, self.env) * buffer.dtype.bytes
            if buffer.advance is not None:
                loop, stride = buffer.advance
                self.moving[id(loop)].append(
                    (word, evaluate(stride, self.env) * buffer.dtype.bytes))
            buffer = buffer.alias
        address = self.fixed.get(id(buffer))
        if address is not None:
            self.image[word] = address + offset
            return word
        base = self.bases.get(id(buffer), ARENA)
        start = self.layout.offsets[id(buffer)] if base == ARENA and self.layout else 0
        self.patches.append((word, base, start + offset))
        return word

    def write(self, steps: list[Step]) -> None:
        """Add the steps, in order."""
        for s in steps:
            self.begins[id(s)] = len(self.steps)
            if isinstance(s, Launch):
                self.launch(s)
            elif isinstance(s, Parallel):
                self.parallel(s)
            elif isinstance(s, Copy):
                self.copy(s)
            elif isinstance(s, Host):
                self.host(s)
            elif isinstance(s, Branch):
                self.branch(s)
            elif s.trips is None:
                self.open_loop(s)
            else:
                self.loop(s)

    def launch(self, s: Launch) -> None:
        env, at = self.env, len(self.image)
        for o in s.operands:
            self.address(o.buffer, evaluate(o.offset, env) * o.buffer.dtype.bytes)
        sizes = [evaluate(e, env) for e in s.sizes]
        self.image.extend(sizes)
        code = self.compiled[id(s)]
        self.scratch = max(self.scratch, self.scratch_of(s, sizes))
        tasks, grain = s.claims(env, self.threads)
        self.add(native.Launch(code.address, at, tasks, grain, serial=tasks <= grain), s)

    def copy(self, s: Copy) -> None:
        size = evaluate(s.source_buffer.bytes, self.env)
        if s.spills:
            at = self.in_file[id(s.target)]
            self.add(native.Transfer(self.address(s.source_buffer), at, size), s)
        elif s.fetches:
            at = self.in_file[id(s.source_buffer)]
            self.add(native.Transfer(self.address(s.target), at, size, reads=True), s)
        else:
            self.add(native.Copy(self.address(s.target), self.address(s.source_buffer), size), s)

    def scratch_of(self, s: Launch, sizes: list[int]) -> int:
        """What a launch needs of scratch, counted once for launches that repeat."""
        key = id(s.kernel), *sizes
        found = self.known.get(key)
        if found is None:
            found = self.known[key] = scratch_bytes(s.kernel, sizes)
        return found

    def host(self, s: Host) -> None:
        at = len(self.image)
        for b in s.buffers():
            self.address(b)
        self.add(native.Host(host_call(s, self.env), at), s)

    def parallel(self, s: Parallel) -> None:
        """The members, which the walker shares out together."""
        first = len(self.steps)
        self.write([*s.members])
        for k in range(first, len(self.steps)):
            self.origins[k] = s
            if k + 1 < len(self.steps):
                self.steps[k] = self.steps[k]._replace(independent=True)

    def loop(self, s: Loop) -> None:
        strides: list[tuple[int, int]] = []
        self.moving[id(s)] = strides
        self.add(native.Loop(evaluate(s.trips or 0, self.env), strides), s)
        self.write(s.body)
        self.add(native.EndLoop(), s)

    def open_loop(self, s: Loop) -> None:
        begin = len(self.steps)
        self.write(s.head)
        assert s.flag is not None
        word = self.address(s.flag)
        test = self.add(None, s)
        self.write(s.body)
        self.add(native.Jump(begin), s)
        self.steps[test] = native.Branch(word, len(self.steps))

    def branch(self, s: Branch) -> None:
        """A test for each flag, which goes on to the next one where its own does not hold."""
        ends = []
        for k, arm in enumerate(s.arms[:-1]):
            word = self.address(s.flags, k)
            test = self.add(None, s)
            self.write(arm)
            ends.append(self.add(None, s))
            self.steps[test] = native.Branch(word, len(self.steps))
        self.write(s.arms[-1])
        for end in ends:
            self.steps[end] = native.Jump(len(self.steps))
