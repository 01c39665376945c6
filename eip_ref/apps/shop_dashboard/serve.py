"""The application: the three doors and the page, on one port, and a guard before all of them.

Whoever can reach this port may use it, but a page of another site may not use a browser for that: a form
or a WebSocket needs nobody's leave.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import AsyncIterator, Collection, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, closing, contextmanager
from pathlib import Path

from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route, WebSocketRoute

from .. import CannotStart
from ..loopback import LOOPBACK, Guard, page, serving
from .graphql import GraphQLDoor
from .rest import routes
from .shop import ShopSystem
from .stream import Stream

__all__ = ["application", "running"]

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


@asynccontextmanager
async def running(
    port: int = 0, folder: str | None = None, slow: float = 0.0, kafka: str | None = None
) -> AsyncIterator[tuple[str, str]]:
    """The dashboard at work; gives its URL and what to say. Its files are in `folder`, or do not stay.

    `slow` is the number of seconds for which the projector waits before each event, `kafka` the address,
    HOST:PORT, of the Kafka that has its events. Raises `CannotStart` for a folder in which there is
    something else, or another dashboard at work, and for a Kafka that does not answer or has not its events.
    """
    data = f"Its data are in {folder}." if folder else "Its data are removed when it stops."
    async with AsyncExitStack() as stack:
        temporary = stack.enter_context(tempfile.TemporaryDirectory(prefix="eip-dashboard-"))
        try:
            stack.enter_context(_alone(Path(folder or temporary)))
            shop = await stack.enter_async_context(ShopSystem(folder or temporary, slow=slow, kafka=kafka))
        except (OSError, ValueError, sqlite3.Error) as error:
            raise CannotStart(str(error)) from error
        url = await stack.enter_async_context(serving(application(shop, data=data), port))
        where = [data, shop.channel.says] if kafka else [data]
        yield url, "\n".join([f"The dashboard is at {url}/", *where])


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Nobody else opens the folder so. A lock of SQLite's ends with its process, however that ends."""
    folder.mkdir(parents=True, exist_ok=True)
    with closing(sqlite3.connect(folder / "running.db", timeout=0, isolation_level=None)) as lock:
        try:
            lock.execute("BEGIN EXCLUSIVE")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode != sqlite3.SQLITE_BUSY:
                raise
            raise ValueError(
                f"another dashboard works in {folder}; stop it, or name another --folder"
            ) from error
        yield
