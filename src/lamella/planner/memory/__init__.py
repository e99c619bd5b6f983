"""Where every byte lies: lifetimes, shared bytes, offsets, what a budget runs again or in parts.

Read first: `alias.share_bytes`, `place.place`, `budget.keep`.
"""
