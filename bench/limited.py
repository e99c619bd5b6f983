"""One system's steps of a reference workload in a process of its own, under a limit of its memory.

    python -m bench.limited lamella WORKLOAD [--memory BYTES] [--limit BYTES] [--steps N] [--plan]
    python -m bench.limited torch|torch.compile|jax WORKLOAD --peers FILE [--limit BYTES]

Prints one JSON line: the resident bytes by which the process grew, each step's seconds, and what
the system handed out from the second step on. With `--limit` the process may have (RLIMIT_DATA) so
many bytes more than it had before: Lamella before its arguments are made, all compiled; a peer when
the library is loaded and has run steps of the small perceptron, and from its second step on, so
that compiling falls under no limit. `--plan` prints what Lamella's plan states, and runs nothing.
"""

from __future__ import annotations

import argparse
import json
import time
from contextlib import nullcontext
from importlib.util import module_from_spec, spec_from_file_location

WARM = "mlp_train"      # what a peer runs before it is looked at
MORE = {"gpt_words_train": {"kind": "train", "L": 6, "H": 6, "D": 384, "T": 256, "B": 16,
                            "V": 8192}}


def claimed(work: str, memory: int | None) -> dict:
    """What the plan states, before anything is compiled."""
    report = _plan(work, memory)
    return {"peak": report.peak, "arguments": report.memory.arguments, "flops": report.flops,
            "seconds": report.seconds}


def own(work: str, memory: int | None, limit: int, steps: int) -> dict:
    """Lamella's figures."""
    from lamella.engine.executable import Executable
    from lamella.engine.proof import prove
    report = _plan(work, memory)
    return prove(Executable(report.plan, report.threads), limit, steps)._asdict()


def _plan(work: str, memory: int | None):
    from . import ours
    ours.WORK.update(MORE)
    return ours.case(work, memory=memory, ready=False).plan()


def peer(system: str, work: str, file: str, limit: int | None, steps: int) -> dict:
    """A peer's figures."""
    from lamella.base.process import limited, settle, status, usage
    peers = _loaded(file)
    peers.WORK.update(MORE)
    warm = _step_of(peers, system, WARM)
    warm(), warm()
    del warm
    settle()
    base, data = status("VmRSS"), status("VmData")
    step = _step_of(peers, system, work)
    step()
    settle()
    with nullcontext() if limit is None else limited(data + limit):
        before, seconds = usage(), []
        for _ in range(steps - 1):
            began = time.perf_counter()
            step()
            seconds.append(time.perf_counter() - began)
        later = usage().since(before)
    return {"base": base, "grown": status("VmHWM") - base, "seconds": seconds, **later._asdict()}


def _loaded(file: str):
    spec = spec_from_file_location("peers", file)
    assert spec is not None and spec.loader is not None, f"{file} is no Python file"
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _step_of(peers, system: str, work: str):
    if system == "jax":
        return peers.jax_case(work)
    return peers.torch_case(work, system == "torch.compile")[0]


def main() -> None:
    p = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    p.add_argument("system")
    p.add_argument("work")
    p.add_argument("--memory", type=int)
    p.add_argument("--limit", type=int)
    p.add_argument("--steps", type=int, default=10)
    p.add_argument("--peers", default="")
    p.add_argument("--plan", action="store_true")
    o = p.parse_args()
    if o.plan:
        found = claimed(o.work, o.memory)
    elif o.system == "lamella":
        found = own(o.work, o.memory, o.limit, o.steps)
    else:
        found = peer(o.system, o.work, o.peers, o.limit, o.steps)
    print(json.dumps(found), flush=True)


if __name__ == "__main__":
    main()
