"""The application: the three doors and the page, on one port."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute

from .graphql import GraphQLDoor
from .rest import routes
from .shop import Shop
from .stream import Stream

__all__ = ["application", "main"]

PAGE = Path(__file__).with_name("page.html")
SAFE = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self' ws: wss:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def application(shop: Shop, *, stream: Stream | None = None) -> Starlette:
    """The web application of this shop, which is opened when the application starts."""

    async def page(request: Request) -> Response:
        return HTMLResponse(PAGE.read_text(encoding="utf-8"), headers=SAFE)

    @asynccontextmanager
    async def lifespan(app: Starlette) -> AsyncIterator[None]:
        async with shop:
            yield

    door = GraphQLDoor(shop)
    return Starlette(
        routes=[
            Route("/", page),
            *routes(shop),
            WebSocketRoute("/stream", (stream or Stream(shop)).serve),
            Route("/graphql", door),
            WebSocketRoute("/graphql", door),
        ],
        lifespan=lifespan,
    )


async def _serve(shop: Shop, host: str, port: int) -> None:
    config = uvicorn.Config(
        application(shop), host=host, port=port, log_level="warning", timeout_graceful_shutdown=2
    )
    await uvicorn.Server(config).serve()


def main(arguments: list[str] | None = None) -> None:
    """Serve the dashboard until it is interrupted."""
    parser = argparse.ArgumentParser(
        prog="python -m eip_ref.cqrs", description="The user-and-billing dashboard, on SQLite."
    )
    parser.add_argument("--host", default="127.0.0.1", help="where to listen (default: this machine only)")
    parser.add_argument("--port", type=int, default=8008)
    parser.add_argument(
        "--folder", help="where the files live (default: a folder that is removed at the end)"
    )
    parser.add_argument("--slow", type=float, default=0.0, help="seconds that the projector rests per event")
    chosen = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="eip-cqrs-") as temporary:
        shop = Shop(chosen.folder or temporary, slow=chosen.slow)
        print(f"The dashboard is at http://{chosen.host}:{chosen.port}/ - stop it with Ctrl+C.", flush=True)
        try:
            anyio.run(_serve, shop, chosen.host, chosen.port)
        except KeyboardInterrupt:
            print("Stopped.")
