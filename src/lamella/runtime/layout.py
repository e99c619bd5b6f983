"""The layout that the walker and the tables agree on: step words, block words, outcomes."""

from __future__ import annotations

# Step kinds, and the meaning of their words 1..7.
LAUNCH = 0  # fn, args word, tasks, grain, chunks of its group, index after the group, own chunks
LOOP = 1  # trips, counter, first stride, strides, index after the loop
AGAIN = 2  # index of the loop
BRANCH = 3  # image word of the flag's address, index to go to when it is 0
JUMP = 4  # index
HOST = 5  # callable, args word, -, -, and as a launch's of one chunk
END = 6
STEP_WORDS = 8

RUNNING, INTERRUPTED, FAILED, MISCOUNTED = 0, 1, 2, 3

# The words of a block, by cache line: what all threads read; that and what a step changes for
# them (`status` is the word that kernels report into); what the entering thread alone uses.
BLOCK = (
    "steps", "image", "patches", "ends", "bases", "n_bases", "scratch", "scratch_stride",
    "threads", "counters", "strides", "hold", "ticks", "none", "group", "status",
    "deadline", "state", "at", "outcome", "control", "polls", "granted", "signature",
)  # fmt: skip


def fields(names: str, block: str = "%b") -> str:
    """Pointers %p.<name> to fields of the block."""
    return "\n".join(
        f"  %p.{n} = getelementptr i64, ptr {block}, i64 {BLOCK.index(n)}" for n in names.split()
    )


def words(step: str, **words: int) -> str:
    """Loads %<name> of words of a step."""
    return "\n".join(
        f"  %p.{n} = getelementptr i64, ptr {step}, i64 {i}\n  %{n} = load i64, ptr %p.{n}"
        for n, i in words.items()
    )
