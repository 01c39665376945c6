"""An outage, of lesson 10a: two customers a second pay by card, and the card service is sick for a while."""

from __future__ import annotations

import contextlib

import anyio

from ...circuit_breaker import (
    AnyOf,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    HalfOpen,
    LastCalls,
    OpenDuration,
    Policy,
    SlowCallRate,
)
from ...lab import Faults
from ...lab.demo import Demo, choice, demo, slider
from ...lab.wording import plural
from ...trace import Kind, Trace, acting, record
from .strip import strip

__all__ = ["an_outage", "refused_in_vain", "the_outage_demo"]

START, SECONDS, EVERY = 15.0, 90.0, 0.5
RULES: dict[str, Policy] = {
    "3 failures in a row": ConsecutiveFailures(3),
    "5 failures in a row": ConsecutiveFailures(5),
    "half of the last 10": FailureRate(0.5, LastCalls(10)),
    "half of the last 40": FailureRate(0.5, LastCalls(40), min_calls=40),
    "half over 2 s, of 10": AnyOf(ConsecutiveFailures(5), SlowCallRate(0.5, LastCalls(10), slow_after=2.0)),
}
FAILS, HANGS, SLOW = "fails at once", "hangs", "is slow"


async def an_outage(
    rule: str = "5 failures in a row",
    sick: str = FAILS,
    outage: int = 30,
    open_for: int = 10,
    errors: int = 0,
) -> None:
    """Play a minute and a half. The service is sick from 15 s on, for `outage` seconds.

    A call waits 5 s at most. `errors` percent of the calls fail by chance, also when the service is well.
    """
    chance = Faults().random("cards")
    breaker = CircuitBreaker(
        "cards", policy=RULES[rule], open_duration=OpenDuration(open_for), half_open=HalfOpen(probe_timeout=8)
    )

    async def charge() -> None:
        unlucky = chance.random() < errors / 100
        ill = START <= anyio.current_time() < START + outage
        with anyio.fail_after(5):
            await anyio.sleep({FAILS: 0.1, HANGS: 600, SLOW: 4.0}[sick] if ill else 0.1)
        if unlucky or (ill and sick == FAILS):
            raise ConnectionError("no answer")

    async def customer() -> None:
        with contextlib.suppress(CallRejected, ConnectionError, TimeoutError):
            await breaker.call(charge)

    async def begin() -> None:
        await anyio.sleep(START)
        record(Kind.NOTE, "cards", text=f"the card service {sick}", until=START + outage)

    async with anyio.create_task_group() as group:
        with acting("shop"):
            if outage:
                group.start_soon(begin)
            for _ in range(round(SECONDS / EVERY)):
                group.start_soon(customer)
                await anyio.sleep(EVERY)


def refused_in_vain(trace: Trace) -> int:
    """The number of calls that were refused while the service was well."""
    sick = [(note.at, note.data["until"]) for note in trace.filter(Kind.NOTE) if "until" in note.data]
    return sum(
        not any(start <= event.at < until for start, until in sick) for event in trace.filter(Kind.REFUSED)
    )


def _in_words(trace: Trace) -> str:
    ended = dict.fromkeys(("success", "failure"), 0)
    for event in trace.filter(Kind.FINISHED, Kind.FAILED):
        ended[event.data["verdict"]] += 1
    refused, vain = trace.count(Kind.REFUSED), refused_in_vain(trace)
    opened = plural(sum(change.data["now"] == "open" for change in trace.filter(Kind.STATE)), "time")
    began = {event.message: event.at for event in trace.filter(Kind.STARTED)}
    longest = max(event.at - began[event.message] for event in trace.filter(Kind.FINISHED, Kind.FAILED))
    return (
        f"{ended['success']} calls answered, {ended['failure']} failed, {refused} refused, {vain} of them "
        f"while the service was well. The longest call took {longest:.1f} s. The breaker opened {opened}."
    )


def the_outage_demo() -> Demo:
    """The outage with its controls, and the strip of the breaker."""
    return demo(
        an_outage,
        {
            "rule": choice(*RULES, value="5 failures in a row", label="Opens at"),
            "sick": choice(FAILS, HANGS, SLOW, label="The card service"),
            "outage": slider(0, 60, value=30, label="Sick for (s)"),
            "open_for": slider(1, 40, value=10, label="Stays open for (s)"),
            "errors": slider(0, 30, value=0, label="Errors by chance (%)"),
        },
        presets={
            "An outage": {},
            "A hiccup": {"outage": 3, "open_for": 40},
            "A long memory": {"rule": "half of the last 40"},
            "Slow": {"sick": SLOW},
            "Slow is sick": {"sick": SLOW, "rule": "half over 2 s, of 10"},
            "A false alarm": {"rule": "3 failures in a row", "outage": 0, "errors": 30},
        },
        summary=_in_words,
        figures=[strip],
        player=False,
        seed=1,
        title="A breaker and its window",
    )
