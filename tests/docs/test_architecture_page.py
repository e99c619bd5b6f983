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


def test_links_named_files_and_commands_exist():
    for page in (*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")):
        text = page.read_text()
        for link in re.findall(r"\]\(([^)#:\s]+)(?:#[\w-]+)?\)", text):
            assert (page.parent / link).exists(), f"{page.name} links {link}"
        for name in re.findall(r"`((?:\w+/)+\w+\.py)`", text):
            assert any((root / name).exists() for root in (ROOT, ROOT / "src" / "lamella")), \
                f"{page.name} names {name}"
        for name in re.findall(r"python -m bench\.(\w+)", text):
            runs = (ROOT / "bench" / f"{name}.py", ROOT / "bench" / name / "__main__.py")
            assert any(p.exists() for p in runs), f"{page.name} runs bench.{name}"


def test_links_to_headings_exist():
    """As GitHub names them: in small letters, spaces as hyphens, without punctuation."""
    def headings(page):
        found = re.findall(r"^#+ (.*)$", page.read_text(), re.M)
        return {re.sub(r"[^\w -]", "", h.lower()).replace(" ", "-") for h in found}

    for page in (*ROOT.glob("docs/*.md"), *ROOT.glob("*.md")):
        for link, name in re.findall(r"\]\(([^)#:\s]*)#([^)\s]+)\)", page.read_text()):
            assert name in headings(page.parent / link if link else page), \
                f"{page.name} links {link}#{name}"
