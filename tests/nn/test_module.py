"""Modules as pytrees."""

import copy
import pickle

import numpy as np
import pytest

import lamella as L
from lamella import nn, tree


class Net(nn.Module):
    def __init__(self, key):
        a, b = L.random.split(key)
        self.first = nn.Linear(3, 4, key=a)
        self.rest = {"out": [nn.Linear(4, 2, key=b, bias=False)], "scale": L.asarray(2.0)}
        self.name = "net"

    def __call__(self, x):
        return self.rest["out"][0](L.tanh(self.first(x))) * self.rest["scale"]


def net():
    return Net(L.random.key(0))


def test_a_module_is_a_pytree():
    m = net()
    assert tree.paths(m) == ["first.bias", "first.weight", "rest.out.0.weight", "rest.scale"]
    twice = tree.map(lambda a: a * 2, m)
    assert isinstance(twice, Net) and twice.name == "net" and float(twice.rest["scale"]) == 4
    shapes = tree.map(lambda a: a.shape, m)
    assert shapes.first.weight == (3, 4)
    leaves, structure = tree.flatten(m)
    assert structure == tree.flatten(net())[1] and hash(structure) == hash(tree.flatten(net())[1])
    again = tree.unflatten(structure, leaves)
    np.testing.assert_array_equal(again(L.ones((1, 3))).numpy(), m(L.ones((1, 3))).numpy())


def test_attributes_stay():
    m = net()
    with pytest.raises(nn.module.ModuleError, match=r"Net.name.*m.replace\(name=...\)"):
        m.name = "x"
    with pytest.raises(AttributeError):
        del m.name
    other = m.replace(name="other")
    assert other.name == "other" and m.name == "net" and other.first is m.first
    with pytest.raises(nn.module.ModuleError, match="no attribute 'nam'; it has: first"):
        m.replace(nam=1)
    linear = nn.Linear(2, 2, key=L.random.key(0), bias=False).replace(bias=L.ones(2))
    assert tree.paths(linear) == ["bias", "weight"]


def test_gradients_have_the_modules_structure():
    m, x = net(), L.ones((5, 3))
    g = L.grad(lambda m: (m(x) ** 2).mean())(m)
    assert isinstance(g, Net) and tree.flatten(g)[1] == tree.flatten(m)[1]
    eps = 1e-3
    w = m.first.weight.numpy().copy()
    w[1, 2] += eps
    up = m.replace(first=m.first.replace(weight=L.asarray(w)))
    slope = ((up(x) ** 2).mean().item() - (m(x) ** 2).mean().item()) / eps
    assert float(g.first.weight[1, 2]) == pytest.approx(slope, rel=2e-2, abs=1e-4)


def test_repr_and_count():
    assert "first=Linear(weight: float32[3, 4], bias: float32[4])" in repr(net())
    assert nn.parameter_count(net()) == 12 + 4 + 8 + 1
    seq = nn.Sequential(nn.Linear(3, 4, key=L.random.key(0)), nn.relu, nn.Dropout(0.5))
    assert tree.paths(seq) == ["layers.0.bias", "layers.0.weight"] and "relu" in repr(seq)
    assert seq(L.ones((2, 3))).shape == (2, 4)


def test_numpy_arrays_are_refused_in_modules():
    class Table(nn.Module):
        def __init__(self, rows):
            self.rows = rows

    for rows in (np.ones(3), [np.ones(3)], {"a": (np.ones(3),)}):
        with pytest.raises(nn.module.ModuleError, match=r"Table.rows .* lamella.asarray.*test_mod"):
            Table(rows)
    with pytest.raises(nn.module.ModuleError, match="Table.rows"):
        Table(L.ones(3)).replace(rows=np.ones(3))


def test_copies_and_pickles():
    m = net()
    average = copy.deepcopy(m)
    L.compile(lambda m: L.tree.map(lambda p: p * 2, m), donate="m")(m)
    for other in (average, pickle.loads(pickle.dumps(average.first)), copy.copy(average)):
        assert all(a.numpy().size for a in tree.leaves(other))      # not given away with m
    x = L.ones((2, 3))
    again = pickle.loads(pickle.dumps(average.first))
    assert again(x).numpy().tobytes() == average.first(x).numpy().tobytes()


def test_a_module_that_was_rebuilt_keeps_its_constants_and_shows_none_of_what_it_remembers():
    layer = nn.Linear(3, 2, key=L.random.key(0))
    leaves, structure = tree.flatten({"a": layer})
    again = tree.unflatten(structure, leaves)["a"]
    assert tree.flatten({"a": again})[1] == structure
    other = again.replace(bias=None)
    assert tree.flatten(other)[1] != tree.flatten(layer)[1]
    assert "_kept" not in repr(again) + repr(other) and other.bias is None
