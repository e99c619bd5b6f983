"""What `bench.threads` says of one system, and of an idle team."""

import sys

from bench.threads import figures, idle, neighbour

_SYSTEM = """
import json, os
threads = int(os.environ["THREADS"])
print(json.dumps({"min_ms": 8.0 / threads, "median_ms": 9.0 / threads}))
"""


def test_figures_of_a_system():
    found = figures([sys.executable, "-c", _SYSTEM], 0.1, 1, {})
    assert found["one_ms"] == 8.0 and found["beside"] == 1.0
    assert found["scaling"] >= 1.0 and found["ideal"] < 1.0


def test_an_error_of_a_system_is_said():
    assert "error" in figures([sys.executable, "-c", "raise SystemExit('no')"], 0.1, 1, {})


def test_an_idle_team_burns_nothing():
    assert idle(0.2) < 0.1


def test_the_neighbour_ends():
    with neighbour():
        pass
