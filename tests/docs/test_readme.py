"""The README's Python blocks run, in order, in one namespace."""

import linecache
import re
from pathlib import Path

README = Path(__file__).parents[2] / "README.md"


def test_every_python_block_runs():
    text = README.read_text()
    source = README.name
    linecache.cache[str(README)] = (len(text), None, text.splitlines(True), str(README))
    namespace = {"__name__": "readme"}
    blocks = list(re.finditer(r"^```python\n(.*?)^```$", text, re.M | re.S))
    assert len(blocks) >= 8, f"{source} has lost its blocks"
    for block in blocks:
        before = text.count("\n", 0, block.start(1))
        code = compile("\n" * before + block.group(1), str(README), "exec")
        exec(code, namespace)


def test_links_and_named_files_exist():
    for link in re.findall(r"\]\(([^)#:]+)\)", README.read_text()):
        assert (README.parent / link).exists(), f"README.md links {link}, which is not there"
