"""Spans: the pieces of work of a trace, each under the work that caused it, as a tracing back end shows them.

A piece of work is what was started, until it finished, failed, timed out or was cancelled; a lease, until it
was settled; a saga, until it ended; a request, until nobody waits for its answer; and an effect that nobody
says to have worked on. Each has the facts that happened within it. Its parent is, by the first of these rules
that finds one:

1. the span that its facts name as `parent`, as those of a gateway do;
2. for a step of a saga the saga, and for a compensation the action that failed last;
3. the lease on the message that is worked on, or the call of the saga that sent it;
4. the work on the message that sent it on, as a relay does;
5. the work on the message that is its `causation_id`: for this, give the messages;
6. the work of the sender that was going on when the message was sent.

*Left out:* links. What has several causes, such as an aggregate, is put under one of them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from ..message import Message
from ..trace import Event, Kind, Trace

__all__ = ["Work", "tree", "work_in"]

_ENDS_WORK = frozenset({Kind.FINISHED, Kind.FAILED, Kind.CANCELLED, Kind.TIMED_OUT})
_ENDS_LEASE = frozenset({Kind.ACKED, Kind.NACKED, Kind.EXPIRED, Kind.RETURNED, Kind.DEAD, Kind.DROPPED})
_FAILED = frozenset({Kind.FAILED, Kind.TIMED_OUT, Kind.CANCELLED})
_ENDS_SAGA = ("completed", "compensated", "stuck")
_LONGEST = 40  #: characters of a name in a tree


@dataclass(eq=False)
class Work:
    """One piece of work, which becomes a span."""

    began: Event
    parent: Work | None = None
    ended: Event | None = None  #: None for work that goes on when the trace ends
    until: float = 0.0  #: the time at which it ended, or the trace
    events: list[Event] = field(default_factory=list)  #: what happened within it
    children: list[Work] = field(default_factory=list)

    @property
    def message(self) -> str:
        return self.began.message

    @property
    def name(self) -> str:
        """The step of a saga, or the place where it was done."""
        if step := self.began.data.get("step"):
            return f"{step}, undo" if self.began.data.get("role") == "compensation" else str(step)
        return self.began.where

    @property
    def outcome(self) -> str:
        """The kind of fact that ended it, or the last state; "" for work that goes on."""
        if self.ended is None:
            return ""
        return str(self.ended.data["now"]) if self.ended.kind == Kind.STATE else str(self.ended.kind)

    def ends_with(self, event: Event) -> bool:
        """True for the fact that ends this work."""
        if event.kind == Kind.CRASHED:
            return self.began.kind == Kind.STARTED and self.began.who == event.who
        if (event.where, event.message) != (self.began.where, self.message):
            return False
        match self.began.kind:
            case Kind.DELIVERED:
                return event.kind in _ENDS_LEASE and event.data.get("lease") == self.began.data["lease"]
            case Kind.STATE:
                ended = event.data.get("now") in _ENDS_SAGA or event.data.get("was") == "waiting"
                return event.kind == Kind.STATE and ended
        return event.kind in _ENDS_WORK and event.who == self.began.who


def work_in(trace: Trace, messages: Iterable[Message] = ()) -> list[Work]:
    """All work of the trace, in the order in which it began; a parent stands before its children.

    From `messages` come the causes that the trace itself does not show.
    """
    reading = _Reading(messages)
    for event in trace:
        reading.take(event)
    for work in reading.found:
        if work.ended is None:
            work.until = trace.end
    return reading.found


def tree(found: Iterable[Work]) -> str:
    """The work as text: each piece in a line, under its parent, with its time and how it ended."""
    rows = [row for work in found if work.parent is None for row in _rows(work, 0)]
    longest = max((len(name) for _, name in rows), default=0)
    digits = max((len(f"{work.until:.2f}") for work, _ in rows), default=0)
    return "\n".join(_line(work, f"{name:{longest}}", f"{digits}.2f") for work, name in rows)


def _line(work: Work, name: str, time: str) -> str:
    return f"{work.began.at:{time}} to {work.until:{time}} s  {name}  {work.outcome or 'goes on'}"


def _rows(work: Work, depth: int) -> Iterator[tuple[Work, str]]:
    yield work, f"{'  ' * depth}{work.name}"[:_LONGEST]
    for child in work.children:
        yield from _rows(child, depth + 1)


class _Reading:
    """The work that was found until now, and what is needed to put the next piece under its cause."""

    def __init__(self, messages: Iterable[Message]) -> None:
        self.found: list[Work] = []
        self._on: defaultdict[str, dict[Work, None]] = defaultdict(dict)  # what goes on, by message
        self._by: defaultdict[str, dict[Work, None]] = defaultdict(dict)  # and by participant
        self._causes = {each.id: each.causation_id for each in messages}
        self._last: dict[str, Work] = {}  # on each message
        self._sent: dict[str, Work] = {}  # the work in which each message was sent
        self._sagas: dict[str, Work] = {}
        self._failed: dict[str, Work] = {}  # of each saga, the action that failed last

    def take(self, event: Event) -> None:
        """Let an event begin work, end work, or happen within it."""
        if _begins(event):
            self._begin(event)
            return
        crash = event.kind == Kind.CRASHED
        going_on = self._by[event.who] if crash else self._on[event.message]
        ended = [work for work in going_on if work.ends_with(event)]
        if not crash:
            ended = ended[:1]  # who does the same twice at a time: the first is done first
        for work in ended:
            work.events.append(event)
            self._end(work, event)
        if ended:
            return
        around = self._around(event)
        if around is not None:
            around.events.append(event)
        elif event.kind == Kind.EFFECT and event.message:
            self._end(self._begin(event), event)
        if event.kind == Kind.SENT and around is not None:
            self._sent[event.message] = around

    def _begin(self, event: Event) -> Work:
        work = Work(event, self._parent(event), until=event.at, events=[event])
        if work.parent is not None:
            work.parent.children.append(work)
        if event.kind == Kind.STATE:
            self._sagas[event.message] = work
        self._last[event.message] = work
        self.found.append(work)
        self._on[work.message][work] = self._by[event.who][work] = None
        return work

    def _end(self, work: Work, event: Event) -> None:
        work.ended, work.until = event, event.at
        del self._on[work.message][work], self._by[work.began.who][work]
        saga = work.began.data.get("saga")
        if saga and work.began.data.get("role") == "action" and event.kind in _FAILED:
            self._failed[saga] = work

    def _around(self, event: Event) -> Work | None:
        """The work within which a fact happened: on its message, or else by whom it happened."""
        on_it = self._on[event.message] if event.message else {}
        by_them = self._by[event.who] if event.who else {}
        both = [work for work in on_it if work in by_them]
        return next((next(reversed(works)) for works in (both, on_it, by_them) if works), None)

    def _parent(self, event: Event) -> Work | None:
        data = event.data
        if named := data.get("parent"):
            return self._last.get(named)
        if (saga := data.get("saga")) in self._sagas:
            undoes = data.get("role") == "compensation"
            return (undoes and self._failed.get(saga)) or self._sagas[saga]
        for work in reversed(self._on[event.message]):
            if work.began.who == event.who or work.began.data.get("role"):
                return work
        sent = self._sent.get(event.message)
        if sent is not None and sent.message == event.message:
            return sent
        return self._cause(event.message) or sent

    def _cause(self, message: str) -> Work | None:
        """The last work on what caused the message, or on the cause of its cause."""
        seen = {message}
        while (cause := self._causes.get(message)) and cause not in seen:
            if (work := self._last.get(cause)) is not None:
                return work
            seen.add(message := cause)
        return None


def _begins(event: Event) -> bool:
    match event.kind:
        case Kind.STARTED:
            return True
        case Kind.DELIVERED:
            return event.data.get("lease") is not None
        case Kind.STATE:
            return event.data.get("was") == "" and event.message != ""
    return False
