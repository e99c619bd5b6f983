"""docs/architecture.md: its printed stages are what the code prints, and its table the packages."""

import importlib.util
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def _tool():
    path = ROOT / "tools" / "life_of_a_call.py"
    spec = importlib.util.spec_from_file_location("life_of_a_call", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_life_of_a_call_is_what_is_printed():
    tool = _tool()
    page = tool.PAGE.read_text()
    assert tool.rewritten(page) == page, "run: python tools/life_of_a_call.py"


def test_the_floors_are_the_packages():
    rows = re.findall(r"^\| \d+ \| (.*?) \|", (ROOT / "docs" / "architecture.md").read_text(), re.M)
    named = re.findall(r"`(\w+)`", " ".join(rows))
    built = {p.parent.name for p in (ROOT / "src" / "lamella").glob("*/__init__.py")}
    assert len(named) == len(set(named)) and set(named) == built


def test_links_and_named_files_exist():
    for page in ("architecture.md", "glossary.md"):
        text = (ROOT / "docs" / page).read_text()
        for link in re.findall(r"\]\(([^)#:\s]+)\)", text):
            assert (ROOT / "docs" / link).exists(), f"{page} links {link}"
        for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
            assert any((root / name).exists() for root in (ROOT, ROOT / "src" / "lamella")), \
                f"{page} names {name}"
