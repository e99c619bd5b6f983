"""Modules that a compiled function returned: built when somebody looks into them."""

import copy
import pickle
import threading

import numpy as np
import pytest

import lamella as L
from lamella import nn, tree
from lamella.base import outline


class Net(nn.Module):
    def __init__(self, key):
        a, b = L.random.split(key)
        self.first = nn.Linear(3, 4, key=a)
        self.second = nn.Linear(4, 2, key=b)
        self.name = "net"

    def __call__(self, x):
        return self.second(L.tanh(self.first(x)))


class Hidden(nn.Module):
    depth = 1           # what instances have instead is not to be missed

    def __init__(self, depth):
        self.weight, self.depth = L.ones((2,)), depth


class Delegates(nn.Module):
    def __init__(self, inner):
        self.inner = inner

    def __getattr__(self, name):
        return getattr(self.inner, name)


class Holder(nn.Module):
    def __init__(self):
        self.parts = {"a": L.ones((2,))}


@L.compile
def doubled(model):
    return tree.map(lambda a: a * 2, model)


def net():
    return Net(L.random.key(0))


def later(model):
    found = doubled(model)
    assert "_children" not in vars(found)
    return found


LOOKS = {
    "call": lambda m: m(L.ones((1, 3))).tolist(), "repr": repr, "dir": dir,
    "attribute": lambda m: (m.name, m.first.weight.tolist()),
    "leaves": lambda m: [a.tolist() for a in tree.leaves(m)], "paths": tree.paths,
    "map": lambda m: repr(tree.map(lambda a: a.shape, m)),
    "replace": lambda m: repr(m.replace(name="x")), "count": nn.parameter_count,
    "state": lambda m: m.init_state(), "missing": lambda m: hasattr(m, "nothing"),
    "copy": lambda m: copy.copy(m)(L.ones((1, 3))).tolist(),
    "deepcopy": lambda m: copy.deepcopy(m)(L.ones((1, 3))).tolist(),
    "pickle": lambda m: pickle.loads(pickle.dumps(m))(L.ones((1, 3))).tolist(),
    "inside": lambda m: repr({"of": [m]}), "again": lambda m: repr(doubled(m)),
    "grad": lambda m: L.grad(lambda m: m(L.ones((1, 3))).sum())(m).first.bias.tolist(),
    "held": lambda m: [a.tolist() for a in tree.leaves([m, m])]}


@pytest.mark.parametrize("look", LOOKS.values(), ids=LOOKS)
def test_looks_find_what_was_returned(look):
    assert look(later(net())) == look(tree.map(lambda a: a * 2, net()))


def test_it_does_not_change():
    m = later(net())
    for change in (lambda: setattr(m, "name", "x"), lambda: delattr(m, "name")):
        with pytest.raises(nn.module.ModuleError, match=r"m.replace\(name="):
            change()
    assert m.name == "net"
    with pytest.raises(AttributeError, match="'Net' object has no attribute 'nothing'"):
        _ = m.nothing


def test_its_structure_is_that_of_the_argument():
    m = net()
    assert later(m).__flatten__()[1] is m.__flatten__()[1]
    _, (a, b) = outline.flatten_arguments(({"m": later(m), "n": 1.0}, {"m": m, "n": 2.0}))
    assert a is b and a.num_leaves == 5 and outline.is_shared(a)
    assert a == outline.Outline(a.outer, a.inner) and hash(a) == hash(
        outline.Outline(a.outer, a.inner))
    doubled(doubled(doubled(m)))
    assert len([k for k in doubled.entries if k[0] == (m.__flatten__()[1],)]) == 1


def test_an_attribute_of_the_class_does_not_stand_for_the_instances_own():
    assert doubled(Hidden(7)).depth == 7
    assert doubled(Delegates(net())).name == "net"


def test_a_dict_inside_may_be_changed():
    m = doubled(Holder())
    m.parts["a"] = L.zeros((2,))
    assert doubled(m).parts["a"].tolist() == [0.0, 0.0]


def test_containers_of_modules_come_back():
    m = net()
    found = L.compile(lambda t: {"a": (t[0], t[1]["x"]), "b": [t[0]], "c": None})((m, {"x": 2.0}))
    assert set(found) == {"a", "b", "c"} and found["c"] is None
    assert found["a"][0](L.ones((1, 3))).tolist() == m(L.ones((1, 3))).tolist()
    assert float(found["a"][1]) == 2.0 and found["b"][0].name == "net"


def test_many_threads_look_at_once():
    for _ in range(20):
        m, seen = doubled(net()), []
        team = [threading.Thread(target=lambda m=m, s=seen: s.append(m.first.weight.numpy()))
                for _ in range(4)]
        [t.start() for t in team], [t.join() for t in team]
        assert len(seen) == 4
        for s in seen:
            np.testing.assert_array_equal(s, seen[0])
