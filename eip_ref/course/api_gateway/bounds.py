"""Second calls without a bound, and one service that takes the places of all, of lesson 11b."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from random import Random

import anyio

from ...api_gateway import Backend, GatewayError, Hedging, RetryBudget
from ...backpressure import Buffer
from ...circuit_breaker import CircuitBreaker, ConsecutiveFailures
from ...lab import Exponential, Faults
from ...message import Message
from ...trace import Kind, Trace, acting, record

__all__ = ["a_storm", "quick_answers", "two_kinds_of_pages", "users_pages"]

NEVER = 10**6
SECONDS, LOAD, PATIENCE = 60.0, 10.0, 2.0
PLACES, TAKES, SLOW, RARELY = 4, 0.2, 3.0, 0.02


def _patient_breaker(name: str) -> CircuitBreaker:
    """A breaker that stays closed: it would end the storm, and hide it."""
    return CircuitBreaker(f"{name} breaker", policy=ConsecutiveFailures(NEVER))


async def a_storm(share: float = 0.0, hedge: float = 0.3) -> None:
    """Play a minute at half of what a service can do, which is not told when its caller leaves.

    A call that has no answer after `hedge` seconds is made again, for a `share` of the calls at most. Two in
    a hundred take 3 s.
    """
    chance, luck = Faults(), Random(1)
    answered = dict[str, anyio.Event]()

    async def serve(line: Buffer) -> None:
        async for request in line:
            await anyio.sleep(SLOW if luck.random() < RARELY else TAKES)
            answered[request.id].set()

    async def ask() -> None:
        message = Message("call")
        answered[message.id] = anyio.Event()
        await line.put(message)
        await answered[message.id].wait()

    async def customer() -> None:
        end = "too late"
        with anyio.move_on_after(PATIENCE):
            await backend.call(ask, idempotent=True)
            end = "in time"
        record(Kind.EFFECT, "customers", effect=end)

    backend = Backend(
        "prices",
        timeout=60,
        max_concurrent=NEVER,
        hedging=Hedging(delay=hedge) if share else None,
        budget=RetryBudget(share=share, spare=NEVER if share == 1 else 3) if share else None,
        breaker=_patient_breaker("prices"),
    )
    async with anyio.create_task_group() as group:
        with Buffer("the line", NEVER, when_full="block") as line:
            with acting("service"):
                for _ in range(PLACES):
                    group.start_soon(serve, line)
            async with anyio.create_task_group() as customers:
                while anyio.current_time() < SECONDS:
                    customers.start_soon(customer)
                    await chance.sleep("street", Exponential(1 / LOAD))
        group.cancel_scope.cancel()


def quick_answers(trace: Trace) -> int:
    """The share of the customers who had their answer in time, in percent."""
    ends = trace.filter(Kind.EFFECT)
    quick: int = sum(event.data["effect"] == "in time" for event in ends)
    return round(100 * quick / len(ends))


# One service that hangs


PAGE_TIMEOUT = 3.0  #: seconds
NEEDS = {"users": 0.1, "invoices": 60.0}  #: seconds that a page takes


def _backend(name: str, places: int) -> Backend:
    return Backend(name, timeout=PAGE_TIMEOUT, max_concurrent=places, breaker=_patient_breaker(name))


async def two_kinds_of_pages(places: dict[str, int]) -> None:
    """Show 200 pages of users, ten a second, beside five a second of invoices, whose service hangs.

    `places` are those of each bulkhead: one for `all`, or one for `users` and one for `invoices`.
    """
    made = {name: _backend(name, count) for name, count in places.items()}

    async def ask(kind: str) -> None:
        await (made.get(kind) or made["all"]).call(anyio.sleep, NEEDS[kind])

    await show_pages(ask)


async def show_pages(ask: Callable[[str], Awaitable[None]], *, speed: float = 1) -> None:
    """Show the pages, `speed` times as fast; `ask` raises GatewayError where there is none."""

    async def show(kind: str) -> None:
        end = "failed"
        with suppress(GatewayError):
            await ask(kind)
            end = "shown"
        record(Kind.EFFECT, kind, effect=end)

    chance = Faults()
    async with anyio.create_task_group() as group:
        for number in range(300):
            group.start_soon(show, "invoices" if number % 3 == 2 else "users")
            await chance.sleep("street", Exponential(1 / 15 / speed))


def users_pages(trace: Trace) -> str:
    """The ends of the users' pages, in words."""
    ends = [event.data["effect"] for event in trace.filter(Kind.EFFECT, where="users")]
    return f"{ends.count('shown')} of {len(ends)} users' pages shown"
