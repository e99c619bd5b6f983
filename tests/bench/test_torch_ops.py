"""The comparison with PyTorch's operator database: a part of it; what is wrong is found."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.torch
pytest.importorskip("torch")
pytest.importorskip("expecttest")
ROOT = Path(__file__).parents[2]
PART = "add,scatter_reduce/amax,nn.functional.conv2d,nn.functional.cross_entropy,as_strided"
WRONG = """
import sys
from bench import torch_ops, torch_table
torch_table.TABLE["sin"] = lambda x: torch_ops.lamella.cos(x)
torch_table.TABLE["mul"] = lambda a, b: a * torch_ops.lamella.stop_gradient(b)
torch_table.TABLE["exp"] = lambda x: 1 / 0
torch_table.TABLE["log"] = lambda x: torch_ops.lamella.no_such_function(x)
torch_ops.main(["--only", "sin,mul,exp,log", "--samples", "2"])
"""


def run(*arguments: str) -> list[str]:
    path = os.pathsep.join([str(ROOT / "src"), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run([sys.executable, *arguments], cwd=ROOT, text=True, capture_output=True,
                          timeout=300, env={**os.environ, "PYTHONPATH": path})
    assert done.stdout, done.stderr
    return done.stdout.strip().splitlines()


def test_a_part_of_the_database_agrees():
    *told, last = run("-m", "bench.conformance", "torch-ops", "--samples", "2", "--only", PART)
    counts = json.loads(last)
    assert (counts["passed"], counts["failed"], counts["excluded"]) == (4, 0, 1), told


def test_what_is_wrong_is_found():
    *told, last = run("-c", WRONG)
    counts = json.loads(last)
    assert (counts["failed"], counts["not_covered"], counts["passed"]) == (3, 1, 0)
    told = "\n".join(told)
    assert "sin: float32 sample 0: values by" in told
    assert "mul: float32 sample 0: gradient 1" in told
    assert "exp: float32 sample 0: ZeroDivisionError" in told
    assert "log: needs 'no_such_function'" in told
