"""Constants of an executable: the steps of its plan's prologue, run once for each set of sizes."""

from __future__ import annotations

from collections.abc import Mapping
from threading import Lock

from ..base.extents import evaluate
from ..planner.memory.place import aligned
from ..planner.plan import Launch, Plan
from ..runtime.memory import Block, allocate
from .value import Value


class Constants:
    """The blocks that the prologue wrote. A step that was run for the same sizes over the same
    inputs is not run again: batches of all sizes share a model's packed weights."""

    def __init__(self, plan: Plan, fixed: Mapping[int, Value]):
        self.plan = plan
        self.given = {id(plan.arguments[k]): fixed[k] for k in plan.fixed}
        self.made: dict[tuple, dict[int, Block]] = {}
        self.lock = Lock()      # addresses of blocks are kept: no two threads make the same

    def addresses(self, env: Mapping[str, int]) -> dict[int, int]:
        """The address of each constant buffer (and fixed argument) for these sizes."""
        with self.lock:
            return self._addresses(env)

    def _addresses(self, env: Mapping[str, int]) -> dict[int, int]:
        found: dict[int, int] = {k: v.address for k, v in self.given.items()}
        for number, step in enumerate(self.plan.prologue):
            sizes = [evaluate(e, env) for e in (*step.sizes, step.tasks)]
            inputs = [(evaluate(o.offset, env), found.get(id(o.buffer.root)))
                      for o in step.operands if not o.writes]
            key = (number, *sizes, *inputs)
            blocks = self.made.get(key)
            if blocks is None:
                blocks = self.made[key] = self._run(step, env, found)
            found |= {k: b.address for k, b in blocks.items()}
        return found

    def bytes(self) -> int:
        """Bytes of all blocks made so far."""
        return sum(b.size for blocks in self.made.values() for b in blocks.values())

    @staticmethod
    def _run(step: Launch, env: Mapping[str, int], known: dict[int, int]) -> dict[int, Block]:
        from .bind import Writer

        blocks = {id(o.buffer): allocate(max(64, aligned(evaluate(o.buffer.bytes, env))))
                  for o in step.operands if o.writes}
        w = Writer([step], env, {}, known | {k: b.address for k, b in blocks.items()})
        w.table(0).run([])
        return blocks
