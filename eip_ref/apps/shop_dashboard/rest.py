"""Commands over HTTP, and reads that keep to a version.

A command answers after its commit: 201 when it made something, with a `Location` that names the
version, so that a GET there waits for the view instead of answering 404; 200 when it changed
something; 202 when it was asked for with `Prefer: respond-async`, with the place where the outcome
will be. The header `Idempotency-Key` makes a repetition get the first answer, and
`Expected-Version` makes it a 409 when somebody was faster.

    POST /users                    {"name": …, "email": …, "id": …}      the id may be left out
    PATCH /users/{id}              {"name": …}
    POST /billing/{id}/charges     {"cents": …}      POST /billing/{id}/payments     {"cents": …}
    GET /commands/{service}/{key}
    GET /users/{id}?users=2&billing=3&timeout=1.5&late=refuse
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid4, uuid5

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ... import values
from ...cqrs import (
    REFUSALS,
    Command,
    CommandRejected,
    CommandResult,
    IdempotencyKeyReused,
    InvalidCommand,
    NotYet,
    UnknownCommand,
    WrongExpectedVersion,
    read,
)
from .faults import Faults
from .request_parsing import HttpRefusal, body_of, must_be_id, number, timeout
from .shop import ShopSystem

__all__ = ["refusal", "routes"]

STATUS: dict[type[Exception], int] = {
    InvalidCommand: 422,
    IdempotencyKeyReused: 422,
    CommandRejected: 409,
    WrongExpectedVersion: 409,
    UnknownCommand: 404,
    NotYet: 503,
}
Endpoint = Callable[[Request], Awaitable[Response]]


def refusal(error: Exception) -> Response:
    """The error as an answer: its name, and its words for people."""
    status = error.status if isinstance(error, HttpRefusal) else STATUS[type(error)]
    body: dict[str, Any] = {"error": type(error).__name__, "says": str(error)}
    headers = {}
    if isinstance(error, WrongExpectedVersion):
        body["version"] = error.actual
    if isinstance(error, NotYet):
        body["version"] = error.version
        headers["Retry-After"] = "1"
    return JSONResponse(body, status, headers)


def routes(shop: ShopSystem) -> list[Route]:
    """The commands and the reads of this shop."""
    doors, faults = Doors(shop), Faults(shop)
    table: list[tuple[str, str, Endpoint]] = [
        ("POST", "/users", doors.register),
        ("GET", "/users", doors.everybody),
        ("GET", "/users/{id}", doors.look),
        ("PATCH", "/users/{id}", partial(doors.command, "users", "Rename")),
        ("POST", "/billing/{id}/charges", partial(doors.command, "billing", "Charge")),
        ("POST", "/billing/{id}/payments", partial(doors.command, "billing", "Pay")),
        ("GET", "/commands/{service}/{key:path}", doors.outcome),
        ("GET", "/standing", doors.standing),
        ("PUT", "/slow", faults.slow),
        ("PUT", "/parts/{part}", faults.part),
        ("POST", "/faults/repeat", faults.repeat),
        ("POST", "/faults/poison", faults.poison),
        ("POST", "/faults/dual-write", faults.dual_write),
        ("POST", "/faults/mend", faults.mend),
        ("POST", "/rebuild", faults.rebuild),
    ]
    return [Route(path, _answering(endpoint), methods=[method]) for method, path, endpoint in table]


def _answering(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except (HttpRefusal, NotYet, *REFUSALS) as error:
            return refusal(error)

    return answer


class Doors:
    """The handlers of the paths."""

    def __init__(self, shop: ShopSystem) -> None:
        self._shop = shop

    # Commands

    async def register(self, request: Request) -> Response:
        data = await body_of(request)
        key = request.headers.get("Idempotency-Key")
        # A repetition must mean the same user, so the id follows from the key.
        made = uuid5(NAMESPACE_URL, f"users:{key}") if key else uuid4()
        return await self._command(request, "users", "Register", data.pop("id", made.hex[:12]), data)

    async def command(self, service: str, type: str, request: Request) -> Response:
        """A command about the one whom the path names."""
        target, data = request.path_params["id"], await body_of(request)
        return await self._command(request, service, type, target, data)

    async def _command(
        self, request: Request, service: str, type: str, target: Any, data: dict[str, Any]
    ) -> Response:
        must_be_id(target)
        key = request.headers.get("Idempotency-Key")
        if key is not None and not 0 < len(key) <= 200:
            raise HttpRefusal("an Idempotency-Key must have 1 to 200 letters")
        expects = number(request.headers.get("Expected-Version"), "Expected-Version")
        try:
            command = Command(type, target, data, key, expects)
        except (TypeError, ValueError) as error:
            raise HttpRefusal(str(error)) from error
        if "respond-async" in request.headers.get("Prefer", ""):
            name = await self._shop.later[service].accept(command)
            place = {
                "Location": f"/commands/{service}/{quote(name, safe='')}",
                "Preference-Applied": "respond-async",
            }
            return JSONResponse({"accepted": name}, 202, place)
        return _done(service, await self._shop.services[service].handle(command))

    async def outcome(self, request: Request) -> Response:
        """The fate of a command that was answered with 202."""
        service, key = request.path_params["service"], request.path_params["key"]
        asked = service in self._shop.later and values.is_name(key)
        status = self._shop.later[service].status(key) if asked else None
        if status is None:
            raise HttpRefusal("no such command was accepted here", 404)
        if status.result is not None:
            done = {"state": "done", "id": status.result.id, "version": status.result.version}
            return JSONResponse(done, headers={"Content-Location": _place(service, status.result)})
        return JSONResponse(
            {"state": "refused", "says": status.refused} if status.refused else {"state": "pending"}
        )

    # Reads

    async def look(self, request: Request) -> Response:
        """One customer; with versions in the query, not before the view has them."""
        id, query = request.path_params["id"], request.query_params
        must_be_id(id)
        wanted = {
            f"{name}/{id}": number(query[name], name) or 0 for name in ("users", "billing") if name in query
        }
        late = query.get("late", "stale")
        if late not in ("stale", "refuse"):
            raise HttpRefusal("late must be 'stale' or 'refuse'")
        reading = await read(
            self._shop.dashboard, id, at_least=wanted, timeout=timeout(query.get("timeout")), late=late
        )
        if reading.row is None and not reading.stale:
            raise HttpRefusal(f"there is no customer {id}", 404)
        body = {"id": id, "row": reading.row, "versions": reading.versions, "stale": reading.stale}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def everybody(self, request: Request) -> Response:
        return JSONResponse(self._shop.dashboard.rows(), headers={"Cache-Control": "no-store"})

    async def standing(self, request: Request) -> Response:
        return JSONResponse(self._shop.standing(), headers={"Cache-Control": "no-store"})


def _done(service: str, result: CommandResult) -> Response:
    body = {"id": result.id, "version": result.version, "repeated": result.repeated}
    place = _place(service, result)
    if result.created and service == "users":
        return JSONResponse(body, 201, {"Location": place})
    return JSONResponse(body, 200, {"Content-Location": place})


def _place(service: str, result: CommandResult) -> str:
    return f"/users/{result.id}?{service}={result.version}"
