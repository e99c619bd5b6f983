"""Texts assembled by children are those that this process would make."""

import sys

import pytest

from lamella.base.errors import LamellaError
from lamella.runtime import assembler, llvm

TEXTS = [f"define i64 @f{k}() {{\n  ret i64 {k}\n}}\n" for k in range(5)]


def options():
    cpu, features, _ = llvm.host()
    return {"cpu": cpu, "features": features, "level": 1}


@pytest.fixture(autouse=True)
def _two_children(monkeypatch):
    monkeypatch.setattr(assembler, "cores", lambda: 3)
    monkeypatch.setattr(assembler, "WORTH", 1)


@pytest.mark.parametrize("executable", (sys.executable, "/nowhere/python", "/bin/false", None))
def test_every_text_is_assembled_whatever_becomes_of_the_children(executable, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    found = assembler.assemble_all(TEXTS, **options())
    assert found == [llvm.assemble(text, **options()) for text in TEXTS]


def test_children_find_the_package_that_runs(monkeypatch):
    with assembler.Assembly(**options()) as work:
        for text in TEXTS:
            work.add(text)
        for child in work._children:    # nothing is left for this process
            child.close()
            child.wait()
        monkeypatch.setattr(llvm, "assemble", None)
        assert all(work.finish())


def test_few_texts_are_worth_no_child(monkeypatch):
    monkeypatch.setattr(assembler, "WORTH", 10_000)
    monkeypatch.setattr(assembler.subprocess, "Popen", None)
    assert len(assembler.assemble_all(TEXTS, **options())) == len(TEXTS)


def test_what_is_not_valid_is_told_wherever_it_was_assembled():
    bad = "define i64 @f() {\n  ret i65 x\n}\n"
    for k in range(len(TEXTS) + 1):
        with pytest.raises(LamellaError, match="not valid LLVM IR"):
            assembler.assemble_all([*TEXTS[:k], bad, *TEXTS[k:]], **options())


def test_an_interrupt_leaves_no_child(monkeypatch):
    started = []
    popen = assembler.subprocess.Popen
    monkeypatch.setattr(assembler.subprocess, "Popen",
                        lambda *a, **k: started.append(popen(*a, **k)) or started[-1])

    def interrupted(text, **_):
        raise KeyboardInterrupt

    monkeypatch.setattr(llvm, "assemble", interrupted)
    with pytest.raises(KeyboardInterrupt):
        assembler.assemble_all(TEXTS, **options())
    assert len(started) == 2 and all(p.poll() is not None for p in started)
