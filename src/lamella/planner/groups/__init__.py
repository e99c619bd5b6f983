"""From a Program to groups: what is simplified, cut in two, stored, and computed by one kernel.

Read first: `fuse.fuse`, then `simplify`, `split` and `partition`.
"""
