"""The examples run as a user would run them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> str:
    """What an example prints; its exit status must be 0."""
    env = {**os.environ, "PYTHONPATH": str(ROOT / "src")}
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, env=env, capture_output=True,
                          text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def test_the_digits_are_planned_trained_served_and_recognised():
    told = run("examples/digits.py")
    assert "nothing is compiled yet" in told
    assert told.count("equal") == 1 and "DIFFERENT" not in told
    assert "the same bits" in told


def test_a_third_of_the_memory_gives_the_same_weights(tmp_path):
    told = run("examples/budget_gpt.py", str(tmp_path / "plan.html"))
    assert "the same weights" in told
    assert str(tmp_path / "plan.html") in told
    assert "<svg" in (tmp_path / "plan.html").read_text()


def test_a_small_gpt_trains_and_writes_through_one_compiled_step():
    told = run("examples/char_gpt.py", "--steps", "20")
    losses = [float(line.split()[-1]) for line in told.splitlines() if line.startswith("step")]
    assert losses[-1] < losses[0] - 1
    assert "through 1 compiled decode step" in told
