"""The command: fast where nothing runs, one clear line and a status where something fails."""

from __future__ import annotations

import errno
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from formats import golden
from typer.testing import CliRunner

import lamella
from lamella.base.errors import BudgetError
from lamella.cli import recipe
from lamella.cli.commands import app
from lamella.cli.explaining import report_of
from lamella.cli.main import main
from lamella.formats import lamella_file
from lamella.planner.memory.peak import bytes_text
from lamella.serve import server
from lamella.serve.registry import Served

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.toml"


@pytest.fixture
def model(tmp_path):
    golden.save(tmp_path / "m.lamella")
    return str(tmp_path / "m.lamella")


def failed(capsys, *arguments: str) -> tuple[int, str]:
    """The status and the one line that a failing command prints."""
    with pytest.raises(SystemExit) as e:
        main(list(arguments))
    told = capsys.readouterr().err
    assert told.startswith("lamella: ") and told.count("\n") == 1, told
    return e.value.code, told


def test_version_and_help_load_no_arrays():
    code = ("import sys; from lamella.cli.main import main\n"
            "try: main([sys.argv[1]])\n"
            "finally: print(sorted({'numpy', 'llvmlite', 'uvicorn'} & set(sys.modules)))")
    for flag, told in (("--version", f"lamella {lamella.__version__}"), ("--help", "serve")):
        done = subprocess.run([sys.executable, "-c", code, flag], capture_output=True, text=True,
                              env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
        assert done.returncode == 0 and told in done.stdout and done.stdout.endswith("[]\n")


def test_plan_and_explain_a_model_file(model):
    done = CliRunner().invoke(app, ["plan", model])
    assert done.exit_code == 0 and "B = 64" in done.output and "peak memory" in done.output
    done = CliRunner().invoke(app, ["plan", model, "--memory", "1MiB"])
    assert done.exit_code == 0 and "recomputed" not in done.output
    done = CliRunner().invoke(app, ["plan", str(EXAMPLE), "--memory", "1KiB"])
    assert done.exit_code == 1 and ". No plan of these kernels" in str(done.exception)
    done = CliRunner().invoke(app, ["plan", model, "--fast"])
    assert done.exit_code == 0 and ", fast" in done.output.splitlines()[0]
    few = CliRunner().invoke(app, ["explain", str(EXAMPLE), "--set", "train.autocast=bfloat16"])
    assert few.exit_code == 0 and "bfloat16" in few.output
    for how in (["--fast"], ["--set", "train.fast=true"]):
        done = CliRunner().invoke(app, ["plan", str(EXAMPLE), *how])
        assert done.exit_code == 0 and ", fast" in done.output.splitlines()[0]
        done = CliRunner().invoke(app, ["plan", str(EXAMPLE), "--memory-curve", *how])
        assert done.exit_code == 0
    done = CliRunner().invoke(app, ["explain", model])
    assert done.exit_code == 0 and '%4 = input "x" : float32[B, 8]' in done.output


def test_the_memory_curve_is_drawn_and_printed():
    done = CliRunner().invoke(app, ["plan", str(EXAMPLE), "--memory-curve", "--json"])
    points = json.loads(done.output)
    assert done.exit_code == 0 and [p["peak"] for p in points] == sorted(
        (p["peak"] for p in points), reverse=True)
    done = CliRunner().invoke(app, ["plan", str(EXAMPLE), "--memory-curve"])
    assert len(done.output.splitlines()) == len(points) + 1 and " 1.00 #" in done.output
    done = CliRunner().invoke(app, ["plan", str(EXAMPLE), "--json"])
    assert done.exit_code == 1 and "add --memory-curve" in str(done.exception)


def test_curves_and_batches_are_those_of_the_device_that_is_named(tmp_path):
    def said(*more: str) -> str:
        done = CliRunner().invoke(app, ["plan", str(EXAMPLE), *more])
        return done.output or str(done.exception)

    there = said("--device", "h200")
    curve = json.loads(said("--device", "h200", "--memory-curve", "--json"))
    assert bytes_text(curve[0]["peak"]) in there and bytes_text(curve[0]["peak"]) not in said()
    solved = said("--device", "h200", "--solve", "batch", "--memory", "600KiB")
    assert "largest batch" in solved and "NVIDIA H200" in solved
    bare = tmp_path / "bare.json"
    bare.write_text('{"name": "bare", "flops": 1e12, "bandwidth": 1e11, "launch": 1e-6, '
                    '"memory": 1e10}')
    assert "no compute capability" in said("--device", str(bare), "--memory-curve")
    assert "bare" in said("--device", str(bare), "--solve", "batch", "--memory", "600KiB")


def test_options_that_say_nothing_together_are_refused():
    for more in (["--memory-curve", "--memory", "1MiB"], ["--memory-curve", "--solve", "batch"],
                 ["--solve", "batch", "--memory", "1MiB", "--json"]):
        done = CliRunner().invoke(app, ["plan", str(EXAMPLE), *more])
        assert done.exit_code == 1 and "--memory-curve" in str(done.exception)


def test_the_largest_batch_that_fits_is_found_and_runs(tmp_path, monkeypatch):
    """One row more is refused, and training with it keeps the budget."""
    monkeypatch.chdir(tmp_path)
    whole = report_of(str(EXAMPLE)).peak
    solve = ["plan", str(EXAMPLE), "--solve", "batch", "--memory"]
    done = CliRunner().invoke(app, [*solve, str(whole)])
    rows = int(done.output.split()[2])
    assert done.exit_code == 0 and rows >= 64
    with pytest.raises(BudgetError):
        report_of(str(EXAMPLE), [f"train.batch_size={rows + 1}"], whole)
    changes = [f"train.batch_size={rows}", "train.epochs=1", f'train.memory="{whole}"']
    assert report_of(str(EXAMPLE), changes).peak <= whole
    options = [x for c in changes for x in ("--set", c)]
    assert CliRunner().invoke(app, ["train", str(EXAMPLE), *options]).exit_code == 0
    none = CliRunner().invoke(app, [*solve, "1KiB"])
    assert none.exit_code == 1 and "not even a batch of one row" in str(none.exception)


def test_errors_are_one_line(capsys, model, tmp_path):
    assert failed(capsys, "serve", "none.lamella") == (
        1, "lamella: none.lamella: cannot be read: No such file or directory\n")
    assert failed(capsys, "train", "none.toml") == (
        1, "lamella: none.toml: No such file or directory\n")
    code, told = failed(capsys, "train", str(EXAMPLE), "--set", "optim.rl=1")
    assert code == 1 and "no key optim.rl; did you mean lr?" in told
    code, told = failed(capsys, "train", str(EXAMPLE), "--memory", "much")
    assert code == 1 and "write it as 64MiB" in told
    code, told = failed(capsys, "plan", "--unknown", "x")
    assert code == 2 and "No such option" in told
    code, told = failed(capsys, "serve", model, "--host", "0.0.0.0")
    assert code == 1 and "--insecure" in told
    wrong = (("timeout", "-1"), ("timeout", "nan"), ("window", "-1"), ("waiting", "0"))
    for option, value in wrong:
        code, told = failed(capsys, "serve", model, f"--{option}", value)
        assert code == 1 and told.startswith(f"lamella: {option} ") and "is needed" in told
    damaged = tmp_path / "damaged.lamella"
    damaged.write_bytes(Path(model).read_bytes()[:-1])
    code, told = failed(capsys, "serve", str(damaged))
    assert code == 1 and "damaged" in told


def test_a_busy_port_is_one_line(capsys, model):
    with server.listen("127.0.0.1", 0) as taken:
        code, told = failed(capsys, "serve", model, "--port", str(taken.getsockname()[1]))
    assert code == 1 and "is in use; choose another with --port" in told


def test_interrupted_is_130(capsys, model, monkeypatch):
    def interrupted(*_, **__):
        raise KeyboardInterrupt
    monkeypatch.setattr(server, "serve", interrupted)
    assert failed(capsys, "serve", model) == (130, "lamella: interrupted\n")


# ---- training -----------------------------------------------------------------------------------

def test_a_recipe_trains_a_file_that_serves(tmp_path):
    target = tmp_path / "digits.lamella"
    done = CliRunner().invoke(app, [
        "train", str(EXAMPLE), "--set", f"output.file={target}", "--set", "train.epochs=3",
        "--set", "model.sizes=[64, 32, 10]"], catch_exceptions=False)
    assert done.exit_code == 0 and "epoch 3/3: loss" in done.output
    assert re.search(r"a step: .* planned; .* predicted, .* at best \([+-]\d+%\)", done.output)
    loaded = lamella_file.load(target)
    assert loaded.batch.high == 256 and os.listdir(tmp_path) == ["digits.lamella"]
    assert CliRunner().invoke(app, ["plan", str(target)]).exit_code == 0


def test_an_interrupted_run_resumes_with_the_same_bits(tmp_path, monkeypatch):
    from lamella.cli import training

    def run(name: str, epochs: int, **more) -> bytes:
        r = recipe.read(EXAMPLE, [f"output.file={tmp_path / name}", "model.sizes=[64, 16, 10]",
                                  f"train.epochs={epochs}"])
        return training.train(r, say=lambda _: None, **more).read_bytes()

    def interrupt_after(count: int):
        def say(_):
            nonlocal count
            count -= 1
            if not count:
                raise KeyboardInterrupt
        return say

    whole = lamella_file.load(tmp_path / "a") if run("a", 4) else None
    with pytest.raises(KeyboardInterrupt):
        r = recipe.read(EXAMPLE, [f"output.file={tmp_path / 'b'}", "model.sizes=[64, 16, 10]",
                                  "train.epochs=4"])
        training.train(r, say=interrupt_after(2))
    assert not (tmp_path / "b").exists()
    run("b", 4, resume=True)
    resumed = lamella_file.load(tmp_path / "b")
    for name, value in whole.weights.items():
        assert value.tobytes() == resumed.weights[name].tobytes()


def test_what_cannot_train_well_is_told(capsys, tmp_path):
    target = tmp_path / "m.lamella"
    small = ["--set", f"output.file={target}", "--set", "train.epochs=1"]
    def told(*changes: str) -> str:
        return failed(capsys, "train", str(EXAMPLE), *small,
                      *(x for c in changes for x in ("--set", c)))[1]
    assert "the model tells 5 classes apart, and the data has 10" in told("model.sizes=[64, 5]")
    assert "must have 32 values in its last axis" in told("model.sizes=[32, 10]")
    assert "the loss is nan after epoch 1, and no file" in told("optim.lr=1e6", "optim.kind='sgd'",
                                                                "model.sizes=[64, 99, 99, 10]")
    (tmp_path / "own.py").write_text("def made(key, width=1): return None\n")
    own = f"model.kind='{tmp_path}/own.py:made'"
    assert "own.py:made gave NoneType, not a model" in told(own)
    assert "unexpected keyword argument 'wdith'" in told(own, "model.options.wdith=2")
    (tmp_path / "own.py").unlink()
    assert set(os.listdir(tmp_path)) <= {"__pycache__"}     # Python's own, of the recipe's file


def test_lines_are_those_of_layers_where_there_is_no_user():
    """A command has no code of the user's; the argument parser's would say nothing."""
    done = CliRunner().invoke(app, ["explain", str(EXAMPLE)])
    assert "# layers.py:" in done.output and "# losses.py:" in done.output
    assert "# core.py:" not in done.output and "# main.py:" not in done.output


def test_a_file_name_of_any_letters_gives_a_name_that_serves(tmp_path):
    target = tmp_path / ".. my größe!.lamella"
    small = ["--set", f"output.file={target}", "--set", "train.epochs=1", "--set",
             "model.sizes=[64, 10]"]
    assert CliRunner().invoke(app, ["train", str(EXAMPLE), *small]).exit_code == 0
    served = Served(lamella_file.load(target), lambda arrays: arrays)
    assert served.name == "my-gr-e-"


def test_a_full_disk_is_told_with_the_file(capsys, tmp_path, monkeypatch):
    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")
    target = tmp_path / "m.lamella"
    monkeypatch.setattr(os, "fsync", full)
    small = ["--set", f"output.file={target}", "--set", "model.sizes=[64, 10]"]
    with pytest.raises(SystemExit):
        main(["train", str(EXAMPLE), *small])
    told = capsys.readouterr().err.splitlines()[-1]
    assert told == f"lamella: {target}.checkpoint: No space left on device"
    assert os.listdir(tmp_path) == []


def test_a_wrong_setting_is_one_line():
    for setting, told in (("LAMELLA_THREADS=two", "expected a whole number"),
                          ("LAMELLA_TARGET=arm", "no target is called 'arm'; known: ")):
        name, value = setting.split("=")
        done = subprocess.run([sys.executable, "-m", "lamella", "plan", str(EXAMPLE)], text=True,
                              capture_output=True, env={**os.environ, name: value,
                                                        "PYTHONPATH": os.pathsep.join(sys.path)})
        assert done.returncode == 1 and done.stderr.count("\n") == 1 and told in done.stderr


def test_the_recipe_in_the_help_is_one():
    told = CliRunner().invoke(app, ["train", "--help"], env={"COLUMNS": "120"}).output
    lines = [line.strip() for line in told.splitlines() if " = " in line]
    read = recipe.check(tomllib.loads("\n".join(lines)))
    assert read == recipe.read(EXAMPLE)


def test_a_trace_that_cannot_be_written_is_told_before_training(capsys, tmp_path):
    missing = tmp_path / "none" / "x"
    assert "cannot write" in failed(capsys, "train", str(EXAMPLE), "--trace", str(missing))[1]
    assert "cannot write" in failed(capsys, "explain", str(EXAMPLE), "--html", str(missing))[1]


def test_an_unwritable_folder_is_told_before_training(capsys, tmp_path):
    missing = tmp_path / "none" / "m.lamella"
    code, told = failed(capsys, "train", str(EXAMPLE), "--set", f"output.file={missing}")
    assert code == 1 and f"cannot write {missing}: No such file or directory" in told
    code, told = failed(capsys, "train", str(EXAMPLE), "--set", f"output.file={tmp_path}")
    assert code == 1 and "it is a folder" in told
    target = tmp_path / "m.lamella"
    code, told = failed(capsys, "train", str(EXAMPLE), "--resume", "--set", f"output.file={target}")
    assert code == 1 and "there is no" in told


def test_training_with_values_in_a_file_writes_the_same_model(tmp_path):
    kind = f"model.kind={Path(__file__).parent / 'turned.py'}:model"
    sizes = [kind, "train.batch_size=256", "train.epochs=1"]

    def command(name: str, *more: str, file: str = "m") -> str:
        sets = [w for c in [*sizes, f"output.file={tmp_path}/{file}"] for w in ("--set", c)]
        done = CliRunner().invoke(app, [name, str(EXAMPLE), *sets, *more])
        assert done.exit_code == 0, done.output
        return done.output

    curve = json.loads(command("plan", "--memory-curve", "--json", "--spill", str(tmp_path)))
    most = max(p["peak"] for p in curve if p["moved"])
    least = ["--memory", str(most), "--spill", str(tmp_path)]
    assert "written and read" in command("plan", *least[:2], "--set", f"train.spill={tmp_path}")
    command("train", file="whole.lamella")
    command("train", *least, file="spilled.lamella")
    a, b = (lamella_file.load(tmp_path / f"{n}.lamella").weights for n in ("whole", "spilled"))
    assert a.keys() == b.keys() and all((a[k] == b[k]).all() for k in a)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["spilled.lamella", "whole.lamella"]
