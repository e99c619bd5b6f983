"""Matrices in registers: LLVM finds the registers, and sets them up and free."""

from __future__ import annotations

from ..base.dtypes import DType
from ..lang.expr import Expr
from ..lang.loops import LANES, MATRIX, Store
from .memory import Memory, is_written
from .text import MATRIX_TYPE
from .values import CONSTANT, Value

_ROWS, _BYTES = LANES, 4 * LANES
_SHAPE = f"i16 {_ROWS}, i16 {_BYTES}"
_PRODUCTS = {("int8", "int8"): "tdpbssd", ("int8", "uint8"): "tdpbsud",
             ("uint8", "int8"): "tdpbusd", ("uint8", "uint8"): "tdpbuud",
             ("bfloat16", "bfloat16"): "tdpbf16ps"}


class Matrices(Memory):
    """Loads, adds products to, and stores matrices."""

    def load(self, e: Expr) -> Value:
        name, lanes, _ = e.attr
        if lanes != MATRIX:
            return super().load(e)
        buffer, pitch = self.buffers[name], self.scalar(e.args[1])
        at = self._locate(buffer, e.args[0], False, [pitch])
        text = self.op(self._call("tileloadd64", f"{_SHAPE}, ptr {at.pointer}, i64 "
                                  f"{self._apart(pitch)}"), at.depth)
        return Value(text, MATRIX, at.depth, at.steady and not is_written(buffer))

    def store(self, s: Store) -> None:
        if s.value.op != "rows":
            return super().store(s)
        matrix, pitch = (self.value(x) for x in s.value.args)
        at = self._locate(self.buffers[s.buffer], s.offset, False, [pitch])
        self.do(self._call("tilestored64", f"{_SHAPE}, ptr {at.pointer}, i64 "
                           f"{self._apart(pitch)}, {MATRIX_TYPE} {matrix.text}", "void"))

    def spread(self, v: Value, dtype: DType, lanes: int = LANES) -> str:
        if lanes != MATRIX or v.lanes == MATRIX:
            return super().spread(v, dtype, lanes)
        assert v.depth == CONSTANT, "a matrix is set to zero"
        return self.op(self._call("tilezero", _SHAPE), self.top)

    def matrix_product(self, e: Expr) -> Value:
        """start + a @ b."""
        a, b, start = given = [self.memo[x] for x in e.args]
        assert len({v.text for v in given}) == 3, "the instruction takes three different registers"
        depth = self.place(max(v.depth for v in given))
        values = ", ".join(f"{MATRIX_TYPE} {v.text}" for v in (start, a, b))
        text = self.op(self._call(_PRODUCTS[e.attr], f"{_SHAPE}, i16 {_BYTES}, {values}"), depth)
        return Value(text, MATRIX, depth, all(v.steady for v in given))

    def _apart(self, pitch: Value) -> str:
        """The bytes between rows."""
        return self.once(f"mul i64 {pitch.text}, 4", self.place(pitch.depth))

    def _call(self, name: str, operands: str, result: str = MATRIX_TYPE) -> str:
        """A call of an instruction of matrices."""
        found = f"{result} @llvm.x86.{name}.internal("
        kinds = ", ".join(x.split()[0] for x in operands.split(", "))
        self.declare(f"declare {found}{kinds})")
        return f"call {found}{operands})"
