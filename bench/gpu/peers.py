"""The peers' side of the GPU benchmark, for `python -m bench.gpu --peers bench/gpu/peers.py`.

    python bench/gpu/peers.py torch|torch.compile|jax CELL [--seconds S] [--small]

prints a line of JSON for each row of the cell. Needs PyTorch or JAX, and nothing of Lamella.
"""

from __future__ import annotations

import sys
from pathlib import Path


def main(arguments: list[str]) -> None:
    from bench.gpu import cells
    options = cells.options_of(arguments, "peers.py", cells.PEERS)
    if not cells.CELLS[options.cell][1]:
        sys.exit(f"{options.cell} is a cell without peers")
    if options.system == "jax":
        from bench.gpu import jax_side
        rows = jax_side.rows_of(options.cell, options.small, options.seconds)
    else:
        from bench.gpu import torch_side
        rows = torch_side.rows_of(options.system, options.cell, options.small, options.seconds)
    cells.emit(rows, options)


if __name__ == "__main__":
    sys.path[0] = str(Path(__file__).resolve().parents[2])
    main(sys.argv[1:])
