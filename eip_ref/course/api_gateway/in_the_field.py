"""The two kinds of pages with Envoy in the gateway's place: for lesson 11b."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial

import anyio
import anyio.to_thread

from ...api_gateway import BackendFailed
from ...field.real_runs import RealScenario
from ...field.servers import Envoy, Server
from .bounds import NEEDS, PAGE_TIMEOUT, show_pages

__all__ = ["pages_on_envoy"]

SPEED = 4  #: times as fast as in the lesson
KEY = "the key of the pages"


async def _two_kinds_of_pages(places: Mapping[str, int], server: Server) -> None:
    """Each path `/name` leads to a cluster with so many places; behind all of them is one service."""
    import httpx
    from starlette.requests import Request
    from starlette.responses import PlainTextResponse
    from starlette.types import Receive, Scope, Send

    from ...apps.loopback import serving
    from ...field.envoy import gateway

    assert isinstance(server, Envoy)

    async def service(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await anyio.sleep(NEEDS[Request(scope).url.path.rpartition("/")[2]] / SPEED)
            await PlainTextResponse("here it is")(scope, receive, send)

    async def ask(kind: str) -> None:
        answer = await client.get(f"/{kind if kind in places else 'all'}/{kind}")
        if answer.status_code != 200:
            raise BackendFailed(f"{answer.status_code} for {kind}")

    async with serving(service) as url:
        config = gateway(
            server.port,
            dict.fromkeys(places, url),
            clients={KEY: "pages"},
            timeouts=dict.fromkeys(places, PAGE_TIMEOUT / SPEED),
            max_concurrent=next(iter(places.values())),
        )
        await anyio.to_thread.run_sync(server.reconfigure, config)
        who = {"Authorization": f"Bearer {KEY}"}
        bounds = httpx.Limits(max_connections=None)
        async with httpx.AsyncClient(
            base_url=server.url, headers=who, limits=bounds, timeout=None, trust_env=False
        ) as client:
            await show_pages(ask, speed=SPEED)


def _scenario(name: str, places: Mapping[str, int]) -> RealScenario:
    play: Callable[[Server], Awaitable[None]] = partial(_two_kinds_of_pages, places)
    return RealScenario(name, Envoy, play)


pages_on_envoy = {
    "ten for all": _scenario("pages_ten_for_all", {"all": 10}),
    "five each": _scenario("pages_five_each", {"users": 5, "invoices": 5}),
}
"""By the places that the services have."""
