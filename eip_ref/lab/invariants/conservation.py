"""Conservation: no message comes from nowhere, and none is in two states at once."""

from __future__ import annotations

from ...trace import Event, Kind, Trace
from .finding import Finding, Invariant
from .journeys import Copies, Journeys
from .words import Names, happened, listing, seconds


@Invariant
def conservation(trace: Trace, *, where: str | None = None) -> list[Finding]:
    """At every instant: ready + in flight + acked + dead + dropped = accepted, in every channel.

    The sum holds for as long as each message takes only legal steps, so each illegal step is a
    finding: delivered while in flight, acked twice, dead after acked, anything before accepted.
    """
    journeys, names = Journeys(), Names(trace)
    return [
        Finding("conservation", _words(event, journeys.of(event), names), tuple(journeys.of(event).history))
        for event in trace
        if not journeys.follow(event) and where in (None, event.where)
    ]


def _words(event: Event, copies: Copies, names: Names) -> str:
    lease = event.data.get("lease")
    by_lease = f" with lease {lease}" if lease is not None and event.kind != Kind.DELIVERED else ""
    place = "" if event.kind == Kind.ACCEPTED else f" in {event.where}"
    said = f"{names.message(event.message)} was {happened(event)}{by_lease}{place}"
    return f"{said}, {_but(event, copies)}"


def _but(event: Event, copies: Copies) -> str:
    """Why the step was illegal: what had happened to the message before it."""
    before = copies.history[:-1]
    if not any(step.kind == Kind.ACCEPTED for step in before):
        return f"but {event.where} had never accepted it"
    holders = [d for lease, d in copies.held.items() if d is not event and lease is not None]
    if holders:
        return "but it was in flight: " + listing([_held(delivery) for delivery in holders])
    return f"but before that it was {happened(before[-1])}" + _waits(event, before[-1])


def _held(delivery: Event) -> str:
    who = delivery.who or "a receiver"
    return f"held by {who} with lease {delivery.data['lease']} since {seconds(delivery.at)}"


def _waits(event: Event, last: Event) -> str:
    if event.kind == Kind.DELIVERED and last.kind in (Kind.NACKED, Kind.EXPIRED):
        return " and not yet ready again"
    settling = event.kind in (Kind.ACKED, Kind.NACKED, Kind.EXPIRED)
    return " and in flight at nobody" if settling and last.kind != Kind.ACKED else ""
