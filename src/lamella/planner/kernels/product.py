"""Products on the processor: which template serves one."""

from __future__ import annotations

from ..groups.group import Fusion
from ..plan import Launch
from .contract import schedule_contraction
from .convolution.correlate import correlates, schedule_correlation
from .convolution.depthwise import is_depthwise, schedule_depthwise
from .convolution.direct import schedule_convolution
from .convolution.narrow import is_narrow, schedule_narrow
from .convolution.stem import is_stem, schedule_stem
from .convolution.taps import schedule_taps, sums_taps
from .convolution.windows import moves, windowed
from .convolution.winograd import schedule_winograd
from .convolution.winograd_weights import schedule_winograd_weights
from .matrices import fills_matrices, schedule_matrices
from .nest import Nest
from .paired import pairs_up, schedule_paired
from .quads import adds_quads, schedule_quads

WINOGRAD = {**dict.fromkeys(("winograd", "winograd 4x4"), schedule_winograd),
            **dict.fromkeys(("winograd weights", "winograd weights 4x4"),
                            schedule_winograd_weights)}


def schedule_product(nest: Nest, buffers, fusion: Fusion, target) -> list[Launch]:
    """The launches of a product and of the maps fused behind it."""
    special = WINOGRAD.get(nest.bodies[0].attr[0])
    if special is not None:
        return special(nest, buffers, fusion, target)
    left, right, *start = nest.bodies[0].args
    if left is right or start:  # squares: there are no weights beside windows; sums that go on
        return schedule_contraction(nest, buffers, fusion, target)
    windows = windowed(nest)
    if windows is None:
        for e in nest.bodies[0].args:
            if is_depthwise(nest, e):  # the last axis is in both operands: lanes, not a batch
                return schedule_depthwise(nest, e, buffers, fusion, target)
        found = None
        if fills_matrices(nest, target):
            found = schedule_matrices(nest, buffers, fusion, target)
        elif pairs_up(nest, target):
            found = schedule_paired(nest, buffers, fusion, target)
        elif adds_quads(nest, target):
            found = schedule_quads(nest, buffers, fusion, target)
        return found or schedule_contraction(nest, buffers, fusion, target)
    if is_depthwise(nest, windows):
        return schedule_depthwise(nest, windows, buffers, fusion, target)
    if sums_taps(nest, windows):
        return schedule_taps(nest, windows, buffers, fusion, target)
    if correlates(nest, windows) and not moves(windows):
        return schedule_contraction(nest, buffers, fusion, target)
    if correlates(nest, windows):
        return schedule_correlation(nest, windows, buffers, fusion, target)
    if is_narrow(nest, windows):
        return schedule_narrow(nest, windows, buffers, fusion, target)
    if is_stem(nest, windows):
        return schedule_stem(nest, windows, buffers, fusion, target)
    return schedule_convolution(nest, windows, buffers, fusion, target)
