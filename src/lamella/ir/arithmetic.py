"""Python's operators over anything that can apply a named scalar operation.

Index-notation expressions, graph nodes and arrays share these methods, so that one rule written
as algebra (`g * cos(x)`) serves all three levels.
"""

from __future__ import annotations


class Arithmetic:
    """Operators in terms of `apply(name, *args)`, which a subclass provides."""

    __slots__ = ()

    def apply(self, name: str, *args):
        raise NotImplementedError

    def __add__(self, o):
        return self.apply("add", self, o)

    def __radd__(self, o):
        return self.apply("add", o, self)

    def __sub__(self, o):
        return self.apply("sub", self, o)

    def __rsub__(self, o):
        return self.apply("sub", o, self)

    def __mul__(self, o):
        return self.apply("mul", self, o)

    def __rmul__(self, o):
        return self.apply("mul", o, self)

    def __truediv__(self, o):
        return self.apply("div", self, o)

    def __rtruediv__(self, o):
        return self.apply("div", o, self)

    def __floordiv__(self, o):
        return self.apply("floordiv", self, o)

    def __rfloordiv__(self, o):
        return self.apply("floordiv", o, self)

    def __mod__(self, o):
        return self.apply("mod", self, o)

    def __rmod__(self, o):
        return self.apply("mod", o, self)

    def __pow__(self, o):
        return self.apply("pow", self, o)

    def __rpow__(self, o):
        return self.apply("pow", o, self)

    def __neg__(self):
        return self.apply("neg", self)

    def __abs__(self):
        return self.apply("abs", self)

    def __invert__(self):
        return self.apply("not", self)

    def __and__(self, o):
        return self.apply("and", self, o)

    def __rand__(self, o):
        return self.apply("and", o, self)

    def __or__(self, o):
        return self.apply("or", self, o)

    def __ror__(self, o):
        return self.apply("or", o, self)

    def __xor__(self, o):
        return self.apply("xor", self, o)

    def __rxor__(self, o):
        return self.apply("xor", o, self)

    def __lshift__(self, o):
        return self.apply("shl", self, o)

    def __rlshift__(self, o):
        return self.apply("shl", o, self)

    def __rshift__(self, o):
        return self.apply("shr", self, o)

    def __rrshift__(self, o):
        return self.apply("shr", o, self)

    def __lt__(self, o):
        return self.apply("lt", self, o)

    def __le__(self, o):
        return self.apply("le", self, o)

    def __gt__(self, o):
        return self.apply("lt", o, self)

    def __ge__(self, o):
        return self.apply("le", o, self)
