"""Which template a reduction is computed by."""

import numpy as np
import pytest
from ops.cases import compiled, execute, same_bits
from ops.test_numerics_by_hand import rule_r

import lamella
from lamella.base.dtypes import by_name
from lamella.planner.plan import Launch


def kernels(f, *shapes) -> list[str]:
    plan = lamella.plan(f, *(lamella.spec(s) for s in shapes)).plan
    return [s.kernel.name for s in plan.steps if isinstance(s, Launch)]


@pytest.mark.parametrize(("f", "template"), [
    (lambda x, m: (x * m).sum(0), "columns"),            # m is the same for a row of x
    (lambda x, m: (x * x * m * m).sum(0), "columns"),
    (lambda x, m: (x.mT * m[:, 0]).sum(-1), "columns"),  # x lies as above
    (lambda x, m: (x + m).sum(-1), "rows"),
    (lambda x, m: m.sum(0), "rows"),                     # one long column is a row
])
def test_the_contiguous_axis_of_what_has_both_decides(f, template):
    assert template in kernels(f, (96, 48), (96, 1))


def drawn(shape, dtype="float32", seed=0):
    rng = np.random.default_rng(seed)
    if dtype == "bool":
        return rng.random(shape) < 0.999
    if dtype == "int32":
        return rng.integers(-2 ** 31, 2 ** 31, shape).astype(dtype)
    x = rng.standard_normal(shape)
    return np.where(rng.random(shape) < 3e-4, np.nan, x).astype(by_name(dtype).numpy)


def agree(f, expected, *arrays):
    """Every template, band and part gives the bits of the rules; the kernels' names."""
    program = lamella.trace(f, *(lamella.spec(a.shape, a.dtype) for a in arrays))
    for x, y in zip(execute(compiled(program), arrays), expected, strict=True):
        assert same_bits(x, np.asarray(y))
    return [s.kernel.name for s in lamella.plan(f, *arrays).plan.launches()]


ALONG = [(1000, 1000), (2049, 65), (8192, 64), (5000, 130), (90000, 3), (64, 64), (63, 64),
         (64, 63), (0, 64), (1, 700), (1025, 513), (4160, 1)]
RULES = {"sum": rule_r, "prod": lambda x: rule_r(x, np.multiply, 1),
         "max": lambda x: x.max(axis=0), "any": lambda x: x.any(axis=0),
         "all": lambda x: x.all(axis=0)}


@pytest.mark.parametrize("shape", ALONG, ids=str)
@pytest.mark.parametrize("monoid,dtype", [
    ("sum", "float32"), ("max", "float32"), ("prod", "float64"), ("sum", "int32"),
    ("any", "bool"), ("all", "bool")])
def test_columns_of_every_size(shape, monoid, dtype):
    if monoid == "max" and not shape[0]:
        pytest.skip("nothing has a largest element")
    x = drawn(shape, dtype)
    x = 1 + x / 64 if monoid == "prod" else x
    with np.errstate(over="ignore"):
        agree(lambda x: getattr(lamella, monoid)(x, axis=0), [RULES[monoid](x)], x)


@pytest.mark.parametrize("shape", ALONG, ids=str)
def test_columns_of_16_bits_are_summed_in_float32(shape):
    x = drawn(shape, "bfloat16")
    agree(lambda x: x.sum(axis=0), [rule_r(x.astype("float32")).astype(x.dtype)], x)


def test_columns_of_columns_with_maps_before():
    x, m = drawn((3, 2100, 96)), drawn((3, 2100, 1), seed=1)
    y = np.stack([rule_r(a) for a in x * x * m])
    assert agree(lambda x, m: (x * x * m).sum(axis=1), [y], x, m) == ["columns", "columns"]
    agree(lambda x, m: (x * m).sum(axis=(0, 1)), [rule_r((x * m).reshape(-1, 96))], x, m)
    k = np.arange(2100, dtype="float32")[:, None]
    agree(lambda x, m: (x * lamella.arange(2100).reshape(2100, 1)).sum(axis=1) + m[:, 0],
          [np.stack([rule_r(a) for a in x * k]) + m[:, 0]], x, m)


@pytest.mark.parametrize("shape", [(700, 3000), (2, 300001), (1, 1 << 18), (7, 40000)], ids=str)
def test_few_long_rows_are_cut_into_parts(shape):
    x = np.nan_to_num(drawn(shape), nan=1.0)
    whole = [rule_r(x.reshape(-1)) / np.float32(x.size), rule_r((x * x).reshape(-1)), x.max()]
    used = agree(lambda x: (x.sum() / x.size, (x * x).sum(), x.max()), whole, x)
    assert used.count("rows") >= 2
    used = agree(lambda x: ((x * 3).sum(axis=1) * 0.5, x.min(axis=1)),
                 [rule_r((x * 3).T) * np.float32(0.5), x.min(axis=1)], x)
    assert shape[0] == 700 or used.count("rows") >= 2
    agree(lambda x: (lamella.any(x > 4.5), lamella.all(x > -9)),
          [(x > 4.5).any(), (x > -9).all()], x)
    narrow = x.astype(by_name("bfloat16").numpy)
    agree(lambda x: x.sum(), [rule_r(narrow.astype("float32").reshape(-1)).astype(narrow.dtype)],
          narrow)


def test_sizes_that_vary():
    n = lamella.symbol("n", 0, 9000)
    for f, rule in ((lambda x: x.sum(axis=0), rule_r),
                    (lambda x: x.sum(), lambda x: rule_r(x.reshape(-1))),
                    (lambda x: lamella.any(x > 3, axis=0), lambda x: (x > 3).any(axis=0))):
        run = compiled(lamella.trace(f, lamella.spec((n, 96))))
        for rows in (0, 1, 63, 1024, 2500, 9000):
            x = drawn((rows, 96))
            assert same_bits(execute(run, [x])[0], np.asarray(rule(x)))
