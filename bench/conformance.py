"""Runs other projects' tests of what Lamella claims to speak; see `python -m bench.conformance -h`.

Each subcommand runs one suite from a checkout that the user has made, and ends with one line of
JSON: how many tests passed, failed, failed as expected, and were not covered (skipped).
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

HERE = Path(__file__).resolve().parent
COUNTED = ("passed", "failed", "expected_failures", "not_covered")


def array_api(suite: Path, max_examples: int, more: list[str]) -> dict[str, int]:
    """The tests of the Python array API standard (github.com/data-apis/array-api-tests), with its
    submodule; needs pytest, pytest-json-report, hypothesis and ndindex."""
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        command = [sys.executable, "-m", "pytest", "array_api_tests", "-q",
                   "-p", "no:cacheprovider", "--tb=short", "--disable-deadline",
                   f"--max-examples={max_examples}", "--json-report",
                   f"--json-report-file={report}", "--json-report-omit=log",
                   f"--xfails-file={HERE / 'array_api_xfails.txt'}", *more]
        paths = [str(HERE.parent / "src"), os.environ.get("PYTHONPATH", "")]
        env = {**os.environ, "ARRAY_API_TESTS_MODULE": "lamella",
               "PYTHONPATH": os.pathsep.join(filter(None, paths))}
        subprocess.run(command, cwd=suite, env=env, check=False)
        if not report.exists():
            raise SystemExit(f"conformance: the suite in {suite} did not run")
        return summary(json.loads(report.read_text())["tests"])


def torch_ops(more: list[str]) -> int:
    """PyTorch's operator database: see `python -m bench.torch_ops -h` for the options."""
    from bench.torch_ops import main as compare

    return 1 if compare(more)["failed"] else 0


def summary(tests: list[dict]) -> dict[str, int]:
    """Outcomes of a JSON report of pytest, counted."""
    names = {"passed": "passed", "xpassed": "passed", "xfailed": "expected_failures",
             "skipped": "not_covered"}
    counts = Counter(names.get(t["outcome"], "failed") for t in tests)
    return {name: counts[name] for name in COUNTED}


def main(arguments: list[str] | None = None) -> int:
    """Run the subcommand; 0 where nothing failed."""
    parser = argparse.ArgumentParser(prog="python -m bench.conformance", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    one = commands.add_parser("array-api", help=array_api.__doc__)
    one.add_argument("suite", type=Path, help="the checkout of array-api-tests")
    one.add_argument("--max-examples", type=int, default=100, help="examples of each test")
    commands.add_parser("torch-ops", help=torch_ops.__doc__, add_help=False)
    given, more = parser.parse_known_args(arguments)
    if given.command == "torch-ops":
        return torch_ops(more)
    found = array_api(given.suite, given.max_examples, more)
    print(json.dumps(found))
    return 1 if found["failed"] else 0


if __name__ == "__main__":
    sys.exit(main())
