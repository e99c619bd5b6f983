"""x[key] = v over nodes: keys to updates of a box, choices by a mask, and scatters."""

from __future__ import annotations

from ...base.dtypes import bool_, int32, int64
from ...base.errors import PositionError
from ...base.extents import product
from ...ir.node import Node, literal
from ...ops import index as ix
from ...ops import move, window
from ...ops import reduce as red
from ...ops.pointwise import apply, broadcast_to, cast
from .indexing import flat_positions, get
from .keys import ALL, bounds_of, flag_of, is_mask, normal, position_of, wrapped
from .positions import ranks
from .values import error, leaf, unknown, value


def put(x: Node, key, v: Node) -> Node:
    """x with v (of x's dtype) at the positions key; v broadcasts to the shape of x[key]. Of several
    values for one place the last one stays."""
    flag = flag_of(key)
    if flag is not None:
        return apply("where", flag, broadcast_to(v, x.shape), x)
    whole = key[0] if isinstance(key, tuple) and len(key) == 1 else key
    if is_mask(whole):
        return _put_masked(x, whole if isinstance(whole, Node) else leaf(whole), v)
    items = normal(x, key)
    axes = [i for i in items if i is not None]
    nodes = [i for i in axes if isinstance(i, Node)]
    steps = any(isinstance(i, slice) and i.step not in (None, 1) for i in axes)
    if all(n.type.rank == 0 for n in nodes) and not (nodes and steps):
        return _put_box(x, items, v)
    return _put_positions(x, items, v)


def _put_masked(x: Node, mask: Node, v: Node) -> Node:
    """v wherever the mask, over x's first axes, holds: v[k] at its k-th one, or the one v."""
    if mask.shape != x.shape[:mask.type.rank]:
        raise error(PositionError, f"index: a mask of shape {mask.shape} for an array of shape "
                                   f"{x.shape}; its axes must be the array's first")
    rest = x.shape[mask.type.rank:]
    if v.type.rank > len(rest) and v.shape[0] != 1 and mask.type.size != 0:
        _, rank = ranks(mask)
        _check_count(mask, v.shape[0])
        v = broadcast_to(v, (v.shape[0], *rest))
        if v.shape[0] == 0:
            return x
        v = ix.take(v, move.reshape(rank, mask.shape), 0)
    elif v.type.rank > len(rest):
        v = broadcast_to(move.reshape(v, v.shape[1:]), rest)
    mask = move.reshape(mask, (*mask.shape, *(1,) * len(rest)))
    return apply("where", broadcast_to(mask, x.shape), broadcast_to(v, x.shape), x)


def _check_count(mask: Node, given) -> None:
    """Raise where a mask, looked at if it is known, has not as many ones as there are values."""
    if unknown([mask]):
        return
    count = int(value(red.reduce("sum", cast(mask, int64), tuple(range(mask.type.rank)))))
    if count != given:
        raise error(PositionError, f"index: {given} values for a mask with {count} ones; give as "
                                   "many, or one")


def _put_box(x: Node, items: list, v: Node) -> Node:
    """A box of x: integers (computed ones too) and slices with any step."""
    axes = [i for i in items if i is not None]
    bounds = [bounds_of(i, e) if isinstance(i, slice) else None
              for i, e in zip(axes, x.shape, strict=True)]
    box = tuple(1 if b is None else (b[1] - b[0] + b[2] - 1) // b[2] for b in bounds)
    d = 0
    shown: list = []
    for i in items:
        shown += [1] if i is None else ([box[d]] if isinstance(i, slice) else [])
        d += i is not None
    v = move.reshape(broadcast_to(v, tuple(shown)), box)
    v = move.flip(v, tuple(d for d, b in enumerate(bounds) if b and b[3]))
    if any(e == 0 for e in box):
        return x
    starts = [b[0] if b else (i if isinstance(i, Node) else position_of(i, x.shape[d], d, x.shape))
              for d, (i, b) in enumerate(zip(axes, bounds, strict=True))]
    if any(b and b[2] > 1 for b in bounds):
        return _put_grid(x, v, starts, [b[2] if b else 1 for b in bounds])
    if box == x.shape:
        return v
    at = [wrapped(s, e, d, x.shape) if isinstance(s, Node) else literal(s, int32)
          for d, (s, e) in enumerate(zip(starts, x.shape, strict=True))]
    return window.update_slice(x, v, at)


def _put_grid(x: Node, v: Node, starts: list, steps: list[int]) -> Node:
    """Every steps-th element from starts on."""
    inner = tuple(s - 1 for s in steps)
    high = tuple(e - a - ((n - 1) * s + 1) for e, a, n, s in
                 zip(x.shape, starts, v.shape, steps, strict=True))
    here = move.pad(literal(True, bool_, v.shape), tuple(starts), high, inner, 0)
    return apply("where", here, move.pad(v, tuple(starts), high, inner), x)


def _put_positions(x: Node, items: list, v: Node) -> Node:
    """Arrays of positions beside slices: the slices' box is written as a whole."""
    axes = [i for i in items if i is not None]
    box = tuple(i if isinstance(i, slice) else ALL for i in axes)
    inner = get(x, box)
    places = [ALL if isinstance(i, slice) else i for i in axes]
    at = [d for d, i in enumerate(places) if not isinstance(i, slice)]
    flat, front, back = flat_positions(inner, places, at)
    rest = tuple(inner.shape[d] for d in front[len(at):])
    moved = move.transpose(inner, front)
    rows = move.reshape(moved, (product(moved.shape[:len(at)]), *rest))
    new = ix.scatter(rows, flat, _in_front(v, items, len(flat.shape), (*flat.shape, *rest)), 0,
                     "set")
    return put(x, box, move.transpose(move.reshape(new, moved.shape), back))


def _in_front(v: Node, items: list, new: int, shape: tuple) -> Node:
    """v, which broadcasts to x[items], with the axes of the positions in front: `shape`."""
    order = ["new" if i is not None and not isinstance(i, slice) else "kept" if i is not None
             else "one" for i in items]
    first, last = order.index("new"), len(order) - 1 - order[::-1].index("new")
    together = all(o == "new" for o in order[first:last + 1])
    lead = order[:first] if together else []
    after = [o for o in (order[last + 1:] if together else order) if o != "new"]
    kept = iter(shape[new:])
    spread = [1 if o == "one" else next(kept) for o in (*lead, *after)]
    full = (*spread[:len(lead)], *shape[:new], *spread[len(lead):])
    v = broadcast_to(v, full)
    axes = (*range(len(lead), len(lead) + new), *range(len(lead)),
            *range(len(lead) + new, len(full)))
    return move.reshape(move.transpose(v, axes), shape)
