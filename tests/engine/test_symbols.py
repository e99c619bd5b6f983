"""One plan with a symbol for the batch serves every size, with the bits of a plan for that size."""

import numpy as np
import pytest
from ops.cases import compiled, execute, same_bits

from lamella.base.extents import symbol
from lamella.ir.node import make, placeholder
from lamella.ir.op import op_named
from lamella.ir.program import Program
from lamella.ir.types import tensor
from lamella.ops import move, reduce
from lamella.ops.contract import matmul
from lamella.ops.pointwise import apply
from lamella.transform.vjp import pullback

SIZES = (1, 2, 3, 15, 16, 17, 31, 32, 33, 64, 100, 255, 256)
WIDTHS = (20, 33, 17)


def weights() -> list[np.ndarray]:
    rng = np.random.default_rng(1)
    return [rng.standard_normal(s).astype(np.float32) / 4
            for s in ((WIDTHS[0], WIDTHS[1]), (WIDTHS[1],), (WIDTHS[1], WIDTHS[2]))]


def rows(count: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((256, WIDTHS[0])).astype(np.float32)[:count]


def network(batch) -> tuple[list, object]:
    """(inputs, probabilities) of a perceptron with softmax for a batch of this extent."""
    inputs = [placeholder(tensor("float32", (batch, WIDTHS[0])))]
    inputs += [placeholder(tensor("float32", w.shape)) for w in weights()]
    x, w1, b1, w2 = inputs
    hidden = make(op_named("gelu"), (matmul(x, w1) + b1,), {"approximate": True})
    scaled = make(op_named("layer_norm"), (hidden, b1, b1), {"axes": (1,), "eps": 1e-5})
    return inputs, make(op_named("softmax"), (matmul(scaled, w2),), {"axis": 1})


def forward(batch) -> Program:
    inputs, y = network(batch)
    return Program(inputs, [y])


def training(batch) -> Program:
    """The mean entropy over the batch and its gradients, which sum over it."""
    inputs, y = network(batch)
    loss = reduce.mean(reduce.reduce("sum", -(y * apply("log", y)), (1,)), (0,))
    return Program(inputs, [loss, *pullback([loss], inputs, [apply("exp", loss * 0.0)])])


def moves(batch) -> Program:
    """Views whose strides and offsets depend on the symbol."""
    x = placeholder(tensor("float32", (batch, WIDTHS[0])))
    turned = move.flip(move.transpose(x, (1, 0)), (0, 1))
    flat = move.reshape(x, (batch * WIDTHS[0],))
    both = move.concat([x, move.transpose(turned, (1, 0))], 0)
    padded = move.pad(x, (1, 0), (0, 2), (0, 0), 0.5)
    return Program([x], [turned + 1.0, flat * 2.0, both, reduce.reduce("sum", both, (0,)),
                         reduce.reduce("max", padded, (1,)), matmul(turned, x)])


PROGRAMS = {"forward": forward, "training": training, "moves": moves}


def arguments(program: Program, size: int) -> list[np.ndarray]:
    return [rows(size), *weights()][:len(program.inputs)]


@pytest.mark.parametrize("name", PROGRAMS)
def test_one_plan_serves_every_size_with_the_bits_of_its_own_plan(name):
    build = PROGRAMS[name]
    general = compiled(build(symbol("B", 1, 256)))
    for size in SIZES:
        given = arguments(general.plan.program, size)
        own = compiled(build(size))
        for a, b in zip(execute(general, given), execute(own, given), strict=True):
            assert same_bits(a, b), size


def sums(length) -> Program:
    """Sums and a product over the symbol itself: its bound says that chunks may be needed."""
    x, y = (placeholder(tensor("float32", shape)) for shape in ((length, 5), (3, length)))
    return Program([x, y], [reduce.reduce("sum", x, (0,)), reduce.reduce("sum", y, (1,)),
                            reduce.reduce("prod", y, (0, 1)), matmul(y, x)])


@pytest.mark.parametrize("size", (1, 15, 1023, 1024, 1025, 4095, 4096, 4097, 9000))
def test_chunks_begin_at_the_same_positions_for_a_symbol(size):
    rng = np.random.default_rng(size)
    given = [rng.standard_normal(s).astype(np.float32) for s in ((size, 5), (3, size))]
    general = execute(compiled(sums(symbol("T", 1, 9000))), given)
    assert all(map(same_bits, general, execute(compiled(sums(size)), given)))


@pytest.mark.parametrize("size", SIZES)
def test_rows_alone_and_in_a_batch_have_the_same_bits(size):
    general = compiled(forward(symbol("B", 1, 256)))
    whole, = execute(general, [rows(256), *weights()])
    some, = execute(general, [rows(size), *weights()])
    assert same_bits(some, whole[:size])
    last, = execute(compiled(forward(1)), [rows(256)[size - 1:size], *weights()])
    assert same_bits(last[0], whole[size - 1])


def test_a_size_outside_of_the_symbol_s_bounds_is_refused():
    general = compiled(forward(symbol("B", 2, 64)))
    for size in (1, 65):
        with pytest.raises(Exception, match="B"):
            execute(general, [rows(size), *weights()])


def taps(images, height, width) -> Program:
    """A convolution by Winograd's algorithm and its gradients for an image of any size."""
    x = placeholder(tensor("float32", (images, height, width, 32)))
    w = placeholder(tensor("float32", (48, 3, 3, 32)))
    y = make(op_named("conv"), (x, w), {"stride": (1, 1), "dilation": (1, 1), "inner": (0, 0),
                                        "padding": ((1, 1), (1, 1)), "groups": 1})
    return Program([x, w], [make(op_named("relu"), (y,)),
                            *pullback([y], [x, w], [apply("exp", y)])])


@pytest.mark.parametrize("size", ((1, 1, 1), (2, 5, 4), (1, 3, 150), (0, 4, 4)))
def test_an_image_of_any_size_has_the_bits_of_its_own_plan(size):
    rng = np.random.default_rng(3)
    given = [rng.standard_normal(s).astype(np.float32) / 8 for s in ((*size, 32), (48, 3, 3, 32))]
    symbols = symbol("N", 0, 4), symbol("Y", 1, 300), symbol("X", 1, 300)
    general = execute(compiled(taps(*symbols)), given)
    assert all(map(same_bits, general, execute(compiled(taps(*size)), given)))
