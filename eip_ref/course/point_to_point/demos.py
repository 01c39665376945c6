"""The controls, presets and words of the demo in lesson 01. Its scenario stands in the lesson."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from ...lab import figures
from ...lab.demo import Demo, choice, demo, slider
from ...trace import Kind, Trace

__all__ = ["away_demo"]


def away_demo(scenario: Callable[..., Awaitable[Any]]) -> Demo:
    """A receiver that is away for a while: `scenario(when_away, away, buffer, rate)`."""
    return demo(
        scenario,
        {
            "when_away": choice("block", "fail", "buffer", label="While billing is away"),
            "away": slider(0, 120, 10, value=60, label="Away for (seconds)"),
            "buffer": slider(1, 30, value=5, label="Buffer (invoices)"),
            "rate": slider(2, 30, 2, value=12, label="Invoices per minute"),
        },
        presets={
            "Wait": {"when_away": "block"},
            "Fail": {"when_away": "fail"},
            "Small buffer": {"when_away": "buffer", "buffer": 5},
            "Large buffer": {"when_away": "buffer", "buffer": 30},
        },
        summary=_in_words,
        figures=[figures.counters, _ages],
        seed=None,
        title="The receiver is away",
    )


def _in_words(trace: Trace) -> str:
    stood_still = sum(_seconds_between(trace, Kind.SENT, Kind.ACCEPTED).values())
    oldest = max(_seconds_between(trace, Kind.SENT, Kind.DELIVERED).values(), default=0.0)
    return (
        f"{trace.count(Kind.SENT)} invoices: {trace.count(Kind.ACCEPTED)} accepted, "
        f"{trace.count(Kind.REFUSED)} refused, {trace.count(Kind.EFFECT)} booked. "
        f"The shop stood still for {stood_still:.0f} s; billing got no invoice older than {oldest:.0f} s."
    )


def _ages(trace: Trace) -> figures.Figure:
    """The age of each invoice when billing got it."""
    ages = _seconds_between(trace, Kind.SENT, Kind.DELIVERED)
    got = {event.message: event.at for event in trace.filter(Kind.DELIVERED)}
    points = [(round(got[message], 3), round(age, 3)) for message, age in ages.items()]
    return figures.lines(
        {"age": points or [(0.0, 0.0)]},
        x="received at (seconds)",
        y="age in seconds",
        title="How old an invoice is when billing gets it",
    )


def _seconds_between(trace: Trace, first: Kind, then: Kind) -> dict[str, float]:
    """Seconds from one kind of event to another, for each message that has both."""
    start = {event.message: event.at for event in trace.filter(first)}
    return {event.message: event.at - start[event.message] for event in trace.filter(then)}
