"""Batches of arrays in an order that is a pure function of (seed, epoch, position)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np

from lamella.base.errors import FormatError, RecipeError, ShapeError
from lamella.base.events import span

_SEEDS = 1 << 64
AHEAD = 256 << 10       # bytes of a batch from which on the next is loaded while this one is used


class Loader:
    """Batches of rows of `arrays`, tuples of NumPy arrays in the order of `arrays`.

    One `for` loop runs to the end of the current epoch; the next loop is the next epoch, in another
    order. `state()` after any batch, given to `restore` of an equal loader, goes on with the batch
    after it. The loader has one position: two loops over it at once share that position.

        loader = Loader((images, labels), batch_size=64, seed=0)
        for x, y in loader: ...
    """

    def __init__(
        self,
        arrays: Sequence | Mapping[str, object],
        batch_size: int,
        seed: int = 0,
        *,
        shuffle: bool = True,
        drop_last: bool = False,
    ):
        self.arrays, self.rows = _check_rows(arrays)
        if batch_size < 1:
            raise RecipeError(f"Loader: batch_size {batch_size}, at least 1 is needed")
        if drop_last and batch_size > self.rows:
            raise RecipeError(
                f"Loader: no whole batch of {batch_size} in {self.rows} rows; "
                "use drop_last=False or a smaller batch_size"
            )
        if not 0 <= seed < _SEEDS:
            raise RecipeError(f"Loader: seed {seed}, expected 0 to 2**64 - 1")
        self.batch_size, self.seed = int(batch_size), int(seed)
        self.shuffle, self.drop_last = bool(shuffle), bool(drop_last)
        self.epoch = self.position = 0
        self._order: tuple[int, np.ndarray] | None = None

    def __len__(self) -> int:
        """Batches per epoch."""
        whole, rest = divmod(self.rows, self.batch_size)
        return whole + (rest > 0 and not self.drop_last)

    def __iter__(self) -> Iterator[tuple[np.ndarray, ...]]:
        with ThreadPoolExecutor(1, "loader") as helper:
            ahead: dict[tuple[int, int], Future] = {}
            while self.position < len(self):
                place = self.epoch, self.position
                found = ahead.pop(place, None)
                batch = self._loaded(*place) if found is None else found.result()
                self.position += 1
                if self.position < len(self) and sum(a.nbytes for a in batch) >= AHEAD:
                    place = self.epoch, self.position
                    ahead = {place: helper.submit(self._loaded, *place)}
                yield batch
        self.epoch, self.position = self.epoch + 1, 0

    def _loaded(self, epoch: int, position: int) -> tuple[np.ndarray, ...]:
        with span("load a batch", epoch=epoch, position=position):
            return self.batch(epoch, position)

    def batch(self, epoch: int, position: int) -> tuple[np.ndarray, ...]:
        """The batch at `position` of `epoch`, wherever the loader itself stands."""
        first = position * self.batch_size
        chosen = self.order(epoch)[first : first + self.batch_size]
        return tuple(array[chosen] for array in self.arrays)

    def order(self, epoch: int) -> np.ndarray:
        """The rows in the order of `epoch`: a stable sort of raw 64-bit Philox outputs.

        Raw outputs, because NumPy keeps those the same for ever and `permutation` not.
        """
        if self._order is None or self._order[0] != epoch:
            if self.shuffle:
                philox = np.random.Philox(key=np.array([self.seed, epoch], np.uint64))
                order = np.argsort(philox.random_raw(self.rows), kind="stable")
            else:
                order = np.arange(self.rows)
            self._order = (epoch, order)
        return self._order[1]

    def state(self) -> dict[str, int]:
        """Where the loader stands, as plain integers."""
        return {**self._identity(), "epoch": self.epoch, "position": self.position}

    def restore(self, state: Mapping[str, int]) -> None:
        """Goes to where `state` stood; the loader must be the one that gave it, or its equal."""
        for name, mine in self._identity().items():
            if name not in state:
                raise FormatError(f"Loader.restore: the state has no {name!r}")
            if state[name] != mine:
                raise FormatError(
                    f"Loader.restore: {name} is {state[name]} in the state, {mine} in this loader"
                )
        epoch, position = state.get("epoch", -1), state.get("position", -1)
        if epoch < 0 or not 0 <= position <= len(self):
            raise FormatError(
                f"Loader.restore: no epoch {epoch}, position {position} in {len(self)} batches"
            )
        self.epoch, self.position = int(epoch), int(position)

    def _identity(self) -> dict[str, int]:
        """What the order depends on."""
        return {
            "seed": self.seed,
            "rows": self.rows,
            "batch_size": self.batch_size,
            "shuffle": int(self.shuffle),
            "drop_last": int(self.drop_last),
        }


def _check_rows(arrays: Sequence | Mapping[str, object]) -> tuple[tuple[np.ndarray, ...], int]:
    """The arrays, and the length they share."""
    if isinstance(arrays, np.ndarray):
        raise RecipeError("Loader: arrays is one array; write Loader((array,), ...)")
    if isinstance(arrays, Mapping):
        named = {str(name): np.asarray(array) for name, array in arrays.items()}
    else:
        named = {f"arrays[{i}]": np.asarray(array) for i, array in enumerate(arrays)}
    if not named:
        raise RecipeError("Loader: no arrays")
    for name, array in named.items():
        if array.ndim == 0 or len(array) == 0:
            raise ShapeError(f"Loader: {name} has shape {array.shape}, at least one row is needed")
    if len({len(array) for array in named.values()}) > 1:
        lengths = ", ".join(f"{name} has {len(array)}" for name, array in named.items())
        raise ShapeError(f"Loader: the arrays differ in rows: {lengths}")
    return tuple(named.values()), len(next(iter(named.values())))
