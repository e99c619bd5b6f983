"""Arrays of other libraries and ours: DLPack both ways, copies, array API consumers."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import lamella as L


def test_asarray_copies_as_it_is_told():
    x = L.ones(3)
    same, own = L.asarray(x), L.asarray(x, copy=True)
    own[0] = 5.0
    assert same is x and x.tolist() == [1, 1, 1] and own.tolist() == [5, 1, 1]
    assert L.astype(x, "float32") is not x and L.astype(x, "float32", copy=False) is x
    a = np.arange(4, dtype=np.float32)
    shared, copied = L.asarray(a, copy=False), L.asarray(a)
    a[0] = 9
    assert shared.tolist()[0] == 9 and copied.tolist()[0] == 0
    here = L.from_dlpack(L.asarray(a), device="cpu", copy=False)
    there = L.asarray(a, device=x.device, copy=False)
    a[1] = 7
    assert here.device == x.device and there.tolist()[1] == 7
    for bad in (lambda: L.asarray(3.0, copy=False), lambda: L.asarray([1, 2], copy=False),
                lambda: L.asarray(a[::2], copy=False), lambda: L.asarray(a, dtype="int32",
                                                                        copy=False),
                lambda: L.asarray(x, dtype="int32", copy=False)):
        with pytest.raises(ValueError, match="copy"):
            bad()


def test_dlpack_exports_read_only_or_copies():
    x = L.arange(6).reshape(2, 3)
    a = np.from_dlpack(x)
    assert np.array_equal(a, x.numpy()) and not a.flags.writeable
    assert x.__dlpack_device__() == (1, 0)
    assert np.array_equal(L.from_dlpack(x).numpy(), a)
    with pytest.raises(BufferError, match="read-only"):
        x.__dlpack__(copy=False)
    for bad in ({"stream": 1}, {"dl_device": (2, 0)}):
        with pytest.raises(L.errors.LamellaError, match="cpu"):
            x.__dlpack__(**bad)


class Exporter:
    """Another library's array, as the protocol sees it; an old one knows no options."""

    def __init__(self, x, old: bool):
        self.x, self.old = x, old

    def __dlpack__(self, **options):
        if self.old and options:
            raise TypeError("no options")
        return self.x.__dlpack__(**options)

    def __dlpack_device__(self):
        return 1, 0


@pytest.mark.parametrize("old", [False, True])
@pytest.mark.parametrize("dtype", ["bfloat16", "float8_e4m3fn", "float8_e5m2", "float16"])
def test_dlpack_of_narrow_floats(dtype, old):
    x = L.asarray([[1.0, -2.5], [0.0, float("inf")]]).astype(dtype)
    for back in (L.from_dlpack(Exporter(x, old)), L.asarray(Exporter(x, old))):
        assert back.dtype is x.dtype
        assert L.bitcast(back, f"uint{x.dtype.bits}").tolist() == \
            L.bitcast(x, f"uint{x.dtype.bits}").tolist()


@pytest.mark.torch
def test_torch_both_ways():
    torch = pytest.importorskip("torch")
    for dtype in ("float32", "float64", "int8", "int32", "int64", "uint8", "bool", "complex64"):
        x = L.asarray([[0, 1, 2], [3, 4, 5]]).astype(dtype)
        t = torch.from_dlpack(x)
        assert str(t.dtype) == f"torch.{dtype}" and np.array_equal(t.numpy(), x.numpy())
        back = L.from_dlpack(t)
        assert back.dtype is x.dtype and np.array_equal(back.numpy(), x.numpy())
    for dtype in ("bfloat16", "float16", "float8_e4m3fn", "float8_e5m2"):
        t = torch.tensor([[1.0, -2.5, 0.0]]).to(getattr(torch, dtype))
        x = L.from_dlpack(t.T)
        assert x.dtype is getattr(L, dtype) and x.shape == (3, 1)
        assert torch.equal(torch.from_dlpack(x).float(), t.T.float())
    with pytest.raises(BufferError, match="from_dlpack: Tensor cannot be shared.*require grad"):
        L.from_dlpack(torch.ones(2, requires_grad=True))
    assert L.asarray(torch.arange(3)).tolist() == [0, 1, 2]
    half = torch.ones(2, 3).T  # strided
    assert L.asarray(half).shape == (3, 2)


def test_array_api_compat_knows_our_arrays():
    compat = pytest.importorskip("array_api_compat")
    x = L.ones((2, 3))
    assert compat.is_array_api_obj(x) and compat.array_namespace(x, L.zeros(2)) is L
    assert compat.size(x) == 6 and compat.device(x) is x.device
    assert compat.to_device(x, "cpu") is x


def test_scikit_learn_works_on_our_arrays():
    pytest.importorskip("sklearn")
    program = Path(__file__).with_name("dispatch.py")
    path = os.pathsep.join(filter(None, ["src", os.environ.get("PYTHONPATH")]))
    done = subprocess.run([sys.executable, "-W", "ignore", str(program)], text=True,
                          capture_output=True, timeout=500, cwd=program.parents[2],
                          env={**os.environ, "SCIPY_ARRAY_API": "1", "PYTHONPATH": path})
    assert done.stdout == "40 compared\n", done.stdout + done.stderr
