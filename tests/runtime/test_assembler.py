"""Texts assembled by children are those that this process would make."""

import sys

import pytest

from lamella.runtime import assembler, llvm

TEXTS = [f"define i64 @f{k}() {{\n  ret i64 {k}\n}}\n" for k in range(3)]


def options():
    cpu, features, _ = llvm.host()
    return {"cpu": cpu, "features": features, "level": 1}


@pytest.mark.parametrize("executable", (sys.executable, "/nowhere/python", "/bin/false", None))
def test_every_text_is_assembled_whatever_becomes_of_the_children(executable, monkeypatch):
    monkeypatch.setattr(sys, "executable", executable)
    found = assembler.assemble_all(TEXTS, **options())
    assert found == [llvm.assemble(text, **options()) for text in TEXTS]


def test_children_find_the_package_that_runs(monkeypatch):
    monkeypatch.setattr(llvm, "assemble", lambda text, **_: b"here")
    found = assembler.assemble_all(TEXTS, **options())
    assert found[0] == b"here" and b"here" not in found[1:]


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
