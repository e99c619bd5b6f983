"""Functions of the Python array API standard, and others of their kind: each builds nodes.

Read first: `elementwise`, then `manipulation`.
"""
