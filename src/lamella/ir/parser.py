"""Reads a Program's text (see `printer`). Nothing in the text is executed.

Types are inferred again by the ops and must equal the written ones. Every fault is a ProgramError
that names the line and the rule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping

from ..base.dtypes import ALL
from ..base.errors import LamellaError, ProgramError
from ..base.extents import Extent, FloorDiv, Size, symbol
from .node import INPUT, Node, placeholder
from .op import op_named
from .printer import RESERVED, codec
from .program import Program
from .types import TensorType, TupleType, tensor

MOST_BYTES, MOST_LINE = 64 << 20, 1 << 20
MOST_NODES, MOST_TOKENS = 1 << 20, 1 << 16  # of a program, of a line
MOST_DEPTH, MOST_RANK, MOST_DIGITS = 32, 32, 20
MOST_TERMS, MOST_DEGREE = 64, 16  # of an extent

_DTYPES = {d.name: d for d in ALL}
_WORDS = {"None": None, "True": True, "False": False, "inf": math.inf, "nan": math.nan}
_TOKEN = re.compile(r"""\s*(?:
    (?P<comment>\#.*)
  | (?P<node>%[0-9]{1,9}(?![0-9A-Za-z_.]))
  | (?P<float>[0-9]+\.(?!\.)[0-9]*(?:e[+-]?[0-9]+)?|[0-9]+e[+-]?[0-9]+)
  | (?P<int>[0-9]+)
  | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
  | (?P<string>"(?:[^"\\]|\\["\\]|\\u\{[0-9a-f]{1,6}\})*")
  | (?P<mark>//|\.\.|[-+*=(),:@\[\]{}])
)""", re.VERBOSE)


class Reader:
    """One line as tokens, and the values they state: numbers, dtypes, extents, strings, tuples."""

    def __init__(self, text: str, symbols: Mapping[str, Size], block: Callable | None = None):
        self.symbols, self.block = symbols, block
        self.tokens: list[tuple[str, str]] = []
        self.comment = ""
        self.at = self.depth = 0
        self._read(text)

    def _read(self, text: str) -> None:
        """Add a line's tokens."""
        position, end = 0, len(text.rstrip())
        while position < end:
            match = _TOKEN.match(text, position)
            if match is None:
                raise ProgramError(f"{text[position:position + 20].strip()!r} is no token")
            position = match.end()
            kind, value = match.lastgroup or "", match[match.lastgroup or 0]
            self.tokens.append((kind, value))
            if len(self.tokens) > MOST_TOKENS:
                raise ProgramError(f"more than {MOST_TOKENS} tokens")
        if self.tokens and self.tokens[-1][0] == "comment":
            self.comment = self.tokens.pop()[1][1:].strip()

    def peek(self) -> str:
        """The next token's text; empty at the end."""
        return self.tokens[self.at][1] if self.at < len(self.tokens) else ""

    def kind(self) -> str:
        return self.tokens[self.at][0] if self.at < len(self.tokens) else "end"

    def next(self, kind: str = "") -> str:
        """Take a token, which must be of that kind."""
        if self.kind() == "end" or (kind and self.kind() != kind):
            raise ProgramError(f"a {kind or 'token'} is expected, not {self.peek() or 'the end'!r}")
        self.at += 1
        return self.tokens[self.at - 1][1]

    def skip(self, text: str) -> bool:
        """Take the mark or word if it is the next token."""
        hit = self.peek() == text and self.kind() in ("mark", "name")
        self.at += hit
        return hit

    def expect(self, text: str) -> None:
        if not self.skip(text):
            raise ProgramError(f"{text!r} is expected, not {self.peek() or 'the end'!r}")

    def done(self) -> None:
        if self.kind() != "end":
            raise ProgramError(f"{self.peek()!r} follows where the line should end")

    def value(self):
        """A parameter's value: sums and products of integers and symbols are extents."""
        self.depth += 1
        if self.depth > MOST_DEPTH:
            raise ProgramError(f"values nest deeper than {MOST_DEPTH}")
        out = self._term()
        while self.peek() in ("+", "-") and self.kind() == "mark":
            sign = 1 if self.next() == "+" else -1
            out = _bounded(_extent(out) + sign * _extent(self._term()))
        self.depth -= 1
        return out

    def _term(self):
        out = self._factor()
        while self.peek() in ("*", "//") and self.kind() == "mark":
            times = self.next() == "*"
            left, right = _extent(out), _extent(self._factor())
            if not times and not (isinstance(right, int) and right > 0):
                raise ProgramError(f"{left} // {right}: the divisor must be a positive integer")
            if times and _terms(left) * _terms(right) > MOST_TERMS:
                raise ProgramError(f"an extent of more than {MOST_TERMS} terms")
            out = _bounded(left * right if times else left // right)
        return out

    def _factor(self):
        negative = self.skip("-")
        out = self._atom()
        if negative and (isinstance(out, bool) or not isinstance(out, int | float | Size)):
            raise ProgramError(f"-{out!r} is no number")
        return -out if negative else out

    def _atom(self):
        kind = self.kind()
        if kind == "int":
            return self.integer()
        if kind == "float":
            return float(self.next())
        if kind == "string":
            return self.string()
        if kind == "name":
            name = self.next()
            if name == "complex" and self.skip("("):
                return self._complex()
            for table in (_WORDS, _DTYPES, self.symbols):
                if name in table:
                    return table[name]
            raise ProgramError(f"{name!r} is no dtype and no declared symbol")
        if self.skip("("):
            return self._tuple()
        if self.block is not None and self.skip("{"):
            self.done()
            found, rest = self.block()
            self._read(rest)
            return found
        raise ProgramError(f"a value is expected, not {self.peek() or 'the end'!r}")

    def _complex(self) -> complex:
        """The rest of `complex(1.0, -0.5)`."""
        parts = self._tuple()
        if not (isinstance(parts, tuple) and len(parts) == 2
                and all(isinstance(p, float) for p in parts)):
            raise ProgramError(f"complex{parts!r} is no number; it has a real and an imaginary "
                               f"part, both floating")
        return complex(*parts)

    def _tuple(self):
        """A parenthesized value, or a tuple if it is empty or holds a comma."""
        items: list = []
        while not self.skip(")"):
            items.append(self.value())
            if not self.skip(","):
                self.expect(")")
                return items[0] if len(items) == 1 else tuple(items)
        return tuple(items)

    def integer(self) -> int:
        """A literal of bounded length."""
        text = self.next("int")
        if len(text) > MOST_DIGITS:
            raise ProgramError(f"an integer of {len(text)} digits; at most {MOST_DIGITS} are read")
        return int(text)

    def string(self) -> str:
        """A quoted text, its escapes resolved."""
        text = self.next("string")[1:-1]
        return re.sub(r'\\(?:(["\\])|u\{([0-9a-f]+)\})', _unescape, text)

    def extents(self, close: str) -> tuple[Extent, ...]:
        """Extents up to the closing bracket."""
        items: list[Extent] = []
        while not self.skip(close):
            items.append(_extent(self.value()))
            if not self.skip(","):
                self.expect(close)
                break
        if len(items) > MOST_RANK:
            raise ProgramError(f"{len(items)} axes; at most {MOST_RANK} are read")
        return tuple(items)

    def types(self) -> TensorType | TupleType:
        """One type, or several in brackets."""
        if not self.skip("("):
            return self.type()
        found: list[TensorType] = []
        while not self.skip(")"):
            found.append(self.type())
            if not self.skip(","):
                self.expect(")")
                break
        return TupleType(found)

    def type(self) -> TensorType:
        """`float32[B, 64]`, with `:(1, B)` for strides."""
        name = self.next("name")
        if name not in _DTYPES:
            raise ProgramError(f"{name!r} is no dtype")
        self.expect("[")
        shape = self.extents("]")
        if any(isinstance(e, int) and e < 0 for e in shape):
            raise ProgramError(f"a negative extent in {name}{list(shape)}")
        if not self.skip(":"):
            return tensor(name, shape)
        self.expect("(")
        return TensorType(_DTYPES[name], shape, self.extents(")"))


def _unescape(match: re.Match) -> str:
    code = int(match[2], 16) if match[2] else ord(match[1])
    if code > 0x10FFFF:
        raise ProgramError(f"\\u{{{code:x}}} is no character")
    return chr(code)


def _extent(value) -> Extent:
    if isinstance(value, bool) or not isinstance(value, int | Size):
        raise ProgramError(f"{value!r} is no extent")
    return value


def _terms(e: Extent) -> int:
    return len(e.terms) if isinstance(e, Size) else 1


def _bounded(e: Extent) -> Extent:
    """The extent, if it is of a size that a program can have meant."""
    numbers = list(e.terms.values()) if isinstance(e, Size) else [e]
    largest = max(map(abs, numbers))
    if _terms(e) > MOST_TERMS or largest.bit_length() > 64 or _degree(e) > MOST_DEGREE:
        raise ProgramError(f"an extent of more than {MOST_TERMS} terms, 64 bits or "
                           f"{MOST_DEGREE} factors")
    return e


def _degree(e: Extent) -> int:
    """The most factors in a term, those inside of floor divisions counted too."""
    if isinstance(e, int):
        return 0
    return max(sum(1 + _degree(a.numerator) if isinstance(a, FloorDiv) else 1 for a in mono)
               for mono in e.terms)


class _Lines:
    """The lines of a text, and the number of the one read last."""

    def __init__(self, text: str):
        self.lines, self.number = text.split("\n"), 0

    def next(self) -> str | None:
        """The next line, None at the end."""
        if self.number == len(self.lines):
            return None
        self.number += 1
        line = self.lines[self.number - 1]
        if len(line) > MOST_LINE:
            raise ProgramError(f"a line of {len(line)} characters; the limit is {MOST_LINE}")
        return line


class _Parser:
    """The state of one program's reading; `inside` counts the blocks around it."""

    def __init__(self, lines: _Lines, symbols: dict[str, Size], inside: int = 0):
        self.lines, self.symbols, self.inside = lines, symbols, inside
        self.nodes: dict[str, Node] = {}
        self.inputs: list[Node] = []
        self.outputs: list[Node] | None = None
        self.name: str | None = None

    def read(self) -> tuple[Program, str]:
        """Read up to the end, of a block up to its brace: the program, and what follows."""
        rest = ""
        while (text := self.lines.next()) is not None:
            if self.inside and text.lstrip().startswith("}"):
                rest = text.lstrip()[1:]
                break
            self.line(text)
        else:
            if self.inside:
                raise ProgramError("the text ends inside of a block")
        if self.name is None or self.outputs is None:
            raise ProgramError("the text ends before `return`" if self.name else
                               "the text is empty")
        return Program(self.inputs, self.outputs, self.name), rest

    def block(self) -> tuple[Program, str]:
        """A program inside of this one."""
        if self.inside >= MOST_DEPTH:
            raise ProgramError(f"programs nest deeper than {MOST_DEPTH}")
        return _Parser(self.lines, self.symbols, self.inside + 1).read()

    def line(self, text: str) -> None:
        """Read one line; the first word tells its kind."""
        r = Reader(text, self.symbols, self.block)
        if r.kind() == "end":
            return
        if self.outputs is not None:
            raise ProgramError("a line follows after `return`")
        if (self.name is None) != (r.peek() == "program"):
            raise ProgramError("the first line, and no other, is `program NAME`")
        rules: dict[str, Callable[[Reader], None]] = {
            "program": self.program, "symbol": self.symbol, "return": self.results}
        if r.kind() == "node":
            self.node(r)
        elif r.kind() == "name" and r.peek() in rules:
            rules[r.next()](r)
        else:
            raise ProgramError(f"{r.peek()!r} begins no line; symbol, %n and return do")
        r.done()

    def program(self, r: Reader) -> None:
        self.name = r.string() if r.kind() == "string" else r.next("name")

    def symbol(self, r: Reader) -> None:
        name = r.next("name")
        if name in self.symbols or name in _DTYPES or name in RESERVED:
            raise ProgramError(f"the name {name!r} is taken")
        if self.nodes or self.inside:
            raise ProgramError("symbols are declared before the first node")
        low = r.integer()
        r.expect("..")
        self.symbols[name] = symbol(name, low, r.integer())  # type: ignore[assignment]

    def results(self, r: Reader) -> None:
        self.outputs = []
        while r.kind() == "node":
            self.outputs.append(self.defined(r.next()))
            if not r.skip(","):
                break

    def defined(self, name: str) -> Node:
        if name not in self.nodes:
            raise ProgramError(f"{name} is used before its line")
        return self.nodes[name]

    def node(self, r: Reader) -> None:
        name = r.next("node")
        if name in self.nodes:
            raise ProgramError(f"{name} is defined twice")
        if len(self.nodes) >= MOST_NODES:
            raise ProgramError(f"more than {MOST_NODES} nodes")
        r.expect("=")
        word = r.next("name")
        node = self.input(r) if word == INPUT.name else self.apply(r, word)
        place, _, line = r.comment.rpartition(":")
        node.source = (place, int(line)) if place and re.fullmatch("[0-9]{1,9}", line) else None
        self.nodes[name] = node

    def input(self, r: Reader) -> Node:
        if len(self.nodes) != len(self.inputs):
            raise ProgramError("inputs stand before all other nodes")
        name = r.string()
        r.expect(":")
        self.inputs.append(placeholder(r.type(), name))
        return self.inputs[-1]

    def apply(self, r: Reader, word: str) -> Node:
        try:
            op = op_named(word)
        except KeyError:
            raise ProgramError(f"no op is called {word!r}") from None
        inputs = self.operands(r)
        params: dict = {}
        while r.kind() == "name":
            key = r.next()
            if key in params:
                raise ProgramError(f"{word}: the parameter {key} is given twice")
            r.expect("=")
            params[key] = r.value()
        for key, (_, from_text) in codec(op).items():
            if not isinstance(params.get(key), str):
                raise ProgramError(f"{word}: the parameter {key} must be a string")
            params[key] = from_text(params[key], tuple(i.type for i in inputs), self.symbols)
        token = r.string() if r.skip("@") else None
        r.expect(":")
        written = r.types()
        inferred = op.infer(params, *[i.type for i in inputs])
        if inferred != written:
            raise ProgramError(f"{word}: the type is written as {written}, but is {inferred}")
        return Node(op, inputs, params, inferred, token=token)

    def operands(self, r: Reader) -> tuple[Node, ...]:
        out: list[Node] = []
        if r.skip("("):
            while not r.skip(")"):
                out.append(self.defined(r.next("node")))
                if not r.skip(","):
                    r.expect(")")
                    break
        return tuple(out)


def parse(text: str) -> Program:
    """The program that the text states."""
    if len(text) > MOST_BYTES:
        raise ProgramError(f"a text of {len(text)} characters; at most {MOST_BYTES} are read")
    lines = _Lines(text)
    try:
        return _Parser(lines, {}).read()[0]
    except LamellaError as e:
        raise ProgramError(f"line {lines.number}: {e}") from None
    except Exception as e:  # an op's rule met parameters that it does not know
        raise ProgramError(f"line {lines.number}: the op does not take these operands and "
                           f"parameters ({type(e).__name__}: {e})") from e
