"""Floor 5: transforms of graphs: reverse and forward derivatives, and batching.

Purpose: each takes nodes and gives nodes, so that they compose with each other to any order and
with compilation; a Program is transformed by transforming its outputs.
May import: base, ir, lang, ops.
Read first: `vjp.pullback`, `jvp.pushforward`, `vmap.batch`.
"""
