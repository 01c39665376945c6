"""An application served on this machine alone. Needs the extra `course` (uvicorn), on asyncio."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from ..tasks import background

__all__ = ["serving"]


@asynccontextmanager
async def serving(app: ASGIApp, port: int = 0) -> AsyncIterator[str]:
    """Serve an application on this machine, on a free port unless one is given; gives its URL.

    A WebSocket may say 64 KiB at a time. When the server is told to stop from outside, as by Ctrl-C, the
    block is cancelled.
    """
    bounds: dict[str, Any] = {"timeout_graceful_shutdown": 1, "ws_max_size": 64 * 1024}
    config = uvicorn.Config(app, log_level="critical", lifespan="auto", **bounds)
    with socket.create_server(("127.0.0.1", port)) as listener:  # from here on, clients can connect
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
