"""What the tables share."""

from __future__ import annotations

import lamella as L


class Different(Exception):
    """This sample differs on purpose; the message says why."""


class Uncompared:
    """Stands for a result that is not compared: which of several right ones it is, is not said."""


UNCOMPARED = Uncompared()


def channels_last(x):
    """[n, c, ...] as [n, ..., c]; a lone image gets a batch of one."""
    return L.moveaxis(x, 1, -1)


def channels_first(x):
    """[n, ..., c] as [n, c, ...]."""
    return L.moveaxis(x, -1, 1)


def batched(x, rank: int):
    """(x with a batch axis, whether it was added) for images of `rank` axes and channels."""
    return (x, False) if x.ndim == rank + 2 else (x.reshape(1, *x.shape), True)


def over_images(f, x, rank: int):
    """f of channels-last images, for x [n, c, ...] or [c, ...]."""
    x, added = batched(x, rank)
    y = channels_first(f(channels_last(x)))
    return y.reshape(*y.shape[1:]) if added else y


def number(x):
    """A number, or an array of one element as a Python number."""
    return x.item() if isinstance(x, L.Array) else x


def axes(dim):
    """PyTorch's dim: an empty list means all axes."""
    if isinstance(dim, list | tuple):
        return tuple(dim) if len(dim) else None
    return dim


def each(v, rank: int) -> tuple:
    """A number, or a list of one, for each of the axes."""
    if isinstance(v, int):
        return (v,) * rank
    return tuple(v) * rank if len(v) == 1 else tuple(v)



def called(name: str):
    """The function of that name, looked up when it is called: it may not exist yet."""
    return lambda *args, **kwargs: getattr(L, name)(*args, **kwargs)


def words(text: str) -> list[str]:
    """The names in a text."""
    return text.split()


__all__ = ["UNCOMPARED", "Different", "L", "Uncompared", "axes", "batched", "called",
           "channels_first", "channels_last", "each", "number", "over_images", "words"]
