"""`lamella verify`: what a plan claims is written to a file first; then a fresh process runs it
under a limit of the operating system, and both stand side by side."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..base import tree
from ..base.atomic import replace_text
from ..base.errors import ExecutionError, UnsupportedError
from ..engine.executable import Executable
from ..engine.kernels import code_bytes
from ..engine.proof import SLACK, prove
from ..planner.memory.peak import bytes_text
from ..planner.report import Report, count_text, time_text
from .explaining import report_of, step_of

Say = Callable[[str], None]


def claim_of(report: Report) -> dict[str, Any]:
    """What a plan states before it runs: bytes by class, operations, seconds."""
    m = report.memory
    return {"name": report.plan.name, "peak": m.peak, "arguments": m.arguments,
            "results": m.results, "constants": m.constants, "temporaries": m.temporaries,
            "scratch": m.scratch, "code": report.code, "file": report.file_bytes,
            "operations": report.flops, "seconds": report.seconds, "threads": report.threads,
            "slack": SLACK}


def verify(source: str, changes: Sequence[str], say: Say, file: str, budget: int | None = None,
           steps: int = 10, limit: int | None = None, spill: str = "") -> bool:
    """Write the claim to `file`, run it in a process of its own under the claimed bytes and SLACK
    (or under `limit`), and print both; whether the claim was kept. ExecutionError where the run
    fails."""
    report = report_of(source, changes, budget, spill=spill)
    if report.plan.symbols:
        raise UnsupportedError(f"{source}: its sizes vary; verify a recipe's training step")
    claim = claim_of(report)
    asked: dict[str, Any] = {"source": source, "changes": list(changes), "budget": budget,
                             "steps": steps, "spill": spill,
                             "limit": claim["peak"] + SLACK if limit is None else limit}
    replace_text(file, json.dumps({"claim": claim, "run": asked}, indent=1) + "\n")
    say(f"claim written to {file}: {bytes_text(claim['peak'])}, "
        f"{count_text(claim['operations'])}flop, {time_text(claim['seconds'])}")
    done = subprocess.run([sys.executable, "-m", "lamella.cli.verifying", file],
                          capture_output=True, text=True)
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"ended with status {done.returncode}"]
        raise ExecutionError(f"the run under {bytes_text(asked['limit'])} failed: {said[-1]}")
    found = json.loads(done.stdout.splitlines()[-1])
    kept = found["grown"] <= claim["peak"] + SLACK
    say(_beside(claim, asked, found, kept))
    return kept


def _beside(claim: dict, asked: dict, found: dict, kept: bool) -> str:
    heap = "not known" if found["heap"] < 0 else bytes_text(found["heap"])
    least = min(found["seconds"])
    return "\n".join([
        f"{'':<22}{'claimed':>14}{'measured':>14}",
        f"{'memory':<22}{bytes_text(claim['peak']):>14}{bytes_text(found['grown']):>14}"
        f"   {'kept' if kept else 'BROKEN'} (slack {bytes_text(SLACK)})",
        f"{'code, beside it':<22}{bytes_text(claim['code']):>14}{bytes_text(found['code']):>14}",
        f"{'time of a step':<22}{time_text(claim['seconds']):>14}{time_text(least):>14}"
        f"   {claim['seconds'] / least - 1:+.0%}",
        f"ran {len(found['seconds'])} steps under a limit of {bytes_text(asked['limit'])} "
        f"above the {bytes_text(found['base'])} of the process before it "
        "(Python, its libraries, the code)",
        f"from the second step on: {found['faults']} pages, {found['mappings']} mappings, "
        f"{heap} of heap more"])


def arguments(source: str, changes: Sequence[str], budget: int | None) -> list[np.ndarray]:
    """Those of a recipe's first step: with other numbers it may take another time (weights at
    random lead to gradients that are denormal, with which a processor is slow)."""
    trainer, batch = step_of(source, changes, budget)
    leaves = tree.leaves((trainer.model, trainer.state, trainer.key))
    return [*(a.numpy() for a in leaves), *batch]


def _run(file: str) -> None:
    """In the fresh process: the run that the file asks for, its figures as a line of JSON."""
    asked = json.loads(Path(file).read_text())["run"]
    recipe = asked["source"], asked["changes"], asked["budget"]
    report = report_of(*recipe, spill=asked["spill"])
    executable = Executable(report.plan, report.threads, folder=asked["spill"])
    given = arguments(*recipe) if asked["source"].endswith(".toml") else []
    found = prove(executable, asked["limit"], asked["steps"], given)._asdict()
    found["code"] = code_bytes([s.kernel for s in report.plan.launches()])
    print(json.dumps(found))


if __name__ == "__main__":
    _run(sys.argv[1])
