"""The trace: one record of all that happened, in facts small enough to read.

A pattern says what happens with `record(kind, where, message, …)`. When nobody listens this costs
one look at a context variable. When somebody does — `recording()`, or a simulation of the
laboratory — the fact is kept with its time, and the kept facts are a `Trace`: what the player
plays, the figures draw, the invariants judge and the autograder grades.

*Left out:* sampling. Facts stay in memory and in JSON texts; `field.telemetry` makes spans of
OpenTelemetry of them, as a production system sends them to a tracing back end.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from enum import StrEnum
from functools import cached_property
from itertools import zip_longest
from typing import Any, NamedTuple, Self, overload
from uuid import uuid4

import anyio

from . import values

__all__ = [
    "Difference",
    "Event",
    "Kind",
    "Recorder",
    "Trace",
    "TraceTooLong",
    "acting",
    "listening",
    "new_id",
    "record",
    "recording",
    "whoami",
    "working",
]


class Kind(StrEnum):
    """Every kind of fact that a trace may hold. The list is the same for all patterns."""

    # Who is there
    OPENED = "opened"  #: a channel or participant exists; data: role, capacity
    CLOSED = "closed"  #: a channel or one end of it takes no more
    CRASHED = "crashed"  #: a participant died: none of its code runs on
    RESTARTED = "restarted"  #: a participant that had crashed runs again, from its start

    # From the sender to the channel
    SENT = "sent"  #: a sender hands a message over; data: label, key, to
    BLOCKED = "blocked"  #: the sender waits until the channel can take the message
    ACCEPTED = "accepted"  #: the channel has taken responsibility for the message
    REFUSED = "refused"  #: the channel did not take it; data: reason
    LOST = "lost"  #: a link lost the message on the way
    DUPLICATED = "duplicated"  #: a link will deliver the message twice
    ARRIVED = "arrived"  #: a link delivered the message to its far end

    # From the channel to the receiver
    DELIVERED = "delivered"  #: a receiver got it; data: lease, deliveries, until
    EXTENDED = "extended"  #: the lease was extended; data: lease, until
    ACKED = "acked"  #: settled: done; data: lease
    NACKED = "nacked"  #: settled: not done, try again; data: lease, delay, reason
    EXPIRED = "expired"  #: the lease ran out before it was settled; data: lease
    RETURNED = "returned"  #: ready again; data: reason
    STALE = "stale"  #: somebody tried to settle with a lease that is over; data: lease, attempted
    DEAD = "dead"  #: moved to the dead letters; data: reason, to
    REPLAYED = "replayed"  #: sent back from the dead letters to where it came from; data: to
    DROPPED = "dropped"  #: given up for good, and counted; data: reason

    # Inside a receiver
    STARTED = "started"  #: a handler begins to work on the message
    EFFECT = "effect"  #: what the message asked for has happened in the world; data: effect, …
    FINISHED = "finished"  #: the handler returned
    FAILED = "failed"  #: the handler raised; data: error
    CANCELLED = "cancelled"  #: the handler was cancelled: not done, and not failed
    DUPLICATE = "duplicate"  #: an idempotent receiver knew the message and did nothing

    # What a pattern decides about itself and its calls
    STATE = "state"  #: a state machine changed its state; data: was, now, reason
    TIMED_OUT = "timed out"  #: somebody waited in vain: it may have happened; data: after

    NOTE = "note"  #: a remark of the scenario for its reader; data: text


_KINDS = frozenset(Kind)


class Event(NamedTuple):
    """One fact. Times are seconds since the start of the recording."""

    at: float
    kind: str
    where: str  #: the channel, link, store or participant that it happened to
    message: str  #: the message's id, or "" when it concerns none
    who: str  #: the participant who did it, or ""
    data: Mapping[str, Any]  #: what else; JSON values only

    def __str__(self) -> str:
        more = " ".join(f"{name}={_short(value)}" for name, value in self.data.items())
        return _row(f"{self.at:9.3f}", self.kind, self.where, self.message, self.who, more)


_as_json = json.JSONEncoder(separators=(",", ":")).encode
_AT_ONCE = 20  #: events written by one call of it, which costs as much as an event


class TraceTooLong(RuntimeError):
    """More events than the recording allows: something runs in a circle. Or more words than may be kept."""


class Recorder:
    """Keeps events in the order in which they happen. Made by `recording()` or by a simulation."""

    def __init__(
        self, clock: Callable[[], float], *, limit: int = 1_000_000, explain: Callable[[], str] = str
    ) -> None:
        values.must_not_be_async("clock", clock)
        values.must_not_be_async("explain", explain)
        self.events: list[Event] = []
        self.limit = values.count("limit", limit)
        self._added = 0
        self._explain = explain  # what else to say when the limit is passed
        self._clock = clock
        self._start = clock()
        self._counted: dict[str, int] = {}

    def add(self, kind: str, where: str, message: str, who: str, data: Mapping[str, Any]) -> None:
        if kind not in _KINDS:
            raise ValueError(f"{kind!r} is no kind of event; use one of {', '.join(sorted(_KINDS))}")
        if self._added >= self.limit:
            words = f"more than {self.limit:,} events were recorded; is there a loop without an end?"
            raise TraceTooLong(f"{words}\n{self._explain()}".rstrip())
        self._added += 1
        self.keep(Event(self._clock() - self._start, str(kind), where, message, who, data))

    def keep(self, event: Event) -> None:
        """Take a fact that was found in order."""
        self.events.append(event)

    def next_id(self, prefix: str) -> str:
        number = self._counted[prefix] = self._counted.get(prefix, 0) + 1
        return f"{prefix}{number}"

    @property
    def trace(self) -> Trace:
        """The trace of what was recorded until now."""
        return Trace(self.events)


_recorder: ContextVar[Recorder | None] = ContextVar("recorder", default=None)
_who: ContextVar[str] = ContextVar("who", default="")


def record(kind: str, where: str, message: str = "", *, who: str | None = None, **data: Any) -> None:
    """Say that something happened. `who` is the participant that `acting` names, unless given.

    Does nothing when nobody listens. Raises ValueError for a kind that `Kind` does not have and
    `TraceTooLong` when the recording is full.
    """
    recorder = _recorder.get()
    if recorder is not None:
        recorder.add(kind, where, message, _who.get() if who is None else who, data)


def listening() -> bool:
    """True where facts are kept. For a hot path that would put facts together for nobody."""
    return _recorder.get() is not None


def new_id(prefix: str = "m") -> str:
    """A new message id: counted (m1, m2, …) where somebody records, else random."""
    recorder = _recorder.get()
    return uuid4().hex if recorder is None else recorder.next_id(prefix)


class acting:
    """Whatever is recorded inside, and in tasks started inside, was done by participant `name`."""

    __slots__ = ("_name", "_token")

    def __init__(self, name: str) -> None:
        self._name = name

    def __enter__(self) -> None:
        self._token = _who.set(self._name)

    def __exit__(self, *error: object) -> None:
        _who.reset(self._token)


def whoami() -> str:
    """The participant that acts here, or "" outside `acting`."""
    return _who.get()


class working:
    """Record that a handler begins to work on a message, and how that ended; the exception goes on.

    Ended are finished, failed and cancelled; `facts` are told with each of them, and what is added to them
    meanwhile with the end.
    """

    __slots__ = ("_where", "facts", "message")

    def __init__(self, where: str, message: str, **facts: Any) -> None:
        self._where, self.message, self.facts = where, message, facts

    def __enter__(self) -> Self:
        if listening():  # else its facts are put together for nobody
            record(Kind.STARTED, self._where, self.message, **self.facts)
        return self

    def __exit__(self, kind: object, error: BaseException | None, place: object) -> None:
        if not listening():
            return
        if error is None:
            record(Kind.FINISHED, self._where, self.message, **self.facts)
        elif isinstance(error, Exception):
            record(Kind.FAILED, self._where, self.message, **self.facts, error=repr(error))
        elif isinstance(error, anyio.get_cancelled_exc_class()):
            record(Kind.CANCELLED, self._where, self.message, **self.facts)


@contextmanager
def recording(
    clock: Callable[[], float] | None = None, *, limit: int = 1_000_000, explain: Callable[[], str] = str
) -> Iterator[Recorder]:
    """Listen to everything recorded inside. Times count from here, on anyio's clock unless given.

    What `explain` returns is added to the words of `TraceTooLong`, raised past `limit` events.
    """
    recorder = Recorder(clock or anyio.current_time, limit=limit, explain=explain)
    token = _recorder.set(recorder)
    try:
        yield recorder
    finally:
        _recorder.reset(token)


class Difference(NamedTuple):
    """The first place at which two traces differ; None where one of them has ended."""

    place: int
    left: Event | None
    right: Event | None

    def __str__(self) -> str:
        return f"event {self.place}:\n  left   {self.left or '(ended)'}\n  right  {self.right or '(ended)'}"


class Trace:
    """A finished record: an immutable sequence of events that can be filtered, compared and saved."""

    def __init__(self, events: Iterable[Event], *, seed: int | None = None, result: Any = None) -> None:
        self.events = tuple(events)
        self.seed = seed  #: the seed of the simulation that it comes from
        self.result = result  #: what the scenario returned; not saved and not compared

    def __len__(self) -> int:
        return len(self.events)

    def __iter__(self) -> Iterator[Event]:
        return iter(self.events)

    @overload
    def __getitem__(self, index: int) -> Event: ...
    @overload
    def __getitem__(self, index: slice) -> Trace: ...
    def __getitem__(self, index: int | slice) -> Event | Trace:
        if isinstance(index, slice):
            return Trace(self.events[index], seed=self.seed)
        return self.events[index]

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Trace) and self.events == other.events

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<Trace: {len(self)} events in {self.end:g} s>"

    def __str__(self) -> str:
        return self.table()

    @property
    def end(self) -> float:
        """The time of the last event, in seconds."""
        return self.events[-1].at if self.events else 0.0

    def filter(
        self,
        *kinds: str,
        where: str | None = None,
        message: str | None = None,
        who: str | None = None,
        test: Callable[[Event], bool] | None = None,
    ) -> Trace:
        """The events that match everything given, in their order. One of several names: with `test`."""
        for name in (where, message, who):
            if not isinstance(name, str | None):  # it would match nothing, and nobody would see why
                raise TypeError(f"{name!r} is no name; for one of several give test=lambda event: …")
        values.must_not_be_async("test", test)
        return Trace(
            (
                e
                for e in (self.events if message is None else self._by_message.get(message, ()))
                if (not kinds or e.kind in kinds)
                and (where is None or e.where == where)
                and (who is None or e.who == who)
                and (test is None or test(e))
            ),
            seed=self.seed,
        )

    @cached_property
    def _by_message(self) -> dict[str, list[Event]]:
        """The events of each message: who asks for one asks for many, and each would read all events."""
        found = dict[str, list[Event]]()
        for event in self.events:
            found.setdefault(event.message, []).append(event)
        return found

    def count(self, *kinds: str, where: str | None = None, who: str | None = None) -> int:
        """The number of events that match."""
        return len(self.filter(*kinds, where=where, who=who))

    def messages(self, *kinds: str, where: str | None = None) -> list[str]:
        """The ids of the matching events' messages, in order, repeated as often as they occur."""
        return [e.message for e in self.filter(*kinds, where=where) if e.message]

    def first_difference(self, other: Trace) -> Difference | None:
        """The first place where `other` differs from this trace, or None when they are equal."""
        for place, (left, right) in enumerate(zip_longest(self.events, other.events)):
            if left != right:
                return Difference(place, left, right)
        return None

    def table(self, limit: int = 60) -> str:
        """The events as text, one a line, under a header; the middle is cut beyond `limit` lines."""
        head = _row("  seconds", "kind", "where", "message", "who")
        lines = [str(event) for event in self.events]
        if len(lines) > limit:
            half = limit // 2
            cut = f"           … {len(lines) - 2 * half} more events …"
            lines = [*lines[:half], cut, *lines[-half:]]
        return "\n".join([head, *lines])

    def to_json(self, limit: float = math.inf) -> str:
        """The trace as JSON text, the same bytes for equal traces.

        Raises TypeError for other data, and `TraceTooLong` for more than `limit` characters of events.
        """
        rows: list[str] = []
        for start in range(0, len(self), _AT_ONCE):
            some = [[*e[:5], dict(e.data)] for e in self.events[start : start + _AT_ONCE]]
            rows.append(_as_json(some)[1:-1])
            limit -= len(rows[-1])
            if limit < 0:
                raise TraceTooLong("what happened is too long to be written down")
        return f'{{"version":1,"seed":{_as_json(self.seed)},"events":[{",".join(rows)}]}}'

    @classmethod
    def from_json(cls, text: str) -> Trace:
        """Read what `to_json` wrote. Raises ValueError for anything else."""
        try:
            document = json.loads(text)
            if document["version"] != 1:
                raise ValueError(
                    f"trace version {document['version']} is not known here; this reads version 1"
                )
            events = [
                Event(float(at), str(kind), str(where), str(message), str(who), dict(data))
                for at, kind, where, message, who, data in document["events"]
            ]
        except (KeyError, TypeError, ValueError) as error:
            raise ValueError(f"this is not a saved trace: {error!r}") from error
        return cls(events, seed=document.get("seed"))


def _row(at: str, kind: str, where: str, message: str, who: str, more: str = "") -> str:
    return f"{at}  {kind:<10} {where:<14} {message:<8} {who:<12} {more}".rstrip()


def _short(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return text if len(text) <= 40 else text[:39] + "…"
