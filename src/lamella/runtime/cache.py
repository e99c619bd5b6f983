"""The object cache: machine code by the hash of all that decides it.

It holds code that will run, so the folder must be ours alone (mode 0700, owned by this user, not
a link); otherwise entries live in this process' memory only. An entry is named by its key, holds
the hash of its bytes, is verified when read, and is renamed into place whole: readers, writers
and deleters in other processes never see half of one. Oldest entries go when the folder grows
beyond its bound.
"""

from __future__ import annotations

import hashlib
import logging
import os
import stat
import tempfile
from collections.abc import Iterable
from functools import partial
from pathlib import Path

from lamella.base import knobs
from lamella.runtime import llvm
from lamella.runtime.assembler import Assembly

_log = logging.getLogger("lamella.cache")
_MAGIC = b"lamella object 1\n"
_HEAD = len(_MAGIC) + 32


def default_folder() -> Path | None:
    """Where entries go: the knob, else the user's cache folder; None when switched off."""
    if knobs.cache.value == "off":
        return None
    if knobs.cache.value:
        return Path(knobs.cache.value)
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "lamella"


def _seal(payload: bytes) -> bytes:
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def _unseal(data: bytes) -> bytes | None:
    """The payload of an entry; None when its hash does not fit."""
    payload = data[_HEAD:]
    return payload if len(data) >= _HEAD and data == _seal(payload) else None


class Cache:
    """Bytes by key, in memory and, where the folder can be trusted, on disk."""

    def __init__(self, folder: Path | None, bound: int = 512 << 20):
        self.folder, self.bound = folder, bound
        self.memory: dict[str, bytes] = {}
        self._used: int | None = None  # bytes on disk as far as known; None: not looked yet
        self._failed = False  # a write has, and was told
        if folder is not None and not self._prepare(folder):
            self.folder = None

    def _prepare(self, folder: Path) -> bool:
        """Make the folder; whether it is ours alone."""
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            seen = os.lstat(folder)
        except OSError as error:
            _log.warning("object cache in memory only: %s", error)
            return False
        ours = stat.S_ISDIR(seen.st_mode) and seen.st_uid == os.geteuid()
        if ours and not seen.st_mode & 0o077:
            return True
        _log.warning("object cache in memory only: %s is not private to this user", folder)
        return False

    def get(self, key: str) -> bytes | None:
        """The bytes under `key`, or None; a damaged entry is removed and counts as none."""
        found = self.memory.get(key)
        if found is None and self.folder is not None:
            found = self._read(self.folder / key)
            if found is not None:
                self.memory[key] = found
        return found

    def _read(self, path: Path) -> bytes | None:
        try:
            handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return None
        with open(handle, "rb") as file:
            seen = os.fstat(handle)
            if not stat.S_ISREG(seen.st_mode) or seen.st_uid != os.geteuid():
                return None
            payload = _unseal(file.read())
            if payload is not None:
                os.utime(handle)  # recently used: last to be evicted
                return payload
        _log.warning("object cache: %s is damaged, removed", path)
        path.unlink(missing_ok=True)
        return None

    def put(self, key: str, payload: bytes) -> None:
        """Keep `payload` under `key`; a failing disk is logged, never raised."""
        self.memory[key] = payload
        if self.folder is None:
            return
        try:
            if self.folder.exists() or self._prepare(self.folder):  # deleted under us? once more
                self._write(self.folder, key, _seal(payload))
        except OSError as error:
            if not self._failed:
                _log.warning("object cache: what cannot be written stays in memory: %s", error)
            self._failed = True

    def _write(self, folder: Path, key: str, data: bytes) -> None:
        handle, name = tempfile.mkstemp(dir=folder, prefix=".new-")
        try:
            with open(handle, "wb") as file:
                file.write(data)
            os.replace(name, folder / key)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        self._used = None if self._used is None else self._used + len(data)
        if self._used is None or self._used > self.bound:
            self._evict(folder)

    def _evict(self, folder: Path) -> None:
        """Measure the folder; when over the bound, drop the oldest down to nine tenths of it."""
        entries = []
        for entry in os.scandir(folder):
            try:
                seen = entry.stat(follow_symlinks=False)
            except OSError:
                continue  # another process was faster
            entries.append((seen.st_mtime_ns, seen.st_size, entry.path))
        used = sum(size for _, size, _ in entries)
        goal = self.bound if used <= self.bound else self.bound * 9 // 10
        for _, size, path in sorted(entries):
            if used <= goal:
                break
            Path(path).unlink(missing_ok=True)
            used -= size
        self._used = used


_process: list[Cache] = []


def process_cache() -> Cache:
    """The cache that everything in this process shares, made at first use."""
    if not _process:
        _process.append(Cache(default_folder(), knobs.cache_bytes.value))
    return _process[0]


def key(text: str, *, cpu: str, features: frozenset[str], level: int, numerics: str) -> str:
    """The name of an entry: the hash of all that decides the object's bytes."""
    parts = (text, cpu, ",".join(sorted(features)), str(level), llvm.version(), numerics)
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode()
        digest.update(len(data).to_bytes(8, "little") + data)
    return digest.hexdigest()


def compiled(text: str, *, cpu: str = "", features=(), level: int = 1, numerics: str = "") -> bytes:
    """Object bytes of LLVM IR `text` (this host's when no cpu is named), from the cache or made.

    `numerics` is the caller's version of all that changes results without changing the text.
    """
    if not cpu:
        cpu, features, _ = llvm.host()
    with Objects(cpu=cpu, features=features, level=level, numerics=numerics) as objects:
        name = objects.add(text)
        return objects.finish()[name]


class Objects:
    """Texts on their way to object bytes: what the cache lacks is assembled, by children while the
    caller does something else. To be used as a context."""

    def __init__(self, *, cpu: str, features: Iterable[str], level: int, numerics: str):
        self._key = partial(key, cpu=cpu, features=frozenset(features), level=level,
                            numerics=numerics)
        self._cache = process_cache()
        self._assembly = Assembly(cpu=cpu, features=features, level=level)
        self._missing: list[str] = []
        self.found: dict[str, bytes] = {}

    def __enter__(self) -> Objects:
        return self

    def __exit__(self, *error) -> None:
        self._assembly.__exit__(*error)

    def add(self, text: str) -> str:
        """One text more; the key of its object."""
        name = self._key(text)
        if name in self.found or name in self._missing:
            return name
        code = self._cache.get(name)
        if code is not None:
            self.found[name] = code
        else:
            self._missing.append(name)
            self._assembly.add(text)
        return name

    def finish(self) -> dict[str, bytes]:
        """The objects of all texts by their keys."""
        for name, code in zip(self._missing, self._assembly.finish(), strict=True):
            self._cache.put(name, code)
            self.found[name] = code
        return self.found
