"""Readings of the shop that falls asleep, of lesson 10a: ten clerks for all requests, and cards that hang."""

from __future__ import annotations

from collections import Counter

from ...trace import Kind, Trace

__all__ = ["slow_pages", "told"]

SLOW = 2.0


def _waits(trace: Trace) -> list[float]:
    """The seconds that each page took, from its request on."""
    came = {event.message: event.at for event in trace.filter(Kind.ACCEPTED)}
    ends = trace.filter(Kind.EFFECT, test=lambda event: event.data["type"] == "browse")
    return [event.at - came[event.message] for event in ends]


def slow_pages(trace: Trace) -> int:
    """The number of pages that took more than 2 s."""
    return sum(wait > SLOW for wait in _waits(trace))


def told(trace: Trace) -> str:
    """The ends of the pages and of the payments, in words."""
    ends = trace.filter(Kind.EFFECT, test=lambda event: event.data["type"] == "pay")
    pays = Counter(str(event.data["effect"]) for event in ends)
    refused = pays["BreakerOpen"] + pays["HalfOpenFull"]
    waits = _waits(trace)
    return (
        f"{slow_pages(trace):3} of {len(waits)} pages over 2 s, the longest {max(waits):4.1f} s; "
        f"payments: {pays['answered']} done, {pays['TimeoutError']} timed out, {refused} refused"
    )
