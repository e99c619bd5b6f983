"""What the lines of a block need of the processor: instructions by the unit that is busy, and how
long its values wait for each other.

The units are those that bound throughput: vector arithmetic, loads, stores, the divider, what goes
lane by lane, products of matrices, and issue (every instruction). Latencies are in cycles, of the
cores of the last ten years (Fog, "Instruction tables"); rates are measured (`Profile`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

_LINE = re.compile(r"\s*(?:(%\w+) = )?(\w+)(.*)")
_NAME = re.compile(r"%[a-z]+\d+")
_TYPE = re.compile(r"<(\d+) x (\w+)>|\b(i\d+|float|double|ptr)\b")
_PHI = re.compile(r"\s*(%\w+) = phi (.*) \[(.*), %\w+\], \[(.*), %\w+\]")
_BITS = {"float": 32, "double": 64, "half": 16, "ptr": 64}
UNITS = ("vector", "load", "store", "divide", "gather", "scatter", "integer_divide", "matrix",
         "issue")

# Cycles until a result can be used, where it is not 1. Those of a float addition differ between
# cores, and are measured.
_PRODUCTS = ("tdpbssd", "tdpbsud", "tdpbusd", "tdpbuud", "tdpbf16ps")    # of matrices
_LATENCY = {"fadd": 4, "fsub": 4, "fmul": 4, "fdiv": 14, "load": 6, "mul": 3, "shufflevector": 3,
            "extractelement": 3, "insertelement": 2, "fcmp": 3, "sitofp": 4, "uitofp": 4,
            "fptosi": 4, "fptoui": 4, "sdiv": 30, "udiv": 30, "srem": 30, "urem": 30,
            "fma": 4, "sqrt": 18, "roundeven": 8, "floor": 8, "ceil": 8, "trunc": 8, "fptrunc": 4,
            "fpext": 4, "maximum": 8, "minimum": 8, "masked": 8, "gather": 26,
            **dict.fromkeys(_PRODUCTS, 52)}
_ADDITIONS = frozenset(("fadd", "fsub"))
_FREE = frozenset(("br", "bitcast", "freeze", "phi", "getelementptr", "insertelement", "ret",
                   "switch", "unreachable", "ptrtoint", "inttoptr"))
# What matrices of 16 rows keep busy: a row is loaded or stored as a vector is.
_MATRICES = {"tileloadd64": ("load", 16), "tilestored64": ("store", 16), "tilezero": ("vector", 1),
             **dict.fromkeys(_PRODUCTS, ("matrix", 1))}
_DIVISIONS = frozenset(("sdiv", "udiv", "srem", "urem"))


class Mix:
    """Instructions by unit; `chain`: cycles along the longest value that an iteration hands to the
    next; `path`: cycles along the longest way through the block."""

    __slots__ = ("chain", "path", "units")

    def __init__(self, units: dict[str, float], chain: int, path: int):
        self.units, self.chain, self.path = units, chain, path


def mix(lines: Iterable[str], phis: Sequence[str], vector_bits: int,
        adding: int = _LATENCY["fadd"]) -> Mix:
    """The mix of a block's own lines, on a core that takes `adding` cycles for an addition."""
    units = dict.fromkeys(UNITS, 0.0)
    carried = [m.groups() for m in map(_PHI.match, phis) if m]
    depth: dict[str, int] = {}
    # of each value: cycles since the carried ones that it needs
    since = {name: {name: 0} for name, *_ in carried if not name.startswith("%i")}
    for line in lines:
        found = _LINE.match(line)
        if found is None or line.lstrip()[:1] != "%" and found[2] not in ("store", "call", "br"):
            continue
        result, op, rest = found.groups()
        op = _operation(op, rest)
        _charge(units, op, rest, vector_bits)
        if result is None:
            continue
        wait = adding if op in _ADDITIONS else \
            0 if op in _FREE and op != "insertelement" else _LATENCY.get(op, 1)
        needs = _NAME.findall(rest)
        depth[result] = wait + max((depth.get(n, 0) for n in needs), default=0)
        reach: dict[str, int] = {}
        for n in needs:
            for origin, cycles in since.get(n, {}).items():
                reach[origin] = max(reach.get(origin, 0), cycles + wait)
        if reach:
            since[result] = reach
    chain = max((since.get(following, {}).get(name, 0) for name, _, _, following in carried),
                default=0)
    return Mix(units, chain, max(depth.values(), default=0))


def _operation(op: str, rest: str) -> str:
    """The instruction's name; of a call the intrinsic's."""
    if op != "call":
        return op
    name = rest.partition("@llvm.")[2]
    for word in ("masked.gather", "masked.scatter", "masked.load", "masked.store"):
        if name.startswith(word):
            return word
    name, _, following = name.partition(".")
    inner = following.partition(".")[0]
    return inner if inner in _MATRICES else name or "asm"


def _charge(units: dict[str, float], op: str, rest: str, vector_bits: int) -> None:
    """Add what one instruction keeps busy."""
    if op in _FREE or op == "asm":
        return
    if op in _MATRICES:
        unit, count = _MATRICES[op]
        units[unit] += count
        units["issue"] += 1
        return
    lanes, bits = _shape(rest)
    wide = lanes > 1
    count = max(1, -(-lanes * bits // vector_bits)) if wide else 1
    if op in ("load", "masked.load"):
        units["load"] += count
    elif op in ("store", "masked.store"):
        units["store"] += count
    elif op == "masked.gather":
        units["gather"] += lanes
    elif op == "masked.scatter":
        units["scatter"] += lanes
    elif op in ("fdiv", "sqrt"):
        units["divide"] += count if wide else 0.3
    elif op in _DIVISIONS:
        units["integer_divide"] += lanes
    elif wide:
        if op == "shufflevector" and rest.endswith("zeroinitializer"):
            return      # a broadcast is part of the load
        count *= _STEPS.get(op, 1) if bits < 64 or op != "mul" else 3
        units["vector"] += count
    units["issue"] += count


# Vector instructions that take several steps.
_STEPS = {"mul": 2, "roundeven": 2, "floor": 2, "ceil": 2, "trunc": 2, "sitofp": 1, "cttz": 6,
          "maximum": 4, "minimum": 4}


def _shape(rest: str) -> tuple[int, int]:
    """(lanes, bits of a lane) of the operand that the instruction works on."""
    found = _TYPE.search(rest)
    if found is None:
        return 1, 64
    if found[3]:
        return 1, 64
    kind = found[2]
    return int(found[1]), _BITS.get(kind) or int(kind[1:])
