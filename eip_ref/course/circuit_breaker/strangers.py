"""Whose fault is it, of lesson 10a: a bot with bad orders, and three services behind one breaker."""

from __future__ import annotations

import contextlib
from collections import Counter

import anyio

from ...circuit_breaker import Breakers, CallRejected, CircuitBreaker, OpenDuration, Policy
from ...trace import Kind, Trace, acting, record

__all__ = ["a_bot", "by_service", "refused_of", "services_told", "three_services"]

CUSTOMERS = 120


async def a_bot(breaker: CircuitBreaker) -> None:
    """For two minutes a customer pays each second. Every half minute a bot sends ten bad orders at once.

    The card service is well all the time. To a bad order it says so: `ValueError`.
    """

    async def charge(good: bool) -> None:
        await anyio.sleep(0.1)
        if not good:
            raise ValueError("there is no such card")

    async def pay(who: str, good: bool) -> None:
        with acting(who), contextlib.suppress(CallRejected, ValueError):
            await breaker.call(charge, good)

    async with anyio.create_task_group() as group:
        for second in range(CUSTOMERS):
            group.start_soon(pay, "customer", True)
            await anyio.sleep(0.5)
            if second % 30 == 10:
                for _ in range(10):
                    group.start_soon(pay, "bot", False)
            await anyio.sleep(0.5)


def refused_of(trace: Trace, who: str) -> int:
    """The number of calls of this participant that the breaker refused."""
    return len(trace.filter(Kind.REFUSED, test=lambda event: event.who == who))


async def three_services(policy: Policy, one_for_all: bool) -> None:
    """Call cards, stock and mail in turn, 100 times each, one a second. Only cards are dead."""
    made = Breakers(lambda name: CircuitBreaker(name, policy=policy, open_duration=OpenDuration(30)))

    async def work(service: str) -> None:
        await anyio.sleep(0.1)
        if service == "cards":
            raise ConnectionError("nobody answers")

    for number in range(300):
        service = ("cards", "stock", "mail")[number % 3]
        end = "answered"
        try:
            await made["everything" if one_for_all else service].call(work, service)
        except CallRejected:
            end = "refused"
        except ConnectionError:
            end = "failed"
        record(Kind.EFFECT, service, effect=end)
        await anyio.sleep(0.9)


def by_service(trace: Trace) -> dict[str, Counter[str]]:
    """The ends of the calls of each service."""
    found: dict[str, Counter[str]] = {}
    for event in trace.filter(Kind.EFFECT):
        found.setdefault(event.where, Counter())[str(event.data["effect"])] += 1
    return found


def services_told(trace: Trace) -> str:
    """The same in words."""
    return "; ".join(
        f"{service}: {', '.join(f'{count} {end}' for end, count in sorted(ends.items()))}"
        for service, ends in by_service(trace).items()
    )
