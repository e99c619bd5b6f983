"""`lamella verify`: a step runs under a limit of the operating system that is its own claim."""

import json
import sys
from pathlib import Path

import pytest
from formats import golden
from typer.testing import CliRunner

from lamella.base.errors import ExecutionError, UnsupportedError
from lamella.cli.commands import app
from lamella.cli.explaining import draw_curve, report_of
from lamella.cli.verifying import arguments, verify
from lamella.engine.proof import SLACK

EXAMPLE = str(Path(__file__).parents[2] / "examples" / "digits.toml")
TURNED = Path(__file__).parent / "turned.py"
LARGE = ["model.sizes=[64,2048,2048,10]", "train.batch_size=256"]

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="limits and /proc of Linux")


def test_a_claim_is_written_first_and_kept(tmp_path):
    file, said = tmp_path / "claim.json", []
    assert verify(EXAMPLE, LARGE, said.append, str(file), steps=3)
    claim = json.loads(file.read_text())["claim"]
    assert claim["peak"] > 3 * SLACK
    assert "kept" in said[1] and " 0 mappings" in said[1]


def test_within_a_budget(tmp_path):
    file = tmp_path / "claim.json"
    deep = ["model.sizes=[64,512,512,512,512,512,10]", "train.batch_size=1024"]
    budget = report_of(EXAMPLE, deep).peak - (2 << 20)
    assert verify(EXAMPLE, deep, print, str(file), budget=budget, steps=3)
    assert json.loads(file.read_text())["claim"]["peak"] <= budget


def test_values_in_a_file_are_no_memory(tmp_path):
    """Eight large values rest in a file: no part of them is memory of the process."""
    sizes = [f"model.kind={TURNED}:model", "train.batch_size=1024"]
    file, said = tmp_path / "claim.json", []
    draw_curve(EXAMPLE, sizes, said.append, as_json=True, spill=str(tmp_path))
    budget = min(p["peak"] for p in json.loads(said.pop()) if p["moved"] > SLACK)
    assert verify(EXAMPLE, sizes, said.append, str(file), budget, 3, spill=str(tmp_path))
    claim = json.loads(file.read_text())["claim"]
    assert claim["peak"] <= budget and claim["file"] > SLACK / 2
    assert "kept" in said[1] and " 0 mappings" in said[1]
    assert [p.name for p in tmp_path.iterdir()] == ["claim.json"]


def test_the_limit_is_one(tmp_path):
    file = tmp_path / "claim.json"
    with pytest.raises(ExecutionError, match="under 20.00 MiB failed"):
        verify(EXAMPLE, LARGE, print, str(file), limit=20 << 20)
    assert json.loads(file.read_text())["claim"]["peak"] > 40 << 20


def test_sizes_must_be_known(tmp_path):
    golden.save(tmp_path / "m.lamella")
    with pytest.raises(UnsupportedError, match="sizes vary"):
        verify(str(tmp_path / "m.lamella"), (), print, str(tmp_path / "claim.json"))


@pytest.mark.parametrize("rows", [64, 5000])
def test_the_run_is_a_recipes_first_step(rows):
    """With weights at random a step may take ten times as long: its gradients are denormal."""
    changes = [f"train.batch_size={rows}"]
    types = report_of(EXAMPLE, changes).plan.program.input_types
    given = arguments(EXAMPLE, changes, None)
    assert [(a.shape, str(a.dtype)) for a in given] == [(t.shape, str(t.dtype)) for t in types]
    weights, images = given[1], given[-2]
    assert abs(weights.mean()) < 0.05 < weights.std() < 0.5
    assert len(images) == rows and images.std() > 0.1


def test_the_command(tmp_path):
    file = tmp_path / "claim.json"
    done = CliRunner().invoke(app, ["verify", EXAMPLE, "--file", str(file), "--steps", "2"])
    assert done.exit_code == 0 and "claimed" in done.output and file.exists()
    done = CliRunner().invoke(app, ["verify", EXAMPLE, "--file", str(tmp_path)])
    assert done.exit_code == 1
