"""A result of `bench.compare` as a picture: ratios to each peer, and the roofline. Plain SVG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

WIDTH, ROW, LEFT, RIGHT = 900, 26, 150, 30
INK, GRID, OURS = "#222", "#ccc", "#1f6f8b"
COLORS = ("#e07a5f", "#b56576", "#6d9dc5", "#81b29a", "#8d6a9f", "#c9a227", "#777777")
OURS_TOO = ("lamella", "uncompiled")
ROOF = 300              # height of the roofline


def picture(results: Sequence[dict], peak: float, bandwidth: float) -> str:
    """The SVG of some results (see `bench.compare`); `peak` in GFLOP/s, `bandwidth` in GB/s."""
    ours = {r["work"]: r for r in results if r["peer"] == "lamella" and "min_ms" in r}
    bars = _bars(results, ours)
    top = ROW * (len(ours) + 3)
    points = _roofline(ours.values(), peak, bandwidth, top)
    height = top + ROOF + 70
    return (f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'font-family="sans-serif" font-size="12" fill="{INK}">\n'
            f'<rect width="{WIDTH}" height="{height}" fill="white"/>\n'
            + "\n".join([*bars, *points]) + "\n</svg>\n")


def _text(x: float, y: float, text: str, anchor: str = "start") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, color: str = GRID) -> str:
    return (f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{color}"/>')


def _dot(x: float, y: float, color: str, title: str) -> str:
    return (f'<circle cx="{x:.1f}" cy="{y:.1f}" r="5" fill="{color}">'
            f"<title>{escape(title)}</title></circle>")


def _bars(results: Sequence[dict], ours: dict[str, dict]) -> list[str]:
    """A row for each workload: the peers' least times over ours, on a scale of doublings."""
    peers = [p for p in dict.fromkeys(r["peer"] for r in results) if p not in OURS_TOO]
    ratios = {(r["work"], r["peer"]): r["min_ms"] / ours[r["work"]]["min_ms"] for r in results
              if r["peer"] in peers and "min_ms" in r and r["work"] in ours}
    most = max([2.0, *ratios.values()])
    span = math.log2(most) + 1

    def place(ratio: float) -> float:
        return LEFT + (WIDTH - LEFT - RIGHT) * (math.log2(ratio) + 1) / span

    out = [_text(10, 18, "time of a peer over ours (right of 1: ours is faster)")]
    bottom = ROW * (len(ours) + 1)
    for k in range(-1, math.floor(math.log2(most)) + 1):
        x = place(2.0 ** k)
        out += [_line(x, ROW, x, bottom, INK if k == 0 else GRID),
                _text(x, bottom + 14, f"{2.0 ** k:g}", "middle")]
    for row, work in enumerate(ours):
        y = ROW * (row + 1.5)
        out.append(_text(LEFT - 8, y + 4, work, "end"))
        for k, peer in enumerate(peers):
            if (work, peer) in ratios:
                ratio = ratios[work, peer]
                out.append(_dot(place(max(ratio, 0.5)), y, COLORS[k % len(COLORS)],
                                f"{work}, {peer}: {ratio:.2f}"))
    x = LEFT
    for k, peer in enumerate(peers):
        out += [_dot(x, bottom + 30, COLORS[k % len(COLORS)], peer),
                _text(x + 9, bottom + 34, peer)]
        x += 24 + 8 * len(peer)
    return out


def _roofline(ours, peak: float, bandwidth: float, top: float) -> list[str]:
    """Operations a second against operations a byte, both by powers of ten, under the roof."""
    cases = [(r["work"], r["flops"] / max(1, r["traffic"]), r["flops"] / r["min_ms"] / 1e6)
             for r in ours if r.get("flops")]
    if not cases:
        return []
    low_x = math.floor(math.log10(min(c[1] for c in cases)))
    high_x = math.ceil(math.log10(max(peak / bandwidth * 10, *(c[1] for c in cases))))
    high_y = math.ceil(math.log10(peak))
    low_y = math.floor(math.log10(min(c[2] for c in cases)))

    def at(x: float, y: float) -> tuple[float, float]:
        return (LEFT + (WIDTH - LEFT - RIGHT) * (math.log10(x) - low_x) / (high_x - low_x),
                top + 30 + ROOF * (high_y - math.log10(y)) / (high_y - low_y))

    out = [_text(10, top + 18, f"GFLOP/s against operations a byte; the roof: {peak:.0f} GFLOP/s, "
                               f"{bandwidth:.0f} GB/s")]
    for k in range(low_x, high_x + 1):
        (x, y), (_, y1) = at(10.0 ** k, 10.0 ** low_y), at(1, 10.0 ** high_y)
        out += [_line(x, y, x, y1), _text(x, y + 14, f"{10.0 ** k:g}", "middle")]
    for k in range(low_y, high_y + 1):
        (x, y), (x1, _) = at(10.0 ** low_x, 10.0 ** k), at(10.0 ** high_x, 1)
        out += [_line(x, y, x1, y), _text(x - 8, y + 4, f"{10.0 ** k:g}", "end")]
    ridge = peak / bandwidth
    start = max(10.0 ** low_x, 10.0 ** low_y / bandwidth)
    a, b, c = at(start, start * bandwidth), at(ridge, peak), at(10.0 ** high_x, peak)
    out += [_line(*a, *b, INK), _line(*b, *c, INK)]
    for work, x, y in cases:
        px, py = at(x, y)
        out += [_dot(px, py, OURS, f"{work}: {y:.0f} GFLOP/s"), _text(px + 8, py + 4, work)]
    return out
