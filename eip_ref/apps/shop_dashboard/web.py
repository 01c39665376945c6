"""The application: the three doors and the page, on one port, and a guard before all of them.

Whoever can reach this port may use it, but a page of another site may not use a browser for that: a form
or a WebSocket needs nobody's leave.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from ..guard import LOOPBACK, Guard, page
from .graphql import GraphQLDoor
from .rest import routes
from .shop import ShopSystem
from .stream import Stream

__all__ = ["application"]

PAGE = Path(__file__).with_name("page.html")


def application(
    shop: ShopSystem, *, stream: Stream | None = None, hosts: Collection[str] = LOOPBACK, data: str = ""
) -> Starlette:
    """The web application of this shop, which is open already. `data` says on the page where its data are."""

    async def show(request: Request) -> Response:
        return page(PAGE, data=data, log=shop.channel.says)

    door = GraphQLDoor(shop)
    return Starlette(
        routes=[
            Route("/", show),
            *routes(shop),
            WebSocketRoute("/stream", (stream or Stream(shop)).serve),
            Route("/graphql", door),
            WebSocketRoute("/graphql", door),
        ],
        middleware=[Middleware(Guard, hosts=hosts)],
    )
