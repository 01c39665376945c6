"""Layers around a call, of lesson 10b: retry, breaker and timeout in any order, before cards that hang."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from ...circuit_breaker import CallRejected, CircuitBreaker, ConsecutiveFailures, OpenDuration
from ...trace import Kind, Trace, acting, record

__all__ = ["calls_and_waits", "fifty_customers", "reached"]

Work = Callable[[], Awaitable[object]]
SERVICE = "card service"


async def fifty_customers(build: Callable[[Work, CircuitBreaker], Work]) -> None:
    """Let 50 customers pay, one after the other. The card service hangs: no call of it ever ends by itself.

    `build(work, breaker)` puts the layers around the call. The breaker opens at five failures in a row, for
    ten minutes.
    """
    breaker = CircuitBreaker("cards", policy=ConsecutiveFailures(5), open_duration=OpenDuration(600))

    async def charge() -> None:
        record(Kind.ARRIVED, SERVICE)
        await anyio.sleep_forever()

    pay = build(charge, breaker)
    for number in range(1, 51):
        began, end = anyio.current_time(), "answered"
        try:
            with acting("shop"):
                await pay()
        except TimeoutError:
            end = "timed out"
        except CallRejected:
            end = "refused"
        record(Kind.EFFECT, "shop", f"customer {number}", effect=end, waited=anyio.current_time() - began)


def reached(trace: Trace) -> int:
    """The number of calls that reached the card service."""
    return trace.count(Kind.ARRIVED, where=SERVICE)


def calls_and_waits(trace: Trace) -> str:
    """The number of calls that reached the card service, and the mean wait of a customer, in words."""
    waits = [event.data["waited"] for event in trace.filter(Kind.EFFECT)]
    opened = trace.filter(Kind.STATE)
    said = f"opened at {opened[0].at:.0f} s" if opened else "stayed closed"
    return (
        f"{reached(trace):3} calls reach the cards, a customer waits {sum(waits) / 50:.1f} s on average, "
        f"breaker {said}"
    )
