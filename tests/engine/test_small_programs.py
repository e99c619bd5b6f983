"""Small programs whose plans are easy to get wrong, each with the reason."""

import numpy as np
import pytest
from ops.cases import compiled, execute, inputs_of, run, same_bits

import lamella
from lamella.api import namespace as F
from lamella.ir.interpret import interpret
from lamella.ir.program import Program
from lamella.ops import index, move, reduce
from lamella.ops.contract import contract
from lamella.ops.pointwise import apply


def whole(*shape, seed=0) -> np.ndarray:
    """Small integers as float32: no operation below rounds."""
    return np.random.default_rng(seed).integers(-3, 4, shape).astype(np.float32)


def check(build, *arrays) -> None:
    """Fused, uncompiled and reference results are equal."""
    inputs = inputs_of(arrays)
    program = Program(inputs, build(*inputs))
    fused, alone = run(program, arrays), run(program, arrays, fused=False)
    for a, b, c in zip(fused, alone, interpret(program, arrays), strict=True):
        assert same_bits(a, b)
        assert np.array_equal(a, c)


def test_a_product_may_read_one_array_along_different_strides():
    check(lambda x: [contract(x, x, ["b", "k", "i"], ["k", "b", "j"], ["i", "b", "j"], ["k"])],
          whole(3, 3, 7))
    check(lambda x: [x + move.transpose(x, (1, 0)), apply("max", x, move.flip(x, (0,)))],
          whole(17, 17))


@pytest.mark.parametrize("axes", ((0,), (1,), (0, 1), (0, 1, 2), (2,)))
def test_a_product_may_read_flipped_operands(axes):
    check(lambda x: [contract(move.flip(x, axes), move.flip(x, axes), "abk", "abk", "", "abk")],
          whole(2, 3, 41))
    check(lambda x, y: [contract(move.flip(x, axes), move.flip(y, axes), "bik", "bkj", "bij", "k"),
                        contract(x, move.flip(y, axes), "bik", "bkj", "jib", "k")],
          whole(2, 40, 19), whole(2, 19, 33, seed=1))


def test_a_result_is_not_written_over_an_operand_that_a_later_statement_reads():
    def build(x, at):
        spread = index.scatter_add(at, x, 0, 65)
        y = apply("abs", x)
        return [y, spread * (y + 1.0)]
    check(build, whole(65), np.arange(65, dtype=np.int32) // 2)


def test_values_that_meet_again_by_another_way_stay_in_order():
    """max and sum feed a product; between them and it lies another kernel that needs max."""
    def build(x, v):
        top = reduce.reduce("max", x, (0,))
        scale = reduce.reduce("prod", move.reshape(top, (1,)), (0,))
        total = reduce.reduce("sum", v, (0,))
        return [scale, apply("where", apply("eq", x, top), x, v) * (total * scale)]
    check(build, whole(33), whole(33, seed=1))


def test_axes_of_one_element_may_be_all_that_is_kept():
    check(lambda x: [reduce.reduce("sum", x, (0, 2)), reduce.reduce("max", x, (0,))],
          whole(40, 1, 1))
    check(lambda x: [reduce.reduce("sum", x, (0,))], whole(0, 1, 1))


@pytest.mark.parametrize("size", (1, 2))
def test_everything_may_be_added_into_one_place(size):
    check(lambda i, u: [index.scatter_add(i, u, 0, size)], np.int32([0, 1, 5, -1]), whole(4, 3))


def test_an_array_of_one_and_an_empty_one():
    check(lambda x, y: [x * 2.0, y + 1.0, reduce.reduce("sum", y, (0,)),
                        contract(y, y, "ki", "kj", "ij", "k")], whole(1, 1), whole(0, 5))


def test_a_result_may_be_an_input_and_a_result_twice():
    check(lambda x: [x, x + 1.0, x, move.transpose(x, (1, 0)), move.reshape(x, (15,))], whole(3, 5))


def test_two_calls_do_not_share_results():
    """The first call's results stay as they are when the program runs again."""
    x = inputs_of([whole(300)])[0]
    made = compiled(Program([x], [x * 2.0]))
    first, = execute(made, [whole(300)])
    kept = first.copy()
    execute(made, [whole(300, seed=1)])
    assert same_bits(first, kept)


def test_two_donated_arguments_may_want_each_other_s_readers_first():
    """Each result could take the bytes of one argument, and both read both."""
    def f(x, y):
        return x + y[:17], y + F.concat([x, x, x[:6]])

    def given():
        return lamella.asarray(whole(17)), lamella.asarray(whole(40, seed=1))

    found, expected = lamella.compile(f, donate=("x", "y"))(*given()), f(*given())
    assert all(np.array_equal(np.array(a), np.array(b)) for a, b in zip(found, expected,
                                                                        strict=True))
