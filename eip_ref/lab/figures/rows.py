"""The rows of a sequence diagram, read from events: what to draw, in which order, between whom."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..invariants.journeys import dead_letter_channels
from ..wording import Names

MAX_LIFELINES = 9
IN_CHANNELS = frozenset(
    {
        Kind.SENT,
        Kind.BLOCKED,
        Kind.ACCEPTED,
        Kind.REFUSED,
        Kind.DELIVERED,
        Kind.EXTENDED,
        Kind.ACKED,
        Kind.NACKED,
        Kind.EXPIRED,
        Kind.RETURNED,
        Kind.STALE,
        Kind.DEAD,
        Kind.REPLAYED,
        Kind.DROPPED,
    }
)
ON_LINKS = frozenset({Kind.LOST, Kind.DUPLICATED, Kind.ARRIVED})
_NO_ROW = frozenset({Kind.OPENED, Kind.BLOCKED})  # an arrow that takes time shows who waits
_WORDS = {
    Kind.EXPIRED: "lease over",
    Kind.DROPPED: "dropped",
    Kind.DUPLICATE: "known already",
    Kind.CLOSED: "closed",
}
_BACK: dict[str, tuple[str, str]] = {  # from the receiver back to the channel: form of the arrow, words
    Kind.ACKED: ("ack", "ack"),
    Kind.NACKED: ("nack", "nack"),
    Kind.EXTENDED: ("extend", "more time for"),
    Kind.STALE: ("stale", "stale"),
}


@dataclass(slots=True)
class Row:
    """One line of the diagram: an arrow between two lifelines, or a mark on one.

    The forms of arrows are those of `sequence.ARROWS`; a mark's form is the kind of its event. "blank"
    only gives a bar or a slow arrow a place to end, and "open" is a send that nobody accepted.
    """

    at: float
    form: str
    source: str = ""
    target: str = ""
    label: str = ""
    end: int | None = None  #: for arrows that take time, the row at which they arrive


@dataclass(slots=True)
class Bar:
    """A bar from one row to another: work on a message, or a time in which a participant is down."""

    who: str
    start: int
    end: int | None = None
    down: bool = False


@dataclass(slots=True)
class Diagram:
    """All rows of a diagram, and its lifelines from left to right."""

    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    lifelines: list[str] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    dead_letters: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)  #: participants and channels without a lifeline
    chosen: bool = False  #: the lifelines were chosen, and so were those left out
    shown: int = 0  #: events read into the rows
    total: int = 0  #: events selected
    until: float = 0.0  #: the time of the last event that was read
    last: float = 0.0  #: the time of the last event selected

    @property
    def appearances(self) -> Counter[str]:
        """The number of rows and bars in which each name appears, in order of appearance."""
        ends = Counter(name for row in self.rows for name in (row.source, row.target) if name)
        return ends + Counter(bar.who for bar in self.bars)


def read(
    trace: Trace,
    *,
    messages: Collection[str] | None = None,
    start: float = 0.0,
    end: float = math.inf,
    lifelines: Sequence[str] | None = None,
    max_rows: int = 40,
) -> Diagram:
    """Read the selected events, as many as fill `max_rows` rows.

    `lifelines` are the names to draw, from left to right. Without them all are drawn or, where there
    is no room for all, those that do most.
    """
    selected = [
        e for e in trace if start <= e.at <= end and (not messages or not e.message or e.message in messages)
    ]
    left_out, chosen = _left_out(trace, selected, lifelines)
    reader = _Reader(trace)
    reader.read(selected, max_rows, frozenset(left_out))
    result = reader.diagram
    result.left_out, result.chosen = left_out, lifelines is not None
    result.total = sum(e.kind != Kind.OPENED for e in selected)
    result.last = selected[-1].at if selected else 0.0
    used = [name for name in result.appearances if name not in left_out]
    result.lifelines = left_to_right(used, result) if lifelines is None else chosen
    return result


def _left_out(
    trace: Trace, selected: Sequence[Event], lifelines: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """The names without a lifeline, and those of `lifelines` that there are."""
    names = {name for e in selected for name in (e.who, e.where)}
    if lifelines is None and len(names) <= MAX_LIFELINES:
        return [], []
    everything = _Reader(trace)
    everything.read(selected)
    found = everything.diagram.appearances
    most = [name for name, _ in found.most_common(MAX_LIFELINES)] if lifelines is None else lifelines
    return [name for name in found if name not in most], [name for name in most if name in found]


class _Reader:
    """Reads events one by one and joins those that are one arrow, such as sent and accepted."""

    def __init__(self, trace: Trace) -> None:
        self.names = Names(trace)
        self.diagram = Diagram(dead_letters=dead_letter_channels(trace.events))
        self.rows = self.diagram.rows
        self.links = {e.where for e in trace if e.kind in ON_LINKS or e.data.get("role") == "link"}
        self.diagram.channels = {e.where for e in trace if e.kind in IN_CHANNELS} - self.links
        self.diagram.channels |= self.diagram.dead_letters
        self.sends: dict[tuple[str, str], Row] = {}  # by channel and message, not yet accepted
        self.travelling: dict[str, Row] = {}  # by message, on a link
        self.senders: dict[str, str] = {}  # by message, on a link
        self.working: dict[tuple[str, str], Bar] = {}  # by participant and message
        self.ending: list[tuple[Bar, float]] = []  # bars that end at the next row, in order of time

    def read(
        self, events: Iterable[Event], max_rows: float = math.inf, left_out: frozenset[str] = frozenset()
    ) -> None:
        """Add what the events show until there are `max_rows` rows; those of one instant stay together."""
        for event in events:
            if event.kind == Kind.OPENED or left_out & {event.who, event.where, event.data.get("to")}:
                continue
            more = len(self.rows) - max_rows
            if more >= 5 or (more >= 0 and event.at > self.rows[-1].at):
                break
            self._end_bars(event.at)
            self._read(event)
            self.diagram.shown += 1
            self.diagram.until = event.at
        self._end_bars(math.inf)

    def _read(self, event: Event) -> None:
        special: Callable[[Event], None] | None = getattr(self, f"_{event.kind}", None)
        if special is not None:
            special(event)
        elif event.kind in _BACK:
            self._settled(event)
        elif event.kind not in _NO_ROW:
            self._mark(event, _WORDS.get(Kind(event.kind), str(event.kind)))

    def _row(self, at: float, form: str, source: str = "", target: str = "", label: str = "") -> Row:
        row = Row(at, form, source, target, label)
        self.rows.append(row)
        for bar, _ in self.ending:
            bar.end = len(self.rows) - 1
        self.ending.clear()
        return row

    def _end_bars(self, now: float) -> None:
        """End each bar that ended before `now` at a row of that time: its own, if there is none."""
        while self.ending and self.ending[0][1] < now:
            bar, at = self.ending.pop(0)
            bar.end = self._place(at)

    def _place(self, at: float) -> int:
        """The row of this time: the last one, or a new blank one."""
        if not self.rows or self.rows[-1].at != at:
            self.rows.append(Row(at, "blank"))
        return len(self.rows) - 1

    def _label(self, event: Event, before: str = "", after: str = "") -> str:
        return f"{before}{self.names.label(event.message)}{after}" if event.message else (before + after)

    def _mark(self, event: Event, words: str) -> None:
        more = event.data.get("reason") or event.data.get("error") or ""
        label = self._label(event, f"{words}: " if event.message else words, f" ({more})" if more else "")
        place = event.who if event.where in self.links else event.where
        self._row(event.at, str(event.kind), place, "", label)

    # From the sender to the channel

    def _sent(self, event: Event) -> None:
        key = event.where, event.message
        if event.where in self.links:
            self.travelling[event.message] = self._row(event.at, "open", event.who, "", self._label(event))
            self.senders[event.message] = event.who
        elif event.message in self.travelling and self.travelling[event.message].form == "send":
            self.sends[key] = self.travelling.pop(event.message)
            self.sends[key].target = event.where
        elif key not in self.sends or self.sends[key].form != "replay":
            self.sends[key] = self._row(event.at, "open", event.who, event.where, self._label(event))

    def _accepted(self, event: Event) -> None:
        row = self.sends.pop((event.where, event.message), None)
        if row is None and event.message in self.travelling:
            row = self.travelling.pop(event.message)
            row.target = event.where
        if row is None:
            self._mark(event, "accepted")
        else:
            self._arrive(row, event.at, "send")

    def _refused(self, event: Event) -> None:
        row = self.sends.pop((event.where, event.message), None)
        if row is None:
            self._mark(event, "refused")
            return
        row.label += f" refused: {event.data.get('reason', 'no')}"
        self._arrive(row, event.at, "refused")

    def _arrive(self, row: Row, at: float, form: str) -> None:
        row.form = form if row.form != "replay" else row.form
        if at > row.at and row.end is None:
            row.end = self._place(at)

    # On a link

    def _lost(self, event: Event) -> None:
        row = self.travelling.pop(event.message, None) or self._row(event.at, "lost", event.who)
        row.form, row.label = "lost", self._label(event, "lost: ")
        row.target = str(event.data.get("to", ""))

    def _duplicated(self, event: Event) -> None:
        if row := self.travelling.get(event.message):
            row.label += " (duplicated)"

    def _arrived(self, event: Event) -> None:
        row = self.travelling.get(event.message)
        if row is None:
            sender, label = self.senders.get(event.message, ""), self._label(event, after=" (second copy)")
            row = self.travelling[event.message] = self._row(event.at, "send", sender, "", label)
        self._arrive(row, event.at, "send")

    # From the channel to the receiver

    def _delivered(self, event: Event) -> None:
        times = event.data.get("deliveries") or 1
        form = "again" if times > 1 else "deliver"
        after = f", delivery {times}" if times > 1 else ""
        self._row(event.at, form, event.where, event.who or "receiver", self._label(event, after=after))

    def _settled(self, event: Event) -> None:
        form, words = _BACK[event.kind]
        reason = event.data.get("reason") if form == "nack" else ""
        before = f"{words} {event.data.get('attempted', 'ack')}" if form == "stale" else words
        label = self._label(event, f"{before} ", f" ({reason})" if reason else "")
        self._row(event.at, form, event.who, event.where, label)

    def _returned(self, event: Event) -> None:
        last = self.rows[-1] if self.rows else None
        if last is not None and last.form in (Kind.EXPIRED, "nack") and last.at == event.at:
            last.label += ", ready again"
        else:
            self._mark(event, "ready again")

    def _dead(self, event: Event) -> None:
        to, rows = str(event.data.get("to", "")), self.rows
        if rows and rows[-1].form in ("open", "send") and rows[-1].target == to and not rows[-1].source:
            rows.pop()  # the dead letter's arrival there, told a moment before
        self.sends.pop((to, event.message), None)
        reason = event.data.get("reason", "")
        after = f" ({reason})" if reason else ""
        self._row(event.at, "dead", event.where, to, self._label(event, "dead: ", after))

    def _replayed(self, event: Event) -> None:
        to, label = str(event.data.get("to", "")), self._label(event, "replay of ")
        self.sends[to, event.message] = self._row(event.at, "replay", event.where, to, label)

    # Inside a participant

    def _started(self, event: Event) -> None:
        bar = self.working[event.who, event.message] = Bar(event.who, self._place(event.at))
        self.diagram.bars.append(bar)

    def _finished(self, event: Event) -> None:
        if bar := self.working.pop((event.who, event.message), None):
            self.ending.append((bar, event.at))

    def _failed(self, event: Event) -> None:
        self._finished(event)
        self._mark(event, "failed")

    def _cancelled(self, event: Event) -> None:
        self._finished(event)
        self._mark(event, "cancelled")

    def _effect(self, event: Event) -> None:
        self._mark(event, str(event.data.get("effect", "effect")))

    def _state(self, event: Event) -> None:
        now = str(event.data.get("now", "state"))
        on_its_own_line = now in ("away", "here") and event.who
        self._mark(event._replace(where=event.who) if on_its_own_line else event, now)

    def _crashed(self, event: Event) -> None:
        for who, message in [key for key in self.working if key[0] == event.who]:
            self.ending.append((self.working.pop((who, message)), event.at))
        name = event.who or event.where
        self._row(event.at, "crashed", name, "", f"{name} crashed")
        self.diagram.bars.append(Bar(name, len(self.rows) - 1, down=True))

    def _restarted(self, event: Event) -> None:
        name = event.who or event.where
        self._row(event.at, "restarted", name, "", f"{name} restarted")
        for bar in self.diagram.bars:
            if bar.down and bar.who == name and bar.end is None:
                bar.end = len(self.rows) - 1

    def _note(self, event: Event) -> None:
        self._row(event.at, "note", "", "", str(event.data.get("text", "")))


def left_to_right(names: Sequence[str], diagram: Diagram) -> list[str]:
    """In order of appearance, numbered ones by number; dead letters and who only cares for them last."""
    dead = [name for name in names if name in diagram.dead_letters]
    first: dict[str, set[str]] = {}
    for row in diagram.rows:
        for name in (row.source, row.target):
            first.setdefault(name, {row.source, row.target})
    after = [n for n in names if n not in diagram.channels and first.get(n, set()).intersection(dead)]
    return by_number([name for name in names if name not in dead + after]) + dead + by_number(after)


def by_number(names: Sequence[str]) -> list[str]:
    """Names in their order, but those that differ in a number alone sorted by it."""
    stems = [re.sub(r"\d+", "#", name) for name in names]
    groups = {
        stem: iter(sorted((n for n, s in zip(names, stems, strict=True) if s == stem), key=_numbers))
        for stem in dict.fromkeys(stems)
    }
    return [next(groups[stem]) for stem in stems]


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
