"""Parts of a joined value that are computed where they stand in it.

A concatenation of values that nobody else reads needs no kernel: each is written into its place, by
the strides of that place. So are results that are put between each other, as in the gradient of a
convolution that steps: their join is a concatenation along an axis of its own, then a reshape.

Before: a fusion with a group for each join.   After: groups of the kind "placed" have no kernel.
"""

from __future__ import annotations

from ...base.extents import Extent
from ...ir.node import Node
from ...ir.types import row_major
from .access import Access, restride
from .group import Fusion, Group

KINDS = ("dot", "map")      # of groups that write by strides


def place_parts(fusion: Fusion) -> dict[int, Node]:
    """Let the parts of joins be written in their places: (the id of a part, the join whose buffer
    it is written to), joins of joins first. Accesses of parts, and kinds of groups, change."""
    groups = {id(s.node): g for g in fusion.groups for s in g.seeds}
    readers: dict[int, set[int]] = {}
    for g in fusion.groups:
        for n in g.reads():
            readers.setdefault(id(fusion.access[id(n)].base), set()).add(id(g))
    for o in fusion.outputs:
        readers.setdefault(id(fusion.access[id(o)].base), set()).add(0)
    found: dict[int, Node] = {}
    for g in reversed(fusion.groups):
        places = _places(g, fusion, groups, readers)
        for part, access in places:
            fusion.access[id(part)] = access
            found[id(part)] = g.seeds[0].node
        if places:
            g.kind = "placed"
    return found


def _places(g: Group, fusion: Fusion, groups: dict[int, Group],
            readers: dict[int, set[int]]) -> list[tuple[Node, Access]]:
    """Each part of the join that the group is, and where it stands; none where the group is another
    one, or some part has to be copied."""
    join = g.seeds[0].node
    if len(g.seeds) > 1 or join.op.name != "concat":
        return []
    axis, at = join.params["axis"], fusion.access[id(join)]
    offset, found = at.offset, list[tuple[Node, Access]]()
    for view in join.inputs:
        part = _whole(view, fusion)
        owner = None if part is None else groups.get(id(part))
        if part is None or owner is None or owner.kind not in KINDS or \
                readers[id(part)] != {id(g)} or any(part is p for p, _ in found):
            return []
        strides = restride(view.shape, at.strides, part.shape)
        if strides is None or _innermost(part, strides) != 1:
            return []
        found.append((part, Access(part, offset, strides)))
        offset = offset + view.shape[axis] * at.strides[axis]
    return found


def _whole(view: Node, fusion: Fusion) -> Node | None:
    """The stored node that a node is, or shows element by element in order."""
    a = fusion.access.get(id(view))
    if a is None or a.offset != 0 or a.strides != row_major(view.shape) or \
            a.base.type.size != view.type.size:
        return None
    return a.base


def _innermost(node: Node, strides: tuple[Extent, ...]) -> Extent:
    """The stride of the last axis that has several places; 1 where there is none."""
    return next((s for e, s in zip(reversed(node.shape), reversed(strides), strict=True)
                 if e != 1), 1)
