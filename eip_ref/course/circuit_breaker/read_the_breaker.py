"""Read the trace of a breaker

Read the trace · medium · 3 points · 8 minutes

Answer: def read_the_breaker()
Called: The morning that you can play: `simulate(a_rough_morning)`. Fourteen orders are paid through one
    breaker. It opens at three failures in a row, for 10 s, and lets in one probe.
Promised: Your four lists are those of the trace.
Hint: Read the rows from top to bottom: `started` is a call that was let in; `finished`, `failed` and
    `refused` are how it ended. A row `state` is a change of the breaker.
Hint: A failure is counted when it ends, and not when its call began. A row says `verdict` and `stale`: both
    decide whether it was counted.
Hint: For `in vain` look at the `refused` rows from 15 s on. It does not matter why they were refused.
Why: The third failure in a row to end is that of order 8, although 9 began later. Order 4 was the caller's
    error and broke no row. Order 1 failed in another generation than the one that let it in. A breaker knows
    nothing of the repair at 15 s: it refuses until a probe has been good.

no-prediction: A prediction is missing or cannot be read. Each of the four is a list of numbers of orders,
    such as [1, 4].
opened-by-another: Another order opened it. Count the failures in the order in which they end. A success
    begins the row anew, and what is neutral does not count.
neutral-miscounted: Other calls were neutral. The breaker's verdict says that the fault was the caller's. A
    failure that came too late is still a failure.
stale-miscounted: Other results were stale. Stale is a result that comes when the breaker has changed its
    state since it let the call in.
vain-miscounted: Others were refused in vain. From 15 s on the service is well. Whoever is refused then is
    refused in vain, by an open breaker or by a half-open one.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio

from ...autograder import kit
from ...circuit_breaker import CallRejected, CircuitBreaker, ConsecutiveFailures, OpenDuration, Predicates
from ...trace import Event, Kind, Trace, acting, record

__all__ = ["EXERCISE", "a_rough_morning"]

WELL = 15.0  #: seconds after which the service is well again
GOOD, BAD, CALLERS = None, ConnectionError("no answer"), ValueError("there is no such card")
ORDERS: dict[int, tuple[float, float, Exception | None]] = {  # when it comes, how long it takes, how it ends
    1: (0.0, 22.0, BAD),
    2: (1.0, 0.5, GOOD),
    3: (2.0, 0.5, BAD),
    4: (3.0, 0.5, CALLERS),
    5: (4.0, 0.5, BAD),
    6: (5.0, 0.5, GOOD),
    7: (6.5, 0.5, BAD),
    8: (7.5, 2.0, BAD),
    9: (8.0, 0.5, BAD),
    10: (12.0, 0.5, BAD),
    11: (17.0, 0.5, GOOD),
    12: (20.0, 3.0, GOOD),
    13: (21.0, 0.5, GOOD),
    14: (24.0, 0.5, GOOD),
}
OPENED, NEUTRAL, STALE, VAIN = "opened by", "neutral", "stale", "in vain"
MISTAKES = {
    OPENED: "opened-by-another",
    NEUTRAL: "neutral-miscounted",
    STALE: "stale-miscounted",
    VAIN: "vain-miscounted",
}


async def a_rough_morning() -> None:
    """Pay fourteen orders. The card service is sick until 15 s, and well from then on."""
    breaker = CircuitBreaker(
        "cards",
        policy=ConsecutiveFailures(3),
        open_duration=OpenDuration(10),
        predicates=Predicates(neutral=ValueError),
    )

    async def pay(number: int, comes: float, takes: float, error: Exception | None) -> None:
        await anyio.sleep(comes)
        try:
            with breaker.admit(f"order {number}"):
                await anyio.sleep(takes)
                if error is not None:
                    raise error
        except (CallRejected, ConnectionError, ValueError):
            pass

    async with anyio.create_task_group() as group:
        with acting("shop"):
            for number, (comes, takes, error) in ORDERS.items():
                group.start_soon(pay, number, comes, takes, error)
        await anyio.sleep(WELL)
        record(Kind.NOTE, "cards", who="", text="the card service is well again")


def _orders(trace: Trace, test: Callable[[Event], bool]) -> list[int]:
    return sorted(int(event.message.split()[1]) for event in trace.filter(test=test) if event.message)


def opened_by(trace: Trace) -> list[int]:
    opened = trace.filter(Kind.STATE, test=lambda event: event.data["now"] == "open")
    return sorted(int(event.data["by"].split()[1]) for event in opened)


READINGS = {
    OPENED: opened_by,
    NEUTRAL: lambda trace: _orders(trace, lambda event: event.data.get("verdict") == "neutral"),
    STALE: lambda trace: _orders(trace, lambda event: bool(event.data.get("stale"))),
    VAIN: lambda trace: _orders(trace, lambda event: event.kind == Kind.REFUSED and event.at >= WELL),
}
RUN = kit.ask(kit.readings(a_rough_morning, READINGS), kit.numbers)
EXERCISE = kit.exercise(__name__, __doc__, RUN, kit.misread(MISTAKES), seeds=(1,))
