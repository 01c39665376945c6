"""The faults of the running shop: what a workshop wants to break, and how it is repaired.

    PUT /slow                {"seconds": 0.3}    the projector waits before each event
    PUT /parts/relay         {"running": false}  stop the relays; also /parts/projector, which dies at work
    POST /faults/repeat      {"events": 5}       the projector loses its place: the last events come again
    POST /faults/poison      {"id": "ann"}       a charge whose event no handler understands
    POST /faults/dual-write  {"id": "ann"}       a charge by a handler that writes twice, and dies between
    POST /faults/mend                            deploy handlers that understand it, and rebuild with them
    POST /rebuild                                build the views again from the log

All that is broken is gone with the files of the shop.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from ...cqrs import Command
from ...event_sourcing import EventHandler, PoisonEvent, Recorded, View
from .request_parsing import MAX_TIMEOUT, HttpRefusal, body_of, must_be_id
from .shop import PARTS, ShopSystem

__all__ = ["Faults", "dual_write", "reads_amounts_in_text"]

CENTS = 500  #: of a charge that goes wrong
MAX_REPEATED = 1_000


def dual_write(shop: ShopSystem, target: str) -> None:
    """Charge as a handler does that writes to its database, dies, and never publishes.

    Billing has the charge in its books, no event exists, and nobody is told.
    """
    billing = shop.services["billing"]
    with billing.store.transaction() as transaction:
        version, state = transaction.get(billing.name, target, (0, {"owed": 0}))
        transaction.put(billing.name, target, [version, {"owed": state["owed"] + CENTS}])


def reads_amounts_in_text(handler: EventHandler) -> EventHandler:
    """The handler, which now also takes events whose amount is text in whole units, such as "5.00"."""

    def mended(view: View, event: Recorded) -> None:
        body = event.message.body
        if isinstance(body.get("cents"), str):
            body = {**body, "cents": round(float(body["cents"]) * 100)}
            event = event._replace(message=replace(event.message, body=body))
        handler(view, event)

    return mended


class Faults:
    """The doors to all this. The methods answer requests."""

    def __init__(self, shop: ShopSystem) -> None:
        self._shop = shop

    async def slow(self, request: Request) -> Response:
        """Slow the projector down."""
        seconds = (await body_of(request)).get("seconds")
        if not isinstance(seconds, int | float) or not 0 <= seconds <= MAX_TIMEOUT:
            raise HttpRefusal(f"seconds must be a number from 0 to {MAX_TIMEOUT:g}")
        self._shop.slow = float(seconds)
        return JSONResponse({"slow": self._shop.slow})

    async def part(self, request: Request) -> Response:
        """Start or kill a part."""
        part, running = request.path_params["part"], (await body_of(request)).get("running")
        if part not in PARTS:
            raise HttpRefusal(f"there is no part {part}; there are {', '.join(PARTS)}", 404)
        if not isinstance(running, bool):
            raise HttpRefusal("running must be true or false")
        self._shop.start(part) if running else self._shop.kill(part)
        return JSONResponse({"at_work": self._shop.at_work})

    async def repeat(self, request: Request) -> Response:
        """Let the last events come again."""
        events = (await body_of(request)).get("events")
        if type(events) is not int or not 0 < events <= MAX_REPEATED:
            raise HttpRefusal(f"events must be a whole number from 1 to {MAX_REPEATED:,}")
        try:
            return JSONResponse({"again": await self._shop.go_back(events)})
        except ConnectionError as error:
            raise HttpRefusal("the log does not answer", 503) from error

    async def poison(self, request: Request) -> Response:
        """Charge at the old till."""
        charge = Command("ChargeAtTheOldTill", await self._target(request), {"cents": CENTS})
        result = await self._shop.services["billing"].handle(charge)
        return JSONResponse({"id": result.id, "version": result.version})

    async def dual_write(self, request: Request) -> Response:
        """Charge with two writes."""
        target = await self._target(request)
        dual_write(self._shop, target)
        return JSONResponse({"id": target, "version": self._shop.services["billing"].state(target)[0]})

    async def _target(self, request: Request) -> str:
        return must_be_id((await body_of(request)).get("id"))

    async def rebuild(self, request: Request) -> Response:
        """Build the views again."""
        return await self._rebuilt(None)

    async def mend(self, request: Request) -> Response:
        """Deploy handlers that understand the old till, and build the views again with them."""
        return await self._rebuilt(reads_amounts_in_text)

    async def _rebuilt(self, mend: Callable[[EventHandler], EventHandler] | None) -> Response:
        try:
            await self._shop.rebuild(mend)
        except (PoisonEvent, RuntimeError) as error:
            raise HttpRefusal(str(error), 409) from error
        except ConnectionError as error:
            raise HttpRefusal("the log does not answer", 503) from error
        return JSONResponse({"rebuilt": len(self._shop.dashboard.rows())})
