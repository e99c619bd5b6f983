"""Options of compile and plan that cannot be meant: what is wrong, what is known, and where."""

import pytest

import lamella
from lamella.base.errors import LamellaError, ShapeError


def add(x, y):
    return x + y


SPEC = lamella.spec((2,))
HERE = r" \(test_options\.py:\d+\)$"


@pytest.mark.parametrize("options, message", [
    ({"donate": "nope"}, "add has no parameter 'nope'; it has x, y"),
    ({"donate": ("x", 2)}, "add has no parameter 2; it has x, y"),
    ({"donate": -1}, "add has no parameter -1; it has x, y"),
    ({"donate": 1.5}, "add has no parameter 1.5; it has x, y"),
    ({"sizes": {"z": (None,)}}, "add has no parameter 'z'; it has x, y"),
    ({"sizes": {"x": "B"}}, "compile: sizes of 'x' are a tuple with a symbol, a number or None .*"),
    ({"memory": "64 Mx"}, "cannot read '64 Mx' as bytes; write for example '64 MiB'"),
    ({"memory": ""}, "cannot read '' as bytes; .*"),
    ({"memory": "-5 MB"}, "cannot read '-5 MB' as bytes; .*"),
    ({"memory": "inf"}, "cannot read 'inf' as bytes; .*"),
    ({"memory": -5}, "cannot read -5 as bytes; .*"),
    ({"memory": 1.5}, "cannot read 1.5 as bytes; .*"),
    ({"memory": True}, "cannot read True as bytes; .*"),
])
def test_compile_refuses(options, message):
    with pytest.raises(LamellaError, match="^" + message + HERE):
        lamella.compile(add, **options)


def test_plan_refuses():
    with pytest.raises(LamellaError, match="^cannot read 'lots' as bytes; .*" + HERE):
        lamella.plan(add, SPEC, SPEC, memory="lots")


def test_what_is_no_function_is_not_compiled():
    with pytest.raises(LamellaError, match="compile: takes a function, got int" + HERE):
        lamella.compile(3)


def test_a_size_outside_of_its_bounds_names_the_function():
    f = lamella.compile(lambda x: x, sizes={"x": (lamella.symbol("B", 1, 4), None)})
    with pytest.raises(ShapeError, match=r"<lambda>: B = 9 is outside its declared bounds 1\.\.4; "
                                         r"the argument's shape is \(9, 2\)" + HERE):
        f(lamella.ones((9, 2)))


@pytest.mark.parametrize("args, message", [
    ((1.0,), "add: missing a required argument: 'y'"), ((1.0,) * 3, "add: too many positional")])
def test_wrong_counts_of_arguments_name_the_function(args, message):
    with pytest.raises(TypeError, match=message):
        lamella.compile(add)(*args)


@pytest.mark.parametrize("written, nbytes", [
    ("64 MiB", 64 << 20), ("1.5GB", 1_500_000_000), (" 7 ", 7), (0, 0), ("2 kib", 2048)])
def test_bytes_are_read(written, nbytes):
    assert lamella.compile(add, memory=written).options.bytes == nbytes
