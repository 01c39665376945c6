"""Circuit breakers: whom they may let in, and which changes of state are legal."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import listing, plural, seconds, short
from .finding import Finding, Invariant

_BY_ITSELF = {
    ("closed", "open"),
    ("open", "half-open"),
    ("half-open", "closed"),
    ("half-open", "open"),
}
_BY_HAND = frozenset({"forced open", "disabled", "observing"})
_STATES = frozenset({"closed", "open", "half-open"}) | _BY_HAND
_SHUT = frozenset({"open", "forced open"})
_ENDS = frozenset({Kind.FINISHED, Kind.FAILED, Kind.CANCELLED})


@Invariant
def breaker_legality(trace: Trace, *, where: str | None = None, limit: int | None = None) -> list[Finding]:
    """A circuit breaker changes state as it may, and lets in whom it may.

    Only legal transitions, half-open not before the open time is over, no call let in while open,
    never more than `limit` unsettled calls in half-open, and no change by the result of a call that
    was let in before the last one. `limit` is by default what the change to half-open says. A call
    is from "started" to "finished", "failed" or "cancelled"; calls are told apart by their message.
    """
    breakers = {name: _Breaker(name, was, limit) for name, was in _starts(trace).items()}
    found: list[Finding] = []
    for event in trace:
        if where in (None, event.where) and event.where in breakers:
            found += breakers[event.where].read(event)
    return found


def _starts(trace: Trace) -> dict[str, str]:
    """The breakers of a trace, each with the state in which it was at the start."""
    starts: dict[str, str] = {}
    for event in trace.filter(Kind.STATE):
        was, now = event.data.get("was"), event.data.get("now")
        if was in _STATES and now in _STATES:
            starts.setdefault(event.where, str(was))
    return starts


@dataclass(slots=True)
class _Breaker:
    """One breaker, followed event by event."""

    name: str
    state: str
    limit: int | None
    change: Event | None = None  # the last one
    changes: int = 0
    room: int | None = None
    probes: dict[int, Event] = field(default_factory=dict)  # unsettled ones, by id of their start
    started: dict[str, deque[tuple[int, Event]]] = field(default_factory=lambda: defaultdict(deque))
    ended: dict[str, tuple[int, Event]] = field(default_factory=dict)  # with the changes before the start
    last: Event | None = None

    def read(self, event: Event) -> Iterator[Finding]:
        if event.kind == Kind.STATE:
            yield from self._changed(event)
        elif event.kind == Kind.STARTED:
            yield from self._let_in(event)
        elif event.kind in _ENDS and self.started[event.message]:
            since, start = self.started[event.message].popleft()
            self.ended[event.message] = since, start
            self.probes.pop(id(start), None)
        self.last = event

    def _changed(self, event: Event) -> Iterator[Finding]:
        was, now = str(event.data.get("was")), str(event.data.get("now"))
        said = f"{self.name} went from {was} to {now} at {seconds(event.at)}"
        before = (self.change,) if self.change else ()
        if was != self.state:
            yield _finding(f"{said}, but it was {self.state}", *before, event)
        if not _legal(was, now, manual=bool(event.data.get("manual"))):
            yield _finding(f"{said}, which no breaker may", *before, event)
        yield from self._too_early(event, said)
        yield from self._by_a_stale_result(event, said)
        self.state, self.change = now, event
        self.changes += 1
        self.probes.clear()
        self.room = self.limit if self.limit is not None else event.data.get("limit")

    def _too_early(self, event: Event, said: str) -> Iterator[Finding]:
        if self.change is None or event.data.get("now") != "half-open" or self.state != "open":
            return
        until = self.change.at + self.change.data.get("open_for", 0.0)
        if event.at < until - 1e-9:
            yield _finding(f"{said}, before the open time was over at {seconds(until)}", self.change, event)

    def _by_a_stale_result(self, event: Event, said: str) -> Iterator[Finding]:
        by = event.data.get("by", self._settled_just_now(event))
        since, start = self.ended.get(by, (self.changes, event))
        if since != self.changes:
            words = f"by the result of call {short(by)}, let in at {seconds(start.at)}"
            between = f"before the change to {self.state}"
            proof = (start, *((self.change,) if self.change else ()), event)
            yield _finding(f"{said} {words}, {between}: that result was stale", *proof)

    def _settled_just_now(self, event: Event) -> str:
        """The call that ended right before, for a breaker that does not say what moved it; "" if none did."""
        last = self.last
        return last.message if last and last.kind in _ENDS and last.at == event.at else ""

    def _let_in(self, event: Event) -> Iterator[Finding]:
        self.started[event.message].append((self.changes, event))
        before = (self.change,) if self.change else ()
        said = f"{self.name} let in call {short(event.message)} at {seconds(event.at)}"
        if self.state in _SHUT:
            yield _finding(f"{said}, while it was {self.state}", *before, event)
        if self.state != "half-open":
            return
        self.probes[id(event)] = event
        if self.room is not None and len(self.probes) > self.room:
            others = listing([short(probe.message) for probe in self.probes.values() if probe is not event])
            words = f"half-open with {plural(len(self.probes) - 1, 'unsettled call')} ({others})"
            yield _finding(f"{said}, while it was {words}; the limit is {self.room}", *self.probes.values())


def _legal(was: str, now: str, *, manual: bool) -> bool:
    if was == now:
        return False
    by_hand = manual and (now == "closed" or now in _BY_HAND)
    return (was, now) in _BY_ITSELF or by_hand or now in _BY_HAND or (was in _BY_HAND and now == "closed")


def _finding(words: str, *events: Event) -> Finding:
    return Finding("breaker legality", words, events)
