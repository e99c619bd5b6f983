"""The `.lamella` file: what training wrote is what the server runs.

A zip, stored uncompressed, of three parts:

    manifest.json        format, name, inputs and outputs with labels, hash and size of each part
    program.txt          the inference Program; its leading inputs are the weights, by name
    weights.safetensors  the weights

Loading checks every size, hash, name and type before anything is used, and executes nothing.
"""

from __future__ import annotations

import mmap
import os
import re
import stat
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import BinaryIO

import msgspec
import numpy as np

from .. import ops  # noqa: F401  (defines the ops that program texts name)
from ..base.atomic import replacing
from ..base.dtypes import as_dtype
from ..base.errors import AllocationError, FormatError, LamellaError, ProgramError
from ..base.extents import Symbol, symbols
from ..ir.node import Node
from ..ir.parser import parse
from ..ir.printer import to_text
from ..ir.program import Program
from ..ir.types import TensorType, tensor
from ..ir.verify import verify
from ..lang.order import VERSION
from ..runtime.available import require
from . import container, safetensors

FORMAT = 1
NUMERICS = VERSION  # the order of reductions that the file's results were made with
MANIFEST, PROGRAM, WEIGHTS = "manifest.json", "program.txt", "weights.safetensors"
MOST_MANIFEST = 16 << 20


class Part(msgspec.Struct):
    """Size and hash of one part."""

    bytes: int
    sha256: str


class Spec(msgspec.Struct, omit_defaults=True):
    """One input or output: extents are integers or texts in symbols; labels name its last axis."""

    name: str
    dtype: str
    shape: list[int | str]
    labels: list[str] = []


class Manifest(msgspec.Struct, omit_defaults=True):
    """What a model file says about itself. `batch` is the symbol that counts independent rows."""

    format: int
    numerics: int
    name: str
    symbols: dict[str, tuple[int, int]]
    inputs: list[Spec]
    outputs: list[Spec]
    parts: dict[str, Part]
    batch: str = ""
    notes: dict[str, str] = {}


@dataclass(frozen=True)
class Model:
    """A loaded file. `program.inputs` are the weights in the order of `weights`, then `inputs`."""

    program: Program
    weights: dict[str, np.ndarray]
    manifest: Manifest

    @property
    def inputs(self) -> tuple[Node, ...]:
        """The inputs that a caller gives."""
        return self.program.inputs[len(self.weights):]

    @property
    def batch(self) -> Symbol | None:
        """The symbol that counts rows which do not depend on each other, if the file names one."""
        low_high = self.manifest.symbols.get(self.manifest.batch)
        return Symbol(self.manifest.batch, *low_high) if low_high else None


_MANIFEST = msgspec.json.Decoder(Manifest)
_FIELDS = msgspec.json.Decoder(dict[str, msgspec.Raw])
_NUMBER = msgspec.json.Decoder(int)


# ---- writing ------------------------------------------------------------------------------------

def save(path: str | os.PathLike, program: Program, weights: Mapping[str, np.ndarray], *,
         name: str = "model", batch: str = "", outputs: Sequence[str] = (),
         labels: Mapping[str, Sequence[str]] | None = None,
         notes: Mapping[str, str] | None = None) -> Manifest:
    """Write the file; an interrupted or failed save leaves the old one as it was.

    `batch` names the symbol that is the first extent of all inputs and outputs and along which each
    row is computed by itself, so that a server may join requests. `outputs` names the outputs;
    `labels` gives, by output or input name, the classes of its last axis; `notes` is free text,
    such as the recipe.
    """
    verify(program)
    weights = {n: np.asarray(a) for n, a in weights.items()}
    _check_weights(program, weights, ProgramError)
    text = to_text(program).encode("utf-8")
    raw = list(safetensors.chunks(weights))
    manifest = Manifest(
        format=FORMAT, numerics=NUMERICS, name=name,
        symbols={s.name: (s.low, s.high) for s in _symbols(program)},
        inputs=[_spec(n.params["name"], n.type, labels) for n in program.inputs[len(weights):]],
        outputs=_outputs(program, outputs, labels),
        parts={PROGRAM: _part([text]), WEIGHTS: _part(raw)}, batch=batch, notes=dict(notes or {}))
    _check_names(manifest, ProgramError)
    _check_batch(manifest, ProgramError)
    head = msgspec.json.format(msgspec.json.encode(manifest), indent=2) + b"\n"
    with replacing(path) as stream:
        container.write(stream, [(MANIFEST, [head]), (PROGRAM, [text]), (WEIGHTS, raw)])
    return manifest


def _part(pieces: Sequence[bytes | memoryview]) -> Part:
    digest = sha256()
    for piece in pieces:
        digest.update(piece)
    return Part(sum(map(len, pieces)), digest.hexdigest())


def _spec(name: str, t: TensorType, labels: Mapping[str, Sequence[str]] | None) -> Spec:
    return Spec(name, t.dtype.name, [e if isinstance(e, int) else str(e) for e in t.shape],
                list((labels or {}).get(name, ())))


def _outputs(program: Program, names: Sequence[str], labels) -> list[Spec]:
    names = list(names) or [f"output{k}" for k in range(len(program.outputs))]
    if len(names) != len(program.outputs):
        raise ProgramError(f"{len(names)} names for {len(program.outputs)} outputs")
    return [_spec(n, o.type, labels) for n, o in zip(names, program.outputs, strict=True)]


def _symbols(program: Program) -> list[Symbol]:
    found = {s.name: s for n in program.nodes() for e in n.type.shape for s in symbols(e)}
    return [found[name] for name in sorted(found)]


# ---- reading ------------------------------------------------------------------------------------

def load(path: str | os.PathLike, *, copy: bool = True) -> Model:
    """The model in the file. With `copy=False` the weights stay in the mapped file, which must then
    neither change nor shrink while they are used."""
    try:
        return _read(_bytes_of(path, copy))
    except OSError as e:
        raise FormatError(f"{os.fspath(path)}: cannot be read: {e.strerror}") from None
    except LamellaError as e:
        kind = AllocationError if isinstance(e, AllocationError) else FormatError
        raise kind(f"{os.fspath(path)}: {e}") from None


def _bytes_of(path: str | os.PathLike, copy: bool) -> memoryview:
    with open(path, "rb", opener=_at_once) as stream:
        info = os.fstat(stream.fileno())
        if not stat.S_ISREG(info.st_mode):
            raise FormatError("is no regular file")
        container.check_size(stream, info.st_size, (MANIFEST, PROGRAM, WEIGHTS))
        stream.seek(0)
        if not copy:
            return memoryview(mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ))
        require(info.st_size, "the file")
        return _aligned(stream, info.st_size)


def _at_once(path: str, flags: int) -> int:
    """Open without waiting for the other end of a pipe."""
    return os.open(path, flags | os.O_NONBLOCK)


def _aligned(stream: BinaryIO, size: int) -> memoryview:
    """The file's bytes in memory that begins at a multiple of 64, as weights in it then do."""
    block = np.empty(size + container.ALIGNMENT, np.uint8)
    start = -block.ctypes.data % container.ALIGNMENT
    view = block[start:start + size].data
    return view[:stream.readinto(view)].toreadonly()  # type: ignore[attr-defined]


def _read(data: memoryview) -> Model:
    parts = container.read(data, (MANIFEST, PROGRAM, WEIGHTS))
    manifest = _manifest(parts[MANIFEST])
    for name in (PROGRAM, WEIGHTS):
        if manifest.parts.get(name) != _part([parts[name]]):
            raise FormatError(f"{name} does not have the size and hash that the manifest states")
    try:
        text = str(parts[PROGRAM], "utf-8")
    except UnicodeDecodeError:
        raise FormatError(f"{PROGRAM} is not UTF-8") from None
    program = parse(text)
    verify(program)
    stored = safetensors.read(parts[WEIGHTS])
    leading = [n.params["name"] for n in program.inputs[:len(stored)]]
    weights = {n: stored[n] for n in leading if n in stored}
    _check_weights(program, weights if len(weights) == len(stored) else stored, FormatError)
    _check_names(manifest, FormatError)
    _check_batch(manifest, FormatError)
    _check_specs(program, weights, manifest)
    return Model(program, weights, manifest)


def _manifest(raw: memoryview) -> Manifest:
    if len(raw) > MOST_MANIFEST:
        raise FormatError(f"a manifest of {len(raw)} bytes; at most {MOST_MANIFEST} are read")
    try:
        version = _FIELDS.decode(raw).get("format")
        number = _NUMBER.decode(version) if version else 0
        if number > FORMAT or number < 1:
            raise FormatError(f"the file has format {number}; this Lamella reads 1 to {FORMAT}, a "
                              f"newer one may read it")
        return _MANIFEST.decode(raw)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as e:
        raise FormatError(f"the manifest cannot be read: {e}") from None


def _check_weights(program: Program, weights: Mapping[str, np.ndarray], error: type) -> None:
    """The program's leading inputs are exactly the weights, in name, dtype and shape."""
    leading = program.inputs[:len(weights)]
    names = [n.params["name"] for n in leading]
    if len(set(names)) != len(names) or set(names) != set(weights):
        raise error(f"the program's first {len(weights)} inputs are {', '.join(names)}; the "
                    f"weights are {', '.join(weights)}; they must be the same")
    for node in leading:
        a = weights[node.params["name"]]
        if node.type != tensor(as_dtype(a.dtype), a.shape):
            raise error(f"the weight {node.params['name']!r} is {a.dtype}{list(a.shape)}, the "
                        f"program takes {node.type}")


def _check_names(manifest: Manifest, error: type) -> None:
    for specs in (manifest.inputs, manifest.outputs):
        names = [s.name for s in specs]
        if not all(names) or len(set(names)) != len(names):
            raise error(f"the names {names} must differ and must not be empty")
        for s in specs:
            if s.labels and (not s.shape or len(s.labels) != s.shape[-1]):
                raise error(f"{s.name}: {len(s.labels)} labels for the last axis of {s.shape}")


def _check_batch(manifest: Manifest, error: type) -> None:
    """The batch symbol leads every input and output, and stands in no other extent of them."""
    if not manifest.batch:
        return
    for s in (*manifest.inputs, *manifest.outputs):
        rest = re.findall(r"\w+", " ".join(map(str, s.shape[1:])))
        if s.shape[:1] != [manifest.batch] or manifest.batch in rest:
            raise error(f"{manifest.batch} counts rows, so it must be the first extent, and only "
                        f"that, of each input and output; {s.name} is {s.dtype}{s.shape}")


def _check_specs(program: Program, weights: Mapping, manifest: Manifest) -> None:
    """The manifest says of inputs, outputs and symbols what the program does."""
    given = program.inputs[len(weights):]
    stated = [msgspec.structs.replace(s, labels=[]) for s in (*manifest.inputs, *manifest.outputs)]
    real = [_spec(n.params["name"], n.type, None) for n in given]
    real += [_spec(s.name, n.type, None) for s, n in
             zip(manifest.outputs, program.outputs, strict=False)]
    bounds = {s.name: (s.low, s.high) for s in _symbols(program)}
    if stated != real or bounds != manifest.symbols or (
            len(manifest.outputs) != len(program.outputs)):
        raise FormatError("the manifest's inputs, outputs or symbols are not the program's")
