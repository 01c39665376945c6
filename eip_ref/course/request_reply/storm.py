"""The spike that never ends, of lesson 06b: impatient customers, and every second try is one more question.

Customers come at 6 a second, and the bank answers 10 a second. From 20 s to 25 s they come at 25 a second.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from ...lab import Exponential, Faults
from ...lab.faults import Latency
from ...request_reply import RequestError, Requestor
from ...trace import Kind, Trace, acting, record
from .ends import answering

__all__ = ["a_spike", "answered"]

SERVICE = 0.1
SECONDS = 90.0
UNBOUNDED = 10_000


async def a_spike(
    retries: int = 1,
    told: bool = False,
    backlog: int = UNBOUNDED,
    timeout: float = 1.0,
    backoff: float = 0.0,
    load: float = 6.0,
    spike: tuple[float, float] = (20.0, 25.0),
    seconds: float = SECONDS,
    gaps: Callable[[float], Latency] = Exponential,
) -> None:
    """Play a minute and a half. Whoever has no answer after `timeout` seconds asks again, `retries` times.

    `gaps` makes of a mean the chance by which one customer comes after the other.
    """
    chance = Faults()

    async def answer(request: object) -> str:
        await anyio.sleep(SERVICE)
        return "yes"

    async def customer(bank: Requestor, number: int) -> None:
        came, waited, end = anyio.current_time(), 0.0, "gave up"
        for attempt in range(retries + 1):
            asked = anyio.current_time()
            try:
                await bank.request(number, timeout=timeout)
                end = "answered"
            except RequestError:
                pass
            waited = max(waited, anyio.current_time() - asked)
            if end == "answered":
                break
            await chance.sleep("pause", Exponential(backoff * 2**attempt))
        record(Kind.EFFECT, "shop", f"customer {number}", effect=end, came=came, waited=waited)

    async with (
        answering(
            answer, name="bank", asker="shop", told=told, concurrency=1, backlog=backlog, grace=0.0
        ) as bank,
        anyio.create_task_group() as group,
    ):
        number = 0
        with acting("shop"):
            while (now := anyio.current_time()) < seconds:
                number += 1
                group.start_soon(customer, bank, number)
                rate = 25.0 if spike[0] <= now < spike[1] else load
                await chance.sleep("street", gaps(1 / rate))


def answered(trace: Trace, since: float = 0.0, until: float = SECONDS) -> int:
    """The share of the customers who came in this time and had an answer, in percent."""
    ends = [event for event in trace.filter(Kind.EFFECT) if since <= event.data["came"] < until]
    good = [event for event in ends if event.data["effect"] == "answered"]
    return round(100 * len(good) / len(ends))
