"""Offsets: the head of a log, and how far each group that reads it has come, over time.

Two kinds of readers are known. A group of a durable log says what it has committed. A subscription
or group of publish–subscribe says what was handed out and acked: it has committed all before the
first message that is out.
"""

from __future__ import annotations

import sys
from bisect import bisect_right
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ...trace import Event, Kind, Trace
from ..wording import listing, plural, seconds
from .canvas import Canvas, Figure, area, beside, drawing, empty, room_beside, sign
from .over_time import over_time, steps
from .rows import by_number
from .style import (
    BLACK,
    BLUE,
    DASH_DOT,
    DASHED,
    DOTTED,
    GREEN,
    GREY,
    LONG,
    ORANGE,
    PURPLE,
    RED,
    SHORT,
    SKY,
    SOLID,
    Dash,
    fit,
    tint,
)

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MAX_LOGS, MAX_READERS = 4, 5
_PANEL = 140.0
_ON_TOP = {"zorder": 3, "clip_on": False}
_LINES = ((DASHED, BLUE), (DASH_DOT, GREEN), (DOTTED, PURPLE), (LONG, ORANGE), (SHORT, SKY))
_CARET_DOWN = 7  # matplotlib.markers.CARETDOWN
_MARKS: dict[str, tuple[str, dict[str, Any]]] = {  # what of a reader is marked, as what, and how
    "crashes": ("crashed", {"marker": "x", "color": RED, "markersize": 7, "markeredgewidth": 2}),
    "restarts": (
        "restarted",
        {"marker": _CARET_DOWN, "color": GREEN, "markersize": 9, "markeredgecolor": BLACK},
    ),
    "replays": ("reads again", {"marker": "D", "color": PURPLE, "markersize": 4.5, "markeredgecolor": BLACK}),
}


@drawing()
def offsets(trace: Trace, *, where: str | Collection[str] | None = None, title: str | None = None) -> Figure:
    """Draw, for each log, its head and the committed offset of each group, over time.

    The distance between the two is the lag. A thin line shows what was read and not committed yet.
    Crashes, restarts, and where a group began to read again are marked. `where` names the logs; without
    it, the first four of the trace.
    """
    title, found = title or "How far each group has come, over time", tracks(trace)
    names = [where] if isinstance(where, str) else list(where or by_number(list(found)))
    logs = {name: found[name] for name in names[:MAX_LOGS] if name in found}
    if not logs:
        return empty(title, "No log kept a message.")
    hidden = [
        f"{reader} of {name}" for name, log in logs.items() for reader in list(log.readers)[MAX_READERS:]
    ]
    hidden += names[MAX_LOGS:]
    note = f"Not shown: {listing(hidden)}." if hidden else ""
    labels = [_label(reader, log) for log in logs.values() for reader in _shown(log)]
    canvas = Canvas(title, _PANEL * len(logs) + 20, key=[*_key(logs.values())], notes=[note])
    panels = canvas.panels([*logs], _PANEL, room_beside([*labels, "head: 10,000"]), name="next offset")
    groups = dict.fromkeys(reader.name for log in logs.values() for reader in _shown(log))
    looks = dict(zip(groups, _LINES * len(logs), strict=False))
    for axes, log in zip(panels, logs.values(), strict=True):
        _draw(axes, log, looks, trace.end)
    over_time(panels, trace.end)
    said = [_in_words(name, log, trace.end) for name, log in logs.items()]
    return canvas.picture(" ".join([f"{title}.", *said, note]))


# Reading


class Place(NamedTuple):
    """An offset, and the time from which on something was there."""

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
        """The offset at this time."""
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
        """The offset that it reads next."""
        return self.read[-1].offset if self.read else 0

    def hand_out(self, event: Event, offset: int) -> None:
        """Give it the message at this offset."""
        if offset <= self.last:
            self.replays.append(Place(event.at, offset))
        self.again += offset < self.top
        self.last, self.top, self.who = offset, max(self.top, offset + 1), event.who
        if not self.committed:
            self.committed.go(event.at, offset)
        self.read.go(event.at, offset + 1)

    def fall_back(self, at: float, offset: int) -> None:
        """Have no place beyond this offset: the log has lost all that was there."""
        self.last, self.top = min(self.last, offset - 1), min(self.top, offset)
        for track in (self.read, self.committed):
            if track:
                track.go(at, min(track[-1].offset, offset))

    def settle(self, at: float) -> None:
        """Take notice that what is out has changed."""
        self.committed.go(at, min(self.out, default=self.next))

    def restart(self, event: Event) -> None:
        """Note that its reader crashed or restarted; what it had read in memory only, it must read again."""
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
    offsets: set[int] = field(default_factory=set)  #: that were given to messages

    @property
    def end(self) -> int:
        """The offset that the next message gets."""
        return self.head[-1].offset if self.head else 0

    def append(self, at: float, offset: int) -> None:
        """Move the head. To give an offset again, the log must have lost what it had from there on."""
        if offset in self.offsets:
            self.offsets = {kept for kept in self.offsets if kept < offset}
            for reader in self.readers.values():
                reader.fall_back(at, offset)
        self.offsets.add(offset)
        self.head.go(at, offset + 1)

    def reader(self, name: str) -> Reading:
        """The reader of this name, made when it is new."""
        return self.readers.setdefault(name, Reading(name))


def tracks(trace: Trace) -> dict[str, LogTracks]:
    """All that moved in each log, by its name."""
    reader = _Reader(trace)
    for event in trace:
        reader.see(event)
    return {name: log for name, log in reader.logs.items() if log.head}


class _Reader:
    """Reads the events of a trace one by one."""

    def __init__(self, trace: Trace) -> None:
        self.logs: dict[str, LogTracks] = {}
        self._cursors: dict[str, tuple[LogTracks, Reading]] = {}  # by the name of the subscription
        self._subscriptions = {e.where for e in trace.filter(Kind.OPENED) if "pattern" in e.data}
        self._kept: dict[tuple[str, int], str] = {}  # by message and offset: the log that took it last

    def see(self, event: Event) -> None:
        """Follow what the event says of a log, if it does."""
        if event.kind in (Kind.CRASHED, Kind.RESTARTED):
            self._restart(event)
        elif event.where in self._subscriptions:
            self._subscription(event)
        elif "group" in event.data:
            self._group(event)
        elif event.kind == Kind.ACCEPTED and "offset" in event.data:
            log, offset = self.logs.setdefault(event.where, LogTracks()), int(event.data["offset"])
            self._kept[event.message, offset] = event.where
            log.append(event.at, offset)
            self._pass_over(event.at, log)

    def _restart(self, event: Event) -> None:
        for log in self.logs.values():
            for reader in log.readers.values():
                if reader.who == event.where:
                    reader.restart(event)

    def _group(self, event: Event) -> None:
        """Follow a group of a durable log that reads, commits or seeks."""
        reader = self.logs.setdefault(event.where, LogTracks()).reader(str(event.data["group"]))
        if event.kind == Kind.DELIVERED:
            reader.hand_out(event, int(event.data["offset"]))
        elif event.kind == Kind.STATE:
            now = int(event.data["now"])
            reader.committed.go(event.at, now)
            if event.data.get("reason") == "sought" or not reader.read:
                reader.read.go(event.at, now)

    def _subscription(self, event: Event) -> None:
        """Follow what happens to a message in a subscription that keeps its place."""
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
        """Put at the head each subscription that has got all that is meant for it, whatever else is there."""
        for held, reader in self._cursors.values():
            if held is log and reader.next >= reader.wanted:
                reader.read.go(at, log.end)
                reader.settle(at)


# The lag


class _Lag(NamedTuple):
    """A stretch of time in which a reader was equally far behind, and where it was."""

    start: float
    end: float
    offset: int
    head: int

    @property
    def size(self) -> int:
        return self.head - self.offset


def _lags(log: LogTracks, reader: Reading, end: float) -> list[_Lag]:
    """Every stretch of time in which the lag of this reader did not change."""
    times = sorted(
        {place.at for place in (*log.head, *reader.committed) if place.at >= reader.committed[0].at}
    )
    return [
        _Lag(start, until, reader.committed.at(start), log.head.at(start))
        for start, until in pairwise([*times, max(end, times[-1])])
    ]


def _largest(lags: Iterable[_Lag]) -> _Lag:
    """The largest lag, and of several the one that lasted longest."""
    return max(lags, key=lambda lag: (lag.size, lag.end - lag.start))


# Drawing


def _shown(log: LogTracks) -> list[Reading]:
    return [reader for reader in log.readers.values() if reader.committed][:MAX_READERS]


def _key(logs: Iterable[LogTracks]) -> Iterator[Artist]:
    readers = [reader for log in logs for reader in _shown(log)]
    yield sign("head", BLACK, SOLID)
    if readers:
        yield sign("committed", GREY, DASHED)
        yield area("read, not committed", facecolor=tint(GREY), edgecolor=GREY)
    for name, (words, look) in _MARKS.items():
        if any(getattr(reader, name) for reader in readers):
            yield sign(words, **look)


def _draw(axes: Axes, log: LogTracks, looks: dict[str, tuple[Dash, str]], end: float) -> None:
    lines = [steps(axes, log.head, end, label=f"head: {log.end:,}", color=BLACK, linestyle=SOLID, **_ON_TOP)]
    for reader in _shown(log):
        dash, colour = looks[reader.name]
        _draw_gap(axes, reader, colour, end)
        look = {"label": _label(reader, log), "color": colour, "linestyle": dash, "linewidth": 2}
        lines.append(steps(axes, reader.committed, end, **look, **_ON_TOP))
        for name, (_, mark) in _MARKS.items():
            at = [(place.at, place.offset) for place in getattr(reader, name)]
            axes.plot(
                *zip(*at, strict=True) if at else ((), ()), linestyle="", zorder=5, clip_on=False, **mark
            )
    axes.set_ylim(0, max(1, *(place.offset for place in log.head)) * 1.16)
    _draw_largest(axes, log, end)
    beside(axes, lines)


def _draw_gap(axes: Axes, reader: Reading, colour: str, end: float) -> None:
    """Draw the area between what was read and what was committed, with a line above it."""
    times = sorted({place.at for place in (*reader.read, *reader.committed)})
    times.append(max(end, times[-1]))
    read, committed = [reader.read.at(time) for time in times], [reader.committed.at(time) for time in times]
    axes.fill_between(times, committed, read, step="post", color=tint(colour, 0.3), linewidth=0, zorder=1)
    gaps = [
        (high, start, until)
        for (start, until), high, low in zip(pairwise(times), read, committed, strict=False)
        if high != low
    ]
    axes.hlines(*zip(*gaps, strict=True) if gaps else ((), (), ()), color=colour, linewidth=1, zorder=2)


def _draw_largest(axes: Axes, log: LogTracks, end: float) -> None:
    """Measure the lag where it was the largest of all, and write its size."""
    lags = [_largest(_lags(log, reader, end)) for reader in _shown(log)]
    if lags and (lag := _largest(lags)).size:
        middle = (lag.start + lag.end) / 2
        look = {"arrowstyle": "|-|, widthA=0.3, widthB=0.3", "shrinkA": 0, "shrinkB": 0}
        axes.annotate("", (middle, lag.head), (middle, lag.offset), arrowprops=look)
        left = middle < end / 4  # where there is no line
        axes.annotate(
            f"lag {lag.size:,}", (middle, lag.head), (4 if left else -4, 4), textcoords="offset points",
            ha="left" if left else "right",
        )  # fmt: skip


def _label(reader: Reading, log: LogTracks) -> str:
    committed = reader.committed[-1].offset
    return fit(f"{reader.name}: {committed:,} ({_behind(log.end - committed)})", 190, middle=True)


# In words


def _in_words(name: str, log: LogTracks, end: float) -> str:
    readers = [_reader_in_words(reader, log, end) for reader in _shown(log)] or ["nobody read it"]
    return f"{name} has {plural(log.end, 'message')} at {seconds(end)}: {'; '.join(readers)}."


def _reader_in_words(reader: Reading, log: LogTracks, end: float) -> str:
    committed = reader.committed[-1].offset
    words = [f"{reader.name} has committed {committed:,}, {_behind(log.end - committed)}"]
    most = _largest(_lags(log, reader, end))
    if most.size > log.end - committed:
        words.append(f"at most {most.size:,} behind from {seconds(most.start)}")
    for times, what in ((reader.crashes, "crashed"), (reader.restarts, "restarted")):
        if times:
            words.append(f"{what} at {listing([seconds(place.at) for place in times])}")
    if reader.replays:
        begun = listing([f"offset {place.offset:,} at {seconds(place.at)}" for place in reader.replays])
        words.append(f"read {plural(reader.again, 'message')} again, from {begun}")
    return ", ".join(words)


def _behind(lag: int) -> str:
    return f"{lag:,} behind" if lag else "not behind"
