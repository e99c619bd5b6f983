"""Array: laziness, indexing, looking at values, errors."""

import copy
import os
import pickle
import subprocess
import sys
import weakref

import numpy as np
import pytest

import lamella as L
from lamella.api.arrays import scope
from lamella.api.arrays.values import LOOKS
from lamella.base import knobs
from lamella.engine import eager
from lamella.ir.node import topological

X = np.arange(60, dtype=np.float32).reshape(3, 4, 5)

KEYS = [0, -1, (1, 2), (slice(1, 3),), (slice(None), slice(None, None, 2)), (..., 0),
        (slice(None, None, -1),), (slice(4, 0, -3), None), (None, ..., slice(-2, None)),
        (0, None, slice(3, 1, -1), 2), [0, 2, 2], ([0, 2], slice(None), [1, -1]),
        (slice(None), [0, -1], [1, 4]), np.array([[0, 1], [2, -3]]), (0, slice(None), [1, 2]),
        (slice(5, 2),), X > 30, (X[:, :, 0] > 10), ()]


@pytest.mark.parametrize("key", KEYS, ids=lambda k: str(k)[:30])
def test_getitem(key):
    np.testing.assert_array_equal(L.asarray(X)[key].numpy(), X[key])


@pytest.mark.parametrize("key", KEYS, ids=lambda k: str(k)[:30])
def test_setitem(key):
    ours, theirs = L.asarray(X), X.copy()
    v = -np.arange(theirs[key].size, dtype=np.float32).reshape(theirs[key].shape)
    for value in (v, 7.0):
        ours[key] = value
        theirs[key] = value
        np.testing.assert_array_equal(ours.numpy(), theirs)


def test_a_write_rebinds_this_handle_only():
    x = L.asarray([1.0, 2.0, 3.0])
    y, z = x, x + 0
    x[1:] = 0.0
    assert x.tolist() == y.tolist() == [1, 0, 0] and z.tolist() == [1, 2, 3]
    x[x > 0.5] += 10
    assert x.tolist() == [11, 0, 0]
    x[[0, 0, 2]] = [5.0, 6.0, 7.0]
    assert x.tolist() == [6, 0, 7]


def test_computed_positions():
    x, i = L.asarray(X), L.asarray(2)
    np.testing.assert_array_equal(x[i].numpy(), X[2])
    np.testing.assert_array_equal(x[i - 3, 1].numpy(), X[-1, 1])
    x[i, 1] = 0.0
    assert x.numpy()[2, 1].sum() == 0 and x.numpy()[1, 1].sum() > 0


def test_positions_outside():
    x = L.asarray(X)
    for bad in (3, -4, (0, 0, 0, 0), (0, 9)):
        with pytest.raises(IndexError, match="test_array.py"):
            x[bad]
    assert [r.shape for r in x] == [(4, 5)] * 3 and len(x) == 3


def test_looking():
    x = L.asarray([1.5, -2.0])
    assert repr(x) == "Array([ 1.5, -2. ], dtype=float32, shape=(2,))"
    assert str(x) == "[ 1.5 -2. ]" and f"{x[0]:.2f}" == "1.50"
    assert float(x[0]) == 1.5 and int(x[1]) == -2 and bool(x[0]) and x.tolist() == [1.5, -2.0]
    assert range(5)[L.asarray(2)] == 2
    assert np.asarray(x).dtype == np.float32 and np.asarray(x, np.float64).dtype == np.float64
    with pytest.raises(L.errors.ShapeError, match="item"):
        float(x)


def test_imports_copy_and_exports_are_read_only():
    a = np.ones(4, np.float32)
    x, shared = L.asarray(a), L.asarray(a, copy=False)
    a[0] = 5
    assert x.tolist()[0] == 1 and shared.tolist()[0] == 5
    with pytest.raises(ValueError):
        x.numpy()[0] = 2


def test_dlpack():
    x = L.asarray([1.0, 2.0])
    np.testing.assert_array_equal(np.from_dlpack(x), [1, 2])
    np.testing.assert_array_equal(L.from_dlpack(np.arange(3)).numpy(), [0, 1, 2])
    torch = pytest.importorskip("torch")
    assert torch.from_dlpack(x).tolist() == [1, 2]
    assert L.asarray(torch.ones(2)).tolist() == [1, 1]


def test_numpy_leaves_mixed_expressions_to_us():
    x = L.asarray([1.0, 2.0])
    for y in (np.ones(2, np.float32) + x, np.float32(1) + x, x + np.ones(2, np.float32)):
        assert isinstance(y, L.Array) and y.tolist() == [2, 3]
    assert (1 - x).tolist() == [0, -1] and (x == 2).tolist() == [False, True]
    with pytest.raises(L.errors.DTypeError, match="str"):
        x + "a"


def test_errors_stand_at_the_users_line():
    x = L.ones((2, 3))
    with pytest.raises(L.errors.ShapeError, match=r"add: .*2, 3.*4,.*test_array.py"):
        x + L.ones(4)
    with pytest.raises(L.errors.ShapeError, match=r"matmul.*test_array.py"):
        x @ x
    with pytest.raises(L.errors.ShapeError, match="reshape: .2, 3. has 6 elements"):
        x.reshape(4, -1)


def test_nothing_is_computed_before_it_is_looked_at():
    x = L.ones(3) + 1
    assert x.node.data is None
    x.numpy()
    assert x.node.data is not None and x.node.inputs == ()


def test_pending_work_is_bounded():
    total, one = L.asarray(0.0), L.asarray(1.0)
    first = weakref.ref(total.node)
    for _ in range(3 * knobs.pending_nodes.value):
        total += one * 2
    assert first() is None and len(scope.state.pending) <= knobs.pending_nodes.value
    assert float(total) == 6 * knobs.pending_nodes.value


def test_what_waits_while_others_are_looked_at_is_bounded():
    steps, x = L.asarray(0), L.ones(8)
    for k in range(200):
        steps += 1
        assert float((x * x).sum()) == 8
        if k % 50 == 49:
            assert len(topological([steps.node])) <= 2 * LOOKS + 1
    assert int(steps) == 200


def test_a_loop_that_looks_meets_graphs_it_has_met():
    """The counter is on the way to the weights, and the weights share the loss's work."""
    step, w, x = L.asarray(0), L.ones(8), L.ones(8)
    for k in range(6):
        step = step + 1
        loss = L.square(w * x).sum()
        w = w - 0.1 * loss / step.astype("float32")
        float(loss)
        assert step.node.data is not None and w.node.data is not None
        if k == 1:
            seen = set(eager._executables)
    assert set(eager._executables) == seen


def test_held_bytes_are_bounded(monkeypatch):
    monkeypatch.setattr(knobs.pending_bytes, "value", 1 << 20)
    total = L.zeros(1000)
    big = [weakref.ref(total.node)]
    for k in range(40):
        x = L.asarray(np.full((100, 1000), k, np.float32))
        big.append(weakref.ref(x.node))
        total = total + x.sum(0)
        del x
    assert sum(r() is not None for r in big) < 10
    assert float(total[0]) == 100 * sum(range(40))


def test_import_is_light():
    code = ("import sys, lamella; bad = {'llvmlite', 'uvicorn', 'rich', 'typer', 'numpy', 'torch'} "
            "& set(sys.modules); assert not bad, bad; lamella.__version__; lamella.nn; "
            "assert not {'uvicorn', 'rich'} & set(sys.modules); lamella.ones(3) + 1; "
            "floors = {name.split('.')[1] for name in sys.modules if name.startswith('lamella.')}; "
            "assert not {'planner', 'codegen', 'train'} & floors, floors")
    folder = os.path.dirname(os.path.dirname(L.__file__))
    subprocess.run([sys.executable, "-c", code], check=True,
                   env={**os.environ, "PYTHONPATH": folder})


def test_names():
    assert "matmul" in dir(L) and "grad" in dir(L)
    with pytest.raises(AttributeError, match="matmull"):
        getattr(L, "matmull")  # noqa: B009


@pytest.mark.parametrize("dtype", ["float32", "bfloat16", "int8", "bool", "complex64"])
def test_copies_and_pickles_keep_value_and_dtype(dtype):
    for values in ([[0, 1], [1, 1]], [], 1):
        x = L.asarray(values).astype(dtype)
        for y in (copy.copy(x), copy.deepcopy(x), pickle.loads(pickle.dumps(x))):
            assert y.dtype is x.dtype and y.shape == x.shape
            assert y.numpy().tobytes() == x.numpy().tobytes()


def test_a_value_that_is_not_known_prints_as_its_type():
    seen = []
    L.compile(lambda x: seen.append(f"{x} {x!s}") or x)(L.ones(2))
    assert seen == [" ".join(["Array(float32[2], not known while traced)"] * 2)]


def test_an_error_says_its_line_once():
    for wrong in (lambda: L.compile(lambda x: "a")(L.ones(2)), lambda: L.grad(L.sum)(object())):
        with pytest.raises(L.errors.DTypeError) as e:
            wrong()
        assert str(e.value).count("test_array.py") == 1


def test_spec_refuses_what_is_no_shape():
    assert L.spec(3).shape == (3,)
    with pytest.raises(L.errors.DTypeError, match=r"extent is an integer.*test_array"):
        L.spec((2, "a"))
    with pytest.raises(L.errors.ShapeError, match="-1"):
        L.spec((2, -1))


def test_a_look_evaluates_what_shares_the_work(monkeypatch):
    import lamella
    from lamella.engine import eager
    runs = []
    before = eager.evaluate
    monkeypatch.setattr(eager, "evaluate", lambda n: (runs.append(len(n)), before(n))[1])
    base = lamella.exp(lamella.asarray(np.linspace(0, 1, 9, dtype=np.float32)))
    parts = [base * float(k) for k in range(5)]
    other = lamella.ones((3,)) * 2.0
    assert runs == []
    for p in parts:
        np.asarray(p)
    assert len(runs) == 1 and other.node.data is None
