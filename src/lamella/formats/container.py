"""A file of named parts: an uncompressed zip with one possible layout.

Any zip tool lists and extracts the parts. Ours reads more strictly: the parts are the expected ones
in the expected order, each begins at a multiple of 64 bytes (so that it can be mapped), and every
byte between them is what `write` would have put there. So there is nothing to inflate, no second
entry of a name, no path to follow, and a flipped bit is always seen.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterable, Sequence
from typing import BinaryIO, NamedTuple

from ..base.errors import FormatError

ALIGNMENT = 64

_LOCAL = struct.Struct("<IHHHHHIIIHH")
_CENTRAL = struct.Struct("<IHHHHHHIIIHHHHHII")
_END64 = struct.Struct("<IQHHIIQQQQ")
_LOCATOR = struct.Struct("<IIQI")
_END = struct.Struct("<IHHHHIIH")
_SIZES = struct.Struct("<HHQQ")
_VERSION, _DAY = 45, 0x21  # zip64; 1980-01-01, so that equal models are equal files
_FULL = 0xFFFFFFFF  # "the number stands in the zip64 field"


class Part(NamedTuple):
    """One part's name, size in bytes and CRC-32."""

    name: str
    size: int
    crc: int


def write(stream: BinaryIO, parts: Sequence[tuple[str, Sequence[bytes | memoryview]]]) -> None:
    """Write the parts, each given as pieces of bytes."""
    table = [Part(name, sum(map(len, pieces)), _crc(pieces)) for name, pieces in parts]
    heads, tail = layout(table)
    for head, (_, pieces) in zip(heads, parts, strict=True):
        stream.write(head)
        for piece in pieces:
            stream.write(piece)
    stream.write(tail)


def check_size(stream: BinaryIO, size: int, names: Sequence[str]) -> None:
    """Raise unless a file of `size` bytes is what the parts' stated sizes add up to: what is not
    one of ours is refused before any of it is held."""
    at, table = 0, []
    for name in names:
        start = _data_offset(at, name)
        stream.seek(at)
        table.append(Part(name, _stated_size(memoryview(stream.read(start - at)), at, name), 0))
        at = start + table[-1].size
        if at > size:
            raise FormatError(f"{name} should hold {table[-1].size} bytes, but the file ends "
                              f"before: it is truncated")
    expected = at + len(layout(table)[1])
    if size != expected:
        raise FormatError(f"the file has {size} bytes where {expected} are expected: it is "
                          f"{'truncated' if size < expected else 'damaged'}")


def read(data: memoryview, names: Sequence[str]) -> dict[str, memoryview]:
    """The parts of those names, as views of `data`."""
    at, found, table = 0, {}, []
    for name in names:
        start = _data_offset(at, name)
        size = _stated_size(data[at:start], at, name)
        if size > len(data) - start:
            raise FormatError(f"{name} should hold {size} bytes, but the file ends before: it is "
                              f"truncated")
        found[name] = data[start:start + size]
        table.append(Part(name, size, zlib.crc32(found[name])))
        at = start + size
    heads, tail = layout(table)
    at = 0
    for head, part in zip(heads, table, strict=True):
        if data[at:at + len(head)] != head:
            raise FormatError(f"the entry of {part.name} is damaged, or not written by Lamella")
        at += len(head) + part.size
    if data[at:] != tail:
        raise FormatError(f"the file's end is damaged: {len(data) - at} bytes follow after the "
                          f"last part, {len(tail)} are expected")
    return found


def layout(table: Sequence[Part]) -> tuple[list[bytes], bytes]:
    """All bytes but the parts' own: what stands before each part, and after the last."""
    heads, central, at = [], b"", 0
    for part in table:
        heads.append(_head(at, part))
        central += _entry(at, part)
        at += len(heads[-1]) + part.size
    count = len(table)
    end64 = _END64.pack(0x06064B50, _END64.size - 12, _VERSION, _VERSION, 0, 0, count, count,
                        len(central), at)
    locator = _LOCATOR.pack(0x07064B50, 0, at + len(central), 1)
    end = _END.pack(0x06054B50, 0, 0, 0xFFFF, 0xFFFF, _FULL, _FULL, 0)
    return heads, central + end64 + locator + end


def _data_offset(at: int, name: str) -> int:
    """Where the data of an entry that begins at `at` begins: the next multiple of 64 that fits."""
    least = at + _LOCAL.size + len(name) + _SIZES.size + 4
    return least + -least % ALIGNMENT


def _head(at: int, part: Part) -> bytes:
    name = part.name.encode("ascii")
    sizes = _SIZES.pack(1, 16, part.size, part.size)
    rest = _data_offset(at, part.name) - at - _LOCAL.size - len(name) - len(sizes) - 4
    extra = sizes + struct.pack("<HH", 0xD935, rest) + bytes(rest)  # 0xD935: alignment
    return _LOCAL.pack(0x04034B50, _VERSION, 0, 0, 0, _DAY, part.crc, _FULL, _FULL, len(name),
                       len(extra)) + name + extra


def _entry(at: int, part: Part) -> bytes:
    name = part.name.encode("ascii")
    extra = struct.pack("<HHQQQ", 1, 24, part.size, part.size, at)
    return _CENTRAL.pack(0x02014B50, _VERSION, _VERSION, 0, 0, 0, _DAY, part.crc, _FULL, _FULL,
                         len(name), len(extra), 0, 0, 0, 0, _FULL) + name + extra


def _stated_size(data: memoryview, at: int, name: str) -> int:
    """The size in the entry's head, which begins at byte `at` of the file."""
    where = _LOCAL.size + len(name)
    if len(data) < where + _SIZES.size:
        raise FormatError(f"the file ends before {name}: it is truncated, or no Lamella file")
    if data[:4] != b"PK\x03\x04" or data[where - len(name):where] != name.encode("ascii"):
        raise FormatError(f"{name} is expected at byte {at}: damaged, or no Lamella file")
    return _SIZES.unpack_from(data, where)[2]


def _crc(pieces: Iterable[bytes | memoryview]) -> int:
    crc = 0
    for piece in pieces:
        crc = zlib.crc32(piece, crc)
    return crc
