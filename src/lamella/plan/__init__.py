"""Floor 7: from a Program to a Plan: what runs, in which order, where every byte lies, its price.

Purpose: simplify, fuse, schedule, order, place and cost, each a plain function over the list.
May import: base, ir, lang, ops, transform, codegen.
Read first: `plan.Plan`, `fuse.fuse`, `schedule.schedule`, `place.place`.
"""
