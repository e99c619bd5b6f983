"""A plan as a page, and what is alive at its peak."""

from __future__ import annotations

import shutil
import subprocess
from html.parser import HTMLParser

import pytest

import lamella
from lamella.planner.memory.alive import alive_at_peak, alive_text
from lamella.planner.page import page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")


def loss(w, x):
    return lamella.square(lamella.tanh(x @ w) @ w).mean()


@pytest.fixture(scope="module")
def measured():
    step = lamella.value_and_grad(loss)
    return lamella.measure(step, lamella.ones((64, 64)) * 0.1, lamella.ones((32, 64))).report


class _Balanced(HTMLParser):
    """Counts elements, and fails where one is closed that is not open."""

    def __init__(self):
        super().__init__()
        self.open, self.seen = [], {}

    def handle_starttag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1
        assert not {"src", "href"} & {k for k, _ in attrs}, "the page asks for something elsewhere"
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen[tag] = self.seen.get(tag, 0) + 1

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def test_the_page_is_whole_and_holds_every_value_and_step(measured):
    found = _Balanced()
    found.feed(page(measured))
    assert not found.open
    assert found.seen["rect"] >= len(measured.layout.intervals) + len(measured.plan.steps)
    assert found.seen["svg"] == 3
    assert "measured" in page(measured)
    assert "measured" not in page(lamella.plan(loss, lamella.ones((8, 8)),
                                               lamella.ones((8, 8)))).split("Timeline")[1]


def test_names_are_escaped():
    def f(x):
        return x * 2

    f.__name__ = "<b>&"
    assert "<h1>&lt;b&gt;&amp;</h1>" in page(lamella.plan(f, lamella.ones((4,))))


def test_what_is_alive_at_the_peak_is_what_the_layout_holds_there(measured):
    found = alive_at_peak(measured)
    assert sum(a.bytes for a in found) == measured.liveness_bound()
    assert any("test_page.py" in a.line for a in found)
    assert "test_page.py" in alive_text(measured)
    assert alive_text(lamella.plan(lambda x: x * 2, lamella.ones((4,)))) == ""


@pytest.mark.skipif(CHROMIUM is None, reason="Chromium is not installed")
def test_a_browser_draws_it(measured, tmp_path):
    file = tmp_path / "plan.html"
    lamella.explain(loss, lamella.ones((8, 8)), lamella.ones((8, 8)), html=file)
    file.write_text(page(measured))
    done = subprocess.run([CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--dump-dom",
                           f"file://{file}"], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0
    assert done.stdout.count("<rect") == page(measured).count("<rect")
