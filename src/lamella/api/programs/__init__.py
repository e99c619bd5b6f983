"""Functions as programs of their own: compiled, as bodies of loops and choices, or a user's op.

Read first: `compile.Compiled`, then `closing`.
"""
