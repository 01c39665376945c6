"""Publications and open subscriptions, as a trace tells them: what was owed to whom.

A subscription is a channel whose "opened" names a `pattern` of topics; each "sent" to it names the
`topic`. Patterns are matched here once more, so that a channel that does it wrong is found out.
"""

from __future__ import annotations

import functools
import math
import re
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace


@dataclass(slots=True)
class Publication:
    """One message on its way to everybody: what was sent to whom by one call of publish."""

    first: int  # place in the trace
    last: int
    event: Event
    to: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)

    @property
    def taken_back(self) -> bool:
        """Whether it never happened: whoever was to publish it was refused, or gave up."""
        topic = self.event.data["topic"]
        nobody = topic in self.to and self.refused == {topic}
        return not nobody and self.refused >= self.to


@dataclass(slots=True)
class Span:
    """One time that a subscription was open."""

    name: str
    opened: Event
    start: int  # places in the trace
    end: float = math.inf

    def owes(self, publication: Publication) -> bool:
        """Whether the message was published while it was open, to a topic that it means."""
        if not (self.start < publication.first and publication.last < self.end):
            return False
        return means(str(self.opened.data["pattern"]), str(publication.event.data["topic"]))


def spans_of(trace: Trace) -> list[Span]:
    spans: list[Span] = []
    now: dict[str, Span] = {}
    for place, event in enumerate(trace):
        if event.kind == Kind.OPENED and "pattern" in event.data:
            now[event.where] = Span(event.where, event, place)
            spans.append(now[event.where])
        elif event.kind == Kind.CLOSED and event.where in now:
            now.pop(event.where).end = place
    return spans


def publications_of(trace: Trace) -> list[Publication]:
    """The publications of a trace. A message that is sent to the same place again is published again."""
    all_: list[Publication] = []
    newest: dict[str, Publication] = {}
    for place, event in enumerate(trace):
        publication = newest.get(event.message)
        if event.kind == Kind.SENT and "topic" in event.data:
            if publication is None or event.where in publication.to:
                publication = newest[event.message] = Publication(place, place, event)
                all_.append(publication)
            publication.to.add(event.where)
            publication.last = place
        elif event.kind == Kind.REFUSED and publication is not None:
            publication.refused.add(event.where)
    return [publication for publication in all_ if not publication.taken_back]


@functools.lru_cache(10_000)
def means(pattern: str, topic: str) -> bool:
    """The rules of NATS, as a regular expression."""
    parts = [{"*": r"[^.]+", ">": r".+"}.get(word, re.escape(word)) for word in pattern.split(".")]
    return re.fullmatch(r"\.".join(parts), topic) is not None
