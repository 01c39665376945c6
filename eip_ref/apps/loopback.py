"""Applications on this machine alone: how they are served, their pages, and the guard before their doors.

What does not name one of `hosts` opens no door, and what comes from another origin changes nothing and
follows nothing. What is longer than `MAX_BYTES` goes through no door either: a body or an address that is
too long is refused, and a socket that says too much is closed. Needs the extra `course` (Starlette,
uvicorn); `serving` runs on asyncio.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection
from contextlib import asynccontextmanager
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import anyio
import uvicorn
from starlette.datastructures import Headers
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocket

from ..sockets import listening_socket
from ..tasks import background

__all__ = ["LOOPBACK", "MAX_BYTES", "Guard", "page", "serving"]

LOOPBACK = ("localhost", "127.0.0.1", "::1")
MAX_BYTES = 64 * 1024  #: of a body, of a path with its query, and of what a socket says at a time
MAX_TIMEOUT = 10.0  #: in seconds, until all of a body is there
MESSAGE_TOO_BIG = 1009
POLICY_VIOLATION = 1008
_STYLE = Path(__file__).with_name("style.css")
_SAFE = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self' ws: wss:; "
    "frame-ancestors http://localhost:* http://127.0.0.1:*",  # a notebook on this machine may show it
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on this machine, on a free port unless one is given; gives its URL.

    A WebSocket may say `MAX_BYTES` at a time. When the server is told to stop from outside, as by Ctrl-C, the
    block is cancelled.
    """
    bounds: dict[str, Any] = {"timeout_graceful_shutdown": 1, "ws_max_size": MAX_BYTES}
    config = uvicorn.Config(app, log_level="critical", lifespan="auto", **bounds)
    with listening_socket(port) as listener:
        server = uvicorn.Server(config)
        async with background(grace=5) as group:

            async def serve() -> None:
                await server.serve([listener])
                group.cancel_scope.cancel()

            group.start_soon(serve)
            try:
                yield f"http://127.0.0.1:{listener.getsockname()[1]}"
            finally:
                server.should_exit = True


def page(path: Path, **words: str) -> Response:
    """The page at this path, in the style of all of them; `{{ name }}` in it becomes its word."""
    text = path.read_text(encoding="utf-8").replace("{{ style }}", _STYLE.read_text(encoding="utf-8"))
    for name, word in words.items():
        text = text.replace(f"{{{{ {name} }}}}", escape(word))
    return HTMLResponse(text, headers=_SAFE)


class Guard:
    """Lets in who calls this application by one of its names, no page of another site, and nothing long."""

    def __init__(self, app: ASGIApp, hosts: Collection[str] = LOOPBACK) -> None:
        self._app = app
        self._hosts = hosts

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        error = None if scope["type"] == "lifespan" else self._refusal(scope)
        if error is None and scope["type"] == "http":
            await self._bounded(scope, receive, send)
        elif error is None:
            await self._app(scope, *_frames(receive, send))
        elif scope["type"] == "websocket":
            await WebSocket(scope, receive, send).close(POLICY_VIOLATION)
        else:
            says = "this application does not let in who calls it by this name or from this site"
            status = 421 if error == "UnknownHost" else 403
            await JSONResponse({"error": error, "says": says}, status)(scope, receive, send)

    async def _bounded(self, scope: Scope, receive: Receive, send: Send) -> None:
        if len(scope["query_string"]) + len(scope["path"]) > MAX_BYTES:
            await _too_long("the address", 414)(scope, receive, send)
            return
        parts, size = list[Message](), 0
        with anyio.move_on_after(MAX_TIMEOUT) as reading:
            while size <= MAX_BYTES and (not parts or parts[-1].get("more_body", False)):
                parts.append(await receive())
                size += len(parts[-1].get("body", b""))
        if reading.cancelled_caught or size > MAX_BYTES:
            refusal = _too_slow() if reading.cancelled_caught else _too_long("the body", 413)
            await refusal(scope, receive, send)
            return

        async def again() -> Message:
            return parts.pop(0) if parts else await receive()

        await self._app(scope, again, send)

    def _refusal(self, scope: Scope) -> str | None:
        headers = Headers(scope=scope)
        host, origin = headers.get("host", ""), headers.get("origin")
        if _name_of(host) not in self._hosts:
            return "UnknownHost"
        if scope.get("method") in ("GET", "HEAD", "OPTIONS") or origin is None:
            return None
        return None if origin.partition("://")[2] == host else "ForeignOrigin"


def _too_long(what: str, status: int) -> Response:
    says = f"{what} must not be longer than {MAX_BYTES:,} bytes"
    return JSONResponse({"error": "TooLong", "says": says}, status)


def _too_slow() -> Response:
    says = f"a body must come within {MAX_TIMEOUT:g} s"
    return JSONResponse({"error": "TooSlow", "says": says}, 408, {"Connection": "close"})


def _frames(receive: Receive, send: Send) -> tuple[Receive, Send]:
    """Both directions of a socket. When it says too much at a time it is closed, and hears no more."""
    closed = False

    async def hear() -> Message:
        nonlocal closed
        said = await receive()
        if len(said.get("text") or said.get("bytes") or "") <= MAX_BYTES:
            return said
        closed = True
        await send({"type": "websocket.close", "code": MESSAGE_TOO_BIG})
        return {"type": "websocket.disconnect", "code": MESSAGE_TOO_BIG}

    async def say(message: Message) -> None:
        if not closed:
            await send(message)

    return hear, say


def _name_of(host: str) -> str | None:
    """The name in a Host header, without its port; None for what is no name."""
    try:
        parts = urlsplit(f"//{host}")
    except ValueError:  # a bracket that is not closed
        return None
    return parts.hostname if parts.netloc == host and parts.username is None else None
