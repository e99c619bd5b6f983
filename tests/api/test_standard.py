"""Every name of the Python array API standard 2024.12, with the standard's signature."""

import inspect

import pytest

import lamella as L

# The standard's text: names of parameters before the slash are free, those after it are not.
STANDARD = """
# creation_functions
arange(start, /, stop=None, step=1, *, dtype=None, device=None)
asarray(obj, /, *, dtype=None, device=None, copy=None)
empty(shape, *, dtype=None, device=None)
empty_like(x, /, *, dtype=None, device=None)
eye(n_rows, n_cols=None, /, *, k=0, dtype=None, device=None)
from_dlpack(x, /, *, device=None, copy=None)
full(shape, fill_value, *, dtype=None, device=None)
full_like(x, /, fill_value, *, dtype=None, device=None)
linspace(start, stop, /, num, *, dtype=None, device=None, endpoint=True)
meshgrid(*arrays, indexing='xy')
ones(shape, *, dtype=None, device=None)
ones_like(x, /, *, dtype=None, device=None)
tril(x, /, *, k=0)
triu(x, /, *, k=0)
zeros(shape, *, dtype=None, device=None)
zeros_like(x, /, *, dtype=None, device=None)
# data_type_functions
astype(x, dtype, /, *, copy=True, device=None)
can_cast(from_, to, /)
finfo(type, /)
iinfo(type, /)
isdtype(dtype, kind)
result_type(*arrays_and_dtypes)
# elementwise_functions
abs(x, /)
acos(x, /)
acosh(x, /)
add(x1, x2, /)
asin(x, /)
asinh(x, /)
atan(x, /)
atan2(x1, x2, /)
atanh(x, /)
bitwise_and(x1, x2, /)
bitwise_left_shift(x1, x2, /)
bitwise_invert(x, /)
bitwise_or(x1, x2, /)
bitwise_right_shift(x1, x2, /)
bitwise_xor(x1, x2, /)
ceil(x, /)
clip(x, /, min=None, max=None)
conj(x, /)
copysign(x1, x2, /)
cos(x, /)
cosh(x, /)
divide(x1, x2, /)
equal(x1, x2, /)
exp(x, /)
expm1(x, /)
floor(x, /)
floor_divide(x1, x2, /)
greater(x1, x2, /)
greater_equal(x1, x2, /)
hypot(x1, x2, /)
imag(x, /)
isfinite(x, /)
isinf(x, /)
isnan(x, /)
less(x1, x2, /)
less_equal(x1, x2, /)
log(x, /)
log1p(x, /)
log2(x, /)
log10(x, /)
logaddexp(x1, x2, /)
logical_and(x1, x2, /)
logical_not(x, /)
logical_or(x1, x2, /)
logical_xor(x1, x2, /)
maximum(x1, x2, /)
minimum(x1, x2, /)
multiply(x1, x2, /)
negative(x, /)
nextafter(x1, x2, /)
not_equal(x1, x2, /)
positive(x, /)
pow(x1, x2, /)
real(x, /)
reciprocal(x, /)
remainder(x1, x2, /)
round(x, /)
sign(x, /)
signbit(x, /)
sin(x, /)
sinh(x, /)
square(x, /)
sqrt(x, /)
subtract(x1, x2, /)
tan(x, /)
tanh(x, /)
trunc(x, /)
# indexing_functions
take(x, indices, /, *, axis=None)
take_along_axis(x, indices, /, *, axis=-1)
# linear_algebra_functions
matmul(x1, x2, /)
matrix_transpose(x, /)
tensordot(x1, x2, /, *, axes=2)
vecdot(x1, x2, /, *, axis=-1)
# manipulation_functions
broadcast_arrays(*arrays)
broadcast_to(x, /, shape)
concat(arrays, /, *, axis=0)
expand_dims(x, /, axis)
flip(x, /, *, axis=None)
moveaxis(x, source, destination, /)
permute_dims(x, /, axes)
repeat(x, repeats, /, *, axis=None)
reshape(x, /, shape, *, copy=None)
roll(x, /, shift, *, axis=None)
squeeze(x, /, axis)
stack(arrays, /, *, axis=0)
tile(x, repetitions, /)
unstack(x, /, *, axis=0)
# searching_functions
argmax(x, /, *, axis=None, keepdims=False)
argmin(x, /, *, axis=None, keepdims=False)
count_nonzero(x, /, *, axis=None, keepdims=False)
nonzero(x, /)
searchsorted(x1, x2, /, *, side='left', sorter=None)
where(condition, x1, x2, /)
# set_functions
unique_all(x, /)
unique_counts(x, /)
unique_inverse(x, /)
unique_values(x, /)
# sorting_functions
argsort(x, /, *, axis=-1, descending=False, stable=True)
sort(x, /, *, axis=-1, descending=False, stable=True)
# statistical_functions
cumulative_sum(x, /, *, axis=None, dtype=None, include_initial=False)
cumulative_prod(x, /, *, axis=None, dtype=None, include_initial=False)
max(x, /, *, axis=None, keepdims=False)
mean(x, /, *, axis=None, keepdims=False)
min(x, /, *, axis=None, keepdims=False)
prod(x, /, *, axis=None, dtype=None, keepdims=False)
std(x, /, *, axis=None, correction=0.0, keepdims=False)
sum(x, /, *, axis=None, dtype=None, keepdims=False)
var(x, /, *, axis=None, correction=0.0, keepdims=False)
# utility_functions
all(x, /, *, axis=None, keepdims=False)
any(x, /, *, axis=None, keepdims=False)
diff(x, /, *, axis=-1, n=1, prepend=None, append=None)
# linalg
linalg.cholesky(x, /, *, upper=False)
linalg.cross(x1, x2, /, *, axis=-1)
linalg.det(x, /)
linalg.diagonal(x, /, *, offset=0)
linalg.eigh(x, /)
linalg.eigvalsh(x, /)
linalg.inv(x, /)
linalg.matmul(x1, x2, /)
linalg.matrix_norm(x, /, *, keepdims=False, ord='fro')
linalg.matrix_power(x, n, /)
linalg.matrix_rank(x, /, *, rtol=None)
linalg.matrix_transpose(x, /)
linalg.outer(x1, x2, /)
linalg.pinv(x, /, *, rtol=None)
linalg.qr(x, /, *, mode='reduced')
linalg.slogdet(x, /)
linalg.solve(x1, x2, /)
linalg.svd(x, /, *, full_matrices=True)
linalg.svdvals(x, /)
linalg.tensordot(x1, x2, /, *, axes=2)
linalg.trace(x, /, *, offset=0, dtype=None)
linalg.vecdot(x1, x2, /, *, axis=-1)
linalg.vector_norm(x, /, *, axis=None, keepdims=False, ord=2)
# fft
fft.fft(x, /, *, n=None, axis=-1, norm='backward')
fft.ifft(x, /, *, n=None, axis=-1, norm='backward')
fft.fftn(x, /, *, s=None, axes=None, norm='backward')
fft.ifftn(x, /, *, s=None, axes=None, norm='backward')
fft.rfft(x, /, *, n=None, axis=-1, norm='backward')
fft.irfft(x, /, *, n=None, axis=-1, norm='backward')
fft.rfftn(x, /, *, s=None, axes=None, norm='backward')
fft.irfftn(x, /, *, s=None, axes=None, norm='backward')
fft.hfft(x, /, *, n=None, axis=-1, norm='backward')
fft.ihfft(x, /, *, n=None, axis=-1, norm='backward')
fft.fftfreq(n, /, *, d=1.0, dtype=None, device=None)
fft.rfftfreq(n, /, *, d=1.0, dtype=None, device=None)
fft.fftshift(x, /, *, axes=None)
fft.ifftshift(x, /, *, axes=None)
# info
info.capabilities()
info.default_device()
info.default_dtypes(*, device=None)
info.devices()
info.dtypes(*, device=None, kind=None)
# array
array.__abs__()
array.__add__(other, /)
array.__and__(other, /)
array.__array_namespace__(*, api_version=None)
array.__bool__()
array.__complex__()
array.__dlpack__(*, stream=None, max_version=None, dl_device=None, copy=None)
array.__dlpack_device__()
array.__eq__(other, /)
array.__float__()
array.__floordiv__(other, /)
array.__ge__(other, /)
array.__getitem__(key, /)
array.__gt__(other, /)
array.__index__()
array.__int__()
array.__invert__()
array.__le__(other, /)
array.__lshift__(other, /)
array.__lt__(other, /)
array.__matmul__(other, /)
array.__mod__(other, /)
array.__mul__(other, /)
array.__ne__(other, /)
array.__neg__()
array.__or__(other, /)
array.__pos__()
array.__pow__(other, /)
array.__rshift__(other, /)
array.__setitem__(key, value, /)
array.__sub__(other, /)
array.__truediv__(other, /)
array.__xor__(other, /)
array.to_device(device, /, *, stream=None)
"""
CONSTANTS = ("e", "inf", "nan", "newaxis", "pi")
DTYPES = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
          "float32", "float64", "complex64", "complex128")
PROPERTIES = ("dtype", "device", "mT", "ndim", "shape", "size", "T")
LINES = [line for line in STANDARD.splitlines() if line and not line.startswith("#")]
KINDS = inspect.Parameter


def stated(line: str) -> tuple[str, inspect.Signature]:
    """(dotted name, signature) of a line."""
    name, _, rest = line.partition("(")
    space: dict = {}
    exec(f"def f({rest}: pass", space)
    return name, inspect.signature(space["f"])


def ours(name: str):
    """The function or bound method of ours of that name."""
    first, _, rest = name.partition(".")
    if first == "array":
        return getattr(L.ones((2, 2)), rest)
    home = {"info": L.__array_namespace_info__()}.get(first)
    if home is None and rest:
        home = getattr(L, first)
    return getattr(home, rest) if rest else getattr(L, name)


@pytest.mark.parametrize("line", LINES, ids=lambda line: line.partition("(")[0])
def test_the_signature_is_the_standard_s(line):
    name, want = stated(line)
    got = list(inspect.signature(ours(name)).parameters.values())
    positional = [p for p in want.parameters.values() if p.kind is not KINDS.KEYWORD_ONLY]
    named = [p for p in want.parameters.values() if p.kind is KINDS.KEYWORD_ONLY]
    assert len(got) >= len(positional)
    for p, q in zip(positional, got):
        called_by_an_operator = name.startswith("array.__")
        assert (p.kind is q.kind or called_by_an_operator) and p.default == q.default, (p, q)
        assert p.kind is KINDS.POSITIONAL_ONLY or p.name == q.name
    rest = {q.name: q for q in got[len(positional):]}
    for p in named:
        assert rest[p.name].kind is KINDS.KEYWORD_ONLY and rest[p.name].default == p.default
    assert all(q.kind is KINDS.KEYWORD_ONLY and q.default is not KINDS.empty
               for q in rest.values()), "what is added is left out by default"


def test_constants_dtypes_and_properties_are_there():
    assert L.__array_api_version__ == "2024.12" and L.newaxis is None
    assert all(isinstance(getattr(L, n), float) for n in CONSTANTS if n != "newaxis")
    info = L.__array_namespace_info__()
    assert info.dtypes() == {n: getattr(L, n) for n in info.dtypes()}
    assert set(info.dtypes()) == set(DTYPES)
    assert info.dtypes(kind=("bool", "unsigned integer")).keys() == {
        "bool", "uint8", "uint16", "uint32", "uint64"}
    assert info.default_dtypes()["real floating"] is L.float32
    assert info.default_device() in info.devices()
    x = L.ones((2, 3))
    assert all(hasattr(x, p) or p == "T" for p in PROPERTIES) and x.T.shape == (3, 2)


def test_every_name_is_listed():
    names = {stated(line)[0] for line in LINES if "." not in line.partition("(")[0]}
    assert names <= set(dir(L)), names - set(dir(L))


def test_the_namespace_and_devices():
    x = L.ones(3)
    assert x.__array_namespace__() is L and x.__array_namespace__(api_version="2023.12") is L
    with pytest.raises(L.errors.UnsupportedError, match="1999"):
        x.__array_namespace__(api_version="1999.12")
    assert x.to_device("cpu") is x and L.zeros(2, device=x.device).device is x.device
    with pytest.raises((L.errors.UnsupportedError, L.errors.MissingExtra)):
        x.to_device("cuda:99")      # here or not, none has so many
    for bad in (lambda: x.to_device("gpu"), lambda: L.zeros(3, device="tpu"),
                lambda: x.to_device("cpu", stream=1)):
        with pytest.raises(L.errors.UnsupportedError, match="cpu"):
            bad()


def test_limits_of_dtypes():
    f = L.finfo(L.float32)
    assert (f.bits, f.eps, f.smallest_normal) == (32, 2.0**-23, 2.0**-126)
    assert f.dtype is L.float32 and type(f.max) is float and f.min == -f.max
    assert L.finfo(L.complex128).dtype is L.float64 and L.finfo(L.bfloat16).eps == 2.0**-7
    i = L.iinfo(L.ones(3, dtype="uint16"))
    assert (i.bits, i.min, i.max, i.dtype) == (16, 0, 65535, L.uint16)
    for wrong in (lambda: L.finfo(L.int8), lambda: L.iinfo(L.float32), lambda: L.result_type(),
                  lambda: L.isdtype(L.int8, "whole")):
        with pytest.raises(L.errors.DTypeError):
            wrong()
