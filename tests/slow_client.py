"""A client that sends a byte of its body each second, and so would hold its place for ever."""

from __future__ import annotations

from typing import Any

import anyio
from starlette.types import ASGIApp, Message


async def receive() -> Message:
    """The next byte, a second later."""
    await anyio.sleep(1)
    return {"type": "http.request", "body": b" ", "more_body": True}


def scope(path: str, **headers: str) -> dict[str, Any]:
    """A POST to a path."""
    sent = {"content-type": "application/json", **headers}
    raw = [(name.encode(), value.encode()) for name, value in sent.items()]
    server = {"server": ("shop", 80), "scheme": "http", "http_version": "1.1", "root_path": ""}
    return {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": raw, **server}


async def answer(app: ASGIApp, path: str, **headers: str) -> tuple[int, dict[str, str], float]:
    """The status and the headers that it gets, and after how many seconds."""
    said: list[Message] = []
    start = anyio.current_time()

    async def send(message: Message) -> None:
        said.append(message)

    await app(scope(path, **headers), receive, send)
    told = {name.decode(): value.decode() for name, value in said[0]["headers"]}
    return said[0]["status"], told, anyio.current_time() - start
