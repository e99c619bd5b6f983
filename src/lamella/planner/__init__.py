"""Floor 7: from a Program to a Plan: what runs, in which order, where every byte lies, its price.

Purpose: simplify, split, fuse, schedule, share bytes, place and price, each a plain function.
May import: base, ir, lang, ops, transform, codegen.
Inside: `groups` (which values are stored and computed together), `kernels` (the loops of a group),
`memory` (bytes and budgets), `pricing` (operations and time).
Read first: `build.build_plan` (the visible list of stages), `plan.Plan`, `groups.fuse`.
"""
