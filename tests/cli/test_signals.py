"""Ctrl-C and SIGTERM at any time: the status, nothing half-written, a run that goes on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lamella.cli import signals
from lamella.train import read_checkpoint

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.toml"
STATUS = {signal.SIGINT: 130, signal.SIGTERM: 143}
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "PYTHONUNBUFFERED": "1"}


def started(folder: Path, *more: str) -> subprocess.Popen:
    command = [sys.executable, "-m", "lamella", "train", str(EXAMPLE), "--set",
               f"output.file={folder / 'm.lamella'}", *more]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=ENVIRONMENT)


@pytest.mark.parametrize("number", STATUS)
def test_a_run_is_stopped_and_goes_on(tmp_path, number):
    process = started(tmp_path, "--set", "train.epochs=10000")
    assert "epoch 1/" in process.stdout.readline()
    process.send_signal(number)
    _, told = process.communicate(timeout=60)
    assert process.returncode == STATUS[number] and told in ("lamella: interrupted\n", "")
    assert os.listdir(tmp_path) == ["m.lamella.checkpoint"]
    _, manifest = read_checkpoint(tmp_path / "m.lamella.checkpoint")
    epoch = manifest["loader"]["epoch"]
    again = started(tmp_path, "--resume", "--set", f"train.epochs={epoch + 1}")
    told, _ = again.communicate(timeout=60)
    assert again.returncode == 0 and told.startswith(f"epoch {epoch + 1}/")
    assert os.listdir(tmp_path) == ["m.lamella"]


@pytest.mark.parametrize("wait", [0.0, 0.1, 0.25, 0.4, 0.6])
def test_nothing_half_written_stays_whenever_it_comes(tmp_path, wait):
    process = started(tmp_path, "--set", "train.epochs=3")
    time.sleep(wait)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    assert process.returncode in (143, -signal.SIGTERM, 0)
    assert set(os.listdir(tmp_path)) <= {"m.lamella", "m.lamella.checkpoint"}


def test_a_signal_that_python_drops_is_raised_again():
    before = signal.getsignal(signal.SIGINT)
    with signals.caught():
        signals.check()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(1)
        with pytest.raises(KeyboardInterrupt):
            signals.check()
    assert signal.getsignal(signal.SIGINT) is before
