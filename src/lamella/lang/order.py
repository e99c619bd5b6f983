"""The fixed order of reductions: numbers that decide bits (docs/numerics.md).

Changing any of them changes results, and so must change VERSION, which stands in model files,
checkpoints and cache keys.
"""

from __future__ import annotations

from .loops import LANES

VERSION = 3
SUM_LANES = LANES          # position k of a sum adds into lane k mod SUM_LANES
SUM_CHUNK = 1024           # of a chunk of so many positions; chunks join as an aligned binary tree
CONTRACT_CHUNK = 4096      # positions of one ascending chain of fused multiply-adds
WINOGRAD_DEPTH = 32        # channels and filters from which 3 x 3 taps are summed over 4 x 4 tiles
WINOGRAD_CHUNK = 512       # tiles of one chain in the gradient of such a convolution
WEIGHTS_CHUNK = 64         # weights of attention that are added before they join the others
