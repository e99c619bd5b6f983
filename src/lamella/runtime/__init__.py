"""Floor 8: what runs a plan: memory, threads, the native walker, the object cache.

Purpose: run tables of native steps over plain bytes; nothing here knows a Program or a dtype.
May import: `lamella.base`, the standard library, numpy; llvmlite in `llvm.py` alone.
Read first: `table.Table` (what a plan becomes), `walker` (who runs it), `team` (on how many
threads), `memory.allocate` and `memory.lease` (over which bytes), `cache.compiled` and
`llvm.load` (from text to addresses).
Importing any of these loads no LLVM; the first table that is made does.
"""
