"""Host functions as ops: alone, compiled, batched, differentiated, and in texts."""

import threading

import numpy as np
import pytest

import lamella
from lamella.base.errors import ExecutionError, LamellaError, ProgramError, ShapeError
from lamella.engine.program import compile_program
from lamella.ir.interpret import interpret
from lamella.ir.parser import parse
from lamella.ir.printer import to_text

CALLS = []


@lamella.foreign(result=lambda x, **o: x, name="test.scaled", batch="leading", same_bits=True,
                 workspace=lambda x, **o: x.dtype.bytes * 10,
                 vjp=lambda out, g, x, factor: lamella.conj(lamella.asarray(factor)) * g)
def scaled(x, *, factor=2.0):
    CALLS.append(x.shape)
    return x * x.dtype.type(factor)


@lamella.foreign(result=lambda x, y: (x, lamella.spec((), "float32")), name="test.polar",
                 vjp=lambda out, g, x, y: (g[0] * y + g[1] * 2 * x, g[0] * x))
def both(x, y):
    """x * y, and the sum of squares of x."""
    return x * y, np.sum(x * x, dtype=np.float32)


@lamella.foreign(result=lambda x: x, name="test.counted", pure=False)
def counted(x):
    CALLS.append("counted")
    return x + len(CALLS)


def x(*shape, dtype=np.float32):
    return lamella.asarray(np.random.default_rng(0).standard_normal(shape).astype(dtype))


def test_a_call_is_the_same_alone_and_compiled_between_kernels():
    def f(a):
        return scaled(a * 3, factor=0.5) + scaled(a)

    a = x(5, 7)
    exact = a.numpy() * np.float32(3) * np.float32(0.5) + a.numpy() * np.float32(2)
    assert np.array_equal(f(a), exact)
    assert np.array_equal(lamella.compile(f)(a), exact)


def test_several_results_of_which_one_is_not_used():
    a, b = x(4), x(4) + 1
    for f in (both, lamella.compile(both)):
        product, total = f(a, b)
        assert np.allclose(product, a.numpy() * b.numpy())
        assert float(total) == pytest.approx(float((a * a).sum()), rel=1e-6)
    assert np.allclose(lamella.compile(lambda a, b: both(a, b)[0] * 2)(a, b),
                       2 * a.numpy() * b.numpy())


def test_gradients_and_tangents_follow_the_rule():
    a, b = x(4), x(4) + 1

    def loss(a, b):
        product, total = both(a, b)
        return (product * product).sum() + total * 3

    ga, gb = lamella.compile(lamella.grad(loss, (0, 1)))(a, b)
    assert np.allclose(ga, 2 * a.numpy() * b.numpy() ** 2 + 6 * a.numpy(), rtol=1e-5)
    assert np.allclose(gb, 2 * b.numpy() * a.numpy() ** 2, rtol=1e-5)
    _, tangent = lamella.jvp(loss, (a, b), (b, a))
    assert float(tangent) == pytest.approx(float((ga * b).sum() + (gb * a).sum()), rel=1e-5)
    z = lamella.asarray(np.array([1 + 2j, 3j], np.complex64))
    g = lamella.grad(lambda z: lamella.real(scaled(z) * (2 + 1j)).sum())(z)
    assert np.allclose(g, 2 * (2 - 1j))


def test_a_batch_is_one_call_or_one_for_each_member():
    a = x(3, 4)
    CALLS.clear()
    assert np.array_equal(lamella.vmap(scaled)(a), 2 * a.numpy())
    assert CALLS == [(3, 4)]
    products, totals = lamella.vmap(both, in_axes=(0, None))(a, x(4))
    assert np.allclose(products, a.numpy() * x(4).numpy())
    assert np.allclose(totals, (a.numpy() ** 2).sum(1))


def test_equal_calls_are_one_unless_the_function_is_impure():
    a = x(3)
    for f, count in ((lambda a: scaled(a) + scaled(a), 1), (lambda a: counted(a) + counted(a), 2)):
        run = lamella.compile(f)
        run(a)
        CALLS.clear()
        run(a)
        assert len(CALLS) == count


def test_symbols_and_empty_arrays_reach_the_function():
    n = lamella.symbol("n", 0, 64)
    run = compile_program(lamella.trace(lambda a: scaled(a + 1), lamella.spec((n, 3))))
    for count in (0, 1, 17):
        a = x(count, 3).numpy()
        assert np.array_equal(run([a])[0], (a + 1) * 2)


def test_what_a_plan_says():
    p = lamella.plan(lambda a: scaled(a) + counted(a), x(8))
    assert len(p.hosts) == 2 and not p.same_bits
    assert lamella.plan(scaled, x(8)).same_bits and lamella.plan(scaled, x(8)).workspace == 40
    assert "test.scaled" in p.kernels()


def test_a_text_stores_the_name_alone_and_names_must_be_registered():
    p = lamella.trace(lambda a: both(scaled(a, factor=0.25), a), lamella.spec((3,)))
    text = to_text(p)
    assert 'name="test.scaled"' in text
    again = parse(text)
    assert to_text(again) == text
    a = x(3).numpy()
    assert np.allclose(interpret(again, [a])[0], a * a * 0.25)
    with pytest.raises(ProgramError, match="registered"):
        parse(text.replace("test.scaled", "os.system"))
    with pytest.raises(ProgramError):
        parse(text.replace('("factor", 0.25)', '("other", 0.25)'))


def test_failures_name_the_function_and_the_line():
    @lamella.foreign(result=lambda x: x, name="test.failing")
    def failing(x):
        raise ValueError("no such thing")

    @lamella.foreign(result=lambda x: x, name="test.misshapen")
    def misshapen(x):
        return x[:1]

    run = lamella.compile(lambda a: failing(a) * 2)
    with pytest.raises(ExecutionError, match=r"test.failing: no such thing .*test_foreign.py"):
        run(x(3))
    with pytest.raises(ExecutionError, match="shape"):
        lamella.compile(misshapen)(x(3))
    with pytest.raises(LamellaError, match="derivative"):
        lamella.grad(lambda a: failing(a).sum())(x(3))
    with pytest.raises(LamellaError, match="already"):
        lamella.foreign(lambda x: x, result=lambda x: x, name="test.failing")
    with pytest.raises(LamellaError, match="keyword-only"):
        lamella.foreign(lambda x, y=1: x, result=lambda x: x, name="test.other")
    with pytest.raises((ShapeError, LamellaError), match="takes 1 arrays"):
        scaled(x(3), x(3))


def test_arguments_are_read_only():
    @lamella.foreign(result=lambda x: x, name="test.writing")
    def writing(x):
        x[...] = 0
        return x

    with pytest.raises(ExecutionError, match="read-only"):
        lamella.compile(writing)(x(3))


def test_calls_from_several_threads():
    run = lamella.compile(lambda a: scaled(a * 2) + 1)
    a, wrong = x(64, 64), []

    def work():
        for _ in range(20):
            if not np.array_equal(run(a), a.numpy() * 4 + 1):
                wrong.append(1)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for w in workers:
        w.start()
    for w in workers:
        w.join()
    assert not wrong


def test_a_call_inside_a_loop():
    def f(a):
        return lamella.fori_loop(0, 3, lambda i, y: scaled(y) + 1, a)

    assert np.allclose(lamella.compile(f)(x(4)), ((x(4).numpy() * 2 + 1) * 2 + 1) * 2 + 1)
