"""A real HTTP server and client on this machine, for lesson 01."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager

import httpx
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from ...sockets import listening_socket

__all__ = ["serving"]

Endpoint = Callable[[Request], Awaitable[Response]]


@contextmanager
def serving(endpoints: Mapping[str, Endpoint]) -> Iterator[httpx.Client]:
    """Serve each "METHOD /path" on a free port of this machine only; yields a client. Stopped afterwards."""
    routes = [Route(name.split()[1], each, methods=[name.split()[0]]) for name, each in endpoints.items()]
    server = uvicorn.Server(uvicorn.Config(Starlette(routes=routes), log_level="error"))
    listener = listening_socket()
    thread = threading.Thread(target=server.run, args=([listener],), daemon=True)
    thread.start()
    try:
        with httpx.Client(base_url=f"http://127.0.0.1:{listener.getsockname()[1]}") as client:
            yield client
    finally:
        server.should_exit = True
        thread.join()
