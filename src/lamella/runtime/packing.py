"""From steps to the words that the walker reads."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from lamella.runtime import layout
from lamella.runtime.spill import PIECE
from lamella.runtime.steps import (
    Branch,
    Copy,
    EndLoop,
    Host,
    Jump,
    Launch,
    Loop,
    Step,
    Transfer,
)
from lamella.runtime.team import MAX_CHUNKS
from lamella.runtime.walker import walker

COPY_PIECE = 256 << 10  # bytes of one task of a copy


class Packed:
    """Steps as words: eight per step, plus the image words that copies and transfers need;
    `files` are the words of a file's descriptor, behind each of which the address of the status
    word is due, `file_bytes` how long the file is."""

    def __init__(self, steps: list[Step], image: list[int]):
        self.steps, self.image = steps, image
        self.words: list[int] = []
        self.strides: list[int] = []
        self.callbacks: list[Callable] = []
        self.counters, self.parallel = 0, False
        self.files: list[int] = []
        self.file_bytes = 0
        self.loops = _loops(steps)
        for index, step in enumerate(steps):
            row = _PACK[type(step)](self, index, step)
            self.words += row + [0] * (layout.STEP_WORDS - len(row))
        self.words += [layout.END] + [0] * (layout.STEP_WORDS - 1)
        self._group()

    def _check_word(self, index: int, *words: int) -> None:
        for word in words:
            if not 0 <= word < max(1, len(self.image)):
                raise ValueError(f"step {index} names image word {word} of {len(self.image)}")

    def launch(self, index: int, s: Launch) -> list[int]:
        self._check_word(index, s.at)
        grain = max(1, s.tasks if s.serial else s.grain, -(-s.tasks // MAX_CHUNKS))
        chunks = -(-s.tasks // grain)
        return [layout.LAUNCH, s.fn, s.at, s.tasks, grain, chunks, index + 1, chunks]

    def copy(self, index: int, s: Copy) -> list[int]:
        self._check_word(index, s.to, s.source)
        at = len(self.image)
        self.image += [s.to - at, s.source - at, s.nbytes, COPY_PIECE]
        tasks = -(-s.nbytes // COPY_PIECE)
        return self.launch(index, Launch(walker().copy, at, tasks))

    def transfer(self, index: int, s: Transfer) -> list[int]:
        self._check_word(index, s.at)
        at = len(self.image)
        self.image += [s.at - at, s.offset, s.nbytes, PIECE, 0, 0]
        self.files.append(at + 4)
        self.file_bytes = max(self.file_bytes, s.offset + s.nbytes)
        kernel = walker().fetch if s.reads else walker().spill
        return self.launch(index, Launch(kernel, at, -(-s.nbytes // PIECE)))

    def loop(self, index: int, s: Loop) -> list[int]:
        self._check_word(index, *(word for word, _ in s.strides))
        first, self.counters = len(self.strides) // 2, self.counters + 1
        self.strides += [x for pair in s.strides for x in pair]
        end = self.loops[index]
        return [layout.LOOP, s.trips, self.counters - 1, first, len(s.strides), end + 1]

    def again(self, index: int, s: EndLoop) -> list[int]:
        return [layout.AGAIN, self.loops[index]]

    def branch(self, index: int, s: Branch) -> list[int]:
        self._check_word(index, s.word)
        self._check_target(index, s.target)
        return [layout.BRANCH, s.word, s.target]

    def jump(self, index: int, s: Jump) -> list[int]:
        self._check_target(index, s.target)
        return [layout.JUMP, s.target]

    def host(self, index: int, s: Host) -> list[int]:
        self._check_word(index, s.at)
        self.callbacks.append(s.callback)
        return [layout.HOST, id(s.callback), s.at, 0, 0, 1, index + 1, 1]

    def _check_target(self, index: int, target: int) -> None:
        """A loop is entered at its head and left at its end only."""
        if not 0 <= target <= len(self.steps):
            raise ValueError(f"step {index} goes to step {target} of {len(self.steps)}")
        for begin, end in self.loops.items():
            if begin < end and (begin < index <= end) != (begin < target <= end):
                raise ValueError(f"step {index} goes across the loop at {begin} to {target}")

    def _group(self) -> None:
        """Share out runs of independent launches together, a host step at most before them: chunks
        in all, and the step after."""
        width = layout.STEP_WORDS
        targets = {s.target for s in self.steps if isinstance(s, (Branch, Jump))}
        for index in reversed(range(len(self.steps))):
            row = index * width
            if self.words[row] not in (layout.LAUNCH, layout.HOST):
                continue
            after = row + width
            step = self.steps[index]
            joined = getattr(step, "independent", False) and index + 1 not in targets
            chunks = self.words[row + 5] + self.words[after + 5]
            if joined and self.words[after] == layout.LAUNCH and chunks <= MAX_CHUNKS:
                self.words[row + 5] = chunks
                self.words[row + 6] = self.words[after + 6]
            self.parallel |= self.words[row + 5] > 1


_PACK: dict[type, Callable] = {
    Launch: Packed.launch,
    Copy: Packed.copy,
    Transfer: Packed.transfer,
    Loop: Packed.loop,
    EndLoop: Packed.again,
    Branch: Packed.branch,
    Jump: Packed.jump,
    Host: Packed.host,
}


def _loops(steps: Sequence[Step]) -> dict[int, int]:
    """Index of each loop's end by its begin, and of its begin by its end."""
    match, open_loops = {}, []
    for index, step in enumerate(steps):
        if type(step) is Loop:
            open_loops.append(index)
        elif type(step) is EndLoop:
            if not open_loops:
                raise ValueError(f"step {index} ends a loop that was not begun")
            begin = open_loops.pop()
            match[begin], match[index] = index, begin
    if open_loops:
        raise ValueError(f"the loop at step {open_loops[-1]} has no end")
    return match
