"""Request–reply over HTTP: the same errors, the same deadlines, the same answers to a repetition.

The way there is the HTTP request and the way back its response. The time that is left travels in the
header `Request-Timeout`, in seconds, since two machines have no clock in common; the idempotency key
in `Idempotency-Key`, percent-encoded, and the correlation id in `Correlation-Id`. Bodies have at most
1 MiB and come within 10 s; none is unpacked. Needs the extra `course` (httpx, Starlette, uvicorn), on
asyncio.

*Left out:* TLS, authentication, and `scatter`, which needs a way that forks.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ..message import Message
from ..sockets import listening_socket
from ..tasks import background
from .envelope import (
    CORRELATION,
    ERROR,
    MAX_BYTES,
    OUTCOME,
    ReplyStatus,
    read_reply,
    read_request,
    write_reply,
    write_request,
)
from .errors import NoResponder, NotDelivered, TransportError
from .replier import Replier
from .requestor import Requestor

BODY_TIMEOUT = 10.0  #: seconds, in which all of a request's body must come

_HEADERS = {"Content-Type": "application/json", "Accept-Encoding": "identity"}
_REFUSED = {"DeadlinePassed": 504, "KeyReused": 422}  # every other refusal is a 503


# The requestor


class HttpRequestor(Requestor):
    """Asks the service at `url` with the client that it is given; the settings are those of `Requestor`."""

    def __init__(self, client: httpx.AsyncClient, url: httpx.URL | str, **settings: Any) -> None:
        super().__init__(self._post, **settings)
        self._client = client
        self._url = httpx.URL(url)  # read once, and not for each request

    async def _post(self, attempt: Message) -> None:
        content, headers = write_request(attempt)
        try:
            # The waiter has the deadline; a second clock in the client would only blur whose end it was.
            async with self._client.stream(
                "POST", self._url, content=content, headers={**_HEADERS, **headers}, timeout=None
            ) as response:
                reply = await _reply(attempt, response)
        except httpx.ConnectError as error:
            raise NoResponder(f"nobody answers at {self._url}: {error}") from error
        except httpx.UnsupportedProtocol as error:
            raise NotDelivered(f"the request was not sent to {self._url}: {error!r}") from error
        except httpx.TransportError as error:
            raise TransportError(f"the connection to {self._url} broke down: {error!r}") from error
        self.receive_nowait(reply)


async def _reply(attempt: Message, response: httpx.Response) -> Message:
    """The response as a reply. Raises NoResponder or TransportError when it is not the replier's."""
    if response.status_code == 404:
        raise NoResponder(f"nobody answers at this path: {response.url}")
    if response.headers.get(CORRELATION) != attempt.id:
        raise TransportError(f"not the replier, but something on the way answered: {response.status_code}")
    content = await _read(response.aiter_raw())  # nothing is unpacked, so nothing can grow
    if content is None:
        raise TransportError(f"the answer of {response.url} is longer than {MAX_BYTES:,} bytes")
    return read_reply(attempt, content)


async def _read(chunks: AsyncIterable[bytes]) -> bytes | None:
    """All of a body, or None for one that is too long: then the rest is not read."""
    content = bytearray()
    async for chunk in chunks:
        content += chunk
        if len(content) > MAX_BYTES:
            return None
    return bytes(content)


# The replier


def service(replier: Replier, path: str = "/") -> Starlette:
    """An application that answers POST requests at `path`; `replier` must be open while it is served."""

    async def answer(request: Request) -> Response:
        try:
            with anyio.fail_after(BODY_TIMEOUT):
                content = await _read(request.stream())
        except TimeoutError:
            wrong = {"wrong": f"the body did not come within {BODY_TIMEOUT:g} s"}
            return JSONResponse(wrong, 408, {"Connection": "close"})
        if content is None:
            return JSONResponse({"wrong": f"the body is longer than {MAX_BYTES:,} bytes"}, 413)
        try:
            asked = read_request(content, request.headers)
        except (ValueError, KeyError, TypeError) as error:
            return JSONResponse({"wrong": f"this is not a request: {error!r}"}, 400)
        reply = await replier.answer(asked)
        if reply is None:
            return JSONResponse({"wrong": "a copy of this very attempt is being worked on"}, 409)
        reply, content = write_reply(reply)
        status = 200 if reply.headers[OUTCOME] == ReplyStatus.ANSWER else 500
        if reply.headers[OUTCOME] == ReplyStatus.REFUSED:
            status = _REFUSED.get(reply.headers[ERROR], 503)
        headers = {CORRELATION: str(reply.correlation_id)}
        return Response(content, status, headers, media_type="application/json")

    return Starlette(routes=[Route(path, answer, methods=["POST"])])


@asynccontextmanager
async def serve(replier: Replier, path: str = "/") -> AsyncIterator[str]:
    """Serve the replier on a free port of this machine for as long as the block runs; gives its URL.

    Leaving the block gives what runs as many seconds as the replier's `grace`, rounded up.
    """
    grace = None if replier.grace == math.inf else math.ceil(replier.grace)
    config = uvicorn.Config(
        service(replier, path), log_level="critical", lifespan="off", timeout_graceful_shutdown=grace
    )
    with listening_socket() as listener:
        server = uvicorn.Server(config)
        async with replier, background(grace=math.inf) as group:
            group.start_soon(server.serve, [listener])
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}{path}"
            finally:
                replier.close()
                server.should_exit = True
