"""Floor 6: code for a target from the loop level.

Purpose: `target` (targets as data), `emit` (a loop-level kernel -> LLVM text), made of four layers:
`text` (blocks of instructions), `values` (expressions), `memory` (loads and stores), `emit`
(statements). `scalars` and `convert` are the target's own table of scalar instructions.
May import: base, ir, lang. Assembling and loading the text is the runtime's.
Read first: `emit.emit`, `target.Target`.
"""

from .emit import Source, emit, emit_module
from .target import AVX2, AVX512, Target, by_name, detect
