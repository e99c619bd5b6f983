"""From nodes to numbers: the one place where a lazy graph is evaluated.

Nodes hold their inputs until they are evaluated at top level; inside `grad` they keep them, since
the derivative follows them. A node that depends on an input without data has no value yet: its
function is being traced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TypeVar
from weakref import ref

import numpy as np

from ...base import knobs, source
from ...base.errors import LamellaError, TraceError
from ...engine.value import Value
from ...ir.node import INPUT, Node
from ...ir.types import TensorType
from ...runtime.available import LARGE, available_bytes
from .scope import blocking, state

E = TypeVar("E", bound=LamellaError)
LOOKS = 64  # at others that an array may wait through: `steps += 1` beside a loss that is looked at


def error(kind: type[E], text: str) -> E:
    """The error with the user's line."""
    found = kind(source.at_line(text))
    found.located = True  # type: ignore[attr-defined]
    return found


def located(f: Callable) -> Callable:
    """f, whose errors say the user's line."""
    @functools.wraps(f)
    def run(*args, **kwargs):
        try:
            return f(*args, **kwargs)
        except LamellaError as e:
            locate(e)
            raise
    return run


def locate(e: LamellaError) -> None:
    """Make the error say the user's line, unless it says one."""
    if not getattr(e, "located", False):
        e.args = (source.at_line(str(e.args[0])), *e.args[1:])
        e.located = True  # type: ignore[attr-defined]


def leaf(array: np.ndarray, *, copy: bool = True) -> Node:
    """An input node that holds the array's values."""
    held(array.nbytes)
    return Value.from_numpy(array, copy=copy)


def alias(node: Node) -> Node:
    """A known node again, as an input of its own: nothing that it was computed from is reached."""
    return Node(INPUT, (), {"name": "", "type": node.type}, node.type, node.source, None, node.data)


def force(nodes: list[Node]) -> None:
    """Evaluate the nodes; raises TraceError where a value is not known while tracing."""
    from ...engine.eager import Unknown, evaluate  # planner and compiler load when first needed

    wanted = [n for n in nodes if n.data is None]
    if not wanted:
        return
    if not state.scopes:
        wanted = _with_relatives(wanted, _waiting())
    try:
        evaluate(wanted)
    except Unknown:
        raise _not_known() from None
    except LamellaError as e:
        locate(e)
        raise
    if not state.scopes:
        for node in wanted:
            _settle(node)
        held(sum(_bytes(n.type) for n in wanted))
        state.looks = state.looks + 1 if _waiting() else 0
        if state.looks >= LOOKS:
            flush()


def _waiting() -> list[Node]:
    """The nodes of pending arrays. What is evaluated or gone counts no more, so that a loop that
    looks at its results evaluates at the same places in every round (and so meets graphs that it
    has met before)."""
    pending, nodes = [], []
    for reference in state.pending:
        array = reference()
        if array is not None and array.node.data is None:
            pending.append(reference)
            nodes.append(array.node)
    state.pending = pending
    if not pending:
        state.held_bytes = 0
    return nodes


def _with_relatives(wanted: list[Node], waiting: list[Node]) -> list[Node]:
    """The nodes, and waiting ones that are computed from some of the same: all at once, so that
    what they share (a backward pass) is computed once; and waiting ones that are computed on the
    way to these (a counter of steps). Large ones wait until they are looked at."""
    known = set(map(id, wanted))
    others = [n for n in waiting if id(n) not in known and
              _bytes(n.type) <= knobs.pending_bytes.value]
    if not others:
        return wanted
    shared: set[int] = set()
    _add_way(wanted, shared)
    reach = _reach(others, shared)
    joined = [n for n in others if reach[id(n)] == _MEETS]
    if len(joined) < len(others):
        _add_way(joined, shared)
        joined = [n for n in others if id(n) in shared]
    return wanted + joined


def _add_way(nodes: list[Node], way: set[int]) -> None:
    """Add the nodes, and all that they wait for, to the set."""
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node.data is None and node.inputs and id(node) not in way:
            way.add(id(node))
            stack += node.inputs


_APART, _MEETS, _UNKNOWN = range(3)


def _reach(nodes: list[Node], shared: set[int]) -> dict[int, int]:
    """For each node and what it is computed from: whether it depends on one of `shared`, or on an
    input that has no value."""
    found = dict.fromkeys(shared, _MEETS)
    stack = list(nodes)
    while stack:
        node = stack[-1]
        if node.data is not None:
            found[id(node)] = _APART
        elif node.op is INPUT:
            found[id(node)] = _UNKNOWN
        elif id(node) not in found:
            waiting = [i for i in node.inputs if id(i) not in found]
            if waiting:
                stack += waiting
                continue
            found[id(node)] = max([found[id(i)] for i in node.inputs], default=_APART)
        stack.pop()
    return found


def _settle(node: Node) -> None:
    """An evaluated node forgets what it was computed from."""
    node.params = {"name": "", "type": node.type}
    node.op, node.inputs = INPUT, ()


def _bytes(type: TensorType) -> int:
    size = type.bytes
    return size if isinstance(size, int) else 0


def unknown(nodes) -> bool:
    """Whether any of the nodes depends on an input that has no data."""
    seen: set[int] = set()
    stack = list(nodes)
    while stack:
        node = stack.pop()
        if node.data is not None or id(node) in seen:
            continue
        if node.op is INPUT:
            return True
        seen.add(id(node))
        stack.extend(node.inputs)
    return False


def _not_known() -> TraceError:
    scope = blocking()
    if scope is None:
        return error(TraceError, "this array belongs to a function that was traced by compile or "
                                 "vmap and has no value outside of it; return it from the function")
    return error(TraceError, f"{scope}: the value of this array is not known while the function is "
                             "traced; choose by lamella.where(condition, a, b) or "
                             "lamella.cond(condition, f, g) instead of if, loop by "
                             "while_loop or scan, or return it and look at it outside")


def known(node: Node) -> Value:
    """The node's value."""
    if node.data is None:
        force([node])
    return node.data


def value(node: Node) -> np.ndarray:
    """The node's value as a read-only NumPy array; that of a device is copied from there."""
    return known(node).numpy()


# ---- bounds on what is lazy ---------------------------------------------------------------------

def register(array) -> None:
    """Note an array that is pending, outside of transforms; evaluate all at the bound."""
    if not state.scopes:
        pending = state.pending
        pending.append(ref(array))
        if len(pending) >= knobs.pending_nodes.value:
            flush()


def held(nbytes: int) -> None:
    """Note bytes that pending arrays may keep from being freed."""
    state.held_bytes += nbytes
    if state.held_bytes > knobs.pending_bytes.value and not state.scopes:
        flush()


def settle() -> None:
    """Evaluate what is pending, before memory that it may depend on is given away."""
    if state.pending and not state.scopes:
        flush()


def flush() -> None:
    """Evaluate every pending array of this thread that is still in use. One that the memory cannot
    hold stays lazy: the error belongs to the line that looks at it."""
    references, state.pending, state.held_bytes, state.looks = state.pending, [], 0, 0
    arrays = [a for a in (r() for r in references) if a is not None]
    nodes = list({id(a.node): a.node for a in arrays if a.node.data is None}.values())
    if any(_bytes(n.type) >= LARGE for n in nodes):
        most = available_bytes()
        nodes = [n for n in nodes if _bytes(n.type) <= most]
    if unknown(nodes):
        nodes = [n for n in nodes if not unknown([n])]
    force(nodes)
    state.held_bytes = 0
