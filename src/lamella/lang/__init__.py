"""Floor 3: index notation, the language in which every kernel is stated, and the loop level.

Purpose: `expr` (what one result element is), `notation` (a user's function -> Definition), `derive`
(its gradient, tangent and batching), `loops` (the loop level), `schedule` (rewrites of loop nests).
May import: base, ir.
Read first: `expr.Expr`, `notation.Definition`, `loops.Kernel`.
"""
