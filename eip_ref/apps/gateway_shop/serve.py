"""The gateway of the shop with a page of its own, on one port, and the services behind it on theirs.

    GET /                              the page
    GET /-/standing                    services, breakers, routes, limits, answers, and the last answer's bars
    PUT /-/services/{name}             {"condition": "slow"}      "well", "slow" or "failing"

Every other path is the gateway's. What happens while it answers is recorded, and the last answer is kept.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ... import values
from ...api_gateway import Backend, Gateway
from ...api_gateway.http_edge import application
from ...trace import Event, Kind, recording
from ..loopback import Guard, page, serving
from .shop import BURST, CONDITIONS, RATE, Service, backends, gateway, services

__all__ = ["opened", "running"]

PAGE = Path(__file__).with_name("page.html")
ENDS = (Kind.FINISHED, Kind.FAILED, Kind.TIMED_OUT, Kind.CANCELLED)
_TRY = """
The page of the gateway shows what it does. Or try, in another terminal:
  curl -i {0}/orders/17                                          nobody knows who asks: 401
  curl -i {0}/orders/17 -H 'Authorization: Bearer demo-ann'      one answer out of three
  curl -i {0}/orders/18 -H 'Authorization: Bearer demo-ann'      partial: the invoices take too long
  curl -i {0}/orders/19 -H 'Authorization: Bearer demo-ann'      somebody else's order: 403
  curl -i {0}/orders -H 'Authorization: Bearer demo-ann' -d '{{"items": ["tea"]}}'
"""


def bars(events: list[Event]) -> list[dict[str, Any]]:
    """The spans of a recording, with seconds from its start; `to` and `end` are None for one that goes on."""
    starts = [event for event in events if event.kind == Kind.STARTED]
    ends = {(event.where, event.message): event for event in events if event.kind in ENDS}
    return [
        {
            "where": each.where,
            "from": each.at,
            "to": end.at if (end := ends.get((each.where, each.message))) else None,
            "end": end.kind if end else None,
            "call": "#" in each.message,  # of a service; else a part of the gateway's own work
            "extra": each.data.get("extra", ""),
        }
        for each in starts
        if not each.where.endswith(" breaker")  # it covers its call
    ]


class DoorWithPage:
    """The application: `door` answers for the gateway, and the page shows what it does."""

    def __init__(
        self, door: ASGIApp, gateway: Gateway, through: Mapping[str, Backend], services: Mapping[str, Service]
    ) -> None:
        self._door = door
        self._gateway = gateway
        self._through = through
        self._services = services
        self._answers = Counter[int]()
        self._last: dict[str, Any] | None = None
        routes = [
            Route("/", _page),
            Route("/-/standing", self._standing),
            Route("/-/services/{name}", self._switch, methods=["PUT"]),
        ]
        self._pages = Starlette(routes=routes, middleware=[Middleware(Guard)])

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope.get("path", "")
        if scope["type"] == "http" and not (path == "/" or path.startswith("/-/")):
            await self._answer(scope, receive, send)
        elif scope["type"] == "lifespan":
            await self._door(scope, receive, send)
        else:
            await self._pages(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        status = 0

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        start = anyio.current_time()
        with recording() as recorder:
            await self._door(scope, receive, watched)
        self._answers[status] += 1
        self._last = {
            "request": f"{scope['method']} {scope['path']}",
            "status": status,
            "seconds": anyio.current_time() - start,
            "bars": bars(recorder.events),
        }

    async def _standing(self, request: Request) -> Response:
        standing = {
            "services": {
                name: {
                    "condition": service.condition,
                    "calls": service.calls,
                    "under_way": self._through[name].bulkhead.under_way,
                    "places": self._through[name].bulkhead.max_concurrent,
                    "timeout": self._through[name].timeout,
                    "breaker": self._through[name].breaker.health(),
                }
                for name, service in self._services.items()
            },
            "routes": [
                {"method": each.method, "path": each.path, "coalesce": each.coalesce}
                for each in self._gateway.routes
            ],
            "limits": {
                "timeout": self._gateway.timeout,
                "rate": RATE,
                "burst": BURST,
                "max_body": self._gateway.max_body,
            },
            "answers": {str(status): count for status, count in sorted(self._answers.items())},
            "last": self._last,
        }
        return JSONResponse(standing, headers={"Cache-Control": "no-store"})

    async def _switch(self, request: Request) -> Response:
        service = self._services.get(request.path_params["name"])
        if service is None:
            return JSONResponse({"says": f"the services are {', '.join(self._services)}"}, 404)
        try:
            condition = values.from_json("the body", await request.body())["condition"]
        except (KeyError, TypeError, ValueError):
            condition = None
        if condition not in CONDITIONS:
            return JSONResponse({"says": f"the condition must be one of {', '.join(CONDITIONS)}"}, 400)
        service.condition = condition
        return JSONResponse({"condition": condition})


async def _page(request: Request) -> Response:
    return page(PAGE)


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
