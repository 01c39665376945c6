"""Subscriptions: everybody gets everything, in order, once taken over without a gap.

A subscription is a channel whose "opened" names a `pattern` of topics; each "sent" to it names the
`topic`. Patterns are matched here once more, so that a channel that does it wrong is found out.
"""

from __future__ import annotations

import functools
import heapq
import math
import re
from bisect import bisect_left
from collections import defaultdict
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import Names, happened, seconds
from .finding import Finding, Invariant

_SETTLED = frozenset({Kind.ACKED, Kind.DROPPED, Kind.DEAD})
_BACK = frozenset({Kind.RETURNED, Kind.NACKED, *_SETTLED})


# Everybody gets everything


@Invariant
def every_subscription_gets_all(trace: Trace, *, waiting_ok: bool = True) -> list[Finding]:
    """Every subscription got every message of its topics that was published while it was open.

    *Got* is taken by its buffer or log, and then delivered, dead, or dropped with a reason. With
    `waiting_ok=False` a message that still waits at the end of the trace is a finding too.
    """
    names, spans, fates = Names(trace), _spans(trace), _Fates(trace)
    found = _silent_drops(trace, names)
    for publication in _publications(trace):
        for span in spans:
            if not span.owes(publication):
                continue
            why = fates.missing(span.name, publication, waiting_ok)
            if why:
                said = f"{names.message(publication.event.message)} was {happened(publication.event)}"
                words = f"{said}, while {span.name} was open, and {why}"
                proof = (span.opened, publication.event)
                found.append(Finding("every subscription gets all", words, proof))
    return found


class _Fates:
    """The fate of each message in each subscription, as places in the trace."""

    def __init__(self, trace: Trace) -> None:
        self.end = trace.end
        self.took = _places(trace, {Kind.ACCEPTED, Kind.BLOCKED})
        self.done = _places(trace, {Kind.DELIVERED, *_SETTLED})

    def missing(self, name: str, publication: _Publication, waiting_ok: bool) -> str:
        """Say in words how the subscription did not get this publication; "" when it did."""
        here = name, publication.event.message
        if not waiting_ok and not self._after(self.done, here, publication):
            return f"nobody had received it there by {seconds(self.end)}"
        return "" if self._after(self.took, here, publication) else "it never got there"

    def _after(
        self, places: dict[tuple[str, str], list[int]], here: tuple[str, str], publication: _Publication
    ) -> bool:
        return any(place > publication.first for place in places.get(here, ()))


def _silent_drops(trace: Trace, names: Names) -> list[Finding]:
    return [
        Finding(
            "every subscription gets all", f"{names.message(e.message)} was dropped without a reason", (e,)
        )
        for e in trace
        if e.kind == Kind.DROPPED and not e.data.get("reason")
    ]


def _places(trace: Trace, kinds: set[Kind]) -> dict[tuple[str, str], list[int]]:
    places: dict[tuple[str, str], list[int]] = defaultdict(list)
    for place, event in enumerate(trace):
        if event.kind in kinds:
            places[event.where, event.message].append(place)
    return places


# Publications and open subscriptions


@dataclass(slots=True)
class _Publication:
    """One message on its way to everybody: what was sent to whom by one call of publish."""

    first: int  # place in the trace
    last: int
    event: Event
    to: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    @property
    def taken_back(self) -> bool:
        """True when it never happened: whoever was to publish it was refused, or gave up."""
        topic = self.event.data["topic"]
        nobody = topic in self.to and self.refused == {topic}
        return not nobody and self.refused >= self.to


@dataclass(slots=True)
class _Span:
    """One time that a subscription was open."""

    name: str
    opened: Event
    start: int  # places in the trace
    end: float = math.inf

    def owes(self, publication: _Publication) -> bool:
        """True when the message was published while it was open, to a topic that its pattern matches."""
        if not (self.start < publication.first and publication.last < self.end):
            return False
        return _means(str(self.opened.data["pattern"]), str(publication.event.data["topic"]))


def _spans(trace: Trace) -> list[_Span]:
    spans: list[_Span] = []
    now: dict[str, _Span] = {}
    for place, event in enumerate(trace):
        if event.kind == Kind.OPENED and "pattern" in event.data:
            now[event.where] = _Span(event.where, event, place)
            spans.append(now[event.where])
        elif event.kind == Kind.CLOSED and event.where in now:
            now.pop(event.where).end = place
    return spans


def _publications(trace: Trace) -> list[_Publication]:
    """The publications of a trace. A message that is sent to the same place again is published again."""
    all_: list[_Publication] = []
    newest: dict[str, _Publication] = {}
    for place, event in enumerate(trace):
        publication = newest.get(event.message)
        if event.kind == Kind.SENT and "topic" in event.data:
            if publication is None or event.where in publication.to:
                publication = newest[event.message] = _Publication(place, place, event)
                all_.append(publication)
            publication.to.add(event.where)
            publication.last = place
        elif event.kind == Kind.REFUSED and publication is not None:
            publication.refused.add(event.where)
    return [publication for publication in all_ if not publication.taken_back]


@functools.lru_cache(10_000)
def _means(pattern: str, topic: str) -> bool:
    """Match a topic by the rules of NATS, as a regular expression."""
    parts = [{"*": r"[^.]+", ">": r".+"}.get(word, re.escape(word)) for word in pattern.split(".")]
    return re.fullmatch(r"\.".join(parts), topic) is not None


# In order


@Invariant
def order_per_publisher(trace: Trace, *, where: str | None = None) -> list[Finding]:
    """In each subscription the messages of one publisher come in the order in which it published them.

    A subscription of a partition holds the messages of its partition only, so this is the order per
    publisher and partition. After messages were handed back, they and all after them may come again.
    """
    names, found = Names(trace), []
    sent: dict[str, list[int]] = defaultdict(list)  # places; more than one when published again
    latest: dict[tuple[str, str], tuple[int, Event]] = {}
    publisher: dict[str, str] = {}
    for place, event in enumerate(trace):
        if event.kind == Kind.SENT and "topic" in event.data:
            publisher[event.message] = event.who
            sent[event.message].append(place)
        if event.message not in publisher or where not in (None, event.where):
            continue
        line = event.where, publisher[event.message]
        last = latest.get(line)
        if event.kind in (Kind.RETURNED, Kind.NACKED) and last is not None:
            latest[line] = min(last[0], sent[event.message][0]), event
        elif event.kind == Kind.DELIVERED:
            mine = _place(sent[event.message], last[0] if last else 0)
            if last is not None and mine < last[0]:
                found.append(_overtaken(event, last[1], line[1], names))
            else:
                latest[line] = mine, event
    return found


def _place(places: list[int], last: int) -> int:
    """The first place of the message that is not before `last`, else its last place."""
    return places[min(bisect_left(places, last), len(places) - 1)]


def _overtaken(event: Event, last: Event, publisher: str, names: Names) -> Finding:
    words = (
        f"{names.message(event.message)} of {publisher or 'one publisher'} was {happened(event)} by "
        f"{event.where}, after {names.message(last.message)}, which was published later"
    )
    return Finding("order per publisher", words, (last, event))


# One owner, no gap


@Invariant
def one_owner_per_partition(trace: Trace) -> list[Finding]:
    """At any time, all that is out of one partition, or durable subscription, is with one owner.

    Who that is, is what its last change of "state" says; without any, whoever has something out.
    """
    names, found = Names(trace), []
    owner: dict[str, Event] = {}
    out: dict[str, dict[tuple[str, object], Event]] = defaultdict(dict)
    for event in trace:
        lease = event.message, event.data.get("lease")
        if event.kind == Kind.STATE and "generation" in event.data:
            owner[event.where] = event
        elif event.kind in _BACK:
            out[event.where].pop(lease, None)
        elif event.kind == Kind.DELIVERED and "generation" in event.data:
            other = next((d for d in out[event.where].values() if d.who != event.who), None)
            named = owner.get(event.where)
            said = f"{names.message(event.message)} was {happened(event)} by {event.where}"
            if other is not None:
                words = f"{said}, while {other.who} still had {names.message(other.message)} of it"
                found.append(Finding("one owner per partition", words, (other, event)))
            elif named is not None and named.data["now"] != event.who:
                words = f"{said}, which belonged to {named.data['now'] or 'nobody'}"
                found.append(Finding("one owner per partition", words, (named, event)))
            out[event.where][lease] = event
    return found


class _Lowest:
    """A set of offsets that knows its lowest."""

    def __init__(self) -> None:
        self._all: dict[int, str] = {}  # offset -> message
        self._heap: list[int] = []

    def add(self, offset: int, message: str) -> None:
        self._all[offset] = message
        heapq.heappush(self._heap, offset)

    def discard(self, offset: int) -> None:
        self._all.pop(offset, None)

    def before(self, offset: int) -> str | None:
        """The message at the lowest offset, if that is lower than this one."""
        while self._heap and self._heap[0] not in self._all:
            heapq.heappop(self._heap)
        return self._all[self._heap[0]] if self._heap and self._heap[0] < offset else None


@Invariant
def no_gap(trace: Trace) -> list[Finding]:
    """Whoever reads a partition, or durable subscription, skips nothing, also after it moved.

    Each delivery takes the lowest offset that is neither settled nor out, and the committed position
    passes nothing that is not settled. Each message may come again: duplicates are allowed.
    """
    names, found = Names(trace), []
    ready: dict[str, _Lowest] = defaultdict(_Lowest)
    unsettled: dict[str, _Lowest] = defaultdict(_Lowest)
    for event in trace:
        offset = event.data.get("offset")
        if offset is None:
            continue
        skipped = None
        if event.kind in (Kind.ACCEPTED, Kind.RETURNED):
            ready[event.where].add(offset, event.message)
            unsettled[event.where].add(offset, event.message)
        elif event.kind == Kind.DELIVERED:
            skipped = ready[event.where].before(offset)
            ready[event.where].discard(offset)
        elif event.kind in _SETTLED:
            ready[event.where].discard(offset)
            unsettled[event.where].discard(offset)
            skipped = unsettled[event.where].before(offset) if event.kind != Kind.DROPPED else None
        if skipped is not None:
            words = (
                f"{names.message(event.message)} was {happened(event)} in {event.where}, but "
                f"{names.message(skipped)} before it was neither acknowledged nor dropped"
            )
            found.append(Finding("no gap", words, (event,)))
    return found
