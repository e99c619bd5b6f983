"""Writes the section 'The life of one call' of docs/architecture.md: each stage, really printed.

    python tools/life_of_a_call.py            rewrite the section between the markers
    python tools/life_of_a_call.py --check    exit with 1 where the page would change

The target and the number of threads are fixed and predicted times are left out, so that every
machine writes the same text.
"""

from __future__ import annotations

import linecache
import re
import sys
import textwrap
from pathlib import Path

PAGE = Path(__file__).resolve().parent.parent / "docs" / "architecture.md"
BEGIN, END = "<!-- life of one call: begin -->", "<!-- life of one call: end -->"
THREADS = 2
CODE_LINES, WIDTH = 24, 140

EXAMPLE = '''\
import lamella

def loss(w, x):
    return lamella.square(lamella.tanh(x @ w)).mean()

step = lamella.value_and_grad(loss)
program = lamella.trace(step, lamella.spec((64, 48)), lamella.spec((32, 64)))
'''


def life() -> str:
    """The section's text."""
    from lamella.codegen.emit import emit
    from lamella.codegen.target import AVX512
    from lamella.ir.printer import to_text
    from lamella.lang.loops import show_kernel
    from lamella.planner.build import build_plan
    from lamella.planner.groups import fuse as fusing
    from lamella.planner.groups.simplify import expand, share
    from lamella.planner.groups.split import split
    from lamella.planner.pricing.profile import DEFAULTS
    from lamella.planner.report import Report

    example = _example()
    program = example["program"]
    prepared = share(split(expand(program)))
    fusion = fusing.fuse(prepared)
    report = Report(build_plan(program, AVX512), DEFAULTS[AVX512.name], THREADS)
    launch = next(s for s in report.plan.launches() if s.kernel.name == "rows")
    code = emit(launch.kernel, AVX512).text.split("\n")
    parts = [
        ("**1. The user's code.** `example.py` of this page; the specs stand for arrays.",
         EXAMPLE),
        ("**2. The Program** (`lamella.trace`): one node for each op, with the user's line. The "
         "gradient is more nodes of the same kind, each at the line of its forward op.",
         to_text(program)),
        ("**3. Prepared** (`expand`, `split`, `share` in `planner/build.py`): composites replaced "
         "by their parts, at most one reduction in each node, equal nodes shared.",
         to_text(prepared)),
        ("**4. Fused** (`planner/groups/fuse.py`): groups of stored values, one template each. A "
         "value's definition is written in terms of the stored values it reads.",
         _groups(prepared, fusion)),
        ("**5. The Plan** (`lamella.plan`): steps in order, with operations and bytes "
         "(`planner/schedule.py`; groups that are the same but for their buffers are scheduled "
         "once). Nothing is compiled yet.", _plan(report)),
        ("**6. The memory map**: time across, the arena's addresses down. Arguments and results "
         "lie outside.", report.memory_map()),
        (f"**7. The loops** of the step that computes {launch.names}; a kernel's sizes and "
         "strides are arguments.", show_kernel(launch.kernel)),
        (f"**8. LLVM text** of the same kernel, the first {CODE_LINES} of {len(code)} lines; the "
         "target is `avx512`.", "\n".join(code[:CODE_LINES])),
        ("**9. The table** that the native walker runs: for each step a function, the words it "
         "reads, and how many tasks the team shares.", _table(report)),
    ]
    return "\n\n".join(f"{textwrap.fill(title, 110)}\n\n```text\n{_narrow(body)}\n```"
                       for title, body in parts) + "\n"


def _example() -> dict:
    """The example's names; its lines are known as example.py."""
    linecache.cache["example.py"] = (len(EXAMPLE), None, EXAMPLE.splitlines(True), "example.py")
    names: dict = {}
    exec(compile(EXAMPLE, "example.py", "exec"), names)
    return names


def _groups(program, fusion) -> str:
    """Each group's kind and its stored values' definitions; inputs are %0, %1, ... as above."""
    seeds = [s for g in fusion.groups for s in g.seeds]
    names = {id(n): f"%{k}" for k, n in enumerate(program.inputs)}
    names |= {id(s.node): f"s{k}" for k, s in enumerate(seeds)}
    lines = []
    for g in fusion.groups:
        lines.append(g.kind)
        for s in g.seeds:
            text = re.sub(r"\bx(\d+)(?=\[)", lambda m, s=s: names[id(s.reads[int(m[1])])],
                          repr(s.definition))
            lines.append(f"  {names[id(s.node)]}{text}")
    return "\n".join(lines)


def _table(report) -> str:
    """The steps as the walker reads them: operands' places, sizes, and tasks for the team."""
    places = {id(i.buffer): f"arena+{i.offset}" for i in report.layout.intervals}
    lines = [f"{'step':>4}  {'kernel':<9} {'tasks':>5} {'grain':>5}  operands; sizes"]
    for k, s in enumerate(report.plan.steps):
        where = [places.get(id(o.buffer.root), f"{o.buffer.root.role} {o.buffer.root.index}")
                 + (" (written)" if o.writes else "") for o in s.operands]
        sizes = ", ".join(str(e) for e in s.sizes)
        lines.append(f"{k:>4}  {s.kernel.name:<9} {s.tasks!s:>5} {s.grain!s:>5}  "
                     f"{', '.join(where)}; {sizes}")
    return "\n".join(lines)


def _plan(report) -> str:
    """The report and its kernels without predicted times."""
    head = [line for line in str(report).split("\n") if not line.startswith("  predicted")]
    table = report.kernels().split("\n")
    at = table[0].index("     time")
    return "\n".join([*head, "", *(line[:at] + line[at + 9:] for line in table)])


def _narrow(text: str) -> str:
    """Long lines cut, and marked as cut."""
    lines = (line.rstrip() for line in text.rstrip().split("\n"))
    return "\n".join(x if len(x) <= WIDTH else x[:WIDTH - 4] + " ..." for x in lines)


def rewritten(page: str) -> str:
    """The page with a fresh section between its markers."""
    if page.count(BEGIN) != 1 or page.count(END) != 1:
        sys.exit(f"{PAGE.name} must hold each marker once: {BEGIN} and {END}")
    before, rest = page.split(BEGIN)
    return f"{before}{BEGIN}\n\n{life()}\n{END}{rest.split(END)[1]}"


def main(arguments: list[str]) -> int:
    page = PAGE.read_text()
    fresh = rewritten(page)
    if "--check" in arguments:
        if page != fresh:
            print(f"{PAGE.name} is not up to date; run python tools/{Path(__file__).name}")
        return int(page != fresh)
    PAGE.write_text(fresh)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
