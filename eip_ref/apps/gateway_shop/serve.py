"""Run the shop behind its gateway, and say what to try."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import httpx

from ...api_gateway.http_edge import application
from ..loopback import serving
from .shop import backends, gateway, services
from .web import DoorWithPage

__all__ = ["opened", "running"]

_TRY = """
The page of the gateway shows what it does. Or try, in another terminal:
  curl -i {0}/orders/17                                          nobody knows who asks: 401
  curl -i {0}/orders/17 -H 'Authorization: Bearer demo-ann'      one answer out of three
  curl -i {0}/orders/18 -H 'Authorization: Bearer demo-ann'      partial: the invoices take too long
  curl -i {0}/orders/19 -H 'Authorization: Bearer demo-ann'      somebody else's order: 403
  curl -i {0}/orders -H 'Authorization: Bearer demo-ann' -d '{{"items": ["tea"]}}'
"""


@asynccontextmanager
async def opened(port: int = 0) -> AsyncIterator[dict[str, str]]:
    """The three services and the gateway on loopback; gives their URLs by name."""
    behind, through = services(), backends()
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        urls = {name: await stack.enter_async_context(serving(each)) for name, each in behind.items()}
        door = gateway(urls, client, through=through)
        page = DoorWithPage(application(door), door, through, behind)
        yield {**urls, "gateway": await stack.enter_async_context(serving(page, port))}


@asynccontextmanager
async def running(port: int = 0) -> AsyncIterator[tuple[str, str]]:
    """The services and the gateway at work; gives the gateway's URL, and what to try."""
    async with opened(port) as urls:
        where = "".join(f"{name:9} {url}/\n" for name, url in urls.items())
        yield urls["gateway"], where + _TRY.format(urls["gateway"])
