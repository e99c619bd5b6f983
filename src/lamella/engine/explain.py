"""Every stage of a compiled function as text, and its plan as a page."""

from __future__ import annotations

import os

from ..base.atomic import replace_text
from ..codegen import triton
from ..codegen.emit import emit
from ..ir.printer import to_text
from ..lang.loops import show_kernel
from ..planner.memory.alive import alive_text
from ..planner.page import page
from ..planner.report import Report
from ..planner.staged import StagedReport
from .kernels import key_of, target


def explain_plan(report: Report | StagedReport, code: bool = False) -> str:
    """The program, the plan with its kernels, the memory map, and optionally loops and code; of
    several stages each."""
    if isinstance(report, StagedReport):
        return "\n\n".join([section("plan", str(report)), *(
            explain_plan(report.reports[id(s)], code) for s in report.route.stages)])
    parts = [section("program", to_text(report.plan.program)), section("plan", str(report)),
             section("kernels", report.kernels()),
             section("memory", f"{report.memory_map()}\n{alive_text(report)}")]
    if code:
        distinct = {key_of(s.kernel): s for s in report.plan.launches()}
        tiles = report.plan.level == "tiles"
        for k, s in enumerate(distinct.values()):
            parts.append(section(f"loops {k}: {s.names}", show_kernel(s.kernel)))
            parts.append(section(f"code {k}", (
                triton.emit(s.kernel) if tiles else emit(s.kernel, target())).text))
    return "\n\n".join(parts)


def write_page(report: Report, path: str | os.PathLike) -> None:
    """Write a plan as one HTML page that opens in any browser."""
    replace_text(path, page(report))


def section(title: str, body: str) -> str:
    """A titled part of the text."""
    return f"== {title} ==\n{body}"
