"""LLVM, as this system uses it: text in, object bytes out, object bytes in, addresses out.

The only file that imports llvmlite, and only inside functions: importing it costs 60 ms that a
process with nothing to compile or load should not pay. No pass pipeline is run: our emitters
write the SIMD they mean, and the pipelines cost 4-7 ms per kernel. LLVM holds one lock for the
process, so threads gain nothing here; processes do (objects are bytes).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable
from functools import lru_cache
from typing import NamedTuple

from lamella.base.errors import LamellaError

from .permission import matrices_granted

_loaded: list = []  # the jit and every loaded object: code lives as long as the process
_serial = itertools.count()


class Host(NamedTuple):
    """The machine we run on, in LLVM's words; `features` names what is present."""

    cpu: str
    features: frozenset[str]
    triple: str


@lru_cache(None)
def _binding():
    """llvmlite's binding with the native target set up."""
    import llvmlite.binding as binding

    binding.initialize_native_target()
    binding.initialize_native_asmprinter()
    return binding


@lru_cache(None)
def version() -> str:
    """Versions of LLVM and of its binding, for cache keys."""
    binding = _binding()
    import llvmlite

    return f"{'.'.join(map(str, binding.llvm_version_info))}/{llvmlite.__version__}"


@lru_cache(None)
def host() -> Host:
    """The cpu, its features and the triple of this machine."""
    binding = _binding()
    present = frozenset(n for n, on in binding.get_host_cpu_features().items() if on)
    if "amx-tile" in present and not matrices_granted():
        present = frozenset(n for n in present if not n.startswith("amx"))
    return Host(binding.get_host_cpu_name(), present, binding.get_process_triple())


@lru_cache(None)
def _machine(cpu: str, features: frozenset[str], level: int):
    """A target machine for `cpu` plus `features`; what this very host lacks of its cpu goes off."""
    binding = _binding()
    absent = []
    if cpu == host().cpu:  # a virtual machine may hide some of what the name promises
        absent = [n for n, on in binding.get_host_cpu_features().items() if not on]
    signed = ["+" + n for n in sorted(features)]
    signed += ["-" + n for n in sorted(absent) if n not in features]
    spelled = ",".join(signed)
    target = binding.Target.from_triple(host().triple)
    return target.create_target_machine(
        cpu=cpu, features=spelled, opt=level, reloc="pic", codemodel="small"
    )


def _module(text: str, machine):
    """Parse and verify `text` for `machine`; LamellaError names the offending line."""
    binding = _binding()
    try:
        module = binding.parse_assembly(text)
        module.verify()
    except RuntimeError as error:
        raise LamellaError(f"generated code is not valid LLVM IR:\n{error}") from None
    module.triple = machine.triple
    module.data_layout = str(machine.target_data)
    return module


def assemble(text: str, *, cpu: str, features: Iterable[str], level: int = 1) -> bytes:
    """Object bytes of LLVM IR `text` for `cpu` with `features`; `level` is codegen's, 0-3."""
    machine = _machine(cpu, frozenset(features), level)
    return machine.emit_object(_module(text, machine))


def assembly(text: str, *, cpu: str = "", features: Iterable[str] = (), level: int = 1) -> str:
    """The machine instructions of LLVM IR `text`, for reading; this host's when no cpu is named."""
    if not cpu:
        cpu, features, _ = host()
    machine = _machine(cpu, frozenset(features), level)
    return machine.emit_assembly(_module(text, machine))


def code_bytes(object_bytes: bytes) -> int:
    """Bytes of an object's instructions and of the constants that they read."""
    found = 0
    for section in _binding().ObjectFileRef.from_data(object_bytes).sections():
        name = section.name() or b""
        if (name.decode() if isinstance(name, bytes) else name).startswith((".text", ".rodata")):
            found += section.size()
    return found


@lru_cache(None)
def _jit():
    """The linker: JITLink, which gives an object one piece of memory. The older one asks for code
    and constants apart, and aborts where they come to lie more than 2 GiB from each other."""
    here = host()
    return _binding().create_lljit_compiler(_machine(here.cpu, here.features, 1),
                                            use_jit_link=True)


def load(object_bytes: bytes, names: Iterable[str]) -> dict[str, int]:
    """Link an object into this process: the address of each of `names`.

    Outside symbols are looked up in the process (libc, CPython). The code stays for good.
    """
    names = list(names)
    library = _binding().JITLibraryBuilder().add_object_img(object_bytes).add_current_process()
    for name in names:
        library.export_symbol(name)
    try:
        tracker = library.link(_jit(), f"lamella{next(_serial)}")
    except RuntimeError as error:
        raise LamellaError(f"cannot load generated code: {error}") from None
    _loaded.append(tracker)
    return {name: tracker[name] for name in names}
