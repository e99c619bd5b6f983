"""Floor 3: index notation, the language in which every kernel is stated, and the loop level.

Purpose: `expr` (what one result element is), `notation` (a user's function -> Definition, with
`infer` and `interpret`), `derive` (its gradient, tangent and batching, with `invert`), `text` (its
text form), `math` (elementary functions), `loops` (the loop level), `order` (the order of sums).
May import: base, ir.
Read first: `expr.Expr`, `notation.Definition`, `loops.Kernel`.
"""
