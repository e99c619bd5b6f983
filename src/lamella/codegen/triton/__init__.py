"""The loop level as Triton text, a language of tiles that compiles for GPUs.

Layers, lowest first: `scalars` (the device's own table of operations), `text` (lines and axes),
`values` (expressions), `tiles` (sums and products along tiles), `emit` (statements and functions).
"""

from .emit import TritonSource, emit
