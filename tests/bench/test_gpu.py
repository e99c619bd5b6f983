"""The GPU benchmark without a GPU: each cell in small over the null device, and what is told."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("triton")

from gpu.installed import install

from bench.gpu import __main__ as bench
from bench.gpu import cells, ours
from lamella.engine import stations
from lamella.runtime import cuda
from lamella.runtime.device import NullDevice

ROOT = Path(__file__).parents[2]

PEERS = '''
import json, sys, time
system, cell = sys.argv[1:3]
if system == "torch.compile":
    sys.exit("no such compiler")
if system == "jax":
    print(json.dumps({"row": "64x64x64 nn", "ms": 4.0}), flush=True)
    time.sleep(60)
print("a line before")
print(json.dumps({"row": "64x64x64 nn", "ms": 2.0}))
'''


class Clock(NullDevice):
    """Whatever is timed takes a millisecond."""

    def seconds(self, work):
        work()
        return 1e-3


@pytest.fixture
def device(monkeypatch):
    found = install(monkeypatch, Clock())
    return found


@pytest.mark.parametrize("cell", [c for c in cells.CELLS if c not in ("compile", "agreement")])
def test_each_cell_runs_in_small(device, capsys, cell):
    ours.main([cell, "--small", "--seconds", "0"])
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert [line["row"] for line in lines] == list(cells.rows(cell, True))
    assert not [line for line in lines if "error" in line]
    if cell not in ("device", "launch"):
        assert all(line.get("ms", 1) > 0 for line in lines)
        assert all(line["planned"] == line["touched"] for line in lines if "planned" in line)


def test_a_model_is_compared_with_the_processor_s(device, capsys):
    ours.main(["agreement", "--rows", "dlrm"])
    line, = capsys.readouterr().out.splitlines()
    assert json.loads(line)["right"] is False       # the null device computes nothing


@pytest.mark.parametrize("cell, row", [("device", "transfers"), ("agreement", "dlrm")])
def test_right_results_are_found_right(device, monkeypatch, capsys, cell, row):
    """Triton's interpreter in the place of the device."""
    from gpu.interpreted import Interpreted

    from bench import zoo
    small, work = {"batch": 8, "tables": 2, "rows": 20, "width": 4}, zoo.work
    monkeypatch.setattr(zoo, "work", lambda name: work(name, **small))
    found = Interpreted()
    monkeypatch.setattr(cuda, "device", lambda index: found)
    ours.main([cell, "--rows", row, "--small"])
    lines = [json.loads(text) for text in capsys.readouterr().out.splitlines()]
    assert lines and all(line.get("right", line["row"] == "facts") for line in lines), lines


def test_the_list_needs_no_gpu(capsys):
    bench.main(["--list"])
    out = capsys.readouterr().out
    assert all(f"{cell}: " in out for cell in cells.CELLS) and "gradients 4x16" in out
    assert len(cells.rows("shapes")) == 60


def test_what_fails_is_told_and_the_run_goes_on(tmp_path, capsys, monkeypatch):
    peers, out = tmp_path / "peers.py", tmp_path / "lines"
    peers.write_text(PEERS)
    own = bench.command_of

    def command_of(system, cell, options):
        if system != cells.OURS:
            return own(system, cell, options)
        line = json.dumps({"row": "64x64x64 nn", "ms": 1.0, "planned": 8, "touched": 8})
        return [sys.executable, "-c", f"print('''{line}''')"] if cell == "products" else \
            own(system, cell, options)

    monkeypatch.setattr(bench, "command_of", command_of)
    bench.main(["--peers", str(peers), "--cells", "products,device", "--small", "--rounds", "1",
                "--limit", "4", "--seconds", "0", "--out", str(out)])
    *lines, last = map(json.loads, capsys.readouterr().out.splitlines())
    assert [(x["cell"], x["system"]) for x in lines] == [
        ("products", s) for s in (cells.OURS, *cells.PEERS)] + [("device", cells.OURS)]
    assert lines[2]["rows"] == {"": {"error": "no such compiler"}}
    assert lines[3]["rows"][""] == {"error": "ended after 6 s"}
    row = last["summary"]["products"]["rows"]["64x64x64 nn"]
    assert (row["peer"], row["ratio"], row["fraction"]) == ("torch", 2.0, 1.0)
    assert last["summary"]["products"]["geomean"] == 2.0 and last["ceilings"]["bytes"] is None
    assert "error" in last["summary"]["device"]["rows"]["facts"] or \
        not last["summary"]["device"]["missing"]    # there is a GPU
    assert len(out.read_text().splitlines()) == len(lines) + 1
    with pytest.raises(SystemExit):
        bench.main(["--cells", "gpt3"])


def test_of_two_rounds_the_better_counts():
    assert bench.better({"error": "x"}, {"ms": 2.0}) == {"ms": 2.0}
    assert bench.better({"ms": 1.0, "loss": 3.0}, {"error": "x"})["ms"] == 1.0
    assert bench.better({"ms": 1.0, "loss": 3.0}, {"ms": 2.0, "loss": 4.0}) == {
        "ms": 1.0, "loss": 4.0}


@pytest.mark.parametrize("system", ["torch", "jax"])
def test_peers_print_the_same_rows(system):
    pytest.importorskip(system)
    models = ("gpt2", "llama") if system == "torch" else ()     # JAX takes long to compile them
    for cell in ("products", "attention", "memory", *models):
        done = subprocess.run([sys.executable, ROOT / "bench" / "gpu" / "peers.py", system, cell,
                               "--small", "--seconds", "0"], capture_output=True, text=True)
        lines = [json.loads(text) for text in done.stdout.splitlines()]
        assert not [line for line in lines if "error" in line], done.stderr
        known = [n for n in cells.rows(cell, True) if (system, n) != ("jax", "copy")]
        assert [line["row"] for line in lines] == known


def test_pytorch_s_models_have_as_many_parameters():
    pytest.importorskip("torch")
    from bench.gpu import torch_side
    from lamella.nn.module import parameter_count
    for cell in ("gpt2", "llama", "resnet50"):
        model, _, _ = torch_side.training(cell, True)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuda, "device", lambda index: NullDevice())
            patch.setattr(stations, "_stations", {})
            assert parameter_count(ours.training(cell, True).held[0]) == sum(
                p.numel() for p in model.parameters())
