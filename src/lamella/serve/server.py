"""The server's process: one listening socket, signals, a graceful end."""

from __future__ import annotations

import errno
import ipaddress
import socket
from collections.abc import Callable
from functools import partial

import uvicorn

from ..api.arrays.placing import compute_device
from ..base.devices import cpu
from ..base.errors import LamellaError
from ..engine.profile import profile
from ..engine.program import compile_program, place_program
from ..formats.lamella_file import Model, load
from ..planner.memory.peak import bytes_text
from ..planner.report import Report
from ..runtime.walker import threads
from .app import Api, Limits, application
from .registry import Registry, Run, Served

DRAIN = 30  # seconds that requests in progress have after SIGTERM


def executable(model: Model, fast: bool = False, device: str = "") -> Run:
    """The model's program, compiled for this machine, with `fast` in that mode, or for a GPU."""
    weights = dict(enumerate(model.weights.values()))
    found = compute_device("serve", device or None)
    if found is cpu:
        return compile_program(model.program, weights, fast)
    if fast:
        raise LamellaError(f"serve: {found} has no fast mode; leave fast or the device out")
    return place_program(model.program, found, weights)


_say = partial(print, flush=True)


def serve(paths: list[str], host: str = "127.0.0.1", port: int = 8000, *,
          limits: Limits | None = None, insecure: bool = False,
          fast: bool = False, device: str = "", prepare: Callable[[Model], Run] | None = None,
          say: Callable[[str], None] = _say) -> None:
    """Serve the model files until SIGTERM or SIGINT; what is in progress is finished first. They
    are compiled, with `fast` in that mode or for the GPU `device`, or what `prepare` makes of
    them."""
    prepare = prepare or partial(executable, fast=fast, device=device)
    _check_host(host, insecure)
    registry = Registry()
    for path in paths:
        model = load(path)
        registry.add(Served(model, prepare(model)))
    with listen(host, port) as sock:
        hosts = None if insecure else ["127.0.0.1", "localhost", "::1", "[::1]", host]
        app = application(registry, limits, hosts)
        for m in registry:
            say(describe(m))
        bound = (limits or Limits()).connections
        config = uvicorn.Config(app, log_level="warning", access_log=False, server_header=False,
                                timeout_graceful_shutdown=DRAIN, lifespan="on",
                                limit_concurrency=bound)
        _Server(config, app.state.api, sock, say).run(sockets=[sock])


def describe(m: Served) -> str:
    """One line: what the model takes, and what its largest batch will use."""
    head = f"{m.name} version {m.version}: up to {m.bound} rows a batch"
    if m.plan is None:
        return f"{head}, interpreted"
    head += ", fast" if m.plan.fast else ""
    report = Report(m.plan, profile(), threads())
    weights = sum(a.nbytes for a in m.model.weights.values())
    return (f"{head}, peak {bytes_text(report.peak)} (weights {bytes_text(weights)}), "
            f"{report.flops:,} operations")


def _check_host(host: str, insecure: bool) -> None:
    try:
        local = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        local = False
    if not local and not insecure:
        raise LamellaError(f"{host} can be reached by other machines, and there is no password; "
                           f"use 127.0.0.1 behind a proxy, or allow it with --insecure")


def listen(host: str, port: int) -> socket.socket:
    """A listening socket; a busy port is one clear error."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
        return sock
    except (OSError, OverflowError) as e:
        sock.close()
        code = getattr(e, "errno", None)
        known = {errno.EADDRINUSE: "is in use; choose another with --port (0 takes a free one)",
                 errno.EACCES: "needs more rights; choose one above 1023"}
        why = known.get(code or 0, f"failed: {e}")
        raise LamellaError(f"port {port} on {host} {why}") from None


class _Server(uvicorn.Server):
    """uvicorn, but it says where it listens, and a signal first makes it not ready."""

    def __init__(self, config: uvicorn.Config, api: Api, sock: socket.socket, say: Callable):
        super().__init__(config)
        self.api, self.sock, self.say = api, sock, say

    async def startup(self, sockets=None) -> None:
        await super().startup(sockets)
        host, port = self.sock.getsockname()[:2]
        self.say(f"listening on http://{f'[{host}]' if ':' in host else host}:{port}")

    def handle_exit(self, sig: int, frame) -> None:
        """The first signal drains; the second ends at once."""
        self.force_exit = self.should_exit
        self.api.leaving = self.should_exit = True
