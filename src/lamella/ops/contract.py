"""Contraction: the product of two operands summed over shared axes, windows included.

Matrix products, einsums of two operands and convolutions are one op. Each dimension of an operand
is indexed by an affine form of axes, written as text: `("n", "2*y + r - 1", "c")`. The parameter
`sum` lists the summed axes in the order in which the chain of fused multiply-adds runs
(docs/numerics.md); every summed axis stands in both operands. Windows may reach beyond an operand
(the border of a padded convolution): summed positions that do are left out.
"""

from __future__ import annotations

import ast
import re
from functools import lru_cache
from math import gcd

import numpy as np

from ..base import dtypes
from ..base.errors import DTypeError, ShapeError
from ..base.extents import Extent, Shape, upper
from ..ir.node import Node, literal, make
from ..ir.op import Op, is_extent
from ..ir.types import TensorType, tensor
from ..lang import expr
from ..lang.definition import Definition
from ..lang.loops import LANES
from ..lang.order import CONTRACT_CHUNK, WINOGRAD_DEPTH
from .move import CONCAT, pad, reshape, slice_

Affine = tuple[int, tuple[tuple[str, int], ...]]
Sides = dict[str, tuple[Node, tuple[str, ...]]]  # the operands "g" and "o" of a cotangent


_TERM = r"(?:(?:[0-9]{1,9} ?\* ?)?[A-Za-z_][A-Za-z0-9_]{0,31}|[0-9]{1,9})"
_INDEX = re.compile(f"-?{_TERM}(?: ?[-+] ?{_TERM})*")
MOST_STEPS = 1 << 62  # multiply-adds of one contraction


@lru_cache(4096)
def parse_index(text: str) -> Affine:
    """`"2*y + r - 1"` as (constant, ((axis, coefficient), ...))."""
    terms: dict[str, int] = {}
    constant = _collect(ast.parse(text, mode="eval").body, 1, terms)
    return constant, tuple((a, c) for a, c in terms.items() if c)


def _collect(e: ast.expr, k: int, terms: dict[str, int]) -> int:
    if isinstance(e, ast.Name):
        terms[e.id] = terms.get(e.id, 0) + k
        return 0
    if isinstance(e, ast.Constant) and isinstance(e.value, int):
        return k * e.value
    if isinstance(e, ast.UnaryOp) and isinstance(e.op, ast.USub):
        return _collect(e.operand, -k, terms)
    if isinstance(e, ast.BinOp):
        if isinstance(e.op, ast.Mult) and isinstance(e.left, ast.Constant):
            left = int(e.left.value)  # type: ignore[arg-type]
            return _collect(e.right, k * left, terms)
        if isinstance(e.op, ast.Add | ast.Sub):
            sign = -k if isinstance(e.op, ast.Sub) else k
            return _collect(e.left, k, terms) + _collect(e.right, sign, terms)
    raise ShapeError(f"contract: {ast.unparse(e)!r} is not an affine index")


def index_text(constant: int, terms) -> str:
    """The text of an affine index."""
    text = ""
    for name, c in terms:
        text += (" - " if c < 0 else " + ") + (name if abs(c) == 1 else f"{abs(c)}*{name}")
    if constant or not text:
        text += (" - " if constant < 0 else " + ") + str(abs(constant))
    return text[3:] if text.startswith(" + ") else "-" + text[3:]


def extents(p: dict, a: TensorType, b: TensorType) -> dict[str, Extent]:
    """The extent of every axis; raises where dimensions disagree or an index leaves its range."""
    found: dict[str, Extent] = dict(p["sizes"])
    for key, t in (("a", a), ("b", b)):
        if len(p[key]) != t.rank:
            raise ShapeError(f"contract: {p[key]} indexes {len(p[key])} axes, the operand's shape "
                             f"is {t.shape}")
        for text, e in zip(p[key], t.shape, strict=True):
            constant, terms = parse_index(text)
            if constant == 0 and len(terms) == 1 and terms[0][1] == 1:
                name = terms[0][0]
                if found.setdefault(name, e) != e:
                    raise ShapeError(f"contract: axis {name} is {found[name]} in one operand and "
                                     f"{e} in the other: {_spell(p, a, b)}")
    if any(leaves(p["a"], a.shape, found)) and any(leaves(p["b"], b.shape, found)):
        raise ShapeError(f"contract: windows reach beyond both operands; pad one of "
                         f"{_spell(p, a, b)}")
    return found


def leaves(index, shape: Shape, found: dict[str, Extent]) -> list[bool]:
    """Whether the index of each dimension may leave the dimension's extent."""
    return [_reaches(parse_index(text), e, found) for text, e in zip(index, shape, strict=True)]


def _reaches(form: Affine, extent: Extent, found: dict[str, Extent]) -> bool:
    low: Extent
    low, terms = form
    if low == 0 and len(terms) == 1 and terms[0][1] == 1:
        return False
    high: Extent = low
    for name, c in terms:
        if found[name] == 0:
            return False
        span = (found[name] - 1) * c
        low, high = (low, high + span) if c > 0 else (low + span, high)
    if isinstance(low, int) and isinstance(high, int) and isinstance(extent, int):
        return low < 0 or high >= extent
    return True


def _spell(p: dict, a: TensorType, b: TensorType) -> str:
    return (f"{a.shape} as ({', '.join(p['a'])}) with {b.shape} as ({', '.join(p['b'])}) "
            f"to ({', '.join(p['out'])})")


def _infer(p: dict, a: TensorType, b: TensorType) -> TensorType:
    if a.dtype is not b.dtype:
        raise DTypeError(f"contract: dtypes {a.dtype} and {b.dtype} differ; cast one with astype")
    if a.dtype.kind in ("bool", "float8"):
        raise DTypeError(f"contract: takes numbers, got {a.dtype}; cast with astype")
    found = extents(p, a, b)
    return tensor(a.dtype, tuple(found[o] for o in p["out"]))


def _reference(p: dict, a: np.ndarray, b: np.ndarray) -> np.ndarray:
    found = extents(p, tensor("float32", a.shape), tensor("float32", b.shape))
    order = list(p["out"]) + list(p["sum"])
    wide = dtypes.widest(dtypes.as_dtype(a.dtype)).numpy
    sides = [_gathered(x.astype(wide), p[key], order, found) for key, x in (("a", a), ("b", b))]
    with np.errstate(all="ignore"):
        total = (sides[0] * sides[1]).sum(axis=tuple(range(len(p["out"]), len(order))), dtype=wide)
        shape: tuple = tuple(found[o] for o in p["out"])
        return np.broadcast_to(total, shape).astype(a.dtype)


def _gathered(x: np.ndarray, index, order, sizes) -> np.ndarray:
    """x over the axes in `order` (extent 1 where it does not depend on one), 0 outside of x."""
    grids, inside = [], np.ones((1,) * len(order), bool)
    for text, extent in zip(index, x.shape, strict=True):
        constant, terms = parse_index(text)
        grid = np.full((1,) * len(order), constant)
        for name, c in terms:
            shape = [sizes[name] if o == name else 1 for o in order]
            grid = grid + c * np.arange(sizes[name]).reshape(shape)
        inside = inside & (grid >= 0) & (grid < extent)
        grids.append(grid)
    if not grids:
        return x.reshape((1,) * len(order))
    if 0 in x.shape:
        return np.zeros(np.broadcast_shapes(*(g.shape for g in grids)), x.dtype)
    found = x[tuple(g.clip(0, e - 1) for g, e in zip(grids, x.shape, strict=True))]
    return np.where(inside, found, x.dtype.type(0))


def _lower(p: dict, a: TensorType, b: TensorType) -> Definition:
    found = extents(p, a, b)
    axes = {n: expr.axis(n, e) for n, e in found.items()}
    reads = []
    for k, (key, t) in enumerate((("a", a), ("b", b))):
        indices = []
        for text in p[key]:
            constant, terms = parse_index(text)
            at = expr.lit(constant, dtypes.index)
            for name, c in terms:
                at = at + axes[name] * c
            indices.append(at)
        fill = 0 if any(leaves(p[key], t.shape, found)) else None
        reads.append(expr.read(k, tuple(indices), t.dtype, fill))
    bound = tuple(axes[s] for s in p["sum"])
    body = expr.reduce(_algorithm(p, a.dtype, found), bound, *reads) if bound else \
        reads[0] * reads[1]
    return Definition((a, b), tuple(axes[o] for o in p["out"]), body)


def _algorithm(p: dict, dtype: dtypes.DType, found: dict[str, Extent]) -> str:
    """How the products are added: "winograd" where 3 x 3 taps move in single steps over an image of
    float32 with enough channels and filters, "winograd weights" in the gradient for those taps,
    "dot" everywhere else."""
    if dtype is not dtypes.float32 or len(p["sum"]) != 3 or len(p["out"]) < 3:
        return "dot"
    sides = [[dict(terms) for _, terms in forms] if _stands_once(forms) else []
             for forms in ([parse_index(t) for t in p[key]] for key in "ab")]
    for image, other in (sides, sides[::-1]):
        (r, s, c), (y, x, f) = p["sum"], p["out"][-3:]
        if _slides(image, other, found, ((y, r), (x, s)), c, f) and \
                all({n: 1} in other for n in (r, s, c, f)):
            return "winograd"
        (_, y, x), (f, r, s, c) = p["sum"], ("", *p["out"])[-4:]
        if _slides(image, other, found, ((y, r), (x, s)), c, f) and \
                all({n: 1} in other for n in (y, x, f)) and {c: 1} not in other:
            return "winograd weights"
    return "dot"


def _stands_once(forms: list[Affine]) -> bool:
    """Whether no axis stands in two dimensions of the operand, and an index of one axis is that
    axis."""
    names = [n for _, terms in forms for n, _ in terms]
    return len(names) == len({*names}) and all(
        len(terms) == 2 or (constant == 0 and len(terms) == 1 and terms[0][1] == 1)
        for constant, terms in forms)


def _slides(image: list[dict], other: list[dict], found: dict[str, Extent],
            moves, c: str, f: str) -> bool:
    """Whether 3 x 3 taps move over the image in single steps (`moves`: pairs of pixel and tap) and
    nothing else moves over either operand, with enough channels `c` in the image and filters `f` in
    the other operand alone."""
    depth, filters = found[c], found.get(f)
    if not (isinstance(depth, int) and isinstance(filters, int) and filters >= WINOGRAD_DEPTH
            and WINOGRAD_DEPTH <= depth <= CONTRACT_CHUNK and depth % LANES == 0
            and all(found[tap] == 3 for _, tap in moves)):
        return False
    moved = [t for t in image if len(t) == 2]
    theirs = {n for t in other for n in t}
    return {c: 1} in image and not any(f in t for t in image) and {f: 1} in other and \
        len(moved) == 2 and all(len(t) == 1 for t in other) and all(
            any(t == {pixel: 1, tap: way} for t in moved for way in (1, -1))
            and not {pixel, tap} <= theirs for pixel, tap in moves)


# ---- what a text may state ----------------------------------------------------------------------

def _is_index(v, p, types) -> bool:
    """a tuple of affine forms of axes such as "2*y + r", one for each axis of the operand"""
    return isinstance(v, tuple) and all(
        isinstance(t, str) and len(t) <= 256 and _INDEX.fullmatch(t) for t in v)


def _are_sizes(v, p, types) -> bool:
    """a tuple of pairs (axis, extent), each axis once"""
    return isinstance(v, tuple) and all(
        isinstance(s, tuple) and len(s) == 2 and isinstance(s[0], str) and is_extent(s[1])
        for s in v) and len({s[0] for s in v}) == len(v)


def _are_names(v, p, types) -> bool:
    """a tuple of names of axes"""
    return isinstance(v, tuple) and all(isinstance(n, str) and n.isidentifier() for n in v)


def _are_summed(v, p, types) -> bool:
    """the axes that are not in `out`, all of them in both operands; every axis of an operand stands
    in `out` or `sum` once, has an extent, and the count of all places is at most 2**62"""
    if not _are_names(v, p, types) or len({*p["out"], *v}) != len(p["out"]) + len(v):
        return False
    forms = [[parse_index(t) for t in p[key]] for key in "ab"]
    left, right = ({n for _, terms in side for n, _ in terms} for side in forms)
    if (left | right) != {*p["out"], *v} or not set(v) <= left & right:
        return False
    found = dict(p["sizes"])
    for side, t in zip(forms, types, strict=True):
        found.update((terms[0][0], e) for (c, terms), e in zip(side, t.shape, strict=False)
                     if c == 0 and len(terms) == 1 and terms[0][1] == 1)
    steps = 1
    for n in left | right:
        steps *= max(upper(found[n]), 1) if n in found else MOST_STEPS + 1
    return steps <= MOST_STEPS


# ---- gradients: a contraction of the cotangent with the other operand ---------------------------

def _vjp(node: Node, g: Node):
    if not node.dtype.is_inexact:
        return (None, None)
    return _cotangent(node, g, "a", "b"), _cotangent(node, g, "b", "a")


def _cotangent(node: Node, g: Node, mine: str, theirs: str) -> Node:
    """sum over the axes not in `mine` of g * theirs, laid out as `mine`."""
    p, types = node.params, [n.type for n in node.inputs]
    me, other = node.inputs[0 if mine == "a" else 1], node.inputs[1 if mine == "a" else 0]
    sides: Sides = {"g": (g, tuple(p["out"])), "o": (other, tuple(p[theirs]))}
    return _solved(sides, [parse_index(t) for t in p[mine]], me.shape, extents(p, *types), [])


def _solved(sides: Sides, forms: list[Affine], shape: Shape, found: dict[str, Extent],
            out: list[str]) -> Node:
    """The contraction over the axes `out` and those of `forms` from len(out) on, solved for the
    cotangent's axis in each. Where windows step, every residue of the step is a contraction of its
    own over the taps that meet it; the results are put between each other."""
    d = len(out)
    if d == len(forms):
        names = {n for _, index in sides.values() for t in index for n, _ in parse_index(t)[1]}
        summed = [n for n in _ordered(sides) if n not in out and n in names]
        (a, a_index), (b, b_index) = sides["g"], sides["o"]
        return contract(a, b, a_index, b_index, out, summed, {n: found[n] for n in (*out, *summed)})
    constant, terms = forms[d]
    if constant == 0 and len(terms) == 1 and terms[0][1] == 1:
        return _solved(sides, forms, shape, {**found, terms[0][0]: shape[d]}, [*out, terms[0][0]])
    phases = _phases(sides, constant, terms, shape[d], found)
    if phases is None:
        phases = [(constant, terms, sides, found, shape[d])]
    parts = []
    for constant, terms, their, extent_of, e in phases:
        if any(extent_of[n] == 0 for n, _ in terms[1:]):
            whole = (*(found[o] for o in out), e, *shape[d + 1:])
            parts.append(literal(0, sides["g"][0].dtype, whole))
            continue
        their = _unwind(their, f"p{d}", constant, terms)
        parts.append(_solved(their, forms, shape, {**extent_of, f"p{d}": e}, [*out, f"p{d}"]))
    return parts[0] if len(parts) == 1 else _interleaved(parts, d, shape[d])


def _phases(sides: Sides, constant: int, terms, extent: Extent, found: dict[str, Extent]):
    """For q = constant + S y + c r with S > 1: the parts q = a + S q' for each residue a, each with
    the taps r = r0 + S t that meet it; None where the windows are of another form."""
    if len(terms) != 2 or not isinstance(extent, int) or abs(terms[0][1]) < 2:
        return None
    (y, step), (tap, c) = terms
    other, index = sides["o"]
    taps = found[tap]
    if step < 0 or gcd(c, step) != 1 or index.count(tap) != 1 or not isinstance(taps, int) or any(
            tap in t for t in sides["g"][1]):
        return None
    at, out = index.index(tap), []
    for a in range(step):
        first = (a - constant) * pow(c % step, -1, step) % step
        count = max(0, -(-(taps - first) // step))
        starts, stops, steps = [0] * len(index), list(other.shape), [1] * len(index)
        starts[at], steps[at] = min(first, taps), step
        part = slice_(other, tuple(starts), tuple(stops), tuple(steps))
        out.append(((constant + c * first - a) // step, ((y, 1), (tap, c)),
                    {**sides, "o": (part, index)}, {**found, tap: count},
                    -(-max(0, extent - a) // step)))
    return out


def _interleaved(parts: list[Node], axis: int, extent: Extent) -> Node:
    """parts[k][i] at place k + len(parts) i of the axis."""
    longest = parts[0].shape[axis]
    padded = []
    for n in parts:
        high = [0] * n.type.rank
        high[axis] = longest - n.shape[axis]
        n = pad(n, (0,) * n.type.rank, tuple(high))
        padded.append(reshape(n, (*n.shape[:axis + 1], 1, *n.shape[axis + 1:])))
    joined = make(CONCAT, tuple(padded), {"axis": axis + 1})
    shape = joined.shape[:axis] + (longest * len(parts),) + joined.shape[axis + 2:]
    stops: list[Extent] = list(shape)
    stops[axis] = extent
    return slice_(reshape(joined, shape), (0,) * len(shape), tuple(stops))


def _ordered(sides: Sides) -> list[str]:
    order: dict[str, None] = {}
    for _, index in sides.values():
        for text in index:
            for name, _ in parse_index(text)[1]:
                order.setdefault(name)
    return list(order)


def _unwind(sides: Sides, fresh: str, constant: int, terms) -> Sides:
    """Solve q = constant + S*y + sum(c*r) for y: y's owner, with S - 1 zeros between its elements,
    is read at q - constant - sum(c*r), which turns the scatter over windows into a gather."""
    (y, step), rest = terms[0], terms[1:]
    key = next(k for k, (_, index) in sides.items() if y in index)
    owner, index = sides[key]
    d, sign = index.index(y), 1 if step > 0 else -1
    zeros = (0,) * owner.type.rank
    inner = tuple(abs(step) - 1 if k == d else 0 for k in range(owner.type.rank))
    text = index_text(-constant * sign, [(fresh, sign)] + [(r, -c * sign) for r, c in rest])
    return {**sides, key: (pad(owner, zeros, zeros, inner), (*index[:d], text, *index[d + 1:]))}


def _jvp(node: Node, tangents):
    a, b = node.inputs
    ta, tb = tangents
    parts = [make(node.op, pair, node.params) for pair, t in (((ta, b), ta), ((a, tb), tb))
             if t is not None]
    if not parts or not node.dtype.is_inexact:
        return None
    return parts[0] if len(parts) == 1 else parts[0] + parts[1]


def _batch(node: Node, inputs, batched):
    p = node.params
    used = " ".join((*p["a"], *p["b"], *p["out"]))
    fresh = next(f"v{k}" for k in range(100) if f"v{k}" not in used)
    a, b = inputs
    dims = [([fresh] if flag else []) + list(p[key])
            for key, flag in zip("ab", batched, strict=True)]
    return contract(a, b, dims[0], dims[1], [fresh, *p["out"]], p["sum"], dict(p["sizes"]))


def contract(a: Node, b: Node, a_index, b_index, out, summed, sizes=None) -> Node:
    """The contraction; `sizes` gives extents of axes that no dimension shows alone."""
    shown = {parse_index(t)[1][0][0] for t in (*a_index, *b_index)
             if parse_index(t)[0] == 0 and len(parse_index(t)[1]) == 1
             and parse_index(t)[1][0][1] == 1}
    given = tuple((n, e) for n, e in (sizes or {}).items() if n not in shown)
    return make(CONTRACT, (a, b), {"a": tuple(a_index), "b": tuple(b_index), "out": tuple(out),
                                   "sum": tuple(summed), "sizes": given})


def matmul(a: Node, b: Node) -> Node:
    """a @ b over the last two axes, leading axes broadcast together (array API matmul)."""
    if a.type.rank == 0 or b.type.rank == 0:
        raise ShapeError("matmul: takes arrays of at least one axis; multiply scalars with *")
    ka, kb = a.shape[-1], b.shape[-2] if b.type.rank > 1 else b.shape[0]
    if ka != kb:
        hint = "; did you mean b.T?" if b.type.rank > 1 and b.shape[-1] == ka else ""
        raise ShapeError(f"matmul: inner sizes differ, {a.shape} @ {b.shape}: {ka} against {kb}"
                         f"{hint}")
    rank = max(a.type.rank, b.type.rank, 2) - 2
    names = [f"b{d}" for d in range(rank)]
    (a, a_lead), (b, b_lead) = _lead(a, names, b, rank), _lead(b, names, a, rank)
    a_index = a_lead + (["i", "k"] if a.type.rank - len(a_lead) > 1 else ["k"])
    b_index = b_lead + (["k", "j"] if b.type.rank - len(b_lead) > 1 else ["k"])
    out = [n for n in names if n in a_lead or n in b_lead]
    out += [n for n in ("i", "j") if n in (*a_index, *b_index)]
    return contract(a, b, a_index, b_index, out, ["k"])


def _lead(x: Node, names: list[str], other: Node, rank: int) -> tuple[Node, list[str]]:
    """x with its repeated leading axes (extent 1 against more) dropped, and the others' names."""
    kept, lead = [], []
    extra = max(x.type.rank - 2, 0)
    for d in range(extra):
        back = d - extra - 2
        e = x.shape[d]
        theirs = other.shape[back] if other.type.rank >= -back else 1
        if e == 1 and theirs != 1:
            continue
        if e != theirs and theirs != 1:
            raise ShapeError(f"matmul: leading axes of {x.shape} and {other.shape} do not "
                             f"broadcast")
        kept.append(e)
        lead.append(names[rank - extra + d])
    return reshape(x, (*kept, *x.shape[extra:])), lead


def _samples():
    rng = np.random.default_rng(5)
    r = lambda *s: rng.standard_normal(s).astype(np.float32)
    spec = lambda a, b, o, s, sizes=(): {"a": tuple(a), "b": tuple(b), "out": tuple(o),
                                        "sum": tuple(s), "sizes": tuple(sizes)}
    window = spec(("n", "2*y + r", "z + 2*s", "c"), ("f", "r", "s", "c"), "nyzf", "crs",
                  (("y", 3), ("z", 4)))
    return [(spec("ik", "kj", "ij", "k"), [r(5, 7), r(7, 3)]),
            (spec("ik", "kj", "ij", "k"), [r(33, 70), r(70, 49)]),
            (spec("ki", "jk", "ij", "k"), [r(20, 15), r(34, 20)]),
            (spec("bik", "bkj", "bij", "k"), [r(3, 4, 5), r(3, 5, 6)]),
            (spec("bik", "kj", "bij", "k"), [r(2, 3, 16), r(16, 17)]),
            (spec("k", "k", "", "k"), [r(40), r(40)]), (spec("i", "j", "ij", ""), [r(3), r(18)]),
            (spec("ik", "kj", "ij", "k"), [r(0, 4), r(4, 3)]),
            (spec("ik", "kj", "ij", "k"), [r(2, 0), r(0, 3)]),
            (spec("ik", "kj", "ij", "k"), [r(3, 5000), r(5000, 4)]),
            (window, [r(2, 8, 8, 3), r(5, 3, 3, 3)])]


CONTRACT = Op("contract", doc="y[out] = sum over `sum` of a[...] * b[...], indices affine in axes.",
              arity=2, params={"a": _is_index, "b": _is_index, "out": _are_names,
                               "sizes": _are_sizes, "sum": _are_summed},
              infer=_infer, reference=_reference, lower=_lower, vjp=_vjp, jvp=_jvp, batch=_batch,
              samples=_samples)
