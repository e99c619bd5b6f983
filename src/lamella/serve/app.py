"""The REST routes of the Open Inference Protocol v2, as a Starlette application."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect
from starlette.requests import Request as HttpRequest
from starlette.responses import Response
from starlette.routing import Route

from .. import __version__
from ..base.errors import LamellaError
from . import protocol
from .lane import Lane
from .registry import Registry, RequestError, Served

_log = logging.getLogger("lamella.serve")


@dataclass(frozen=True)
class Limits:
    """What a server admits."""

    body: int = 16 << 20  # bytes of one request
    bodies: int = 256 << 20  # bytes of all requests in progress together
    waiting: int = 1024  # rows that may wait for each model
    window: float = 0.001  # seconds that the first of a batch waits for others
    timeout: float = 30.0  # seconds until a body is whole, and from then until an answer
    connections: int = 1000  # open at a time; further requests are told to come later

    def __post_init__(self):
        for name in ("body", "bodies", "waiting", "timeout", "connections"):
            if not 0 < getattr(self, name) < math.inf:
                raise LamellaError(f"{name} {getattr(self, name)}: a number above 0 is needed")
        if not 0 <= self.window < math.inf:
            raise LamellaError(f"window {self.window}: a number from 0 on is needed")


class Bodies:
    """The bytes of all bodies in progress, at most `most`."""

    def __init__(self, most: int):
        self.most, self.held = most, 0

    @contextlib.contextmanager
    def share(self) -> Iterator[Callable[[int], None]]:
        """While entered, the function that is given adds bytes of one body; RequestError where
        there is no room."""
        mine = 0

        def add(size: int) -> None:
            nonlocal mine
            if self.held + size > self.most:
                raise RequestError(503, f"requests of {self.held} bytes are in progress; try again "
                                        f"later")
            self.held += size
            mine += size

        try:
            yield add
        finally:
            self.held -= mine


class Api:
    """The routes' state: models, their lanes, and whether the server is leaving."""

    def __init__(self, registry: Registry, limits: Limits):
        self.registry, self.limits = registry, limits
        self.bodies = Bodies(self.limits.bodies)
        self.lanes: dict[tuple[str, str], Lane] = {}
        self.leaving = False

    @contextlib.asynccontextmanager
    async def lifespan(self, _):
        for m in self.registry:
            self.lanes[m.name, m.version] = Lane(
                m, window=self.limits.window, most_waiting=self.limits.waiting,
                timeout=self.limits.timeout)
        yield
        self.leaving = True
        for lane in self.lanes.values():
            await lane.close()

    def served(self, http: HttpRequest) -> Served:
        return self.registry.get(http.path_params["model"], http.path_params.get("version"))

    async def server(self, http: HttpRequest) -> Response:
        return _json({"name": "lamella", "version": __version__,
                      "extensions": ["binary_tensor_data"]})

    async def live(self, http: HttpRequest) -> Response:
        return _json({"live": True})

    async def ready(self, http: HttpRequest) -> Response:
        return _json({"ready": not self.leaving}, 503 if self.leaving else 200)

    async def model(self, http: HttpRequest) -> Response:
        return _json(protocol.metadata(self.registry, self.served(http)))

    async def model_ready(self, http: HttpRequest) -> Response:
        name = self.served(http).name
        return _json({"name": name, "ready": not self.leaving}, 503 if self.leaving else 200)

    async def infer(self, http: HttpRequest) -> Response:
        """Read, check, wait for the batch, answer."""
        served = self.served(http)
        with self.bodies.share() as add:
            body = await _body(http, self.limits, add)
            request, arrays = protocol.read_request(body, http.headers.get(protocol.HEADER), served)
            protocol.check_outputs(request, served)
            lane = self.lanes[served.name, served.version]
            outputs = await lane.infer(arrays, _timeout(request))
        answer, length = protocol.write_response(request, served, outputs)
        if length is None:
            return Response(answer, media_type="application/json")
        return Response(answer, media_type="application/octet-stream",
                        headers={protocol.HEADER: str(length)})


def _timeout(request: protocol.Request) -> float | None:
    """The protocol's `timeout` parameter is in microseconds."""
    given = request.parameters.get("timeout")
    if given is None:
        return None
    if type(given) is not int or given <= 0:
        raise RequestError(400, "the parameter timeout must be a positive number of microseconds")
    return given / 1e6


async def _body(http: HttpRequest, limits: Limits, add: Callable[[int], None]) -> bytes:
    """The body, refused as soon as it is known to be too large or too slow."""
    stated = http.headers.get("content-length", "0")
    too_large = RequestError(413, f"the body is larger than {limits.body} bytes")
    if stated.isdecimal() and int(stated[:20]) > limits.body:
        raise too_large
    coding = http.headers.get("content-encoding", "identity")
    if coding != "identity":
        raise RequestError(415, f"the body is coded as {coding[:32]!r}; send it as it is")
    body = bytearray()
    try:
        async with asyncio.timeout(limits.timeout):
            async for chunk in http.stream():
                if len(body) + len(chunk) > limits.body:
                    raise too_large
                add(len(chunk))
                body += chunk
    except TimeoutError:
        raise RequestError(408, f"the body did not come within {limits.timeout:g} s") from None
    return bytes(body)


def _json(value, status: int = 200, headers: dict[str, str] | None = None) -> Response:
    return Response(msgspec.json.encode(value), status, headers, "application/json")


async def _refused(_: HttpRequest, e: Exception) -> Response:
    status = getattr(e, "status", 400)
    return _json({"error": str(e)}, status, {"Retry-After": "1"} if status == 503 else None)


async def _not_found(http: HttpRequest, e: Exception) -> Response:
    status = getattr(e, "status_code", 500)
    return _json({"error": f"{http.method} {http.url.path}: {getattr(e, 'detail', '')}"}, status,
                 getattr(e, "headers", None))


async def _gone(_: HttpRequest, e: Exception) -> Response:
    """The client left before its request was whole: nobody reads this."""
    return Response(status_code=400)


async def _fault(_: HttpRequest, e: Exception) -> Response:
    """Our own fault: the log knows more than the client."""
    _log.error("a request failed", exc_info=e)
    return _json({"error": "internal error; the server's log has the details"}, 500)


def application(registry: Registry, limits: Limits | None = None,
                hosts: list[str] | None = None) -> Starlette:
    """The application; `app.state.api` is its Api. `hosts` are the accepted Host headers."""
    api = Api(registry, limits or Limits())
    model = ("/v2/models/{model}", "/v2/models/{model}/versions/{version}")
    routes = [Route("/v2", api.server), Route("/v2/health/live", api.live),
              Route("/v2/health/ready", api.ready)]
    for path in model:
        routes += [Route(path, api.model), Route(f"{path}/ready", api.model_ready),
                   Route(f"{path}/infer", api.infer, methods=["POST"])]
    guard = [Middleware(TrustedHostMiddleware, allowed_hosts=hosts)] if hosts else []
    app = Starlette(routes=routes, lifespan=api.lifespan, middleware=guard, exception_handlers={
        LamellaError: _refused, HTTPException: _not_found, ClientDisconnect: _gone,
        Exception: _fault})
    app.state.api = api
    return app
