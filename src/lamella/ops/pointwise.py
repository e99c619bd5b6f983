"""Pointwise ops: one tensor op for each scalar operation of lang/scalar.py.

y[i...] = f(a[i...], b[i...], ...), operands broadcast against each other as in the array API:
aligned at the last axis, an extent of 1 (or a missing axis) repeats.
"""

from __future__ import annotations

from functools import lru_cache, partial

import numpy as np

from ..base import dtypes, source
from ..base.dtypes import DType
from ..base.errors import DTypeError, LamellaError, PositionError, ShapeError
from ..base.extents import Extent, Shape, lower
from ..ir.node import CONSTANT, Node, broadcast_to, make
from ..ir.op import Op, is_dtype, op_named
from ..ir.types import TensorType, tensor
from ..lang import expr, scalar
from ..lang import functions as _functions  # noqa: F401  (installs the scalars)
from ..lang.definition import Definition, axes_for
from ..lang.scalar import Scalar, cast_array, fitted


def broadcast_shapes(name: str, shapes: list[Shape]) -> Shape:
    """The common shape; raises a ShapeError that names the op and the shapes."""
    rank = max(map(len, shapes), default=0)
    out: list[Extent] = []
    for d in range(-rank, 0):
        extent: Extent = 1
        for s in shapes:
            if len(s) < -d or s[d] == 1 or s[d] == extent:
                continue
            if extent != 1:
                raise ShapeError(f"{name}: shapes {' and '.join(map(str, shapes))} do not "
                                 f"broadcast: axis {d} is {extent} in one and {s[d]} in another; "
                                 f"reshape one, or insert an axis of extent 1")
            extent = s[d]
        out.append(extent)
    return tuple(out)


def aligned_read(number: int, t: TensorType, axes: tuple) -> expr.Expr:
    """Operand `number` read at `axes`, aligned at the last; extents of 1 read element 0."""
    own = axes[len(axes) - t.rank:]
    return expr.read(number, tuple(
        expr.lit(0, dtypes.index) if e == 1 and a.attr[1] != 1 else a
        for a, e in zip(own, t.shape, strict=True)), t.dtype)


def sum_to(node: Node, shape: Shape) -> Node:
    """Sum over the axes that broadcasting `shape` to node's shape had added or repeated."""
    if node.shape == shape:
        return node
    extra = node.type.rank - len(shape)
    axes = tuple(range(extra)) + tuple(
        d + extra for d, e in enumerate(shape) if e == 1 and node.shape[d + extra] != 1)
    if axes:
        node = make(op_named("reduce"), (node,), {"monoid": "sum", "axes": axes})
    return reshape_to(node, shape)


def reshape_to(node: Node, shape: Shape) -> Node:
    """node with that shape (a reshape where it differs)."""
    return node if node.shape == shape else make(op_named("reshape"), (node,), {"shape": shape})


def batch_operands(inputs, batched) -> list[Node]:
    """Batched operands with axes of extent 1 behind the batch, so that all align at the end."""
    rank = max(n.type.rank - b for n, b in zip(inputs, batched, strict=True))
    out = []
    for n, b in zip(inputs, batched, strict=True):
        missing = rank - (n.type.rank - b)
        if b and missing:
            n = reshape_to(n, (n.shape[0],) + (1,) * missing + n.shape[1:])
        out.append(n)
    return out


def _infer(s: Scalar, params: dict, *types: TensorType) -> TensorType:
    dtype = s.result_dtype([t.dtype for t in types])
    if s.name == "where" and types[0].dtype is not dtypes.bool_:
        raise DTypeError(f"where: the condition is {types[0].dtype}; compare it to get bool")
    if all(t.shape == types[0].shape for t in types):
        return tensor(dtype, types[0].shape)
    return tensor(dtype, broadcast_shapes(s.name, [t.shape for t in types]))


def _rule(s: Scalar):
    """`_infer` with its answers remembered: it runs once for each line of a user's program."""
    remembered = lru_cache(4096)(partial(_infer, s, {}))
    return lambda params, *types: remembered(*types)


def _reference(s: Scalar, params: dict, *arrays: np.ndarray) -> np.ndarray:
    with np.errstate(all="ignore"):
        out = np.asarray(s.reference(*arrays))
    given = dtypes.as_dtype(arrays[-1].dtype)
    return out.astype(s.result_dtype([given] * s.arity).numpy, copy=False)


def _lower(s: Scalar, params: dict, *types: TensorType) -> Definition:
    axes = axes_for(_infer(s, params, *types).shape)
    return Definition(types, axes, s(*(aligned_read(k, t, axes) for k, t in enumerate(types))))


def _vjp(s: Scalar, node: Node, g: Node):
    if s.rule is None:
        return (None,) * s.arity
    parts = s.rule(g, node, *node.inputs)
    return tuple(None if p is None or not i.dtype.is_inexact else sum_to(fitted(p, i), i.shape)
                 for p, i in zip(parts, node.inputs, strict=True))


def _jvp(s: Scalar, node: Node, tangents):
    if s.rule is None or not node.dtype.is_inexact:
        return None
    total = None
    for k, t in enumerate(tangents):
        if t is None:
            continue
        part = s.rule(t, node, *node.inputs)[k]
        if part is not None:
            part = fitted(part, node)
            total = part if total is None else total + part
    return None if total is None else broadcast_to(total, node.shape)


def _batch(s: Scalar, node: Node, inputs, batched):
    return make(node.op, tuple(batch_operands(inputs, batched)), node.params)


def _samples(s: Scalar):
    """Operands over the scalar's domain, with awkward values, shapes that broadcast and empties."""
    rng = np.random.default_rng(7)
    low, high = s.samples
    kinds = {"float": np.float32, "int": np.int32, "uint": np.uint8, "bool": np.bool_,
             "complex": np.complex64}

    def draw(shape, k, dtype=kinds[s.kinds[0]]):
        if s.name == "where" and k == 0:
            return rng.random(shape) < 0.5
        x = rng.uniform(low, high, shape)
        if dtype is np.complex64:
            return (x + 1j * rng.uniform(-2, 2, shape)).astype(dtype)
        if dtype is np.float32 and s.arity > 1 and x.size > 3 and s.name in ("max", "min", "eq"):
            x.flat[:2] = 1.0
        return (x < 0) if dtype is np.bool_ else x.astype(dtype)

    shapes: list[list[tuple[int, ...]]] = [
        [(3, 5)] * s.arity, [()] * s.arity, [(0, 4)] * s.arity, [(17,)] * s.arity]
    if s.arity >= 2:
        shapes += [[(2, 1, 5), (4, 1), (5,)][:s.arity], [(7,), (), (1,)][:s.arity]]
    out: list = [({}, [draw(sh, k) for k, sh in enumerate(group)]) for group in shapes]
    if "complex" in s.kinds[1:]:
        out.append(({}, [draw((3, 17), k, np.complex64) for k in range(s.arity)]))
    return out


def _define(s: Scalar) -> Op:
    return Op(s.name, doc=f"Pointwise: {s.doc}.", arity=s.arity, params={},
              infer=_rule(s),
              reference=partial(_reference, s), lower=partial(_lower, s), vjp=partial(_vjp, s),
              jvp=partial(_jvp, s), batch=partial(_batch, s),
              samples=partial(_samples, s), facts=s.facts | {"pointwise"})


for _scalar in scalar.ALL.values():
    if _scalar.name not in ("cast", "bitcast"):
        _define(_scalar)


# ---- conversions: their target dtype is a parameter ---------------------------------------------

def _cast_vjp(node: Node, g: Node):
    source = node.inputs[0].dtype
    if not (source.is_inexact and node.dtype.is_inexact):
        return (None,)
    return (cast(fitted(g, node.inputs[0]), source),)


def _cast_jvp(node: Node, tangents):
    if tangents[0] is None or not node.dtype.is_inexact:
        return None
    return cast(tangents[0], node.dtype)


def _convert(function, params: dict, t: TensorType) -> Definition:
    axes = axes_for(t.shape)
    return Definition((t,), axes, function(expr.read(0, axes, t.dtype), params["dtype"]))


def _same_op(node: Node, inputs, batched):
    return make(node.op, tuple(inputs), node.params)


def _bitcast_infer(params: dict, t: TensorType) -> TensorType:
    if params["dtype"] is dtypes.bool_ and t.dtype is not dtypes.bool_:
        raise DTypeError(f"bitcast: the bits of {t.dtype} need not be those of a bool; compare "
                         f"with 0")
    if t.dtype.is_complex or params["dtype"].is_complex:
        raise DTypeError(f"bitcast: {t.dtype} to {params['dtype']}: a complex number is two words; "
                         f"take real and imag")
    if t.dtype.bits != params["dtype"].bits:
        raise DTypeError(f"bitcast: {t.dtype} has {t.dtype.bits} bits and {params['dtype']} has "
                         f"{params['dtype'].bits}; choose a dtype of the same width")
    return t.with_dtype(params["dtype"])


def _cast_samples():
    x = np.array([0.0, -0.0, 1.5, -2.5, 3e9, -3e9, np.nan, np.inf, 1e-40], np.float32)
    pairs = [(x, d) for d in (dtypes.int32, dtypes.uint8, dtypes.float64, dtypes.float16,
                              dtypes.bfloat16, dtypes.bool_, dtypes.int64)]
    n = np.array([[-5, 0, 7], [300, 70000, -1]], np.int32)
    pairs += [(n, d) for d in (dtypes.float32, dtypes.int8, dtypes.uint64, dtypes.bool_)]
    z = np.array([0, -0.0, 1.5 - 2j, np.nan, 1j * np.inf], np.complex64)
    pairs += [(z, dtypes.complex128), (z, dtypes.bool_), (x, dtypes.complex64)]
    for d in (dtypes.float8_e4m3fn, dtypes.float8_e5m2):
        pairs += [(x, d), (x.astype(np.float64), d), (n, d), (x.astype(d.numpy), dtypes.float32),
                  (x.astype(d.numpy), dtypes.bfloat16)]
    return [({"dtype": d}, [a]) for a, d in pairs]


def _cast_infer(params: dict, t: TensorType) -> TensorType:
    to = params["dtype"]
    if t.dtype.is_complex and not to.is_complex and to is not dtypes.bool_:
        raise DTypeError(f"cast: {t.dtype} to {to} would drop the imaginary part; take real(x)")
    return t.with_dtype(to)


CAST = Op("cast", doc="y = x as dtype: nearest value, saturating; NaN to an integer is 0.",
          arity=1, params={"dtype": is_dtype}, infer=_cast_infer,
          reference=lambda p, x: cast_array(x, p["dtype"]), lower=partial(_convert, scalar.cast),
          vjp=_cast_vjp, jvp=_cast_jvp, batch=_same_op, samples=_cast_samples,
          facts=frozenset({"pointwise"}))

BITCAST = Op("bitcast", doc="y has x's bits, seen as dtype.", arity=1,
             params={"dtype": is_dtype}, infer=_bitcast_infer,
             reference=lambda p, x: x.view(p["dtype"].numpy),
             lower=partial(_convert, scalar.bitcast), vjp=lambda node, g: (None,),
             jvp=lambda node, t: None, batch=_same_op, facts=frozenset({"pointwise"}),
             samples=lambda: [({"dtype": dtypes.uint32}, [np.array([1.0, -0.0], np.float32)])])

STOP = Op("stop_gradient", doc="y = x; its derivative is taken as zero.", arity=1, params={},
          infer=lambda p, t: t,
          reference=lambda p, x: x.copy(),
          lower=lambda p, t: Definition((t,), axes_for(t.shape),
                                        expr.read(0, axes_for(t.shape), t.dtype)),
          vjp=lambda node, g: (None,), jvp=lambda node, t: None, batch=_same_op,
          samples=lambda: [({}, [np.arange(6, dtype=np.float32).reshape(2, 3)])],
          facts=frozenset({"pointwise", "stops"}))


def _constant_lower(p: dict) -> Definition:
    return Definition((), axes_for(p["shape"]), expr.lit(p["value"], p["dtype"]))


CONSTANT.lower = _constant_lower  # the op itself is ir's own; index notation lies above it


def cast(x: Node, dtype: DType) -> Node:
    """x as dtype (x itself where it has it)."""
    return x if x.dtype is dtype else make(CAST, (x,), {"dtype": dtype})


def apply(name: str, *nodes: Node) -> Node:
    """The pointwise op of that name over nodes."""
    return make(op_named(name), nodes)


def require_float(name: str, t: TensorType) -> None:
    """Raise where an op needs real floating values."""
    if not t.dtype.is_float:
        raise DTypeError(f"{name}: takes floating values, got {t.dtype}; cast with astype")


def normal_axis(name: str, axis: int, rank: int) -> int:
    """A non-negative axis; raises naming the op."""
    if not -rank <= axis < rank:
        where = source.render(source.here())
        e = PositionError(f"{name}: axis {axis} is outside of an array of {rank} dimensions; they "
                          f"are {-rank}..{rank - 1}" + (f" ({where})" if where else ""))
        e.located = True  # type: ignore[attr-defined]
        raise e
    return axis % rank


def static(name: str, e: Extent) -> int:
    """An extent that must be an integer here."""
    if not isinstance(e, int):
        raise LamellaError(f"{name}: needs a fixed extent, got the symbol {e} "
                           f"(at least {lower(e)})")
    return e
