"""Reading a log of events: a reader that goes on after the last position it has seen misses nothing."""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import Names, happened, seconds
from .finding import Finding, Invariant

_NAME = "gap-free reading"


@dataclass(slots=True)
class _Reader:
    """The progress of one reader in one store."""

    begun: int  #: it owes nothing at or below this position
    passed: int  #: it has said, or shown, that it is done with everything up to here
    by: Event | None = None  #: how it has shown that
    got: set[int] = field(default_factory=set)  #: positions that it got
    owed: list[tuple[int, Event]] = field(default_factory=list)  #: heap of those that it will have to get


@Invariant
def gap_free_reading(trace: Trace) -> list[Finding]:
    """No reader passes a position of its store without having got the event there, also a late one.

    A reader is whoever is "opened" with a `store`, or gets an event with a `position` from one. It
    passes all positions below what it gets, and all up to its checkpoint. What it begins after is not
    owed. An event may come again.
    """
    return sorted(_Judge(trace).findings(), key=lambda finding: finding.events[-1].at)


class _Judge:
    """Reads the trace once and keeps, for each store and reader, what was passed and what is owed."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.names = trace, Names(trace)
        self.accepted: dict[str, dict[int, Event]] = defaultdict(dict)
        self.readers: dict[str, dict[str, _Reader]] = defaultdict(dict)

    def findings(self) -> Iterator[Finding]:
        for event in self.trace:
            store, position = str(event.data.get("store", "")), int(event.data.get("position", 0))
            if event.kind == Kind.OPENED and store:
                self._opened(store, event)
            elif event.kind == Kind.ACCEPTED and position:
                yield from self._accepted(event.where, position, event)
            elif event.kind == Kind.DELIVERED and "reader" in event.data:
                reader = self._reader(event.where, event.data["reader"])
                reader.got.add(position)
                yield from self._passes(reader, position - 1, event)
            elif event.kind == Kind.STATE and event.data.get("reason") == "checkpoint":
                yield from self._passes(self._reader(store, event.where), event.data["now"], event)

    def _opened(self, store: str, event: Event) -> None:
        after = int(event.data.get("after", 0))
        if event.where not in self.readers[store]:
            self._new(store, event.where, after)

    def _reader(self, store: str, name: str) -> _Reader:
        return self.readers[store].get(name) or self._new(store, name, 0)

    def _new(self, store: str, name: str, after: int) -> _Reader:
        reader = self.readers[store][name] = _Reader(begun=after, passed=after)
        reader.owed = [(p, e) for p, e in self.accepted[store].items() if p > after]
        heapq.heapify(reader.owed)
        return reader

    def _accepted(self, store: str, position: int, event: Event) -> Iterator[Finding]:
        self.accepted[store][position] = event
        for name, reader in self.readers[store].items():
            if reader.begun < position <= reader.passed and reader.by is not None:
                yield self._missed(name, event, reader.by, "before it was there")
            else:
                heapq.heappush(reader.owed, (position, event))

    def _passes(self, reader: _Reader, position: int, by: Event) -> Iterator[Finding]:
        if position > reader.passed:
            reader.passed, reader.by = position, by
        while reader.owed and reader.owed[0][0] <= reader.passed:
            owed, event = heapq.heappop(reader.owed)
            if owed not in reader.got and owed > reader.begun:
                yield self._missed(by.who or by.where, event, by, "without having got it")

    def _missed(self, reader: str, event: Event, by: Event, how: str) -> Finding:
        position = event.data["position"]
        what = f"{self.names.message(event.message)} at position {position}"
        if by.kind == Kind.STATE:
            passed = f"its checkpoint went to {by.data['now']} at {seconds(by.at)}"
        else:
            passed = f"position {by.data['position']} was {happened(by)}"
        words = f"{reader} passed {what} {how}: {passed}"
        return Finding(_NAME, words, (event, by) if event.at <= by.at else (by, event))
