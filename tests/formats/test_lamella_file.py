"""Model files: the golden one loads for ever; every damage is refused in plain words."""

from __future__ import annotations

import os
import subprocess
import sys
import warnings
import zipfile
from pathlib import Path

import ml_dtypes
import msgspec
import numpy as np
import pytest
from formats import golden
from hypothesis import given
from hypothesis import strategies as st

import lamella
from lamella.base.atomic import replacing
from lamella.base.errors import AllocationError, FormatError, LamellaError, ProgramError
from lamella.formats import container, lamella_file, safetensors
from lamella.formats.export import export
from lamella.formats.lamella_file import MANIFEST, PROGRAM, WEIGHTS
from lamella.ir.interpret import interpret
from lamella.ir.printer import to_text

GOLDEN = Path(__file__).with_name("golden_v1.lamella")
PARTS = (MANIFEST, PROGRAM, WEIGHTS)


@pytest.mark.parametrize("copy", [True, False])
def test_the_golden_file_loads_and_answers(copy):
    model = lamella_file.load(GOLDEN, copy=copy)
    for name, value in golden.weights().items():
        np.testing.assert_array_equal(model.weights[name], value)
        assert not model.weights[name].flags.writeable
    assert [n.params["name"] for n in model.inputs] == ["x"]
    assert model.manifest.outputs[0].labels == ["round", "flat", "tall"]
    out, = interpret(model.program, [*model.weights.values(), golden.rows(3)])
    np.testing.assert_allclose(out, [[0.17094943, 0.58513147, 0.24391907],
                                     [0.13553368, 0.6856134, 0.17885293],
                                     [0.19176206, 0.5378101, 0.27042788]], rtol=1e-6)


def test_equal_models_are_equal_files_and_any_zip_tool_reads_them(tmp_path):
    golden.save(tmp_path / "a.lamella")
    golden.save(tmp_path / "b.lamella")
    assert (tmp_path / "a.lamella").read_bytes() == (tmp_path / "b.lamella").read_bytes()
    with zipfile.ZipFile(tmp_path / "a.lamella") as z:
        assert z.namelist() == list(PARTS) and z.testzip() is None
        assert b"program mlp\n" in z.read(PROGRAM)
        offsets = [i.header_offset + 30 + len(i.filename) for i in z.infolist()]
    back = lamella_file.load(tmp_path / "a.lamella")
    assert to_text(back.program) == to_text(golden.program()) and offsets == sorted(offsets)


def test_each_part_is_aligned():
    heads, _ = container.layout([container.Part(n, 77 + k, 0) for k, n in enumerate(PARTS)])
    at = 0
    for k, head in enumerate(heads):
        at += len(head)
        assert at % container.ALIGNMENT == 0
        at += 77 + k


# ---- damage -------------------------------------------------------------------------------------

def _refused(path: Path, data: bytes) -> str:
    path.write_bytes(data)
    with pytest.raises(FormatError) as e:
        lamella_file.load(path)
    assert str(path) in str(e.value)
    return str(e.value)


def test_every_truncation_is_refused(tmp_path):
    data = GOLDEN.read_bytes()
    for size in range(len(data)):
        _refused(tmp_path / "t.lamella", data[:size])
    assert "no Lamella file" in _refused(tmp_path / "t.lamella", b"")
    _refused(tmp_path / "t.lamella", data + b"x")


@given(st.integers(0, 8 * GOLDEN.stat().st_size - 1))
def test_every_flipped_bit_is_refused(bit):
    data = bytearray(GOLDEN.read_bytes())
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(LamellaError):
        lamella_file._read(memoryview(bytes(data)))


def _file(tmp_path: Path, **parts: bytes) -> Path:
    """The golden file with parts replaced, in a sound container with true hashes."""
    path = tmp_path / "m.lamella"
    given_ = container.read(memoryview(GOLDEN.read_bytes()), PARTS)
    text = parts.get("program", bytes(given_[PROGRAM]))
    raw = parts.get("weights", bytes(given_[WEIGHTS]))
    manifest = msgspec.json.decode(parts.get("manifest", bytes(given_[MANIFEST])))
    if isinstance(manifest, dict) and "true_hashes" not in manifest:
        parts_ = ((PROGRAM, text), (WEIGHTS, raw))
        manifest["parts"] = {name: lamella_file._part([part]) for name, part in parts_}
    with path.open("wb") as stream:
        container.write(stream, [(MANIFEST, [msgspec.json.encode(manifest)]), (PROGRAM, [text]),
                                 (WEIGHTS, [raw])])
    return path


def _changed(**fields) -> bytes:
    given_ = container.read(memoryview(GOLDEN.read_bytes()), PARTS)
    return msgspec.json.encode({**msgspec.json.decode(bytes(given_[MANIFEST])), **fields})


TEXT = bytes(container.read(memoryview(GOLDEN.read_bytes()), PARTS)[PROGRAM])
FAULTS = {
    "a newer format": ({"manifest": _changed(format=2)}, "has format 2; this Lamella reads 1 to 1"),
    "no format": ({"manifest": b"{}"}, "has format 0"),
    "a manifest of nothing": ({"manifest": b"[]"}, "the manifest cannot be read"),
    "deep manifest": ({"manifest": _changed(inputs=3)}, "the manifest cannot be read"),
    "false hash": ({"manifest": _changed(true_hashes=1, parts={})}, "does not have the size and"),
    "other symbols": ({"manifest": _changed(symbols={"B": [1, 9]})}, "are not the program's"),
    "other inputs": ({"manifest": _changed(inputs=[])}, "are not the program's"),
    "labels": ({"manifest": _changed(outputs=[
        {"name": "kind", "dtype": "float32", "shape": ["B", 3], "labels": ["a"]}])}, "1 labels"),
    "rows": ({"manifest": _changed(batch="C")}, "C counts rows, so it must be the first extent"),
    "not UTF-8": ({"program": b"\xff"}, "is not UTF-8"),
    "unknown op": ({"program": TEXT.replace(b"relu", b"system")}, "no op is called 'system'"),
    "renamed weight": ({"program": TEXT.replace(b'"layers.0.bias"', b'"bias"')}, "the weights are"),
    "other shape": ({"program": TEXT.replace(b"[6, 3]", b"[6, 2]")}, "line "),
    "table too long": ({"weights": b"\xff" * 8 + b"{}"}, "does not fit into"),
    "no table": ({"weights": b""}, "does not fit into"),
    "not JSON": ({"weights": (2).to_bytes(8, "little") + b"x}"}, "the table cannot be read"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_behind_sound_hashes_is_refused(name, tmp_path):
    parts, told = FAULTS[name]
    with pytest.raises(FormatError) as e:
        lamella_file.load(_file(tmp_path, **parts))
    assert told in str(e.value)


def test_zips_of_others_are_refused(tmp_path):
    path = tmp_path / "z.lamella"
    cases = [(PARTS, zipfile.ZIP_DEFLATED), (("../../evil", *PARTS), 0),
                          ((MANIFEST, MANIFEST, *PARTS), 0), (PARTS[::-1], 0), ((), 0)]
    for names, method in cases:
        with warnings.catch_warnings(action="ignore"), zipfile.ZipFile(path, "w", method) as z:
            for n in names:
                z.writestr(zipfile.ZipInfo(n), b"0" * 100_000, method)
        with pytest.raises(FormatError, match="no Lamella file|truncated|damaged"):
            lamella_file.load(path)


def _table(entries: dict, data: bytes) -> bytes:
    text = msgspec.json.encode(entries)
    return len(text).to_bytes(8, "little") + text + data


TABLES = {
    "hole": ({"a": {"dtype": "U8", "shape": [1], "data_offsets": [1, 2]}}, b"ab", "begin at 0"),
    "overlap": ({n: {"dtype": "U8", "shape": [2], "data_offsets": [k, k + 2]}
                 for k, n in enumerate("ab")}, b"abc", "should begin at 2"),
    "beyond": ({"a": {"dtype": "U8", "shape": [9], "data_offsets": [0, 9]}}, b"ab", "end before 2"),
    "rest": ({}, b"ab", "2 bytes follow"),
    "negative": ({"a": {"dtype": "U8", "shape": [-1], "data_offsets": [0, -1]}}, b"", "the shape"),
    "huge": ({"a": {"dtype": "F64", "shape": [1 << 47] * 9, "data_offsets": [0, 8]}}, b"a" * 8,
             "but has 8"),
    "rank": ({"a": {"dtype": "U8", "shape": [1] * 99, "data_offsets": [0, 1]}}, b"a", "the shape"),
    "dtype": ({"a": {"dtype": "O", "shape": [], "data_offsets": [0, 1]}}, b"a", "the dtype 'O'"),
    "size": ({"a": {"dtype": "F32", "shape": [2], "data_offsets": [0, 4]}}, b"abcd", "8 bytes"),
}


@pytest.mark.parametrize("name", TABLES)
def test_a_bad_table_is_refused(name):
    entries, data, told = TABLES[name]
    with pytest.raises(FormatError) as e:
        safetensors.read(_table(entries, data))
    assert told in str(e.value)


# ---- safetensors --------------------------------------------------------------------------------

def test_the_library_reads_ours_and_we_read_the_librarys(tmp_path):
    from safetensors.numpy import load, load_file, save
    arrays = {"a": np.arange(6, dtype=np.float32).reshape(2, 3),
              "empty": np.zeros((0, 4), np.int64),
              "scalar": np.array(True), "half": np.ones(3, np.float16),
              "turned": np.arange(6, dtype=np.int8).reshape(2, 3).T}
    ours = b"".join(safetensors.chunks(arrays))
    for back in (load(ours), safetensors.read(save({n: a.copy("C") for n, a in arrays.items()}))):
        assert back.keys() == arrays.keys()
        for n, a in arrays.items():
            assert back[n].dtype == a.dtype and back[n].tolist() == a.tolist()
    (tmp_path / "w.safetensors").write_bytes(ours)
    assert load_file(tmp_path / "w.safetensors").keys() == arrays.keys()
    brain = {"b": np.array([1.5, -2], ml_dtypes.bfloat16)}
    back = safetensors.read(b"".join(safetensors.chunks(brain)))
    assert back["b"].dtype == ml_dtypes.bfloat16 and back["b"].tolist() == [1.5, -2]


def test_complex_and_float8_weights_keep_their_bits():
    arrays = {"z": np.array([1 - 2j, complex(-0.0, np.inf)], np.complex64),
              "e4": np.array([1.5, -448], ml_dtypes.float8_e4m3fn),
              "e5": np.array([1.5, np.inf], ml_dtypes.float8_e5m2)}
    back = safetensors.read(b"".join(safetensors.chunks(arrays)))
    for n, a in arrays.items():
        assert back[n].dtype == a.dtype and back[n].tobytes() == a.tobytes()
    with pytest.raises(FormatError, match="complex128"):
        safetensors.chunks({"wide": np.zeros(2, np.complex128)})


# ---- saving -------------------------------------------------------------------------------------

def test_a_failed_save_leaves_the_old_file(tmp_path):
    path = tmp_path / "m.lamella"
    golden.save(path)
    before = path.read_bytes()
    with pytest.raises(KeyboardInterrupt), replacing(path) as stream:
        stream.write(b"half")
        raise KeyboardInterrupt
    assert path.read_bytes() == before and os.listdir(tmp_path) == ["m.lamella"]
    assert path.stat().st_mode & 0o777 == 0o666 & ~_mask()


def _mask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_weights_that_are_not_the_programs_are_refused(tmp_path):
    w = golden.weights()
    for bad, told in [({**w, "more": np.zeros(1, np.float32)}, "must be the same"),
                      ({**w, "layers.0.bias": np.zeros(7, np.float32)}, r"float32\[7\], the"),
                      ({**w, "layers.0.bias": np.zeros(6)}, r"float64\[6\], the program takes")]:
        with pytest.raises(ProgramError, match=told):
            lamella_file.save(tmp_path / "m.lamella", golden.program(), bad)
    with pytest.raises(ProgramError, match="2 names for 1 outputs"):
        lamella_file.save(tmp_path / "m.lamella", golden.program(), w, outputs=["a", "b"])
    assert os.listdir(tmp_path) == []


def test_what_is_no_file_is_refused(tmp_path):
    for path, told in [(tmp_path / "none", "No such file"), (tmp_path, "Is a directory")]:
        with pytest.raises(FormatError, match=told):
            lamella_file.load(path)


def test_a_pipe_is_refused(tmp_path):
    path = tmp_path / "pipe"
    os.mkfifo(path)     # and nobody writes to it
    with pytest.raises(FormatError, match="no regular file"):
        lamella_file.load(path)


def test_what_is_too_large_is_refused_before_it_is_read(tmp_path):
    """Holes of 1 TiB: as a file of anything, and as weights with sound heads."""
    path, size = tmp_path / "large.lamella", 1 << 40
    with path.open("wb") as stream:
        stream.truncate(size)
    with pytest.raises(FormatError, match="damaged, or no Lamella file"):
        lamella_file.load(path)
    parts = [container.Part(MANIFEST, 2, 0), container.Part(PROGRAM, 2, 0),
             container.Part(WEIGHTS, size, 0)]
    heads, tail = container.layout(parts)
    with path.open("wb") as stream:
        for head, part in zip(heads, parts, strict=True):
            stream.write(head)
            stream.seek(part.size, os.SEEK_CUR)
        stream.write(tail)
    with pytest.raises(AllocationError, match="large.lamella: the file takes 1024.0 GiB"):
        lamella_file.load(path)


def test_loading_executes_nothing():
    code = ("import sys; from lamella.formats import lamella_file\n"
            "sys.addaudithook(lambda e, a: print(e) if e.startswith(('pickle', 'exec', 'compile',"
            " 'import', 'os.system', 'subprocess')) else None)\n"
            f"lamella_file.load({str(GOLDEN)!r})")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                          env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})
    assert "pickle" not in done.stdout and "exec" not in done.stdout, done.stdout


def test_a_function_takes_the_arrays_around_it_into_its_file(tmp_path):
    weight, bias = lamella.asarray(np.eye(3, 2, dtype=np.float32)), lamella.asarray([1.0, 2.0])
    path, x = tmp_path / "f.lamella", lamella.ones((4, 3))

    def f(x):
        return x @ weight * 2 + bias

    export(path, f, {"x": lamella.spec((4, 3))})
    loaded = lamella_file.load(path)
    assert sorted(a.shape for a in loaded.weights.values()) == [(2,), (3, 2)]
    got, = interpret(loaded.program, [*loaded.weights.values(), x.numpy()])
    np.testing.assert_allclose(got, f(x).numpy(), rtol=1e-6)
