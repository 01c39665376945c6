"""A page of many parts, of lesson 11a: one slow part makes a slow page."""

from __future__ import annotations

import anyio

from ...api_gateway import Backend, Branch, BranchInput, FanOut, Hedging, RetryBudget
from ...lab import Faults
from ...trace import Kind, Trace, record

__all__ = ["many_pages", "slow_pages", "the_cost"]

PAGES = 200
QUICK, SLOW, RARELY = 0.05, 2.0, 0.05  # seconds, seconds, and the share of slow answers
TOO_LONG = 1.0


async def many_pages(parts: int, hedge: float | None = None) -> None:
    """Make 200 pages, one every 5 s, of so many services each.

    A service answers within 0.1 s, and once in twenty times after 2 s. With `hedge` it is asked a second time
    when it has not answered after so many seconds.
    """
    chance = Faults()
    hedging = None if hedge is None else Hedging(delay=hedge)
    backends = [
        Backend(
            f"service {n}",
            timeout=10,
            hedging=hedging,
            budget=RetryBudget(share=0.3, spare=10) if hedging else None,
        )
        for n in range(parts)
    ]

    async def answer() -> str:
        slow = chance.random("slow").random() < RARELY
        await anyio.sleep(SLOW if slow else chance.random("quick").uniform(0.05, 0.1))
        return "answer"

    def part(backend: Backend) -> Branch:
        async def ask(given: BranchInput) -> str:
            return await backend.call(answer, idempotent=True)

        return Branch(f"part of {backend.name}", ask)

    page = FanOut(*map(part, backends), name="page", timeout=10, max_concurrent=100)
    for number in range(PAGES):
        began = anyio.current_time()
        await page()
        record(Kind.EFFECT, "page", f"page {number + 1}", effect="shown", waited=anyio.current_time() - began)
        await anyio.sleep_until(5.0 * (number + 1))


def slow_pages(trace: Trace) -> int:
    """The share of the pages that took more than a second, in percent."""
    waits = [event.data["waited"] for event in trace.filter(Kind.EFFECT)]
    slow: int = sum(wait > TOO_LONG for wait in waits)
    return round(100 * slow / len(waits))


def the_cost(trace: Trace) -> tuple[int, int]:
    """The calls that were made, and those of them that were a second one."""
    calls = trace.filter(Kind.STARTED, test=lambda event: "limit" in event.data)
    return len(calls), sum("extra" in call.data for call in calls)
