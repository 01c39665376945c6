"""The gateway over HTTP: an ASGI application before it, and an httpx client behind it.

The time that is left travels in the header `Request-Timeout`, in seconds, since two machines have no
clock in common. Needs the extra `course` (httpx, Starlette).

*Left out:* TLS, HTTP/2, streams in either direction, and noticing that a client has hung up.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable
from dataclasses import replace
from typing import Any
from urllib.parse import quote

import anyio
import httpx
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.responses import Response as HttpResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from .. import values
from .backend import Backend
from .edge import AdmittedRequest, Request, Response, end_to_end
from .errors import BackendFailed, GatewayTimeout, NotFound, RequestRefused
from .gateway import Gateway

TIMEOUT = "Request-Timeout"

_IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE"})  # RFC 9110, section 9.2.2
# Of a backend's response: the gateway is a server itself
_ENDS_HERE = frozenset({"content-length", "content-encoding", "date", "server"})
# Of a request to it: nothing is unpacked here, so that nothing can grow
_SAID_ANEW = frozenset({TIMEOUT.lower(), "accept-encoding"})


async def _read(chunks: AsyncIterable[bytes], limit: int) -> bytes | None:
    """The whole body, or None for one that is too long: the rest of it is not read."""
    body = bytearray()
    async for chunk in chunks:
        body += chunk
        if len(body) > limit:
            return None
    return bytes(body)


# Before the gateway


def application(gateway: Gateway) -> ASGIApp:
    """An application whose every path and method is answered by the gateway, in its own form.

    A body that is still not there after the gateway's timeout is a 408, and its connection is closed.
    The gateway is open from ASGI's lifespan event "startup" to "shutdown"; without them, enter it yourself.
    """

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "lifespan":
            return await _live(gateway, receive, send)
        response = _out(await _handled(gateway, HttpRequest(scope, receive)))
        return await response(scope, receive, send)

    return answer


async def _handled(gateway: Gateway, request: HttpRequest) -> Response:
    """The gateway's answer; the time in which the body comes is a part of what the gateway has for all."""
    asked = _in(request, until=anyio.current_time() + gateway.timeout)
    try:
        with anyio.fail_after(gateway.timeout):
            body = await _read(request.stream(), gateway.max_body)
    except TimeoutError:
        words = f"the body of {asked.path} did not come in time"  # and the rest of it may yet come
        close = [("connection", "close")]
        return gateway.refuse(asked, RequestRefused(408, "request timeout", words, headers=close))
    if body is None:  # one byte too many is enough for the gateway to refuse it
        body = bytes(gateway.max_body + 1)
    return await gateway.handle(replace(asked, body=body))


async def _live(gateway: Gateway, receive: Receive, send: Send) -> None:
    await receive()
    async with gateway:
        await send({"type": "lifespan.startup.complete"})
        await receive()
    await send({"type": "lifespan.shutdown.complete"})


def _in(request: HttpRequest, until: float) -> Request:
    """The request without its body, which ends at `until`, or when its client says."""
    path = request.scope.get("raw_path") or request.scope["path"].encode()
    return Request(
        request.method,
        path.decode("latin-1"),
        request.url.query,
        headers=tuple((n, v) for n, v in request.headers.items() if n != TIMEOUT.lower()),
        deadline=min(until, _deadline(request.headers.get(TIMEOUT))),
    )


def _deadline(timeout: str | None) -> float:
    """The client's own deadline, if it makes sense; the gateway has a bound of its own."""
    try:
        seconds = float(timeout or math.inf)
    except ValueError:
        return math.inf
    return anyio.current_time() + seconds if seconds > 0 else math.inf


def _out(response: Response) -> HttpResponse:
    if isinstance(response.body, bytes):
        made = HttpResponse(response.body, response.status)
    else:
        made = JSONResponse(response.body, response.status)
    for name, value in response.headers:
        made.headers.append(name, value)
    return made


# Behind the gateway


class HttpBackend:
    """The service at `url`, called through `backend` with the client that it is given.

    Bodies of at most `max_body` bytes are taken from it.
    """

    def __init__(
        self, backend: Backend, client: httpx.AsyncClient, url: str, *, max_body: int = 1024 * 1024
    ) -> None:
        self._backend = backend
        self._client = client
        self._url = url.rstrip("/")
        self._max_body = max_body

    async def get(self, path: str, call: AdmittedRequest) -> Any:
        """The JSON value at a path, for whoever made the call.

        Raises `NotFound` and `BackendFailed`, and what `Backend.call` raises.
        """
        headers = [(name, value) for name, value in call.headers if name.startswith("x-identity-")]
        response = await self._send("GET", path, "", headers, b"")
        if response.status == 404:
            raise NotFound(f"{self._backend.name} has no {path}")
        if response.status != 200:
            raise BackendFailed(f"{self._backend.name} answered {response.status} for {path}")
        try:
            return values.from_json("the answer", response.body)
        except ValueError as error:
            raise BackendFailed(f"{self._backend.name} answered no JSON for {path}") from error

    async def forward(self, call: AdmittedRequest) -> Response:
        """The service's own response to the call. Raises as `get` does, but not for 4xx."""
        request = call.request
        return await self._send(request.method, call.path, request.query, [*call.headers], request.body)

    async def _send(
        self, method: str, path: str, query: str, headers: list[tuple[str, str]], body: bytes
    ) -> Response:
        again = method in _IDEMPOTENT
        url = self._url + quote(path) + (f"?{query}" if query else "")
        return await self._backend.call(self._once, method, url, headers, body, idempotent=again)

    async def _once(self, method: str, url: str, headers: list[tuple[str, str]], body: bytes) -> Response:
        left = anyio.current_effective_deadline() - anyio.current_time()
        kept = [(name, value) for name, value in headers if name not in _SAID_ANEW]
        said = [*kept, (TIMEOUT, f"{left:.6f}"), ("accept-encoding", "identity")]
        sent = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in said]
        try:
            # The backend has the deadline; a second clock in the client would only blur whose end it was.
            async with self._client.stream(
                method, url, headers=sent, content=body, timeout=None, follow_redirects=False
            ) as response:
                content = await _read(response.aiter_raw(), self._max_body)
        except httpx.HTTPError as error:
            raise BackendFailed(f"{url} does not answer: {error!r}") from error
        if content is None:
            raise BackendFailed(f"{url} answered with more than {self._max_body} bytes")
        if response.status_code == 504:
            raise GatewayTimeout(f"{url} had no answer in time")
        if response.status_code >= 500:
            raise BackendFailed(f"{url} answered {response.status_code}")
        if (coding := response.headers.get("content-encoding", "identity")) != "identity":
            raise BackendFailed(f"{url} answered with the encoding {coding}, which it was not asked for")
        kept = end_to_end(response.headers.multi_items())
        return Response(response.status_code, content, [(n, v) for n, v in kept if n not in _ENDS_HERE])
