"""What is alive at a plan's peak: values by size, with the lines that made them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from ...base.source import render
from ..plan import Buffer, Launch, Order
from .peak import bytes_text

if TYPE_CHECKING:
    from ..report import Report


class Alive(NamedTuple):
    """A temporary that is alive at the peak: what it is, the layer of the model that it belongs to,
    the user's line, and its bytes."""

    label: str
    layer: str
    line: str
    bytes: int


def peak_step(report: Report) -> int:
    """The place in the order of steps at which the temporaries need most."""
    changes: dict[int, int] = {}
    for i in report.layout.intervals:
        changes[i.first] = changes.get(i.first, 0) + i.size
        changes[i.last + 1] = changes.get(i.last + 1, 0) - i.size
    level, best, at = 0, -1, 0
    for k in sorted(changes):
        level += changes[k]
        if level > best:
            best, at = level, k
    return at


def alive_at_peak(report: Report) -> list[Alive]:
    """The temporaries alive at the peak, the largest first."""
    at, made = peak_step(report), makers(report)
    found = [Alive(i.buffer.label, report.layers.of(i.buffer),
                   made.get(id(i.buffer), ("", ""))[1], i.size)
             for i in report.layout.intervals if i.first <= at <= i.last]
    return sorted(found, key=lambda a: -a.bytes)


def makers(report: Report) -> dict[int, tuple[str, str]]:
    """Of each temporary (by id): what the first step that writes it computes, and at which line."""
    found: dict[int, tuple[str, str]] = {}
    for s in Order(report.plan.steps).leaves:
        for b in _written(s):
            found.setdefault(id(b.root), (s.names, render(s.source)))
    return found


def _written(s) -> list[Buffer]:
    if isinstance(s, Launch):
        return [o.buffer for o in s.operands if o.writes]
    return s.buffers()[1:]


def alive_text(report: Report, most: int = 12) -> str:
    """The temporaries alive at the peak by layer and line, the largest first, as text."""
    lines: dict[tuple[str, str, str], tuple[int, int]] = {}
    for a in alive_at_peak(report):
        key = a.layer, a.line, a.label
        count, size = lines.get(key, (0, 0))
        lines[key] = count + 1, size + a.bytes
    if not lines:
        return ""
    rows = sorted(lines.items(), key=lambda x: -x[1][1])
    step = peak_step(report)
    out = [f"alive at the peak (step {step}):"]
    wide = max((len(layer) for (layer, *_), _ in rows[:most]), default=0)
    out += [f"  {bytes_text(size):>12}  {count:>4} x {label[:30]:<30} {layer:<{wide}} {line}"
            for (layer, line, label), (count, size) in rows[:most]]
    rest = sum(size for _, (_, size) in rows[most:])
    return "\n".join(out + ([f"  {bytes_text(rest):>12}  the rest"] if rest else []))

