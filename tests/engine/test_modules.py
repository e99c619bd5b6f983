"""How new code is divided among processes."""

from types import SimpleNamespace

from lamella.engine import kernels


def test_no_module_is_empty(monkeypatch):
    monkeypatch.setattr(kernels, "cores", lambda: 8)
    one = SimpleNamespace(body="x" * 5 * kernels.WORTH)
    assert kernels._parts([one]) == [[one]]
    assert sorted(map(len, kernels._parts([one, one, one]))) == [1, 1, 1]
