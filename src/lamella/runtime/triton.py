"""Triton as a compiler: kernel text to a GPU's machine code. Needs neither a GPU nor PyTorch."""

from __future__ import annotations

import hashlib
import linecache
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from ..base.errors import MissingExtra, UnsupportedError
from .cores import cores
from .device import Code

OLDEST, NEWEST = (3, 6), (3, 9)     # minor versions that are supported


class Binary:
    """Machine code of one kernel: `image` for the driver, the function's name in it, threads of one
    program, its bytes of shared memory, how many parameters it has, and the assembler's text."""

    __slots__ = ("function", "image", "parameters", "ptx", "shared", "threads")

    def __init__(self, function: str, image: bytes, threads: int, shared: int, ptx: str):
        self.function, self.image, self.threads = function, image, threads
        self.shared, self.ptx = shared, ptx
        head = ptx[ptx.index(".entry"):]
        self.parameters = head[:head.index(")")].count(".param")


def load() -> Any:
    """The triton package; MissingExtra where it is not installed or not of a supported version."""
    os.environ.setdefault("TRITON_DEFAULT_FP_FUSION", "0")
    try:
        import triton
    except ImportError as e:
        raise MissingExtra("code for a GPU is made by Triton, which is not installed; "
                           "install it with: pip install 'lamella[cuda]'") from e
    version = tuple(map(int, triton.__version__.split(".")[:2]))
    if not OLDEST <= version <= NEWEST:
        raise MissingExtra(f"Triton {triton.__version__} is installed, {OLDEST[0]}.{OLDEST[1]} to "
                           f"{NEWEST[0]}.{NEWEST[1]} are supported; install one with: "
                           f"pip install 'lamella[cuda]'")
    return triton


def function(text: str, name: str) -> Any:
    """The Python function `name` of a kernel's text (Triton reads its source again)."""
    load()
    file = f"<lamella {hashlib.sha256(text.encode()).hexdigest()[:24]}>"
    linecache.cache[file] = (len(text), None, text.splitlines(keepends=True), file)
    space: dict[str, Any] = {"__name__": file}
    exec(compile(text, file, "exec"), space)
    return space[name]


def assemble(text: str, name: str, types: Sequence[tuple[str, str]], aligned: Sequence[int],
             warps: int, stages: int, arch: int) -> Binary:
    """Machine code for compute capability `arch` (90 is sm_90). `types` pairs each parameter with
    its Triton type; those numbered in `aligned` are multiples of 16."""
    triton = load()
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource
    attributes = {(k,): [["tt.divisibility", 16]] for k in aligned}
    source = ASTSource(function(text, name), dict(types), {}, attributes)
    options = {"num_warps": warps, "num_stages": stages, "enable_fp_fusion": False}
    found = triton.compile(source, target=GPUTarget("cuda", arch, 32), options=options)
    wanted = [getattr(found.metadata, f"{kind}_scratch_size", 0) for kind in ("global", "profile")]
    if any(wanted) or getattr(found.metadata, "num_ctas", 1) != 1:
        raise UnsupportedError(f"{name}: Triton {triton.__version__} asks for memory of its own "
                               f"{wanted} or a cluster, which kernels are launched without")
    return Binary(found.metadata.name, found.asm["cubin"], found.metadata.num_warps * 32,
                  found.metadata.shared, found.asm["ptx"])


def parses_abreast(version: tuple[int, ...] = sys.version_info[:3]) -> bool:
    """Whether several threads may make syntax trees, as Triton does of each text: CPython before
    3.11.8 and 3.12.2 counts their depth together, and raises SystemError (its issue 106905)."""
    return version >= (3, 12, 2) or (3, 11, 8) <= version < (3, 12)


def assemble_all(codes: Sequence[Code], arch: int) -> list[Binary]:
    """Machine code of each, on a thread for each core, those of long texts first: Triton gives
    Python's lock up while it compiles, and its assembler is a process of its own."""
    load()
    order = sorted(range(len(codes)), key=lambda k: -len(codes[k].text))
    threads = cores() if parses_abreast() else 1
    with ThreadPoolExecutor(max(1, min(len(codes), threads))) as pool:
        found = dict(zip(order, pool.map(lambda k: assemble(*codes[k], arch=arch), order),
                         strict=True))
    return [found[k] for k in range(len(codes))]


class Usage(NamedTuple):
    """What the assembler gave a kernel: registers of a thread, and bytes that it spills."""

    registers: int
    spilled: int


def usage(binary: Binary) -> Usage:
    """Registers and spills of machine code, by the tool that comes with Triton."""
    tool = Path(load().__file__).parent / "backends" / "nvidia" / "bin" / "cuobjdump"
    with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
        file.write(binary.image)
        file.flush()
        text = subprocess.run([tool, "--dump-resource-usage", file.name], check=True,
                              capture_output=True, text=True).stdout
    registers, stack, local = (int(re.findall(rf"{word}:(\d+)", text)[-1])
                               for word in ("REG", "STACK", "LOCAL"))
    return Usage(registers, stack + local)
