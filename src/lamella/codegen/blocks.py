"""Control flow in registers: conditions and counted loops, with the values that pass through them.

Registers that a body sets and that have a value before it are carried: they get a phi where two
ways meet. `run`, which writes a body, comes with the layer above.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from ..lang.expr import Expr, free_axes
from ..lang.loops import LANES, MATRIX, Loop, Set, When
from .matrices import Matrices
from .text import BODY, PLAIN, Scope, register_type
from .values import CONSTANT, LANE, Value


class Blocks(Matrices):
    """Writes conditions and loops around bodies."""

    def run(self, body: list) -> None:
        raise NotImplementedError

    def _carried(self, body: list) -> list[Expr]:
        """The registers that a body sets and that have a value before it."""
        return [r for r in assigned(body) if r in self.env]

    def _if(self, cond: str | None, kind: str, registers: list[Expr], body: Callable) -> None:
        """Run body if cond holds (None: always); registers take either value after it."""
        before = dict(self.env)
        if cond is None:
            body()
            self.env = {r: self.env[r] for r in before}
            return
        scope, out = self.open(kind), self.name("x")
        body()
        lanes = {r: max(before[r].lanes, self.env[r].lanes) for r in registers}
        new = {r: self.spread(self.env[r], r.dtype, lanes[r]) for r in registers}
        last = self.scopes[-1].label
        self.do(f"br label %{out}")
        self.close()
        old = {r: self.spread(before[r], r.dtype, lanes[r]) for r in registers}
        first = self.scopes[-1].label
        self.do(f"br i1 {cond}, label %{scope.start}, label %{out}")
        self.enter(scope)
        self.label(out)
        self._join(before, registers, lanes, old, first, new, last)

    def _join(self, before: dict, registers: list[Expr], lanes: dict, old: dict, first: str,
              new: dict, last: str) -> None:
        """Registers after two ways have met: `old` values from `first`, `new` from `last`."""
        self.env = before
        phis = {r: self.phi(register_type(r.dtype, lanes[r]), old[r], first, new[r], last)
                for r in registers}
        for r in registers:
            self.assign(r, Value(phis[r], lanes[r], self.top))

    def _count(self, body: list, variable: Expr, low: Value, high: Value, step: int,
               kind: str) -> None:
        """A counted loop: tested before the first iteration and after each one."""
        self.forget_memory()
        sure = low.depth == high.depth == CONSTANT and int(low.text) < int(high.text)
        registers, before = self._carried(body), dict(self.env)
        lanes = self._carried_lanes(body, registers)
        old = {r: self.spread(before[r], r.dtype, lanes[r]) for r in registers}
        self.open(PLAIN if sure else kind)
        scope, out = self.open(BODY), self.name("x")
        phis = {r: "%" + self.name("r") for r in registers}
        for r in registers:
            self.assign(r, Value(phis[r], lanes[r], self.top))
        index = self._index(variable)
        self.run(body)
        new = {r: self._fit(r, lanes[r]) for r in registers}
        following = self.op(f"add nsw i64 {index}, {step}", self.top)
        more = self.op(f"icmp slt i64 {following}, {high.text}", self.top)
        last = self.scopes[-1].label
        self.do(f"br i1 {more}, label %{scope.start}, label %{out}")
        self.close()
        rows = [(index, "i64", low.text, following)]
        rows += [(phis[r], register_type(r.dtype, lanes[r]), old[r], new[r]) for r in registers]
        self._enter_loop(scope, rows, last)
        guard = self.close()
        first = self.scopes[-1].label
        if sure:
            self.do(f"br label %{guard.start}")
        else:
            some = self.op(f"icmp slt i64 {low.text}, {high.text}", self.top)
            self.do(f"br i1 {some}, label %{guard.start}, label %{out}")
        self.enter(guard)
        self.label(out)
        self._join(before, registers, lanes, new if sure else old, first, new, last)

    def _index(self, variable: Expr) -> str:
        """The name of a loop variable, which has its value in the innermost scope."""
        name = "%" + self.name("i")
        v = Value(name, 1, self.top)
        if variable in self.mutable:
            self.assign(variable, v)
        else:
            self.env[variable] = v
        return name

    def _enter_loop(self, scope: Scope, rows: Sequence[tuple[str, str, str, str]],
                    last: str) -> None:
        """Append a loop's closed body; rows are the (name, type, first, next) of its phis."""
        before = self.scopes[-1].label
        self.do(f"br label %{scope.start}")
        self.enter(scope, [f"  {name} = phi {kind} [{first}, %{before}], [{following}, %{last}]"
                           for name, kind, first, following in rows])

    def _fit(self, register: Expr, lanes: int) -> str:
        v = self.env[register]
        assert v.lanes <= lanes, f"register {register} holds one number but is set to a vector"
        return self.spread(v, register.dtype, lanes)

    def _carried_lanes(self, body: list, registers: list[Expr]) -> dict[Expr, int]:
        """How many lanes each carried register has: matrices, vectors from outside or set to one
        inside."""
        wide = {r for r in registers if r.attr[1] == LANES or self.env[r].lanes == LANES}
        if self.in_vector and len(wide) < len(registers):
            vectors = wide | {r for r, v in self.env.items() if v.lanes > 1}
            vectors |= {v for v, e in self.aliases.items() if v.op == "var" and LANE in e.args}
            sets = list(settings(body))
            while True:
                more = {x.var for x in sets if free_axes(x.value) & vectors} - vectors
                if not more:
                    break
                vectors |= more
            wide |= vectors & set(registers)
        return {r: MATRIX if r.attr[1] == MATRIX else LANES if r in wide else 1
                for r in registers}


def settings(body: list) -> Iterable[Set]:
    """Every Set in a body."""
    for s in body:
        if isinstance(s, Set):
            yield s
        elif isinstance(s, (Loop, When)):
            yield from settings(s.body)


def assigned(body: list) -> list[Expr]:
    """The registers that a body sets, in order."""
    return list(dict.fromkeys(s.var for s in settings(body)))
