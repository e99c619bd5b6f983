"""Floor 7: from a Program to a Plan: what runs, in which order, where every byte lies, its price.

Purpose: simplify, split, fuse, schedule, share bytes, place and price, each a plain function.
May import: base, ir, lang, ops, transform, codegen.
Read first: `build.build_plan` (the visible list of stages), `plan.Plan`, `fuse.fuse`.
"""
