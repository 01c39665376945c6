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
    GET /users/{id}?users=2&billing=3&within=1.5&late=refuse
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any
from urllib.parse import quote
from uuid import NAMESPACE_URL, uuid4, uuid5

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from ...cqrs import (
    Answer,
    Command,
    Conflict,
    Invalid,
    KeyReused,
    NotYet,
    Rejected,
    UnknownCommand,
    read,
)
from .request_parsing import MOST_SECONDS, BadRequest, body_of, number, within
from .shop import Shop

__all__ = ["refusal", "routes"]

ID = re.compile(r"[A-Za-z0-9-]{1,64}")
STATUS: dict[type[Exception], int] = {
    Invalid: 422,
    KeyReused: 422,
    Rejected: 409,
    Conflict: 409,
    UnknownCommand: 404,
    NotYet: 503,
}
Endpoint = Callable[[Request], Awaitable[Response]]


REFUSALS = (BadRequest, Invalid, KeyReused, Rejected, Conflict, UnknownCommand, NotYet)


def refusal(error: Exception) -> Response:
    """The error as an answer: its name, and its words for people."""
    status = error.status if isinstance(error, BadRequest) else STATUS[type(error)]
    body: dict[str, Any] = {"error": type(error).__name__, "says": str(error)}
    headers = {}
    if isinstance(error, Conflict):
        body["version"] = error.actual
    if isinstance(error, NotYet):
        body["version"] = error.version
        headers["Retry-After"] = "1"
    return JSONResponse(body, status, headers)


def routes(shop: Shop) -> list[Route]:
    """The commands and the reads of this shop."""
    doors = Doors(shop)
    table: list[tuple[str, str, Endpoint]] = [
        ("POST", "/users", doors.register),
        ("GET", "/users", doors.everybody),
        ("GET", "/users/{id}", doors.look),
        ("PATCH", "/users/{id}", doors.rename),
        ("POST", "/billing/{id}/charges", doors.charge),
        ("POST", "/billing/{id}/payments", doors.pay),
        ("GET", "/commands/{service}/{key:path}", doors.outcome),
        ("GET", "/standing", doors.standing),
        ("PUT", "/slow", doors.slow),
        ("POST", "/rebuild", doors.rebuild),
    ]
    return [Route(path, _answering(endpoint), methods=[method]) for method, path, endpoint in table]


def _answering(endpoint: Endpoint) -> Endpoint:
    async def answer(request: Request) -> Response:
        try:
            return await endpoint(request)
        except REFUSALS as error:
            return refusal(error)

    return answer


class Doors:
    """What happens at each path."""

    def __init__(self, shop: Shop) -> None:
        self._shop = shop

    # Commands

    async def register(self, request: Request) -> Response:
        data = await body_of(request)
        key = request.headers.get("Idempotency-Key")
        # A repetition must mean the same user, so the id follows from the key.
        made = uuid5(NAMESPACE_URL, f"users:{key}") if key else uuid4()
        return await self._command(request, "users", "Register", data.pop("id", made.hex[:12]), data)

    async def rename(self, request: Request) -> Response:
        return await self._command(
            request, "users", "Rename", request.path_params["id"], await body_of(request)
        )

    async def charge(self, request: Request) -> Response:
        return await self._command(
            request, "billing", "Charge", request.path_params["id"], await body_of(request)
        )

    async def pay(self, request: Request) -> Response:
        return await self._command(
            request, "billing", "Pay", request.path_params["id"], await body_of(request)
        )

    async def _command(
        self, request: Request, service: str, type: str, target: Any, data: dict[str, Any]
    ) -> Response:
        if not isinstance(target, str) or not ID.fullmatch(target):
            raise BadRequest("an id must be 1 to 64 letters of a to z, digits and hyphens")
        key = request.headers.get("Idempotency-Key")
        if key is not None and not 0 < len(key) <= 200:
            raise BadRequest("an Idempotency-Key must have 1 to 200 letters")
        expects = number(request.headers.get("Expected-Version"), "Expected-Version")
        command = Command(type, target, data, key, expects)
        if "respond-async" in request.headers.get("Prefer", ""):
            name = await self._shop.later[service].accept(command)
            place = {
                "Location": f"/commands/{service}/{quote(name, safe='')}",
                "Preference-Applied": "respond-async",
            }
            return JSONResponse({"accepted": name}, 202, place)
        return _done(service, await self._shop.services[service].handle(command))

    async def outcome(self, request: Request) -> Response:
        """What became of a command that was answered with 202."""
        service, key = request.path_params["service"], request.path_params["key"]
        status = self._shop.later[service].status(key) if service in self._shop.later else None
        if status is None:
            raise BadRequest("no such command was accepted here", 404)
        if status.answer is not None:
            done = {"state": "done", "id": status.answer.id, "version": status.answer.version}
            return JSONResponse(done, headers={"Content-Location": _place(service, status.answer)})
        return JSONResponse(
            {"state": "refused", "says": status.refused} if status.refused else {"state": "pending"}
        )

    # Reads

    async def look(self, request: Request) -> Response:
        """One customer; with versions in the query, not before the view has them."""
        id, query = request.path_params["id"], request.query_params
        wanted = {
            f"{name}/{id}": number(query[name], name) or 0 for name in ("users", "billing") if name in query
        }
        late = query.get("late", "stale")
        if late not in ("stale", "refuse"):
            raise BadRequest("late must be 'stale' or 'refuse'")
        reading = await read(
            self._shop.dashboard, id, at_least=wanted, within=within(query.get("within")), late=late
        )
        if reading.row is None and not reading.stale:
            raise BadRequest(f"there is no customer {id}", 404)
        body = {"id": id, "row": reading.row, "versions": reading.versions, "stale": reading.stale}
        return JSONResponse(body, headers={"Cache-Control": "no-store"})

    async def everybody(self, request: Request) -> Response:
        return JSONResponse(self._shop.dashboard.rows(), headers={"Cache-Control": "no-store"})

    async def standing(self, request: Request) -> Response:
        return JSONResponse(await self._shop.standing(), headers={"Cache-Control": "no-store"})

    # Knobs of the demonstration

    async def slow(self, request: Request) -> Response:
        seconds = (await body_of(request)).get("seconds")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= MOST_SECONDS:
            raise BadRequest(f"seconds must be a number from 0 to {MOST_SECONDS:g}")
        self._shop.slow = float(seconds)
        return JSONResponse({"slow": self._shop.slow})

    async def rebuild(self, request: Request) -> Response:
        try:
            await self._shop.rebuild()
        except RuntimeError as error:
            raise BadRequest(str(error), 409) from error
        return JSONResponse({"rebuilt": len(self._shop.dashboard.rows())})


def _done(service: str, answer: Answer) -> Response:
    body = {"id": answer.id, "version": answer.version, "repeated": answer.repeated}
    place = _place(service, answer)
    if answer.created and service == "users":
        return JSONResponse(body, 201, {"Location": place})
    return JSONResponse(body, 200, {"Content-Location": place})


def _place(service: str, answer: Answer) -> str:
    return f"/users/{answer.id}?{service}={answer.version}"
