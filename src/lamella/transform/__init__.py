"""Floor 4: transforms of graphs: reverse and forward derivatives, and batching.

Purpose: each takes nodes and gives nodes, so that they compose with each other to any order and
with compilation; a Program is transformed by transforming its outputs.
May import: base, ir. The ops stand above, so that those with programs inside (loops) can use these.
Read first: `vjp.pullback`, `jvp.pushforward`, `vmap.batch`.
"""
