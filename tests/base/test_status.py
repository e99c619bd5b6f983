"""The line of a long wait: on a terminal alone, after a second, gone at the end and by Ctrl-C."""

from __future__ import annotations

import io
import os
import pty
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import lamella
from lamella.base import status
from lamella.base.errors import BudgetError
from lamella.cli import explaining
from lamella.planner.memory import front
from lamella.train.progress import Progress

EXAMPLE = Path(__file__).parents[2] / "examples" / "digits.toml"
HIDDEN, SHOWN = "\x1b[?25l", "\x1b[?25h"    # the cursor


class Terminal(io.StringIO):
    def isatty(self):
        return not super().isatty()     # which fails where it is closed

    def clear(self):
        self.seek(0)
        self.truncate()


def opened(monkeypatch) -> Terminal:
    """What is standard error from now on (a fixture would come too early), with no second to wait.
    """
    found = Terminal()
    monkeypatch.setattr(sys, "stderr", found)
    monkeypatch.setattr(status, "AFTER", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "200")
    return found


def loss(w, x):
    for _ in range(2):
        x = lamella.tanh(x @ w)
    return x.sum()


SPECS = lamella.spec((16, 16)), lamella.spec((4096, 16))
STEP = lamella.value_and_grad(loss)


def curve():
    return [(p.peak, p.seconds) for p in lamella.memory_curve(STEP, *SPECS)]


def test_a_memory_curve_and_a_budget_say_what_they_have_come_to(monkeypatch):
    terminal = opened(monkeypatch)
    points = curve()
    assert "the memory curve of loss: a plan of " in terminal.getvalue()
    terminal.clear()
    lamella.plan(STEP, *SPECS, memory=points[-1][0])
    assert " within " in terminal.getvalue() and ": a plan of " in terminal.getvalue()
    assert terminal.getvalue().rindex(SHOWN) > terminal.getvalue().rindex("a plan of")


def test_nothing_is_drawn_before_a_second_or_without_a_terminal(monkeypatch):
    terminal = opened(monkeypatch)
    monkeypatch.setattr(status, "AFTER", 3600.0)
    curve()
    assert not terminal.getvalue()
    monkeypatch.setattr(status, "AFTER", 0.0)
    for other in (io.StringIO(), None):
        monkeypatch.setattr(sys, "stderr", other)
        curve()
        assert other is None or not other.getvalue()
    terminal.close()
    monkeypatch.setattr(sys, "stderr", terminal)
    curve()


def test_nothing_is_drawn_where_a_terminal_only_takes_lines(monkeypatch):
    terminal = opened(monkeypatch)
    monkeypatch.setenv("TERM", "dumb")
    curve()
    assert not terminal.getvalue()


def test_the_search_for_a_batch_says_which_one_it_tries(monkeypatch):
    terminal = opened(monkeypatch)
    with pytest.raises(BudgetError):
        explaining.largest_batch(str(EXAMPLE), (), print, "batch", 1 << 10)
    assert "largest batch: trying 1" in terminal.getvalue()
    terminal.clear()
    status.say("nothing is being done")
    assert not terminal.getvalue()


def test_an_interrupt_leaves_a_terminal_that_is_free_and_the_same_plans(monkeypatch):
    terminal = opened(monkeypatch)
    before = curve()

    def interrupted(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as m:
        m.setattr(front.Stop, "cheapest", interrupted)
        terminal.clear()
        with pytest.raises(KeyboardInterrupt):
            curve()
    assert terminal.getvalue().count(HIDDEN) == terminal.getvalue().count(SHOWN) == 1
    terminal.clear()
    assert curve() == before and terminal.getvalue().count(SHOWN) == 1


def test_one_draws_at_a_time(monkeypatch):
    terminal = opened(monkeypatch)
    with Progress(1) as bar:
        bar.advance(1, lamella.asarray(1.0))
        drawn = terminal.getvalue().count(HIDDEN)
        curve()
        assert terminal.getvalue().count(HIDDEN) == drawn == 1
    with status.doing("this"):
        other = threading.Thread(target=curve)
        other.start()
        other.join()
        assert terminal.getvalue().count(HIDDEN) == 1
        status.say("now")
        assert "this: now" in terminal.getvalue()


def test_a_terminal_that_is_gone_fails_no_plan(monkeypatch):
    wanted, terminal = curve(), opened(monkeypatch)

    def gone(_):
        raise OSError(5, "Input/output error")

    terminal.write = gone
    assert curve() == wanted
    del terminal.write
    curve()
    assert SHOWN in terminal.getvalue()


def test_ctrl_c_ends_the_command_with_its_status_and_the_cursor_back():
    ours, theirs = pty.openpty()
    code = ("import sys; from lamella.base import status; status.AFTER = 0.0\n"
            "from lamella.planner.memory.front import Stop; import time\n"
            "Stop.cheapest = lambda self: time.sleep(60)\n"
            "from lamella.cli.main import main; main(sys.argv[1:])")
    command = [sys.executable, "-c", code, "plan", str(EXAMPLE), "--memory-curve"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs, env={
        **os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "TERM": "xterm", "COLUMNS": "200"})
    os.close(theirs)
    told = ""
    while "a plan of" not in told:
        told += os.read(ours, 4096).decode()
    process.send_signal(signal.SIGINT)
    try:
        while data := os.read(ours, 4096):
            told += data.decode()
    except OSError:     # the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) == 130 and process.stdout.read() == b""
    process.stdout.close()
    assert told.rindex(SHOWN) > told.rindex(HIDDEN) and told.endswith("lamella: interrupted\r\n")
