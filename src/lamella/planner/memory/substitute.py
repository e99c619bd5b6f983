"""Steps with other buffers in place of some: windows of these move with them, loops and branches
are made anew."""

from __future__ import annotations

from collections.abc import Mapping

from ..plan import Branch, Buffer, Copy, Host, Launch, Loop, Operand, Order, Step


def over(step: Step, others: Mapping[int, Buffer]) -> Step:
    """The step with other buffers in place of some (by id); itself where it has none of them."""
    touched = (b for s in Order([step]).leaves for b in s.buffers())
    if not any(_within(b, others) for b in touched):
        return step
    return _Substitution(others).step(step)


def _within(b: Buffer | None, others: Mapping[int, Buffer]) -> bool:
    """Whether a buffer, or one in whose bytes it lies, is one of some."""
    while b is not None:
        if id(b) in others:
            return True
        b = b.alias
    return False


class _Substitution:
    """What stands for buffers and loops (by id) in the steps that are made."""

    def __init__(self, others: Mapping[int, Buffer]):
        self.others = dict(others)
        self.loops: dict[int, Loop] = {}

    def buffer(self, b: Buffer) -> Buffer:
        found = self.others.get(id(b))
        if found is not None or b.alias is None:
            return found or b
        made, whole, advance = b, self.buffer(b.alias), b.advance
        if advance is not None:
            advance = self.loops.get(id(advance[0]), advance[0]), advance[1]
        if whole is not b.alias or advance != b.advance:
            made = Buffer(b.dtype, b.count, b.role, b.label, b.index, b.space)
            made.alias, made.offset, made.advance = whole, b.offset, advance
        self.others[id(b)] = made
        return made

    def step(self, s: Step) -> Step:
        if isinstance(s, Loop):
            return self.loop(s)
        if isinstance(s, Branch):
            arms = [[*map(self.step, arm)] for arm in s.arms]
            return Branch(self.buffer(s.flags), arms, s.names, s.source)
        made: Launch | Copy | Host
        if isinstance(s, Launch):
            made = self.launch(s)
        elif isinstance(s, Copy):
            made = Copy(self.buffer(s.source_buffer), self.buffer(s.target), s.names, s.source)
            made.again = s.again
        else:
            assert isinstance(s, Host), f"{type(s).__name__} while a plan is sought"
            made = Host(s.call, [(self.buffer(b), t) for b, t in s.operands],
                        [(b and self.buffer(b), t) for b, t in s.results], s.workspace,
                        s.same_bits, s.names, s.source)
        made.flops, made.traffic = s.flops, s.traffic
        return made

    def launch(self, s: Launch) -> Launch:
        operands = [Operand(self.buffer(o.buffer), o.offset, o.writes, o.count)
                    for o in s.operands]
        made = Launch(s.kernel, operands, s.sizes, s.tasks, s.grain, s.names, s.source)
        made.lays_out, made.again = s.lays_out, s.again
        made.origin = None if s.origin is None else s.origin.over(self.others)
        return made

    def loop(self, s: Loop) -> Loop:
        made = self.loops[id(s)] = Loop(s.trips, s.names, s.source)
        made.parts, made.flag = s.parts, s.flag and self.buffer(s.flag)
        made.head, made.body = [*map(self.step, s.head)], [*map(self.step, s.body)]
        made.carries = [(self.buffer(a), self.buffer(b)) for a, b in s.carries]
        return made
