"""Floor 2: Programs of typed nodes, their text form, verifier and reference interpreter.

Purpose: one small graph of pure nodes (or nodes with an order token) that every transform rewrites.
May import: base.
Read first: `node.Node`, `op.Op`, `program.Program`.
"""
