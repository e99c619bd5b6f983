"""A Program as text, one node on a line; `parser.parse` reads it back as an equal Program.

    program main
    symbol B 1..256
    %0 = input "x" : float32[B, 64]
    %1 = constant value=0.5 dtype=float32 shape=() : float32[]
    %2 = mul(%0, %1) : float32[B, 64]  # digits.py:12
    return %2

A parameter is a Python literal, a dtype's name, an extent, a program in braces (its own lines
indented, without symbols), or a tuple of these. A parameter of another kind is written as a string
by the op's `codec` slot, {name: (to_text, from_text)}, where from_text(text, operand_types,
symbols) -> value.
"""

from __future__ import annotations

import math

import numpy as np

from ..base.devices import cpu
from ..base.dtypes import DType
from ..base.errors import ProgramError
from ..base.extents import Size, Symbol
from ..base.source import render
from .node import INPUT, Node
from .op import Op
from .program import Program, symbols_in
from .types import TensorType, TupleType, tensors

RESERVED = frozenset({"inf", "nan", "complex", "None", "True", "False"})


def to_text(program: Program) -> str:
    """The program's text. Equal programs have equal texts."""
    known: dict[str, Symbol] = {}
    nodes, shapes = program.nodes(), set()      # types are mostly the same few objects
    for node in nodes:
        if id(node.type) not in shapes:
            shapes.add(id(node.type))
            _collect(tuple((t.shape, t.strides) for t in tensors(node.type)), known)
        if node.params:
            _collect(tuple(node.params.values()), known)
    head, *body = _lines(program, "", nodes)
    declared = [f"symbol {s.name} {s.low}..{s.high}" for s in known.values()]
    return "\n".join([head, *declared, *body]) + "\n"


def _lines(program: Program, indent: str, nodes: list[Node] | None = None) -> list[str]:
    """A program's lines but for its symbols, which are declared at the top."""
    nodes = nodes or program.nodes()
    number = {id(n): k for k, n in enumerate(nodes)}
    own = set(map(id, program.inputs))
    ends: dict[tuple, str] = {}     # of lines, by type and source
    lines = [f"program {_name(program.name)}"]
    for k, node in enumerate(nodes):
        if node.op is INPUT and id(node) not in own:
            raise ProgramError(f"%{k} = {node!r} is not among the inputs of {program.name}; "
                               f"give it as an argument")
        end = ends.get((id(node.type), node.source))
        if end is None:
            source = render(node.source)
            end = f" : {type_text(node.type)}" + (f"  # {source}" if source else "")
            ends[id(node.type), node.source] = end
        lines.append(_line(k, node, number, indent) + end)
    results = ", ".join(f"%{number[id(n)]}" for n in program.outputs)
    return [indent + line for line in (*lines, f"return {results}".rstrip())]


def codec(op: Op) -> dict:
    """How the op's parameters that are no literals are written and read."""
    return getattr(op, "codec", None) or {}


def _line(k: int, node: Node, number: dict[int, int], indent: str) -> str:
    """A node's line but for its type and source."""
    if node.op is INPUT:
        text = f"%{k} = input {quoted(node.params['name'])}"
    else:
        inputs = ", ".join([f"%{number[id(i)]}" for i in node.inputs])
        words = [f"%{k} = {node.op.name}" + (f"({inputs})" if inputs else "")]
        try:
            words += [f"{name}={_param(node.op, name, v, indent)}"
                      for name, v in node.params.items()]
        except ProgramError as e:
            raise ProgramError(f"%{k} = {node!r}: {e}") from None
        text = " ".join(words)
    if node.token is not None:
        text += f" @{quoted(node.token)}"
    return text


def _param(op: Op, name: str, value: object, indent: str) -> str:
    if name in codec(op):
        return quoted(codec(op)[name][0](value))
    return value_text(value, indent)


def value_text(value: object, indent: str = "") -> str:
    """The text of a parameter's value; a program is a block of indented lines."""
    kind = type(value)
    if kind is int:
        return str(value)
    if kind is str:
        return quoted(value)
    if isinstance(value, tuple):
        inner = ", ".join([value_text(v, indent) for v in value])
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    if isinstance(value, Program):
        return "\n".join(["{", *_lines(value, indent + "    "), indent + "}"])
    if isinstance(value, np.generic):
        value = value.item()
    if value is None or isinstance(value, bool | int | Size | DType):
        return str(value)
    if isinstance(value, float):
        return repr(value) if math.isfinite(value) else str(value)
    if isinstance(value, complex):
        return f"complex({value_text(value.real)}, {value_text(value.imag)})"
    if isinstance(value, str):
        return quoted(value)
    raise ProgramError(f"a {type(value).__name__} has no text; parameters are numbers, strings, "
                       f"dtypes, extents, programs and tuples of these")


def quoted(text: object) -> str:
    """A string literal on one line, in plain ASCII."""
    if not isinstance(text, str):
        raise ProgramError(f"expected a string, got a {type(text).__name__}")
    if text.isascii() and text.isprintable() and '"' not in text and "\\" not in text:
        return f'"{text}"'
    out = "".join(c if " " <= c <= "~" and c not in '"\\' else _escape(c) for c in text)
    return f'"{out}"'


def _escape(c: str) -> str:
    return f"\\{c}" if c in '"\\' else f"\\u{{{ord(c):x}}}"


def type_text(t: TensorType | TupleType) -> str:
    """`float32[B, 64]`, with `:(1, B)` where the strides are not row-major; several in brackets."""
    if isinstance(t, TupleType):
        inner = ", ".join(map(type_text, t.items))
        return f"({inner},)" if len(t.items) == 1 else f"({inner})"
    if t.device is not cpu or t.sharding is not None:
        raise ProgramError(f"{t} on {t.device} has no text; place and shard after loading")
    return repr(t)


def _name(name: str) -> str:
    return name if name.isascii() and name.isidentifier() else quoted(name)


def _collect(value: tuple, known: dict[str, Symbol]) -> None:
    """Add the symbols of shapes or parameters, each with one name."""
    for s in symbols_in(value):
        if known.setdefault(s.name, s) != s:
            other = known[s.name]
            raise ProgramError(f"two symbols are called {s.name}: {other.low}..{other.high} and "
                               f"{s.low}..{s.high}; rename one")
        if not (s.name.isascii() and s.name.isidentifier()) or s.name in RESERVED:
            raise ProgramError(f"{s.name!r} cannot name a symbol in a program's text")
