"""Floor 10: what a user's program is written in: arrays, functions, random numbers, transforms.

Purpose: lazy arrays over graph nodes; every function here builds nodes, and looking at a value is
the one thing that evaluates them.
May import: everything from base to engine.
Inside, each above those it imports: `arrays`, `functions`, `programs` (compile, loops, choices),
`transforms`, `mathematics`, `randomness`, `networks`; `namespace` joins what `lamella` exposes.
Read first: `arrays.array.Array`, `arrays.values.force`, `transforms.gradients.grad`.
"""
