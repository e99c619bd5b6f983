"""Array: a lazy value. An operation checks its operands at once and adds a node to a graph."""

from __future__ import annotations

import operator
import sys
from collections.abc import Callable

import numpy as np

from ...base import dtypes, tree
from ...base.devices import cpu
from ...base.dtypes import DType, as_dtype, complex_of, promote
from ...base.errors import CopyError, DTypeError, ShapeError, UnsupportedError
from ...base.extents import Size
from ...ir.arithmetic import Arithmetic
from ...ir.node import Node, literal, make
from ...ir.op import op_named
from ...ops import contract, move
from ...ops import reduce as red
from ...ops.pointwise import apply, cast, normal_axis
from . import assignment, indexing, values
from .exchange import CPU, CUDA, exported
from .imports import DEFAULTS, RANKS, imported, is_number, number_node, number_rank, shares
from .kinds import floating, powered, wide
from .placing import device_named, placed
from .scope import state
from .shapes import some_axes, whole_shape
from .values import error, located, register

_NUMBERS = (float, int, Size, complex)
API_VERSIONS = ("2021.12", "2022.12", "2023.12", "2024.12")
_PLAIN = (int, slice, type(None), type(...))


class Array(Arithmetic):
    """A lazy n-dimensional value of one dtype.

    Operators and functions add nodes; looking at a value (printing, `float`, `numpy`, `if`)
    evaluates what it needs. `x[i] = v` rebinds this handle, never another one.
    """

    __slots__ = ("__weakref__", "node", "spent")
    spent: str  # of a random key: where it was used
    __array_ufunc__ = None  # NumPy's operators leave mixed expressions to ours
    __hash__ = None  # type: ignore[assignment]

    def __init__(self, node: Node):
        self.node = node

    # ---- what it is -----------------------------------------------------------------------------

    @property
    def shape(self) -> tuple:
        """Extents of the axes."""
        return self.node.type.shape

    @property
    def dtype(self) -> DType:
        """Element type."""
        return self.node.type.dtype

    @property
    def ndim(self) -> int:
        """Number of axes."""
        return len(self.node.type.shape)

    @property
    def size(self):
        """Number of elements."""
        return self.node.type.size

    @property
    def nbytes(self):
        """Bytes of the elements."""
        return self.node.type.bytes

    @property
    def device(self):
        """Where the values live."""
        return self.node.type.device

    @property
    def T(self) -> Array:
        """The transpose of a matrix; use `mT` for more than two axes."""
        if self.ndim != 2:
            raise error(ShapeError, f"T: takes two axes, got shape {self.shape}; use mT or "
                                    "permute_dims")
        return self.mT

    @property
    def mT(self) -> Array:
        """The last two axes exchanged."""
        n = self.ndim
        if n < 2:
            raise error(ShapeError, f"mT: takes at least two axes, got shape {self.shape}")
        return wrap(move.transpose(self.node, (*range(n - 2), n - 1, n - 2)))

    # ---- operators ------------------------------------------------------------------------------

    def apply(self, name: str, *args) -> Array:
        return wrap(make(op_named(name), operands(name, args)))

    def __eq__(self, o):
        return self.apply("eq", self, o)

    def __ne__(self, o):
        return self.apply("ne", self, o)

    def __pos__(self) -> Array:
        return self

    def __truediv__(self, o):
        return divide(self, o)

    def __rtruediv__(self, o):
        return divide(o, self)

    def __floordiv__(self, o):
        return floor_divide(self, o)

    def __rfloordiv__(self, o):
        return floor_divide(o, self)

    def __mod__(self, o):
        return remainder(self, o)

    def __rmod__(self, o):
        return remainder(o, self)

    def __pow__(self, o):
        return power(self, o)

    def __rpow__(self, o):
        return power(o, self)

    def __matmul__(self, o):
        return matmul(self, o)

    def __rmatmul__(self, o):
        return matmul(o, self)

    # ---- indexing -------------------------------------------------------------------------------

    def __getitem__(self, key) -> Array:
        return wrap(indexing.get(self.node, _index(key)))

    def __setitem__(self, key, v) -> None:
        v = cast(asarray(v, dtype=None if isinstance(v, Array) else self.dtype).node, self.dtype)
        self.node = assignment.put(self.node, _index(key), v)
        register(self)

    def __len__(self) -> int:
        if not self.ndim:
            raise error(ShapeError, "len: an array without axes has no length")
        return operator.index(self.shape[0])

    def __iter__(self):
        return (self[i] for i in range(len(self)))

    # ---- looking at the value -------------------------------------------------------------------

    def numpy(self) -> np.ndarray:
        """The values as a read-only NumPy array; evaluates what it needs."""
        return values.value(self.node)

    def item(self):
        """The one element as a Python number."""
        if self.size != 1:
            raise error(ShapeError, f"item: takes one element, got shape {self.shape}; use tolist")
        return self.numpy().item()

    def tolist(self):
        """The values as nested lists of Python numbers."""
        return self.numpy().tolist()

    def __array__(self, dtype=None, copy=None) -> np.ndarray:
        found = self.numpy()
        return np.array(found, dtype) if copy or dtype not in (None, found.dtype) else found

    def __bool__(self) -> bool:
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __complex__(self) -> complex:
        return complex(self.item())

    def __index__(self) -> int:
        if not self.dtype.is_int:
            raise error(DTypeError, f"index: takes an integer, got {self.dtype}")
        return int(self.item())

    def __str__(self) -> str:
        return repr(self) if self._unknown() else str(self.numpy())

    def __repr__(self) -> str:
        if self._unknown():
            return f"Array({self.node.type}, not known while traced)"
        text = np.array2string(self.numpy(), separator=", ", prefix="Array(")
        return f"Array({text}, dtype={self.dtype}, shape={self.shape})"

    def _unknown(self) -> bool:
        return self.node.data is None and values.unknown([self.node])

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def __copy__(self) -> Array:
        return wrap(self.node)

    def __deepcopy__(self, memo) -> Array:
        """A value of its own (which may be donated); the same one while a function is traced."""
        return wrap(self.node) if state.scopes else Array(values.known(self.node).copy())

    def __reduce__(self):
        return asarray, (self.numpy(),)

    def __dlpack__(self, *, stream=None, max_version=None, dl_device=None, copy=None):
        if self.device is not cpu:
            from .lending import lent  # devices are loaded where arrays go there
            return lent(values.known(self.node), stream, max_version, dl_device, copy)
        return exported(self.numpy(), stream, max_version, dl_device, copy)

    def __dlpack_device__(self) -> tuple[int, int]:
        return CPU if self.device is cpu else (CUDA, self.device.index)

    def __array_namespace__(self, *, api_version=None):
        """The module of the array functions; raises ValueError for a standard it does not know."""
        if api_version not in (None, *API_VERSIONS):
            raise error(UnsupportedError, f"__array_namespace__: version {api_version!r} of the "
                                          f"array API; known: {', '.join(API_VERSIONS)}")
        return sys.modules[__name__.partition(".")[0]]

    def to_device(self, device, /, *, stream=None) -> Array:
        """The array on a device ("cpu", "cuda:0"): itself where it is there, else a copy."""
        found = device_named("to_device", device)
        if stream is not None:
            raise error(UnsupportedError, "to_device: neither the cpu nor a GPU has streams that "
                                          "are chosen by hand; pass stream=None")
        node = placed(self.node, found)
        return self if node is self.node else wrap(node)

    # ---- a small set of methods; the functions of the same names say more -----------------------

    def astype(self, dtype) -> Array:
        """The same values as another dtype."""
        return wrap(cast(self.node, as_dtype(dtype)))

    def reshape(self, *shape) -> Array:
        """The elements in row-major order in another shape; one extent may be -1."""
        if len(shape) == 1 and isinstance(shape[0], tuple | list):
            shape = tuple(shape[0])
        return wrap(move.reshape(self.node, whole_shape(self.shape, tuple(shape))))

    def transpose(self, *axes) -> Array:
        """The axes in another order; reversed where none is given."""
        if len(axes) == 1 and isinstance(axes[0], tuple | list):
            axes = tuple(axes[0])
        axes = axes or tuple(reversed(range(self.ndim)))
        return wrap(move.transpose(self.node, tuple(normal_axis("transpose", a, self.ndim)
                                                    for a in axes)))

    def sum(self, axis=None, *, keepdims: bool = False) -> Array:
        """The sum over `axis` (all axes where None); small integers add up as 32 bits."""
        return reduced("sum", wide(self.node), axis, keepdims)

    def prod(self, axis=None, *, keepdims: bool = False) -> Array:
        """The product over `axis` (all axes where None)."""
        return reduced("prod", wide(self.node), axis, keepdims)

    def mean(self, axis=None, *, keepdims: bool = False) -> Array:
        """The arithmetic mean over `axis` (all axes where None), floating."""
        x = floating(self.node)
        axes = some_axes("mean", axis, x.type.rank)
        y = red.mean(x, axes)
        return wrap(red.keepdims(y, x, axes) if keepdims else y)

    def max(self, axis=None, *, keepdims: bool = False) -> Array:
        """The largest over `axis` (all axes where None); NaN where there is one."""
        return reduced("max", self.node, axis, keepdims)

    def min(self, axis=None, *, keepdims: bool = False) -> Array:
        """The smallest over `axis` (all axes where None); NaN where there is one."""
        return reduced("min", self.node, axis, keepdims)


tree.leaf_classes.add(Array)


# ---- from nodes and to nodes --------------------------------------------------------------------

def wrap(node: Node) -> Array:
    """The handle of a node; pending ones count against the bounds of laziness."""
    array = Array(node)
    if node.data is None:
        register(array)
    return array


def from_numpy(x: np.ndarray, *, copy: bool = True) -> Array:
    """An array of the NumPy array's values; shares its memory where `copy` is False."""
    return Array(values.leaf(x, copy=copy))


def asarray(x, /, *, dtype=None, device=None, copy: bool | None = None) -> Array:
    """An Array from an Array, a number, (nested) sequences, a NumPy array or a DLPack exporter.

    dtype: of the result; by default x's own, int32 for Python integers, float32 for floats and
    complex64 for complex numbers.
    copy: True gives a handle of its own, so that writing to it leaves x as it is, and copies what
        is imported, as None does; False shares memory, or raises ValueError.
    device: where it is to be; x's own, or this machine, by default.
    """
    there = device_named("asarray", device)
    if there is not None:
        y = asarray(x, dtype=dtype, copy=copy)
        if copy is False and y.node.type.device is not there:
            raise error(CopyError, f"asarray: {y.device} to {there} is a copy; drop copy=False")
        node = placed(y.node, there)
        return y if node is y.node else wrap(node)
    dtype = None if dtype is None else as_dtype(dtype)
    if isinstance(x, Array):
        if dtype is not None and dtype is not x.dtype:
            if copy is False:
                raise error(CopyError, f"asarray: {x.dtype} as {dtype} is a copy; drop copy=False")
            return x.astype(dtype)
        return wrap(x.node) if copy else x
    if is_number(x) or isinstance(x, Size):
        if copy is False:
            raise error(CopyError, "asarray: an array of a number is a copy; drop copy=False")
        if isinstance(x, Size):
            return wrap(red.extent_value(x, literal(0, dtype or dtypes.int32)))
        return wrap(number_node(x, dtype or DEFAULTS[number_rank(x)]))
    found = imported(x, dtype)
    if copy is False and not shares(found, x):
        raise error(CopyError, f"asarray: {type(x).__name__} cannot share its memory; drop "
                               "copy=False")
    return from_numpy(found, copy=copy is not False)


def operands(name: str, args) -> tuple[Node, ...]:
    """The operands' nodes in their common dtype: arrays promote, Python numbers follow them."""
    if len(args) == 2:  # the common pairs, quickly
        a, b = args
        if type(a) is Array:
            x = a.node
            if type(b) is Array:
                if b.node.type.dtype is x.type.dtype:
                    return x, b.node
            elif type(b) is float and x.type.dtype.kind == "float":
                return x, literal(b, x.type.dtype)
        elif type(a) is float and type(b) is Array and b.node.type.dtype.kind == "float":
            return literal(a, b.node.type.dtype), b.node
    dtype, rank = None, -1
    items = list(args)
    for k, a in enumerate(items):
        if not isinstance(a, Array):
            if isinstance(a, _NUMBERS):
                rank = max(rank, 1 if isinstance(a, Size) else number_rank(a))
                continue
            items[k] = a = _operand(name, a)
        d = a.node.type.dtype
        if d is not dtype:
            dtype = d if dtype is None else promote(dtype, d)
    if dtype is None or rank > RANKS[dtype.kind]:
        dtype = complex_of(dtype) if rank == 3 and dtype is not None else DEFAULTS[rank]
    return tuple([_node(a, dtype) for a in items])


def _node(a, dtype: DType) -> Node:
    if isinstance(a, Array):
        node = a.node
        return node if node.type.dtype is dtype else cast(node, dtype)
    if isinstance(a, Size):
        return red.extent_value(a, literal(0, dtype))
    return number_node(a, dtype)


def _operand(name: str, a) -> Array:
    if isinstance(a, np.ndarray | np.generic | list) or hasattr(a, "__dlpack__"):
        return asarray(a)
    raise error(DTypeError, f"{name}: takes arrays and numbers, got {type(a).__name__}")


def _index(key):
    """An index whose arrays are nodes; lists are NumPy arrays, which are known."""
    if type(key) in _PLAIN:
        return key
    if isinstance(key, tuple):
        return tuple(map(_index, key))
    if isinstance(key, Array):
        return key.node
    if isinstance(key, list):
        return imported(key if key else np.zeros(0, np.int32), None)
    return np.asarray(key) if isinstance(key, np.bool_ | bool) else key


def product(make: Callable[..., Node], *nodes: Node) -> Node:
    """The product that `make` states of these operands; inside of `autocast`, of float32 ones, in
    its dtype, and widened again."""
    to = state.products
    if to is None or any(n.dtype is not dtypes.float32 for n in nodes):
        return make(*nodes)
    return cast(make(*(cast(n, to) for n in nodes)), dtypes.float32)


@located
def matmul(a, b, /) -> Array:
    """a @ b over the last two axes; leading axes broadcast, a 1-d operand is a vector."""
    return wrap(product(contract.matmul, *operands("matmul", (a, b))))


def divide(a, b, /) -> Array:
    """a / b; integers divide as float32."""
    return wrap(apply("div", *map(floating, operands("divide", (a, b)))))


def floor_divide(a, b, /) -> Array:
    """floor(a / b); 0 where an integer b is 0."""
    return wrap(apply("floordiv", *operands("floor_divide", (a, b))))


def remainder(a, b, /) -> Array:
    """a - floor(a / b) * b, of b's sign; 0 where an integer b is 0."""
    return wrap(apply("mod", *operands("remainder", (a, b))))


def power(a, b) -> Array:
    """a to the b. Constant integer exponents up to 32 become multiplications, 0.5 a square root.

    Integer arrays take constant exponents that are not negative; cast to float32 otherwise.
    """
    if isinstance(b, int) and not isinstance(b, bool) and isinstance(a, Array):
        if 0 <= b <= 32 or (b >= 0 and a.dtype.is_int):
            return wrap(powered(a.node, b))
        if -32 <= b < 0 and a.dtype.is_inexact:
            return 1 / wrap(powered(a.node, -b))
    if isinstance(b, float) and isinstance(a, Array) and a.dtype.is_inexact:
        if b.is_integer() and abs(b) <= 32:
            return power(a, int(b))
        if b == 0.5:
            return wrap(apply("sqrt", a.node))
    return wrap(apply("pow", *operands("power", (a, b))))


def reduced(monoid: str, x: Node, axis, keepdims: bool) -> Array:
    """The reduction of a node over the user's axes."""
    axes = some_axes(monoid, axis, x.type.rank)
    y = red.reduce(monoid, x, axes)
    return wrap(red.keepdims(y, x, axes) if keepdims else y)
