"""The object cache: hits, damage, strangers' folders, deletion, the bound, several processes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor

import pytest

from lamella.base.errors import LamellaError
from lamella.runtime import cache, llvm
from lamella.runtime.cache import Cache

TEXT = "define i64 @answer() {\n  ret i64 42\n}\n"


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "objects"


def _files(folder) -> list:
    return [p for p in folder.iterdir() if not p.name.startswith(".")]


def test_kept_across_caches(folder):
    Cache(folder).put("k", b"code")
    assert Cache(folder).get("k") == b"code"
    assert Cache(folder).get("other") is None
    assert folder.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize("harm", ["flip", "cut", "empty", "grow"])
def test_damaged_entries_are_none_and_removed(folder, harm):
    Cache(folder).put("k", b"x" * 100)
    data = (folder / "k").read_bytes()
    bad = {"flip": data[:-1] + b"y", "cut": data[:-1], "empty": b"", "grow": data + b"x"}
    (folder / "k").write_bytes(bad[harm])
    assert Cache(folder).get("k") is None
    assert not (folder / "k").exists()


def test_linked_folder_is_not_used(folder, tmp_path, caplog):
    target = tmp_path / "elsewhere"
    target.mkdir(mode=0o700)
    folder.symlink_to(target)
    store = Cache(folder)
    store.put("k", b"code")
    assert store.get("k") == b"code" and not list(target.iterdir())
    assert len(caplog.records) == 1


def test_open_folder_is_not_used(folder):
    folder.mkdir()
    folder.chmod(0o755)
    store = Cache(folder)
    store.put("k", b"code")
    assert store.get("k") == b"code" and not list(folder.iterdir())


def test_linked_entry_is_not_read(folder, tmp_path):
    Cache(folder).put("k", b"code")
    (folder / "k").rename(tmp_path / "k")
    (folder / "k").symlink_to(tmp_path / "k")
    assert Cache(folder).get("k") is None


def test_folder_that_is_a_file_or_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    for path in (tmp_path / "file", tmp_path / "file/below"):
        store = Cache(path)
        store.put("k", b"code")
        assert store.get("k") == b"code"


def test_deleted_folder_is_made_again(folder):
    store = Cache(folder)
    store.put("a", b"1")
    for p in folder.iterdir():
        p.unlink()
    folder.rmdir()
    assert store.get("b") is None
    store.put("b", b"2")
    assert Cache(folder).get("b") == b"2"


def test_oldest_entries_go_first(folder):
    store = Cache(folder, bound=10_000)
    for k in range(8):
        store.put(f"k{k}", bytes(1000))
        os.utime(folder / f"k{k}", (k, k))
    Cache(folder).get("k0")  # used: no longer the oldest
    for k in range(8, 12):
        store.put(f"k{k}", bytes(1000))
    assert sum(p.stat().st_size for p in _files(folder)) <= 10_000
    names = {p.name for p in _files(folder)}
    assert {"k0", "k11"} <= names and "k1" not in names


def test_off_is_memory_only(monkeypatch):
    monkeypatch.setattr(cache.knobs.cache, "value", "off")
    assert cache.default_folder() is None


def test_folder_by_environment(monkeypatch, tmp_path):
    monkeypatch.setattr(cache.knobs.cache, "value", "")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache.default_folder() == tmp_path / "lamella"
    monkeypatch.setattr(cache.knobs.cache, "value", str(tmp_path / "mine"))
    assert cache.default_folder() == tmp_path / "mine"


def test_key_depends_on_all_that_decides():
    base = {"cpu": "a", "features": frozenset({"x"}), "level": 1, "numerics": "1"}
    changed = [{"cpu": "b"}, {"features": frozenset({"y"})}, {"level": 2}, {"numerics": "2"}]
    keys = {cache.key("text", **base), cache.key("text2", **base)}
    keys |= {cache.key("text", **{**base, **c}) for c in changed}
    assert len(keys) == 6


_WRITER = """
import sys
from pathlib import Path
from lamella.runtime.cache import Cache
store = Cache(Path(sys.argv[1]), bound=60_000)
for turn in range(150):
    key = f"k{turn % 10}"
    store.memory.clear()
    found = store.get(key)
    assert found is None or found == key.encode() * 1000, key
    store.put(key, key.encode() * 1000)
"""


def test_processes_at_once(folder, python):
    with ThreadPoolExecutor(4) as pool:
        done = [pool.submit(python, _WRITER, str(folder)) for _ in range(4)]
        assert [d.result() for d in done] == [""] * 4
    assert all(Cache(folder).get(p.name) for p in _files(folder))
    assert len(list(folder.iterdir())) == len(_files(folder)) <= 10


def test_compiled_code_runs_from_the_cache(folder, monkeypatch):
    import ctypes

    monkeypatch.setattr(cache, "_process", [Cache(folder)])
    first = cache.compiled(TEXT)
    monkeypatch.setattr(cache, "_process", [Cache(folder)])
    monkeypatch.setattr(llvm, "assemble", None)
    again = cache.compiled(TEXT)
    assert first == again
    assert ctypes.CFUNCTYPE(ctypes.c_int64)(llvm.load(again, ["answer"])["answer"])() == 42


def test_bad_text_names_the_line():
    cpu, features, _ = llvm.host()
    with pytest.raises(LamellaError, match="ret i65 x"):
        llvm.assemble("define i64 @f() {\n  ret i65 x\n}\n", cpu=cpu, features=features)


def test_missing_symbol_is_an_error():
    text = "declare void @no_such_function_anywhere()\n" + TEXT.replace(
        "  ret", "  call void @no_such_function_anywhere()\n  ret"
    )
    with pytest.raises(LamellaError, match="cannot load"):
        llvm.load(cache.compiled(text), ["answer"])


def test_other_machines_can_be_generated_for():
    host = llvm.host()
    text = """
define void @f(ptr %p) {
  %x = load <16 x float>, ptr %p
  %y = fadd <16 x float> %x, %x
  store <16 x float> %y, ptr %p
  ret void
}
"""
    assert "ymm" in llvm.assembly(text, cpu="haswell", features=["avx", "avx2", "fma"])
    assert "ret" in llvm.assembly(text)
    assert host.cpu and host.triple
