"""Where every byte lies: lifetimes, shared bytes, offsets, and what a budget makes run again.

Read first: `alias.share_bytes`, `place.place`, `budget.keep`.
"""
