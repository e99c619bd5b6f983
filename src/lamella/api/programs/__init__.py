"""Functions as programs of their own: compiled, as bodies of loops and choices, or a user's op.

Read first: `traced`, `entry` and `compiled`, the way of a compiled function; then `closing`.
"""
