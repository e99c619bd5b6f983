"""What a step that calls a host function does when the walker comes to it."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Mapping
from contextlib import nullcontext

import numpy as np

from ..base import events
from ..base.errors import ExecutionError, LamellaError
from ..base.extents import evaluate
from ..base.source import render
from ..ir.types import TensorType, tensor
from ..planner.plan import Host
from ..runtime.memory import Exposed

_UNSEEN = nullcontext()


def host_call(step: Host, env: Mapping[str, int]) -> Callable[[int], None]:
    """A callable of the address of the step's words (operands' addresses, then results')."""
    operands = [_bound(t, env) for _, t in step.operands]
    results = [(b is not None, _bound(t, env)) for b, t in step.results]
    count = len(operands) + sum(wanted for wanted, _ in results)

    def run(words: int) -> None:
        addresses = list((ctypes.c_int64 * count).from_address(words)) if count else []
        arrays = [_seen(addresses.pop(0), t, True) for t in operands]
        with events.span(f"call {step.names}") if events.now else _UNSEEN:
            made = results_of(step, arrays)
        for found, (wanted, t) in zip(made, results, strict=True):
            if found.shape != t.shape:
                raise _failed(step, f"returned shape {found.shape}, its rule states {t}")
            if wanted:
                _seen(addresses.pop(0), t, False)[...] = found

    return run


def results_of(step: Host, arrays: list[np.ndarray]) -> list[np.ndarray]:
    """What the step's function returns for its operands."""
    try:
        return step.call(arrays)
    except LamellaError:
        raise
    except Exception as e:
        raise _failed(step, str(e)) from e


def _failed(step: Host, what: str) -> ExecutionError:
    return ExecutionError(f"{step.names}: {what} ({render(step.source) or 'no source line'})")


def _bound(t: TensorType, env: Mapping[str, int]) -> TensorType:
    return tensor(t.dtype, tuple(evaluate(e, env) for e in t.shape))


def _seen(address: int, t: TensorType, readonly: bool) -> np.ndarray:
    """The elements at an address, which the run keeps alive meanwhile."""
    if t.size == 0:
        return np.empty(t.shape, t.dtype.numpy)  # type: ignore[arg-type]
    found = np.asarray(Exposed(None, address, t.shape, t.dtype.typestr, readonly))
    return found if found.dtype == t.dtype.numpy else found.view(t.dtype.numpy)
