"""Every setting read from the environment, typed, in one place."""

from __future__ import annotations

import os

from .errors import SettingError


class Knob:
    """One setting: its environment variable, type, default and one line of help."""

    __slots__ = ("default", "help", "name", "parse", "value")

    def __init__(self, name: str, parse, default, help: str):
        self.name, self.parse, self.default, self.help = name, parse, default, help
        raw = os.environ.get(name)
        self.value = default if raw is None or raw == "" else self._read(raw)

    def _read(self, raw: str):
        try:
            return self.parse(raw)
        except ValueError as e:
            raise SettingError(f"{self.name}={raw!r}: {self.help} ({e})") from None


def _count(raw: str) -> int:
    """A whole number, not negative."""
    if not (raw.isascii() and raw.isdecimal()):
        raise ValueError("expected a whole number, 0 or more")
    return int(raw)


def _topics(raw: str) -> frozenset[str]:
    return frozenset(t.strip() for t in raw.split(",") if t.strip())


def _flag(raw: str) -> bool:
    if raw.lower() not in ("0", "1", "true", "false", "on", "off"):
        raise ValueError("expected 0 or 1")
    return raw.lower() in ("1", "true", "on")


threads = Knob("LAMELLA_THREADS", _count, 0, "threads of the team; 0 takes the cores available")
cache = Knob("LAMELLA_CACHE", str, "", "folder of the object cache, or 'off'")
cache_bytes = Knob("LAMELLA_CACHE_BYTES", _count, 512 << 20, "bound of the object cache in bytes")
pool_bytes = Knob("LAMELLA_POOL_BYTES", _count, 64 << 20, "idle bytes the block pool may keep")
log = Knob("LAMELLA_LOG", _topics, frozenset(),
           "topics to print: graph,fuse,plan,kernel,cache,compile")
target = Knob("LAMELLA_TARGET", str, "",
              "the instruction set: avx512amx, avx512bf16, avx512vnni, avx512, avx2; empty detects")
pending_nodes = Knob("LAMELLA_PENDING_NODES", _count, 512, "lazy nodes held before evaluation")
pending_bytes = Knob("LAMELLA_PENDING_BYTES", _count, 256 << 20, "lazy result bytes held before it")
device_waits = Knob("LAMELLA_DEVICE_WAITS", _flag, False,
                    "wait for each kernel of a GPU, so that an error names the one that failed")
verify = Knob("LAMELLA_VERIFY", _flag, False, "run the verifier after every stage")


def logs(topic: str) -> bool:
    """Whether messages of `topic` are to be printed."""
    return topic in log.value


def every() -> list[Knob]:
    """All knobs, for documentation and cache keys."""
    return [k for k in globals().values() if isinstance(k, Knob)]
