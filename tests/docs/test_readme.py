"""The README's Python blocks run, in order, in one namespace."""

import linecache
import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"
TEXT = README.read_text()


def test_every_python_block_runs_and_prints_what_is_quoted(capsys):
    linecache.cache[str(README)] = (len(TEXT), None, TEXT.splitlines(True), str(README))
    namespace = {"__name__": "readme"}
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", TEXT, re.M | re.S))
    assert len(blocks) >= 8, "the README has lost its blocks"
    for block in blocks:
        before = TEXT.count("\n", 0, block.start(1))
        exec(compile("\n" * before + block.group(1), str(README), "exec"), namespace)
    printed = capsys.readouterr().out
    quoted = TEXT.split("From it:\n")[1].split("**A size")[0].strip().splitlines()
    for line in quoted:
        assert line.strip().removesuffix("...").rstrip() in printed, f"not printed: {line}"
    assert "did you mean" in printed and "README.md:" in printed
    assert "and the budget is 64.00 KiB" in printed


def test_links_and_named_files_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", TEXT):
        assert (README.parent / link).exists(), f"README.md links {link}, which is not there"
