"""From events to places in a log: where its head was, and where each group that reads it, over time.

Two kinds of readers are known. A group of a durable log says what it has committed. A subscription
or group of publish–subscribe says what was handed out and acked: it has committed all before the
first message that is out.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from dataclasses import dataclass, field
from typing import NamedTuple

from ...trace import Event, Kind, Trace


class Place(NamedTuple):
    """From when on something was at this offset."""

    at: float
    offset: int


class Track(list[Place]):
    """The places of one thing, in order of time; one for each change."""

    def go(self, at: float, offset: int) -> None:
        """Be at this offset from now on."""
        if self and self[-1].at == at:
            self.pop()
        if not self or self[-1].offset != offset:
            self.append(Place(at, offset))

    def at(self, time: float) -> int:
        """Where it was at this time."""
        number = bisect_right(self, time, key=lambda place: place.at)
        return self[number - 1].offset if number else 0


@dataclass(slots=True)
class Reading:
    """One reader of one log. All offsets are of what comes next, so the head minus one is its lag."""

    name: str
    read: Track = field(default_factory=Track)
    committed: Track = field(default_factory=Track)
    replays: list[Place] = field(default_factory=list)  #: where it began to read again, and when
    crashes: list[Place] = field(default_factory=list)
    restarts: list[Place] = field(default_factory=list)
    again: int = 0  #: how many messages it got that it had got before
    who: str = ""  #: who read last
    last: int = -1  #: the offset of the message that was read last
    top: int = 0  #: one more than the highest that was read
    wanted: int = 0  #: one more than the last that is meant for it
    out: set[int] = field(default_factory=set)  #: handed out, not settled

    @property
    def next(self) -> int:
        """What it reads next."""
        return self.read[-1].offset if self.read else 0

    def hand_out(self, event: Event, offset: int) -> None:
        """It gets the message at this offset."""
        if offset <= self.last:
            self.replays.append(Place(event.at, offset))
        self.again += offset < self.top
        self.last, self.top, self.who = offset, max(self.top, offset + 1), event.who
        if not self.committed:
            self.committed.go(event.at, offset)
        self.read.go(event.at, offset + 1)

    def settle(self, at: float) -> None:
        """What is out has changed."""
        self.committed.go(at, min(self.out, default=self.next))

    def live(self, event: Event) -> None:
        """Whoever reads has crashed or restarted; what it had read in memory only, it must read again."""
        if event.kind == Kind.RESTARTED:
            self.restarts.append(Place(event.at, self.committed[-1].offset))
            return
        self.crashes.append(Place(event.at, self.next))
        if not self.out:
            self.read.go(event.at, self.committed[-1].offset)


@dataclass(slots=True)
class LogTracks:
    """One log: its head, and its readers by name."""

    head: Track = field(default_factory=Track)
    readers: dict[str, Reading] = field(default_factory=dict)

    @property
    def end(self) -> int:
        """The offset that the next message gets."""
        return self.head[-1].offset if self.head else 0

    def reader(self, name: str) -> Reading:
        """The reader of this name, made when it is new."""
        return self.readers.setdefault(name, Reading(name))


def places(trace: Trace) -> dict[str, LogTracks]:
    """By log, all that moved in it."""
    reader = _Reader(trace)
    for event in trace:
        reader.see(event)
    return {name: log for name, log in reader.logs.items() if log.head}


class _Reader:
    """Reads events one by one."""

    def __init__(self, trace: Trace) -> None:
        self.logs: dict[str, LogTracks] = {}
        self._cursors: dict[str, tuple[LogTracks, Reading]] = {}  # by the name of the subscription
        self._subscriptions = {e.where for e in trace.filter(Kind.OPENED) if "pattern" in e.data}
        self._kept: dict[tuple[str, int], str] = {}  # by message and offset: the log that took it last

    def see(self, event: Event) -> None:
        """Follow what the event says of a log, if it does."""
        if event.kind in (Kind.CRASHED, Kind.RESTARTED):
            self._live(event)
        elif event.where in self._subscriptions:
            self._subscription(event)
        elif "group" in event.data:
            self._group(event)
        elif event.kind == Kind.ACCEPTED and "offset" in event.data:
            log, offset = self.logs.setdefault(event.where, LogTracks()), int(event.data["offset"])
            self._kept[event.message, offset] = event.where
            log.head.go(event.at, offset + 1)
            self._pass_over(event.at, log)

    def _live(self, event: Event) -> None:
        for log in self.logs.values():
            for reader in log.readers.values():
                if reader.who == event.where:
                    reader.live(event)

    def _group(self, event: Event) -> None:
        """A group of a durable log reads, commits or seeks."""
        reader = self.logs.setdefault(event.where, LogTracks()).reader(str(event.data["group"]))
        if event.kind == Kind.DELIVERED:
            reader.hand_out(event, int(event.data["offset"]))
        elif event.kind == Kind.STATE:
            now = int(event.data["now"])
            reader.committed.go(event.at, now)
            if event.data.get("reason") == "sought" or not reader.read:
                reader.read.go(event.at, now)

    def _subscription(self, event: Event) -> None:
        """Something happens to a message in a subscription that keeps its place."""
        found = self._cursor(event)
        if found is None:
            return
        log, reader = found
        offset = event.data.get("offset")
        if event.kind == Kind.CLOSED and event.data.get("reason") != "closed":
            reader.wanted = sys.maxsize  # unsubscribed: it stays where it is
        if offset is None:
            return
        if event.kind == Kind.ACCEPTED:
            reader.wanted = offset + 1
            reader.read.go(event.at, min(reader.next, offset) if reader.read else offset)
        elif event.kind == Kind.DELIVERED:
            reader.out.add(offset)
            reader.hand_out(event, offset)
        elif event.kind == Kind.RETURNED:
            reader.out.discard(offset)
            reader.read.go(event.at, min(reader.next, offset))
        elif event.kind in (Kind.ACKED, Kind.DEAD, Kind.DROPPED):
            reader.out.discard(offset)
            reader.read.go(event.at, max(reader.next, offset + 1))
        reader.settle(event.at)
        self._pass_over(event.at, log)

    def _cursor(self, event: Event) -> tuple[LogTracks, Reading] | None:
        """The log and the reader of a subscription; None for one that keeps no place."""
        if event.where not in self._cursors:
            pattern, _, name = event.where.partition(" → ")
            place = event.message, event.data.get("offset", -1)
            log = self.logs.get(pattern if pattern in self.logs else self._kept.get(place, ""))
            if log is None:
                return None
            reader = log.reader(name or event.where)
            self._cursors[event.where] = log, reader
            if event.kind == Kind.OPENED:
                reader.read.go(event.at, log.end)
                reader.settle(event.at)
        return self._cursors[event.where]

    def _pass_over(self, at: float, log: LogTracks) -> None:
        """A subscription that has got all that is meant for it is at the head, whatever else is there."""
        for held, reader in self._cursors.values():
            if held is log and reader.next >= reader.wanted:
                reader.read.go(at, log.end)
                reader.settle(at)
