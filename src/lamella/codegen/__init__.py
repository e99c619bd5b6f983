"""Floor 6: code for a target from the loop level.

Purpose: `target` (targets as data) and `emit` (a loop-level kernel -> LLVM text), which is made of
six layers: `text` (lines and scopes), `values` (expressions), `memory` (loads and stores),
`matrices` (registers that hold them), `blocks` (control flow), `emit` (statements, functions,
modules). `scalars` and `convert` are the target's own table of scalar instructions. `triton` writes
the same kernels as Triton text, for the GPUs that `gpu` describes.
May import: base, ir, lang. Assembling and loading the text is the runtime's.
Read first: `emit.emit`, `target.Target`.
"""

from .emit import Source, emit, module
from .target import AVX2, AVX512, AVX512_AMX, AVX512_VNNI, Target, by_name, detect
