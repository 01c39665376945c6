"""The application: the three doors and the page, on one port."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response
from starlette.routing import Route, WebSocketRoute

from .graphql import GraphQLDoor
from .rest import routes
from .shop import ShopSystem
from .stream import Stream

__all__ = ["application"]

PAGE = Path(__file__).with_name("page.html")
SAFE = {
    "Content-Security-Policy": "default-src 'self'; img-src data:; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; connect-src 'self' ws: wss:; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
}


def application(shop: ShopSystem, *, stream: Stream | None = None) -> Starlette:
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
