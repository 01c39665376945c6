"""A service that comes back cold, of lesson 10b: slow at first, and it falls over when many come at once."""

from __future__ import annotations

from collections import Counter
from contextlib import suppress

import anyio

from ...circuit_breaker import (
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    HalfOpen,
    OpenDuration,
)
from ...lab import Faults
from ...lab.demo import Demo, demo, slider, toggle
from ...lab.figures import Figure, bars
from ...trace import Kind, Trace, acting, record

__all__ = ["a_cold_return", "answered_after", "cold_demo"]

START, SECONDS, CALLERS = 15.0, 180.0, 20
WARM, BEARS, RESTART = 10, 8, 5.0  #: answers until it is warm, calls at once while it is cold, and seconds


class _Service:
    """Answers in 0.1 s when it is warm. Cold it takes 2 s, and falls over when over 8 calls come at once."""

    def __init__(self, outage: float, cold: bool, errors: float) -> None:
        self._down_until, self._cold, self._errors = START + outage, cold, errors
        self._down_from, self._lives = START if outage else SECONDS * 2, 0
        self._done, self._inside, self._chance = WARM, 0, Faults().random("cards")

    @property
    def sick(self) -> bool:
        """True while it is down, in the outage or after a fall."""
        return self._down_from <= anyio.current_time() < self._down_until

    async def answer(self) -> None:
        life, unlucky = self._lives, self._chance.random() < self._errors
        if self.sick:
            self._done = 0 if self._cold else WARM
            await anyio.sleep(0.1)
            raise ConnectionError("it is down")
        self._inside += 1
        try:
            if self._done < WARM and self._inside > BEARS:
                self._fall()
            await anyio.sleep(2.0 if self._done < WARM else 0.1)
        finally:
            self._inside -= 1
        if unlucky or life != self._lives:
            raise ConnectionError("no answer")
        self._done += 1

    def _fall(self) -> None:
        self._lives += 1
        self._done, self._down_from = 0, anyio.current_time()
        self._down_until = self._down_from + RESTART
        record(Kind.NOTE, "cards", who="", text="it fell over", fell=True)


async def a_cold_return(
    breaker: bool = True,
    outage: int = 60,
    threshold: int = 5,
    open_for: int = 10,
    probes: int = 1,
    successes: int = 1,
    errors: int = 0,
    cold: bool = True,
) -> None:
    """Play three minutes with 20 callers, who pause a second after each call. The outage begins at 15 s."""
    service = _Service(outage, cold, errors / 100)
    guard = CircuitBreaker(
        "cards",
        policy=ConsecutiveFailures(threshold),
        open_duration=OpenDuration(open_for),
        half_open=HalfOpen(probes, needed=successes),
    )
    if not breaker:
        guard.disable()

    async def caller() -> None:
        while anyio.current_time() < SECONDS:
            well, end = not service.sick, "failed"
            with suppress(ConnectionError):
                try:
                    await guard.call(service.answer)
                    end = "answered"
                except CallRejected:
                    end = "refused in vain" if well else "refused rightly"
            record(Kind.EFFECT, "shop", effect=end)
            await anyio.sleep(1)

    async with anyio.create_task_group() as group:
        with acting("shop"):
            for _ in range(CALLERS):
                group.start_soon(caller)


def answered_after(trace: Trace, outage: float = 60.0) -> int:
    """The number of calls that were answered after the outage."""
    return sum(
        event.data["effect"] == "answered" and event.at > START + outage
        for event in trace.filter(Kind.EFFECT)
    )


def _ends(trace: Trace) -> Counter[str]:
    return Counter(str(event.data["effect"]) for event in trace.filter(Kind.EFFECT))


def told(trace: Trace) -> str:
    """The ends of the calls, in words."""
    ends, fell = _ends(trace), sum("fell" in note.data for note in trace.filter(Kind.NOTE))
    return (
        f"{ends['answered']:,} calls answered, {ends['failed']:,} failed, {ends['refused rightly']:,} "
        f"refused rightly and {ends['refused in vain']:,} in vain. The service fell over {fell} times."
    )


def _by_end(trace: Trace) -> Figure:
    ends = _ends(trace)
    names = ("answered", "failed", "refused rightly", "refused in vain")
    counts = {name: float(ends[name]) for name in names}
    return bars(counts, unit="calls", title="How the calls ended", highlight=["refused in vain", "failed"])


def cold_demo() -> Demo:
    """The cold return with its controls."""
    return demo(
        a_cold_return,
        {
            "outage": slider(0, 120, value=60, label="Outage (s)"),
            "threshold": slider(1, 10, value=5, label="Failures in a row"),
            "open_for": slider(1, 60, value=10, label="Open time (s)"),
            "probes": slider(1, 20, value=1, label="Probes at a time"),
            "successes": slider(1, 10, value=1, label="Good probes to close"),
            "errors": slider(0, 30, value=0, label="Errors by chance (%)"),
            "cold": toggle(value=True, label="Comes back cold"),
            "breaker": toggle(value=True, label="With a breaker"),
        },
        presets={
            "No breaker": {"breaker": False},
            "Stampede": {"probes": 20},
            "One probe": {},
            "Gentle return": {"probes": 3, "successes": 10},
            "Hiccup": {"outage": 2, "open_for": 30, "cold": False},
            "False alarms": {"outage": 0, "errors": 10, "threshold": 3},
        },
        summary=told,
        figures=[_by_end],
        player=False,
        seed=1,
        title="Saved and harmed",
    )
