"""Statements are rewritten and looked through whatever they are."""

from lamella.base.dtypes import index
from lamella.lang import expr, scalar
from lamella.lang.expr import lit
from lamella.lang.loops import Loop, Prefetch, Set, Store, When, index_var
from lamella.lang.routine import expressions, rewritten

PLACE, X = index_var("i"), index_var("x")
BODY = [Loop(PLACE, lit(0, index), lit(8, index), [
    Prefetch("a", PLACE + 64), Set(X, expr.load("a", PLACE, index)),
    When(PLACE > 2, [Store("y", PLACE, X)])])]


def test_all_statements_have_expressions():
    found = list(expressions(BODY))
    assert found[:4] == [lit(0, index), lit(8, index), PLACE + 64, expr.load("a", PLACE, index)]
    assert found[4:] == [PLACE > 2, PLACE, X]


def test_all_statements_are_rewritten():
    def positive(e):
        return scalar.maximum(e, lit(0, index)) if e.dtype is index else e

    moved = rewritten(BODY, positive, {"y": "z"})
    assert list(expressions(moved)) == [positive(e) for e in expressions(BODY)]
    assert [type(s) for s in moved[0].body] == [Prefetch, Set, When]
    assert moved[0].body[2].body[0].buffer == "z"
