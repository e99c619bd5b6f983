"""The runner of other projects' tests counts what a report says, and its list has reasons."""

import json
from pathlib import Path

from bench import conformance

ROOT = Path(__file__).parents[2]


def test_outcomes_are_counted():
    outcomes = ["passed", "passed", "xfailed", "skipped", "failed", "error", "xpassed"]
    found = conformance.summary([{"outcome": o} for o in outcomes])
    assert found == {"passed": 3, "failed": 2, "expected_failures": 1, "not_covered": 1}
    assert json.loads(json.dumps(found)) == found


def test_expected_failures_are_few_and_have_reasons():
    text = (ROOT / "bench" / "array_api_xfails.txt").read_text()
    blocks = [b.splitlines() for b in text.strip().split("\n\n")]
    tests = [line for b in blocks for line in b if not line.startswith("#")]
    assert len(tests) <= 10 and len(set(tests)) == len(tests)
    assert all(b[0].startswith("# ") for b in blocks), "each block begins with its reason"
    assert all(t.startswith("array_api_tests/") for t in tests)
