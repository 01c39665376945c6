"""The journey of each message through a channel, step by step, and conservation: no step is illegal.

    accepted ─▶ ready ─▶ in flight ─▶ acked
                  ▲          │
                  └─ delayed ┴─▶ dead, dropped

A message is known by channel and id: the same id in the dead letters is a journey of its own. A
channel that does not refuse duplicates may accept an id twice; then two copies travel.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import Names, happened, listing, seconds
from .finding import Finding, Invariant

STEPS = frozenset(
    {
        Kind.ACCEPTED,
        Kind.DELIVERED,
        Kind.ACKED,
        Kind.NACKED,
        Kind.EXPIRED,
        Kind.RETURNED,
        Kind.DEAD,
        Kind.DROPPED,
        Kind.REPLAYED,
    }
)


@dataclass(slots=True)
class Copies:
    """The copies of one message in one channel: where they are now, and how they came there."""

    ready: int = 0
    delayed: int = 0  #: handed back or expired, and not yet ready again
    held: dict[Hashable, Event] = field(default_factory=dict)  #: lease -> its delivery
    received: int = 0  #: delivered without a lease: the end of a one-way journey
    history: list[Event] = field(default_factory=list)  #: every step, the illegal ones too

    @property
    def waiting(self) -> int:
        """Copies that a receiver may still get: ready ones and delayed ones."""
        return self.ready + self.delayed

    def step(self, event: Event) -> bool:
        """Follow one event; False when the message could not have taken this step from where it was."""
        self.history.append(event)
        match event.kind:
            case Kind.ACCEPTED:
                self.ready += 1
                return True
            case Kind.DELIVERED:
                return self._deliver(event)
            case Kind.ACKED:
                return self._release(event)
            case Kind.NACKED | Kind.EXPIRED:
                self.delayed += 1
                return self._release(event)
            case Kind.RETURNED:
                self.ready += 1
                return self._by_lease(event) or self._delay_over() or self._release(event)
            case Kind.REPLAYED:
                return bool(self.held) or self._unready() or self._delay_over()
        return self._give_up(event)

    def _deliver(self, event: Event) -> bool:
        legal = self._unready()
        lease = event.data.get("lease")
        if lease is None:
            self.received += 1
        else:
            legal = lease not in self.held and legal
            self.held[lease] = event
        return legal

    def _give_up(self, event: Event) -> bool:
        return self._by_lease(event) or self._delay_over() or self._unready() or self._release(event)

    def _by_lease(self, event: Event) -> bool:
        """Release the copy that this lease holds, though another copy may be delayed."""
        return "lease" in event.data and self._release(event)

    def _release(self, event: Event) -> bool:
        lease = event.data.get("lease")
        if lease is not None:
            return self.held.pop(lease, None) is not None
        if self.held:
            self.held.popitem()
        elif self.received:
            self.received -= 1
        else:
            return False
        return True

    def _unready(self) -> bool:
        self.ready -= (was := self.ready > 0)
        return was

    def _delay_over(self) -> bool:
        self.delayed -= (was := self.delayed > 0)
        return was


class Journeys:
    """The journeys of all messages of a trace, followed event by event."""

    def __init__(self) -> None:
        self.copies: dict[tuple[str, str], Copies] = {}  #: by channel and message id

    def follow(self, event: Event) -> bool:
        """Follow one event; False when its step is illegal. Events that are no step are legal."""
        if event.kind not in STEPS or not event.message:
            return True
        if event.kind == Kind.DELIVERED and "offset" in event.data and event.data.get("lease") is None:
            return True  # read from a log, which takes nothing away; a subscription has it out
        return self.of(event).step(event)

    def of(self, event: Event) -> Copies:
        """The copies of the event's message in the event's channel."""
        key = event.where, event.message
        if key not in self.copies:
            self.copies[key] = Copies()
        return self.copies[key]


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
    """The reason why the step was illegal: what had happened to the message before it."""
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


def dead_letter_channels(events: list[Event] | tuple[Event, ...]) -> set[str]:
    """The channels that keep dead letters: declared as such, or named by a message that died."""
    return {e.where for e in events if e.kind == Kind.OPENED and e.data.get("role") == "dead letters"} | {
        str(e.data["to"]) for e in events if e.kind == Kind.DEAD and e.data.get("to")
    }
