"""A plan as one HTML page: memory map, timeline, roofline and the table of kernels, drawn as SVG.

The page holds all it shows and asks for nothing from elsewhere.
"""

from __future__ import annotations

import math
from html import escape
from typing import Any

from ..base.source import render
from .memory.alive import alive_at_peak, makers, peak_step
from .memory.peak import bytes_text
from .plan import Launch, Order, inner_steps
from .pricing.roofline import Roofline
from .report import Report, count_text, time_text

WIDTH = 1080
_STYLE = """
body { font: 15px/1.45 system-ui, sans-serif; color: #1c2733; background: #f6f8fa; margin: 0 auto;
       max-width: 1120px; padding: 24px 20px 60px; }
h1 { font-size: 22px; margin: 0 0 4px; } h2 { font-size: 16px; margin: 32px 0 8px; }
p { margin: 4px 0; color: #4a5a6a; } b { color: #1c2733; }
svg { background: #fff; border: 1px solid #d8dee4; border-radius: 6px; display: block; }
svg text { font: 11px system-ui, sans-serif; fill: #57687a; }
rect.box { stroke: #fff; stroke-width: .6; } rect.box:hover { stroke: #111; stroke-width: 1.4; }
table { border-collapse: collapse; background: #fff; font-size: 13px; width: 100%; }
th, td { padding: 3px 9px; text-align: right; border-bottom: 1px solid #e6eaee;
         white-space: nowrap; }
th { background: #eef2f5; } td.l, th.l { text-align: left; } tr:hover td { background: #f2f7ff; }
.facts { display: flex; flex-wrap: wrap; gap: 12px; margin: 16px 0; }
.fact { background: #fff; border: 1px solid #d8dee4; border-radius: 6px; padding: 8px 14px; }
.fact span { display: block; font-size: 12px; color: #57687a; } .fact b { font-size: 17px; }
"""


def page(report: Report) -> str:
    """The whole page."""
    name = escape(report.plan.name)
    parts = [_facts(report), _memory(report), _alive(report), _timeline(report), _roofline(report),
             _kernels(report)]
    how = f"{report.threads} threads{', fast' if report.plan.fast else ''}"
    return (f'<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>{name}</title>'
            f"<style>{_STYLE}</style></head><body><h1>{name}</h1>"
            f"<p>{len(report.plan.launches())} launches on {how}; times from "
            f"the profile {escape(report.profile.title)}.</p>{''.join(parts)}</body></html>\n")


def _facts(report: Report) -> str:
    m, spent = report.memory, report.run_seconds
    facts = [("peak memory", bytes_text(m.peak)), ("arguments", bytes_text(m.arguments)),
             ("results", bytes_text(m.results)), ("temporaries", bytes_text(m.temporaries)),
             ("operations", count_text(report.flops) + "flop"),
             ("predicted", time_text(report.seconds))]
    if spent:
        facts += [("measured", time_text(spent)),
                  ("error", f"{report.seconds / spent - 1:+.0%}")]
    boxes = "".join(f'<div class="fact"><span>{k}</span><b>{v}</b></div>' for k, v in facts)
    return f'<div class="facts">{boxes}</div>'


# ---- memory --------------------------------------------------------------------------------------

def _memory(report: Report) -> str:
    """The arena: steps across, addresses up, a colour for each layer of the model; where none is
    known, for each kind of value and line."""
    height, left = 320, 70
    intervals, size = report.layout.intervals, max(1, report.layout.size)
    if not intervals:
        return "<h2>Memory</h2><p>There are no temporaries.</p>"
    made = makers(report)
    steps = max(i.last for i in intervals) + 1
    across, up = (WIDTH - left - 10) / steps, (height - 40) / size
    boxes = []
    for i in intervals:
        what, line = made.get(id(i.buffer), (i.buffer.label, ""))
        layer = report.layers.of(i.buffer)
        title = f"{i.buffer.label} ({what}) {layer} {line}\n{bytes_text(i.size)} at {i.offset}, " \
                f"steps {i.first} to {i.last}"
        boxes.append(_box(left + i.first * across, 14 + (size - i.offset - i.size) * up,
                          (i.last - i.first + 1) * across, i.size * up,
                          _colour(layer or what + line), title))
    x = left + (peak_step(report) + 0.5) * across
    marks = [f'<line x1="{x:.1f}" y1="8" x2="{x:.1f}" y2="{height - 26}" stroke="#d1242f" '
             'stroke-dasharray="4 3"/>' + _text(x + 4, 12, "peak")]
    marks += [_text(6, 14 + (1 - f) * (height - 40) + 4, bytes_text(int(f * size)))
              for f in (0, 0.5, 1)]
    marks += [_text(left + f * (steps - 1) * across, height - 8, f"step {int(f * (steps - 1))}")
              for f in (0, 0.25, 0.5, 0.75, 0.94)]
    return (f"<h2>Memory</h2><p>The arena of temporaries: each box is a value, its width the steps "
            f"during which it is kept. {bytes_text(size)}; no placement needs less than "
            f"{bytes_text(report.liveness_bound())}.</p>{_svg(height, boxes + marks)}")


def _alive(report: Report) -> str:
    found = alive_at_peak(report)[:15]
    rows = [[a.label, a.layer, a.line, bytes_text(a.bytes)] for a in found]
    if not rows:
        return ""
    return f"<h2>Alive at the peak (step {peak_step(report)})</h2>" + \
        _table(["value", "layer", "line", "bytes"], rows, left=3)


# ---- time ----------------------------------------------------------------------------------------

def _steps(report: Report) -> list[tuple[Any, float, float]]:
    """(step, predicted, measured seconds), a loop as one."""
    return [(s, report.timetable.of(s), report.spent([s])) for s in report.plan.steps]


def _timeline(report: Report) -> str:
    steps = _steps(report)
    rows = [("predicted", 1)] + ([("measured", 2)] if report.measured else [])
    longest = max(sum(s[k] for s in steps) for _, k in rows) or 1.0
    left, height = 70, 20 + 46 * len(rows) + 24
    boxes = []
    for r, (name, k) in enumerate(rows):
        at, y = 0.0, 14 + 46 * r
        boxes.append(_text(6, y + 22, name))
        for s in steps:
            width = s[k] / longest * (WIDTH - left - 10)
            if width > 0.05:
                title = f"{s[0].names} {render(s[0].source)}\npredicted {time_text(s[1])}" + (
                    f", measured {time_text(s[2])}" if report.measured else "")
                boxes.append(_box(left + at, y, width, 34, _colour(_kind(s[0])), title))
            at += width
    boxes += [_text(left + f * (WIDTH - left - 60), height - 8, time_text(f * longest))
              for f in (0, 0.25, 0.5, 0.75, 1)]
    names = dict.fromkeys(_kind(s[0]) for s in steps)
    legend = " ".join(f'<span style="color:{_colour(n)}">&#9632;</span> {escape(n)}' for n in names)
    return f"<h2>Timeline</h2><p>{legend}</p>{_svg(height, boxes)}"


def _kind(s) -> str:
    return s.kernel.name if isinstance(s, Launch) else type(s).__name__.lower()


def _roofline(report: Report) -> str:
    """Operations a second over operations for each byte, both as powers of ten."""
    p = report.profile
    n = 1 if isinstance(p, Roofline) else report.threads
    points = []
    for s, predicted, measured in _steps(report):
        flops, traffic = report.price(s)
        seconds = measured or predicted
        if flops and traffic and seconds:
            points.append((flops / traffic, flops / seconds, s, seconds))
    if not points:
        return ""
    top = p.flops * n
    low, high = -2.0, max(3.0, math.log10(max(x[0] for x in points)) + 0.3)
    bottom, roof = math.log10(top) - 5, math.log10(top) + 0.4
    left, height = 70, 340

    def across(x: float) -> float:
        return left + (min(max(math.log10(x), low), high) - low) / (high - low) * (WIDTH - 90)

    def up(y: float) -> float:
        return 10 + (roof - min(max(math.log10(y), bottom), roof)) / (roof - bottom) * (height - 40)

    bend = top / p.bandwidth
    start = 10 ** low
    line = f"{across(start):.1f},{up(start * p.bandwidth):.1f} {across(bend):.1f},{up(top):.1f} " \
           f"{across(10 ** high):.1f},{up(top):.1f}"
    shapes = [f'<polyline points="{line}" fill="none" stroke="#8896a5" stroke-width="1.5"/>']
    for x, y, s, seconds in points:
        shapes.append(f'<circle cx="{across(x):.1f}" cy="{up(y):.1f}" '
                      f'r="{3 + 9 * math.sqrt(seconds / sum(q[3] for q in points)):.1f}" '
                      f'fill="{_colour(_kind(s))}" fill-opacity=".65">'
                      f"<title>{escape(s.names)} {escape(render(s.source))}\n"
                      f"{count_text(int(y))}flop/s, {x:.2f} flop a byte</title></circle>")
    shapes += [_text(4, up(10.0 ** k) + 4, count_text(10 ** k) + "flop/s")
               for k in range(math.ceil(bottom), math.floor(roof) + 1)]
    shapes += [_text(across(10.0 ** k) - 8, height - 8, f"{10.0 ** k:g}")
               for k in range(int(low), int(high) + 1)]
    what = "measured" if report.measured else "predicted"
    return (f"<h2>Roofline</h2><p>Operations a second ({what}) over operations for each byte of "
            f"the operands; the line is the machine: {count_text(int(top))}flop/s, "
            f"{bytes_text(int(p.bandwidth))}/s from memory. What lies above it was served from a "
            f"cache.</p>{_svg(height, shapes)}")


def _kernels(report: Report) -> str:
    head = ["step", "kernel", "computes", "layer", "line", "operations", "bytes", "predicted"]
    rows = []
    if report.measured:
        head += ["measured", "error"]
    for k, s in enumerate(Order(report.plan.steps).leaves):
        if not hasattr(s, "names") or inner_steps(s):
            continue
        flops, traffic = report.price(s)
        row = [str(k), _kind(s), s.names[:60], report.layers.of(s), render(s.source),
               count_text(flops), bytes_text(traffic), time_text(report.timetable.of(s))]
        if report.measured:
            spent = report.spent([s])
            row += [time_text(spent),
                    f"{report.timetable.of(s) / spent - 1:+.0%}" if spent else ""]
        rows.append(row)
    return "<h2>Kernels</h2>" + _table(head, rows, left=5)


# ---- parts ---------------------------------------------------------------------------------------

def _svg(height: float, shapes: list[str]) -> str:
    return (f'<svg viewBox="0 0 {WIDTH} {height:.0f}" width="100%" role="img">'
            f"{''.join(shapes)}</svg>")


def _box(x: float, y: float, width: float, height: float, colour: str, title: str) -> str:
    return (f'<rect class="box" x="{x:.2f}" y="{y:.2f}" width="{max(width, 0.6):.2f}" '
            f'height="{max(height, 0.6):.2f}" fill="{colour}">'
            f"<title>{escape(title)}</title></rect>")


def _text(x: float, y: float, text: str) -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}">{escape(text)}</text>'


def _colour(name: str) -> str:
    """A colour of its own for each name, the same on every page."""
    hue = sum(ord(c) * (31 * k + 7) for k, c in enumerate(name)) * 47 % 360
    return f"hsl({hue},52%,{52 + hue % 3 * 6}%)"


def _table(head: list[str], rows: list[list[str]], left: int) -> str:
    def row(cells: list[str], tag: str) -> str:
        return "<tr>" + "".join(f'<{tag}{" class=l" if k < left else ""}>{escape(c)}</{tag}>'
                                for k, c in enumerate(cells)) + "</tr>"

    return f"<table>{row(head, 'th')}{''.join(row(r, 'td') for r in rows)}</table>"
