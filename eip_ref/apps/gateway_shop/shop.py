"""A small shop behind a gateway: orders, users and invoices, each an HTTP service of its own.

    GET  /orders/{order}     the order with its user and invoices, put together by the gateway
    GET  /users/{user}       forwarded; only for the user, and for staff
    POST /orders             forwarded; only with a body that the gateway lets through

Order 18's invoices take too long, so its answer is partial.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any
from urllib.parse import unquote

import anyio
import httpx
from starlette.applications import Starlette
from starlette.requests import Request as HttpRequest
from starlette.responses import JSONResponse
from starlette.routing import Route as HttpRoute

from ... import values
from ...api_gateway import (
    SUBJECT,
    AdmittedRequest,
    Backend,
    Branch,
    BranchInput,
    ComposedAnswer,
    FanOut,
    Forbidden,
    Gateway,
    Hedging,
    Identity,
    RateLimit,
    Request,
    Route,
)
from ...api_gateway.http_edge import HttpBackend, application, serving

__all__ = ["TOKENS", "gateway", "running", "services"]

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


def _lookup(path: str, table: Mapping[str, Any]) -> Starlette:
    async def found(request: HttpRequest) -> JSONResponse:
        key = request.path_params["key"]
        if key == "18" and table is _INVOICES:
            await anyio.sleep(5)
        return JSONResponse(table[key]) if key in table else JSONResponse({"error": "not found"}, 404)

    async def made(request: HttpRequest) -> JSONResponse:
        try:
            items = values.from_json("the order", await request.body())["items"]
        except (KeyError, TypeError, ValueError):
            return JSONResponse({"error": 'an order is JSON such as {"items": ["tea"]}'}, 400)
        return JSONResponse({"id": "20", "user": unquote(request.headers[SUBJECT]), "items": items}, 201)

    return Starlette(routes=[HttpRoute(f"{path}/{{key}}", found), HttpRoute(path, made, methods=["POST"])])


def services() -> dict[str, Starlette]:
    """The three services, by name."""
    return {
        "orders": _lookup("/orders", _ORDERS),
        "users": _lookup("/users", _USERS),
        "invoices": _lookup("/invoices", _INVOICES),
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


def gateway(urls: Mapping[str, str], client: httpx.AsyncClient, *, timeout: float = 1.0) -> Gateway:
    """The gateway before the services at these URLs."""
    backends = {
        name: HttpBackend(
            Backend(name, timeout=timeout * 0.8, pauses=[timeout * 0.05], hedging=Hedging(timeout * 0.4)),
            client,
            url,
        )
        for name, url in urls.items()
    }
    view = _order_view(backends)

    async def order_view(call: AdmittedRequest) -> ComposedAnswer:
        return await view(call)

    return Gateway(
        [
            Route("GET", "/orders/{order}", order_view, coalesce=True),
            Route("GET", "/users/{user}", backends["users"].forward, allow=_self_or_staff),
            Route("POST", "/orders", backends["orders"].forward),
        ],
        authenticate=authenticate,
        timeout=timeout,
        rate_limit=RateLimit(rate=5, burst=10),
        max_body=1_000,
    )


@asynccontextmanager
async def running(port: int = 0) -> AsyncIterator[dict[str, str]]:
    """The three services and the gateway on loopback; gives their URLs by name."""
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        urls = {
            name: await stack.enter_async_context(serving(service)) for name, service in services().items()
        }
        door = await stack.enter_async_context(serving(application(gateway(urls, client)), port))
        yield {**urls, "gateway": door}
