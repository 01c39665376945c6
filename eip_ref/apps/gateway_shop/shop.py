"""A small shop behind a gateway: orders, users and invoices, each an HTTP service of its own.

    GET  /orders/{order}     the order with its user and invoices, put together by the gateway
    GET  /users/{user}       forwarded; only for the user, and for staff
    POST /orders             forwarded; only with a body that the gateway lets through

Order 18's invoices take too long, so its answer is partial. Each service can be made slow or failing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

import anyio
import httpx
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route as HttpRoute
from starlette.types import Receive, Scope, Send

from ... import values
from ...api_gateway import (
    SUBJECT,
    AdmittedRequest,
    Backend,
    Branch,
    BranchInput,
    FanOut,
    Forbidden,
    Gateway,
    Hedging,
    Identity,
    RateLimit,
    Request,
    Route,
    is_answer,
)
from ...api_gateway.http_edge import HttpBackend
from ...circuit_breaker import CircuitBreaker, ConsecutiveFailures, OpenDuration, Predicates

__all__ = ["BURST", "CONDITIONS", "RATE", "TOKENS", "Service", "backends", "gateway", "services"]

TOKENS = {
    "demo-ann": Identity("ann", frozenset({"customer"})),
    "demo-staff": Identity("eve", frozenset({"staff"})),
}

_ORDERS: dict[str, dict[str, Any]] = {
    "17": {"id": "17", "user": "ann", "items": ["tea", "bread"]},
    "18": {"id": "18", "user": "ann", "items": ["coffee"]},
    "19": {"id": "19", "user": "bob", "items": ["saffron"]},
}
_USERS = {"ann": {"name": "Ann"}, "bob": {"name": "Bob"}}
_INVOICES = {"17": [{"total": 7, "paid": True}], "18": [{"total": 4, "paid": False}], "19": []}


# The services

CONDITIONS = ("well", "slow", "failing")
SLOW = 5.0  #: seconds until a slow service answers


class Service:
    """One service: what it knows, its condition, which can be switched, and the calls that it got."""

    def __init__(self, path: str, table: Mapping[str, Any]) -> None:
        self.condition = "well"  #: one of `CONDITIONS`
        self.calls = 0
        self._table = table
        routes = [HttpRoute(f"{path}/{{key}}", self._find), HttpRoute(path, self._make, methods=["POST"])]
        self._app = Starlette(routes=routes)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)

    async def _find(self, request: HttpRequest) -> JSONResponse:
        self.calls += 1
        key, condition = request.path_params["key"], self.condition
        if condition == "slow" or (key == "18" and self._table is _INVOICES):
            await anyio.sleep(SLOW)
        if condition == "failing":
            return JSONResponse({"error": "the service is out of order"}, 500)
        if key not in self._table:
            return JSONResponse({"error": "not found"}, 404)
        return JSONResponse(self._table[key])

    async def _make(self, request: HttpRequest) -> JSONResponse:
        self.calls += 1
        try:
            items = values.from_json("the order", await request.body())["items"]
        except (KeyError, TypeError, ValueError):
            return JSONResponse({"error": 'an order is JSON such as {"items": ["tea"]}'}, 400)
        return JSONResponse({"id": "20", "user": unquote(request.headers[SUBJECT]), "items": items}, 201)


def services() -> dict[str, Service]:
    """The three services, by name."""
    return {
        "orders": Service("/orders", _ORDERS),
        "users": Service("/users", _USERS),
        "invoices": Service("/invoices", _INVOICES),
    }


# The gateway before them


async def authenticate(request: Request) -> Identity | None:
    """Bearer tokens from a table. A real one checks a signature."""
    scheme, _, token = (request.header("authorization") or "").partition(" ")
    return TOKENS.get(token) if scheme.lower() == "bearer" else None


def _self_or_staff(identity: Identity, path_params: Mapping[str, str]) -> bool:
    return identity.subject == path_params["user"] or "staff" in identity.roles


def _order_view(backends: Mapping[str, HttpBackend]) -> FanOut:
    async def order(ask: BranchInput) -> Any:
        call: AdmittedRequest = ask.request
        found = await backends["orders"].get(f"/orders/{call.path_params['order']}", call)
        if not _self_or_staff(call.identity, found):
            raise Forbidden(f"order {found['id']} is not {call.identity.subject}'s")
        return found

    async def user(ask: BranchInput) -> Any:
        return await backends["users"].get(f"/users/{ask.results['order']['user']}", ask.request)

    async def invoices(ask: BranchInput) -> Any:
        return await backends["invoices"].get(f"/invoices/{ask.results['order']['id']}", ask.request)

    return FanOut(
        Branch("order", order, required=True),
        Branch("user", user, needs=["order"]),
        Branch("invoices", invoices, needs=["order"]),
        name="order view",
    )


RATE, BURST = 5.0, 10


def backends(*, timeout: float = 1.0) -> dict[str, Backend]:
    """The way to each service: three failures in a row open its breaker for ten seconds."""
    return {
        name: Backend(
            name,
            timeout=timeout * 0.8,
            breaker=CircuitBreaker(
                f"{name} breaker",
                policy=ConsecutiveFailures(3),
                open_duration=OpenDuration(10.0),
                predicates=Predicates(success=is_answer),
            ),
            pauses=[timeout * 0.05],
            hedging=Hedging(timeout * 0.4),
        )
        for name in services()
    }


def gateway(
    urls: Mapping[str, str],
    client: httpx.AsyncClient,
    *,
    timeout: float = 1.0,
    through: Mapping[str, Backend] | None = None,
) -> Gateway:
    """The gateway before the services at these URLs, which are called `through` these backends."""
    made = backends(timeout=timeout) if through is None else through
    behind = {name: HttpBackend(made[name], client, url) for name, url in urls.items()}
    return Gateway(
        [
            Route("GET", "/orders/{order}", _order_view(behind), coalesce=True),
            Route("GET", "/users/{user}", behind["users"].forward, allow=_self_or_staff),
            Route("POST", "/orders", behind["orders"].forward),
        ],
        authenticate=authenticate,
        timeout=timeout,
        rate_limit=RateLimit(rate=RATE, burst=BURST),
        max_body=1_000,
    )
