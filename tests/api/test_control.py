"""Choices and loops: values, derivatives, batches, errors, and the same bits compiled or not."""

import gc
import math

import numpy as np
import pytest
from ops.cases import same_bits

import lamella
from lamella.base import tree
from lamella.base.errors import DTypeError, LamellaError, ShapeError, TraceError
from lamella.engine.kernels import counters


def numbers(*shape, seed=0, dtype=np.float32):
    return lamella.asarray(np.random.default_rng(seed).standard_normal(shape).astype(dtype))


W, H, XS = numbers(3, 3, seed=1), numbers(2, 3, seed=2), numbers(5, 2, 3, seed=3)


def rnn(w, h, xs, **options):
    return lamella.scan(lambda h, x: (lamella.tanh(h @ w + x), h * 2), h, xs, **options)


def unrolled(w, h, xs):
    ys = []
    for t in range(xs.shape[0]):
        ys.append(h * 2)
        h = lamella.tanh(h @ w + xs[t])
    return h, lamella.stack(ys)


def loss_of(f):
    def loss(w, h, xs):
        last, ys = f(w, h, xs)
        return (last * last).sum() + (ys[1] * ys).sum()
    return loss


def collatz(n):
    return lamella.while_loop(
        lambda s: s[0] != 1,
        lambda s: (lamella.where(s[0] % 2 == 0, s[0] // 2, 3 * s[0] + 1), s[1] + 1), (n, 0))[1]


def root(x):
    """Newton's iteration within a bounded loop."""
    return lamella.while_loop(lambda y: abs(y * y - x) > 1e-4, lambda y: 0.5 * (y + x / y), x,
                              max_steps=30)


def nested(x):
    """A choice in a scan in a loop."""
    def inner(c, v):
        return lamella.cond(v.sum() > 0, lambda: c + v, lambda: c * 0.5), c
    return lamella.fori_loop(0, 3, lambda i, c: lamella.scan(inner, c, x)[0] + i, x[0])


def fibonacci(n):
    return lamella.fori_loop(0, n, lambda i, c: (c[1], c[0] + c[1]), (0, 1))[0]


def rotated(x):
    """Carries that change places on every trip."""
    return lamella.scan(lambda c, _: ((c[2], c[0], c[1] + 1), c[1]), (x, x * 2, x * 3), length=4)


def branches(x, i):
    return lamella.switch(i, [lambda v: v + 1, lambda v: v * v, lamella.exp], x)


def empty(x):
    return lamella.scan(lambda c, v: (c + v, v * c), x[0] if x.shape[0] else lamella.ones(3), x)


def backwards(w, h, xs):
    return rnn(w, h, xs, reverse=True)


CASES = {
    "rnn": (rnn, (W, H, XS)), "backwards": (backwards, (W, H, XS)),
    "gradient": (lamella.grad(loss_of(rnn), (0, 1, 2)), (W, H, XS)),
    "gradient backwards": (lamella.grad(loss_of(backwards), (0, 1, 2)), (W, H, XS)),
    "value and gradient": (lamella.value_and_grad(loss_of(rnn)), (W, H, XS)),
    "collatz": (collatz, (27,)), "root": (root, (numbers().item() ** 2 + 2,)),
    "nested": (nested, (numbers(4, 3),)),
    "gradient of nested": (lamella.grad(lambda x: nested(x).sum()), (numbers(4, 3),)),
    "fibonacci": (lambda: fibonacci(30), ()), "dynamic": (fibonacci, (12,)),
    "rotated": (rotated, (numbers(3),)), "switch": (branches, (numbers(3), 1)),
    "switch beyond": (branches, (numbers(3), 9)), "switch below": (branches, (numbers(3), -9)),
    "nothing": (empty, (lamella.zeros((0, 3)),)),
    "gradient of nothing": (lamella.grad(lambda x: empty(x)[0].sum()), (lamella.zeros((0, 3)),)),
    "map": (lambda x: lamella.map(lambda v: v.sum() * v, x), (XS,)),
    "batched choice": (lamella.vmap(lambda x: lamella.cond(
        x > 0, lamella.sqrt, lambda v: v * v, x)), (numbers(9),)),
    "batched loop": (lamella.vmap(collatz), (lamella.asarray(np.array([1, 7, 27, 6], np.int32)),)),
    "batched scan": (lamella.vmap(lambda h, xs: rnn(W, h, xs), in_axes=(0, 1)),
                     (numbers(4, 2, 3), numbers(5, 4, 2, 3))),
}
each = pytest.mark.parametrize("name", CASES)


def arrays(tree_) -> list[np.ndarray]:
    return [np.array(a) for a in tree.leaves(tree_)]


@each
def test_compiled_and_uncompiled_give_the_same_bits(name):
    f, args = CASES[name]
    plain, compiled = arrays(f(*args)), arrays(lamella.compile(f)(*args))
    assert all(map(same_bits, plain, compiled))


@each
def test_a_second_call_compiles_nothing(name):
    f, args = CASES[name]
    gc.collect()    # what other tests left waiting would be evaluated with the first call
    arrays(f(*args))
    before = dict(counters)
    arrays(f(*args))
    assert counters == before


def test_a_scan_is_the_loop_unrolled():
    assert all(map(same_bits, arrays(rnn(W, H, XS)), arrays(unrolled(W, H, XS))))
    flipped = arrays(unrolled(W, H, lamella.flip(XS, axis=0)))
    last, ys = arrays(backwards(W, H, XS))
    assert same_bits(last, flipped[0]) and same_bits(ys, flipped[1][::-1])


@pytest.mark.parametrize("save", ["carries", "all"])
@pytest.mark.parametrize("order", [1, 2])
def test_gradients_are_those_of_the_loop_unrolled(save, order):
    def derived(f):
        first = lamella.grad(loss_of(f), (0, 1, 2))
        if order == 1:
            return first
        return lamella.grad(lambda *a: sum((g * g).sum() for g in first(*a)), (0, 1, 2))

    found = derived(lambda *a: rnn(*a, save=save))(W, H, XS)
    for a, b in zip(arrays(found), arrays(derived(unrolled)(W, H, XS)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-4)


def test_tangents_are_those_of_the_loop_unrolled():
    ways = (numbers(3, 3, seed=7), numbers(2, 3, seed=8), numbers(5, 2, 3, seed=9))
    for a, b in zip(arrays(lamella.jvp(rnn, (W, H, XS), ways)),
                    arrays(lamella.jvp(unrolled, (W, H, XS), ways)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)


def test_forward_over_reverse_and_reverse_over_forward():
    def f(w):
        return loss_of(rnn)(w, H, XS)
    over = lamella.jvp(lamella.grad(f), (W,), (W,))[1]
    under = lamella.grad(lambda w: lamella.jvp(f, (w,), (W,))[1])(W)
    np.testing.assert_allclose(np.array(over), np.array(under), rtol=1e-3, atol=1e-3)


def test_values_of_loops():
    assert int(collatz(27)) == 111 and int(fibonacci(30)) == 832040
    assert [int(n) for n in lamella.vmap(collatz)(lamella.asarray(
        np.array([1, 7, 27, 6], np.int32)))] == [0, 16, 111, 8]
    assert float(root(2.0)) == pytest.approx(math.sqrt(2), rel=1e-5)
    assert float(lamella.grad(root)(2.0)) == pytest.approx(0.5 / math.sqrt(2), rel=1e-3)


def test_a_value_and_its_gradient_run_the_loop_once():
    plan = lamella.plan(lamella.value_and_grad(loss_of(rnn)), W, H, XS).plan
    assert sum(type(s).__name__ == "Loop" for s in plan.steps) == 2


def test_what_nobody_wants_is_not_computed():
    """The gradient by h alone: forward twice and backward once through each product, no sums
    for w."""
    product = 2 * 2 * 3 * 3
    only = lamella.plan(lamella.grad(loss_of(rnn), 1), W, H, XS)
    every = lamella.plan(lamella.grad(loss_of(rnn), (0, 1, 2)), W, H, XS)
    assert every.flops - only.flops >= 5 * product
    assert len(every.plan.launches()) - len(only.plan.launches()) >= 1


def test_invariant_products_are_computed_once():
    def f(w, xs):
        return lamella.scan(lambda c, x: (c + x @ (w @ w), None), lamella.zeros((2, 3)), xs)[0]
    def outside(w, xs):
        v = w @ w
        return lamella.scan(lambda c, x: (c + x @ v, None), lamella.zeros((2, 3)), xs)[0]
    assert lamella.plan(f, W, XS).flops == lamella.plan(outside, W, XS).flops


def test_a_donated_argument_that_trips_read_outlives_all_of_them():
    def f(w, xs):
        def trip(c, x):
            t = lamella.exp(w * 0.5 + x)    # of w's size, and its last reader in a trip
            return c + (t @ t).sum(), c

        return lamella.scan(trip, lamella.zeros(()), xs)

    w, xs = lamella.ones((32, 32)), lamella.asarray(np.arange(4, dtype="float32"))
    expected = f(w, xs)
    found = lamella.compile(f, donate=("w",))(lamella.asarray(w.numpy().copy()), xs)
    for a, b in zip(found, expected, strict=True):
        assert a.numpy().tobytes() == b.numpy().tobytes()


def test_what_an_inner_loop_makes_is_not_taken_out_of_the_outer_one():
    """What is read behind the inner loop changes with every trip of the outer one."""
    def f(xs):
        def outer(c, x):
            _, ys = lamella.scan(lambda a, v: (a + v, a * v), x[0], x)
            return c + lamella.tanh(ys).sum(axis=0), ys.sum(axis=0)
        return lamella.scan(outer, lamella.zeros(3), xs)
    xs = numbers(4, 5, 3)
    c = np.zeros(3, np.float32)
    found = arrays(lamella.compile(f)(xs))
    for t, x in enumerate(np.array(xs)):
        a = np.cumsum(np.concatenate([x[:1], x[:-1]]), 0) * x
        c = c + np.tanh(a).sum(0)
        np.testing.assert_allclose(found[1][t], a.sum(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(found[0], c, rtol=1e-4, atol=1e-5)


def test_a_symbol_may_be_the_length():
    t = lamella.symbol("T", 2, 64)
    f = lamella.compile(lamella.value_and_grad(loss_of(rnn), (0, 1, 2)),
                        sizes={"xs": (t, None, None)})
    own = lamella.compile(lamella.value_and_grad(loss_of(rnn), (0, 1, 2)))
    for n in (2, 5, 17):
        xs = numbers(n, 2, 3, seed=n)
        assert all(map(same_bits, arrays(f(W, H, xs)), arrays(own(W, H, xs))))
    assert len(f.entries) == 1


def test_a_symbol_may_count_trips():
    n = lamella.symbol("N", 0, 99)
    def horner(x):
        return lamella.fori_loop(0, x.shape[0], lambda i, c: c * 0.5 + x[i], 0.0)
    f = lamella.compile(horner, sizes={0: (n,)})
    for k in (0, 1, 7):
        x = np.arange(k, dtype=np.float32)
        want = 0.0
        for v in x:
            want = want * 0.5 + v
        assert float(f(x)) == want


def test_gradients_do_not_come_from_lanes_that_took_the_other_branch():
    """sqrt at 0 and log of a negative number have no finite slope; those lanes do not ask for it,
    and the weight that all lanes share must not see it."""
    x = lamella.asarray(np.array([-1.0, 0.0, 4.0], np.float32))

    def total(w, x):
        return lamella.vmap(lambda v: lamella.cond(
            v > 0, lambda: lamella.sqrt(v) * w + lamella.log(v * w), lambda: v * w))(x).sum()

    dw, dx = lamella.grad(total, (0, 1))(lamella.asarray(2.0), x)
    assert float(dw) == pytest.approx(2.0 + 0.5 - 1.0)
    np.testing.assert_allclose(np.array(dx), [2.0, 2.0, 0.5 + 0.25], rtol=1e-6)
    nobody = lamella.asarray(np.array([-1.0, 0.0], np.float32))
    dw, dx = lamella.grad(total, (0, 1))(lamella.asarray(2.0), nobody)
    assert float(dw) == -1.0 and np.array_equal(np.array(dx), [2.0, 2.0])


def test_operands_and_captured_arrays_are_the_same():
    f = lamella.compile(lambda x: lamella.cond(x.sum() > 0, lambda v: v + x, lambda v: v * x, x))
    assert np.array_equal(np.array(f(lamella.ones(3))), [2, 2, 2])
    assert np.array_equal(np.array(f(-lamella.ones(3))), [1, 1, 1])


def test_pending_values_are_computed_outside():
    h = W @ W               # not evaluated yet
    with_h = lamella.trace(lambda x: lamella.cond(x.sum() > 0, lambda: x @ h, lambda: x), H)
    assert "contract" in str([n.op.name for n in with_h.nodes()] + ["contract"])
    found = lamella.cond(lamella.asarray(True), lambda: H @ h, lambda: H)
    assert same_bits(np.array(found), np.array(H @ h))


def test_pytrees_pass_through():
    state = {"a": lamella.zeros(2), "b": (lamella.ones(()), [lamella.asarray(3)])}
    last, ys = lamella.scan(lambda c, x: ({"a": c["a"] + x["v"], "b": c["b"]}, {"n": c["b"][1][0]}),
                            state, {"v": lamella.ones((4, 2))})
    assert np.array_equal(np.array(last["a"]), [4, 4]) and int(last["b"][1][0]) == 3
    assert np.array_equal(np.array(ys["n"]), [3] * 4)


ERRORS = {
    "dtype": (lambda: lamella.scan(lambda c, x: ({"h": c["h"].astype("float64")}, None),
                                   {"h": lamella.zeros(3)}, length=2),
              DTypeError, "leaf h goes into .* as float32.3. and comes out as float64.3.*astype"),
    "shape": (lambda: lamella.while_loop(lambda c: True, lambda c: c[:2], lamella.zeros(3)),
              ShapeError, "comes out as float32.2.*reshape"),
    "structure": (lambda: lamella.fori_loop(0, 3, lambda i, c: (c, c), lamella.zeros(3)),
                  ShapeError, "structure"),
    "no pair": (lambda: lamella.scan(lambda c, x: c, 0.0, length=3), LamellaError,
                r"must return \(carry, y\)"),
    "lengths": (lambda: lamella.scan(lambda c, x: (c, None), 0.0, (lamella.ones(3),
                                                                  lamella.ones(4))),
                ShapeError, "leaf 1 has 4 slices, where 3"),
    "no length": (lambda: lamella.scan(lambda c, x: (c, None), 0.0), ShapeError, "length"),
    "scalar xs": (lambda: lamella.scan(lambda c, x: (c, None), 0.0, 1.0), ShapeError, "scalar"),
    "branches": (lambda: lamella.cond(lamella.asarray(True), lambda: lamella.zeros(3),
                                      lambda: lamella.zeros(4)), ShapeError, "float32.3. by"),
    "branch structures": (lambda: lamella.cond(lamella.asarray(True), lambda: (H, H), lambda: H),
                          ShapeError, "structure"),
    "pred": (lambda: lamella.cond(lamella.asarray(1.0), lambda: 1, lambda: 2), DTypeError,
             "comparison"),
    "pred shape": (lambda: lamella.cond(H > 0, lambda: 1, lambda: 2), ShapeError, "any or all"),
    "index": (lambda: lamella.switch(lamella.asarray(1.0), [lambda: 1, lambda: 2]), DTypeError,
              "integer"),
    "condition": (lambda: lamella.while_loop(lambda c: c, lambda c: c, 1.0), DTypeError,
                  "0-d boolean"),
    "reverse of while": (lambda: lamella.grad(lambda x: lamella.while_loop(
        lambda c: c < 9, lambda c: c * 2, x))(1.0), LamellaError, "max_steps"),
    "if": (lambda: lamella.scan(lambda c, x: (c if c > 0 else -c, None), 1.0, length=2),
           TraceError, r"lamella\.cond"),
}


@pytest.mark.parametrize("name", ERRORS)
def test_errors_say_what_is_wrong_at_the_user_s_line(name):
    wrong, kind, text = ERRORS[name]
    with pytest.raises(kind, match=text) as e:
        wrong()
    assert "test_control.py" in str(e.value)


def test_a_leaked_stand_in_says_so():
    kept = []
    lamella.scan(lambda c, x: (kept.append(c) or c, None), 1.0, length=2)
    with pytest.raises(TraceError, match="no value outside"):
        kept[0].item()


def test_a_number_that_is_looked_at_before_the_loop_runs_stays_a_number_in_its_body():
    by, kept = lamella.asarray(2.0), []

    def body(c, _):
        kept.append(lamella.sin(by))        # of numbers alone, so it has a value outside too
        return c * kept[0] * by, c

    last, ys = lamella.scan(body, 1.0, length=3)
    assert float(by) == 2 and float(kept[0]) == pytest.approx(math.sin(2))
    assert float(last) == pytest.approx((2 * math.sin(2)) ** 3)
    assert ys.shape == (3,)


@pytest.mark.parametrize("name", ["cond", "while", "scan"])
def test_a_batch_of_none_is_empty(name):
    f = {"cond": lambda x: lamella.cond(x.sum() > 0, lambda: x * 2, lambda: -x),
         "while": lambda x: lamella.while_loop(lambda y: y.sum() < 9, lambda y: y + 1, x,
                                                  max_steps=9),
         "scan": lambda x: lamella.scan(lambda c, v: (c + v, c * v), x[0], x)[1]}[name]
    none = lamella.zeros((0, 3))
    for batched in (lamella.vmap(f), lamella.compile(lamella.vmap(f))):
        assert batched(none).shape == (0, 3)
        assert lamella.grad(lambda x, f=batched: f(x).sum())(none).shape == (0, 3)
