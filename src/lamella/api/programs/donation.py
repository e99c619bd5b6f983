"""Donation: arguments whose memory a call may take, so that nobody else may still see it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Collection

from ...base.errors import DonatedError
from ...engine.value import Value
from ...runtime.blocks import DeviceBlock
from ...runtime.memory import Block
from ..arrays.values import error


def donated_leaves(positions: Collection[int], structures: tuple) -> list[int]:
    """The numbers of the leaves of the arguments at these positions."""
    out: list[int] = []
    at = 0
    for k, s in enumerate(structures):
        if k in positions:
            out += range(at, at + s.num_leaves)
        at += s.num_leaves
    return out


def given_away(values: list[Value], donated: list[int]) -> list[Value]:
    """The values, with copies of donated ones that something else can still see."""
    seen = Counter(v.address for v in values)
    for k in donated:
        v = values[k]
        v.check()
        if seen[v.address] > 1:
            raise error(DonatedError, f"argument leaf {k} is donated and passed twice in one call; "
                                      "pass a copy or do not donate it")
        if not isinstance(v.owner, Block | DeviceBlock) or sys.getrefcount(v.owner) > 2:
            fresh = v.copy()
            v.owner, v.address = fresh.owner, fresh.address
    return values
