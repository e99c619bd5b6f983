"""Random numbers from explicit keys; `random` is the namespace that users see.

Read first: `keys`, then `draws`.
"""
