"""Fan-out: no part outlives the whole, and nothing takes longer, or comes more often, than it may."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import listing, plural, seconds, short
from .finding import Finding, Invariant

_ENDS = frozenset({Kind.FINISHED, Kind.FAILED, Kind.TIMED_OUT, Kind.CANCELLED})
_ROUNDING = 1e-9
_BOUNDS = frozenset(
    {"parent", "until", "limit"}
)  # a bar with none of them is somebody else's, as a breaker's

Bar = tuple[str, str]  #: where and message


@Invariant
def fan_out_budget(trace: Trace, *, open_ok: bool = False) -> list[Finding]:
    """No branch outlives the answer that it is for, and all keep to their limits.

    Work is a bar from "started" to "finished", "failed", "timed out" or "cancelled". It ends before the
    bar whose message its `parent` names, and is not finished after its `until`, which is before its
    parent's; what cleans up after that has until the parent's. At one place there are never more bars
    than their `limit`. Those with `extra` are never more than `spare` and, for each one without, `share`.
    A crash ends the bars of whoever crashed. With `open_ok` some may be without an end when the trace
    is over.
    """
    reader = _Reader()
    found = [finding for event in trace for finding in reader.read(event)]
    return found if open_ok else [*found, *reader.left_open(trace.end)]


@dataclass(slots=True)
class _Place:
    """One backend: what is under way there, and how often it was called."""

    running: dict[Bar, Event] = field(default_factory=dict)
    who: str = ""  #: whose calls these are
    first: int = 0
    extra: int = 0


@dataclass(slots=True)
class _Reader:
    open: dict[Bar, Event] = field(default_factory=dict)
    by_message: dict[str, Event] = field(default_factory=dict)  # the newest bar with that message
    ended: dict[str, Event] = field(default_factory=dict)
    parts: dict[str, dict[Bar, Event]] = field(default_factory=lambda: defaultdict(dict))  # still open
    places: dict[str, _Place] = field(default_factory=lambda: defaultdict(_Place))

    def read(self, event: Event) -> Iterator[Finding]:
        if event.kind == Kind.STARTED and _BOUNDS & event.data.keys():
            yield from self._started(event)
        elif event.kind in _ENDS and (event.where, event.message) in self.open:
            yield from self._ended(event)
        elif event.kind == Kind.CRASHED:
            self._crashed(event)

    def _started(self, event: Event) -> Iterator[Finding]:
        bar = event.where, event.message
        parent = str(event.data.get("parent", ""))
        if parent in self.ended:
            words = f"{_name(event)} began at {seconds(event.at)}, but {short(parent)} was over"
            yield _finding(f"{words} at {seconds(self.ended[parent].at)}", self.ended[parent], event)
        elif parent in self.by_message:
            yield from self._no_time_left(event, self.by_message[parent])
            self.parts[parent][bar] = event
        self.open[bar] = self.by_message[event.message] = event
        self.ended.pop(event.message, None)
        if "limit" in event.data:
            yield from self._counted(bar, event)

    def _no_time_left(self, event: Event, parent: Event) -> Iterator[Finding]:
        mine, whole = event.data.get("until"), parent.data.get("until")
        if mine is not None and whole is not None and mine >= whole:
            words = f"{_name(event)} may take until {seconds(mine)}, and {_name(parent)} must be over"
            yield _finding(f"{words} at {seconds(whole)}: there is no time left to answer", parent, event)

    def _counted(self, bar: Bar, event: Event) -> Iterator[Finding]:
        place, limit = self.places[event.where], event.data["limit"]
        place.who = event.who
        place.running[bar] = event
        if len(place.running) > limit:
            words = f"{event.where} had {plural(len(place.running), 'call')} under way at {seconds(event.at)}"
            yield _finding(f"{words}, and its limit is {limit}", *place.running.values())
        if not event.data.get("extra"):
            place.first += 1
            return
        place.extra += 1
        allowed = event.data.get("spare", 0) + event.data.get("share", 0.0) * place.first
        if place.extra > allowed + _ROUNDING:
            words = f"{_name(event)} was extra call {place.extra} ({event.data['extra']}) to {event.where}"
            more = f"the budget after {plural(place.first, 'first call')} is {allowed:g}"
            yield _finding(f"{words} at {seconds(event.at)}, and {more}", event)

    def _ended(self, event: Event) -> Iterator[Finding]:
        bar = event.where, event.message
        start = self.open.pop(bar)
        self.places[event.where].running.pop(bar, None)
        self.parts[str(start.data.get("parent", ""))].pop(bar, None)
        self.ended[event.message] = event
        until = self._bound(start, event)
        if until is not None and event.at > until + _ROUNDING:
            words = f"{_name(start)} was over at {seconds(event.at)}, and had to be at {seconds(until)}"
            yield _finding(words, start, event)
        if left := self.parts.pop(event.message, None):
            names = listing([_name(part) for part in left.values()])
            words = f"{_name(start)} was over ({event.kind}) at {seconds(event.at)}, but still under way"
            yield _finding(f"{words} for it: {names}", *left.values(), event)

    def _bound(self, start: Event, end: Event) -> float | None:
        """Its latest end. To clean up, a part may take what its parent keeps in reserve."""
        parent = self.by_message.get(str(start.data.get("parent", "")))
        if parent is not None and end.kind != Kind.FINISHED and "until" in start.data:
            start = parent
        until = start.data.get("until")
        return None if until is None else float(until)

    def _crashed(self, event: Event) -> None:
        """Whatever the dead one had begun is over, and so is what it had counted."""
        dead = event.who or event.where
        for bar, start in [(bar, start) for bar, start in self.open.items() if start.who == dead]:
            del self.open[bar]
            self.parts.pop(start.message, None)
            self.parts[str(start.data.get("parent", ""))].pop(bar, None)
        for where in [where for where, place in self.places.items() if place.who == dead]:
            del self.places[where]

    def left_open(self, end: float) -> Iterator[Finding]:
        for start in self.open.values():
            since = f"began at {seconds(start.at)} and was not over at {seconds(end)}"
            yield _finding(f"{_name(start)} {since}", start)


def _name(start: Event) -> str:
    """The name of a bar: "users#3 at users"."""
    return f"{short(start.message)} at {start.where}"


def _finding(words: str, *events: Event) -> Finding:
    return Finding("fan-out budget", words, events)
