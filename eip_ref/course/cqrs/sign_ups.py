"""A hundred customers who sign up and then open their page, of lesson 08b."""

from __future__ import annotations

import anyio

from ...apps.shop_dashboard.services import DASHBOARD, users
from ...cqrs import Command, CommandResult, ReadModel, Relay, read
from ...lab import Exponential, Faults
from ...message_queue import MessageQueue
from ...storage import MemoryStore
from ...trace import Kind, Trace, record

__all__ = ["CUSTOMERS", "EVERY", "SLOW", "a_hundred_sign_ups", "open_page", "pages", "registration"]

CUSTOMERS, EVERY, SLOW = 100, 0.5, 0.3
NOT_FOUND, STALE, SHOWN = "404", "stale", "shown"


async def a_hundred_sign_ups(looks_after: float, by_version: bool = False, timeout: float = 2.0) -> None:
    """Sign a hundred customers up, two a second. Each opens her page so many seconds after her 201.

    The projector needs 0.3 s for an event; both are means. With `by_version` the page waits for the version
    that the answer named, up to `timeout` seconds.
    """
    chance, service = Faults(), users(MemoryStore())
    view = ReadModel(MemoryStore(), "dashboard", DASHBOARD)

    async def project() -> None:
        while True:
            lease = await events.receive()
            await chance.sleep("projector", Exponential(SLOW))
            await view(lease.message)
            await lease.ack()

    async def customer(number: int) -> None:
        answer = await service.handle(registration(number))
        await anyio.sleep(looks_after)
        await open_page(view, answer, by_version=by_version, timeout=timeout)

    async with MessageQueue("events", lease=60) as events, anyio.create_task_group() as workers:
        workers.start_soon(Relay(service.outbox, events.put).run)
        workers.start_soon(project)
        async with anyio.create_task_group() as street:
            for number in range(1, CUSTOMERS + 1):
                street.start_soon(customer, number)
                await chance.sleep("street", Exponential(EVERY))
        workers.cancel_scope.cancel()


def registration(number: int) -> Command:
    """The command of one customer."""
    return Command(
        "Register", f"customer-{number}", {"name": f"Customer {number}", "email": f"{number}@street"}
    )


async def open_page(
    view: ReadModel, answer: CommandResult, *, by_version: bool, timeout: float = 2.0, where: str = "page"
) -> None:
    """Read the row of the customer who got this answer, and record what the page is."""
    id, came = answer.id, anyio.current_time()
    if by_version:
        page = await read(view, id, at_least={f"users/{id}": answer.version}, timeout=timeout)
        seen = STALE if page.stale else SHOWN
    else:
        seen = SHOWN if view.get(id) else NOT_FOUND
    record(Kind.EFFECT, where, id, effect=seen, waited=anyio.current_time() - came)


def pages(trace: Trace, where: str = "page", *, digits: int = 1) -> dict[str, float]:
    """The pages that were a 404, stale, shown; and the mean wait in seconds."""
    ends = trace.filter(Kind.EFFECT, where=where)
    counts: dict[str, float] = {
        kind: sum(event.data["effect"] == kind for event in ends) for kind in (NOT_FOUND, STALE, SHOWN)
    }
    return counts | {"mean wait": round(sum(event.data["waited"] for event in ends) / len(ends), digits)}
