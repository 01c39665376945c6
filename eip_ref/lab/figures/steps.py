"""From events to the rows of a sequence diagram: what to draw, in which order, between whom."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable

from ...trace import Event, Kind, Trace
from ..invariants.journeys import dead_letter_channels
from ..wording import Names
from .rows import IN_CHANNELS, ON_LINKS, Bar, Row, Steps, left_to_right

MOST_LIFELINES = 9


def steps(
    trace: Trace, *, messages: Collection[str] | None, start: float, end: float, max_rows: int
) -> Steps:
    """Read the selected events, as many as fill `max_rows` rows."""
    reader = _Reader(trace)
    selected = [
        e for e in trace if start <= e.at <= end and (not messages or not e.message or e.message in messages)
    ]
    result = reader.result
    result.total = sum(e.kind != Kind.OPENED for e in selected)
    result.last = selected[-1].at if selected else 0.0
    result.left_out = _no_room_for(selected, result.channels)
    for event in selected:
        if event.kind == Kind.OPENED or event.who in result.left_out:
            continue
        if len(result.rows) >= max_rows and event.at > result.rows[-1].at:
            break
        if len(result.rows) >= max_rows + 5:
            break
        reader.read(event)
        result.shown += 1
        result.until = event.at
    reader.finish()
    return result


def _no_room_for(events: Iterable[Event], channels: set[str]) -> list[str]:
    who = list(dict.fromkeys(e.who for e in events if e.who))
    here = {e.where for e in events if e.where in channels}
    return who[max(3, MOST_LIFELINES - len(here)) :]


class _Reader:
    """Reads events one by one and joins those that are one arrow, such as sent and accepted."""

    def __init__(self, trace: Trace) -> None:
        self.names = Names(trace)
        self.result = Steps()
        self.result.dead_letters = dead_letter_channels(trace.events)
        self.links = {e.where for e in trace if e.kind in ON_LINKS or e.data.get("role") == "link"}
        self.result.channels = {e.where for e in trace if e.kind in IN_CHANNELS} - self.links
        self.result.channels |= self.result.dead_letters
        self.sends: dict[tuple[str, str], Row] = {}  # by channel and message, not yet accepted
        self.travelling: dict[str, Row] = {}  # by message, on a link
        self.senders: dict[str, str] = {}  # by message, on a link
        self.working: dict[tuple[str, str], Bar] = {}  # by participant and message
        self.ending: list[tuple[Bar, float]] = []  # bars that end at the next row

    def read(self, event: Event) -> None:
        """Add what the event shows."""
        special: Callable[[Event], None] | None = getattr(self, f"_{event.kind}", None)
        if special is not None:
            special(event)
        elif event.kind != Kind.BLOCKED:  # an arrow that takes time shows it
            self._mark(event, _MARKS.get(Kind(event.kind), str(event.kind)))

    def finish(self) -> None:
        """End the bars that have no row to end at, and put the lifelines in order."""
        self._end_bars(float("inf"))
        result = self.result
        used = dict.fromkeys(name for row in result.rows for name in (row.source, row.target) if name)
        used.update(dict.fromkeys(bar.who for bar in result.bars))
        result.lifelines = left_to_right(list(used), result)

    def _row(self, at: float, form: str, source: str = "", target: str = "", label: str = "") -> Row:
        self._end_bars(at)
        row = Row(at, form, source, target, label)
        self.result.rows.append(row)
        for bar, _ in self.ending:
            bar.end = len(self.result.rows) - 1
        self.ending.clear()
        return row

    def _end_bars(self, now: float) -> None:
        """A bar that ended before `now` ends at a row of its own."""
        late = [(bar, at) for bar, at in self.ending if at < now]
        self.ending = [(bar, at) for bar, at in self.ending if at >= now]
        for bar, at in late:
            bar.end = self._place(at)

    def _place(self, at: float) -> int:
        """The row of this time: the last one, or a new blank one."""
        rows = self.result.rows
        if not rows or rows[-1].at != at:
            rows.append(Row(at, "blank"))
        return len(rows) - 1

    def _label(self, event: Event, before: str = "", after: str = "") -> str:
        return f"{before}{self.names.label(event.message)}{after}" if event.message else (before + after)

    def _mark(self, event: Event, words: str) -> None:
        more = event.data.get("reason") or event.data.get("error") or ""
        label = self._label(event, f"{words}: " if event.message else words, f" ({more})" if more else "")
        self._row(
            event.at, str(event.kind), event.who if event.where in self.links else event.where, "", label
        )

    # From the sender to the channel

    def _sent(self, event: Event) -> None:
        key = event.where, event.message
        if event.where in self.links:
            self.travelling[event.message] = self._row(event.at, "open", event.who, "", self._label(event))
            self.senders[event.message] = event.who
        elif event.message in self.travelling and self.travelling[event.message].form == "send":
            self.sends[key] = self.travelling.pop(event.message)
            self.sends[key].target = event.where
        elif self._replay_of(event) is None:
            self.sends[key] = self._row(event.at, "open", event.who, event.where, self._label(event))

    def _replay_of(self, event: Event) -> Row | None:
        row = self.sends.get((event.where, event.message))
        return row if row is not None and row.form == "replay" else None

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
            row = self._row(event.at, "send", sender, "", label)
            self.travelling[event.message] = row
        self._arrive(row, event.at, "send")

    # From the channel to the receiver

    def _delivered(self, event: Event) -> None:
        times = event.data.get("deliveries") or 1
        form = "again" if times > 1 else "deliver"
        after = f", delivery {times}" if times > 1 else ""
        self._row(event.at, form, event.where, event.who or "receiver", self._label(event, after=after))

    def _acked(self, event: Event) -> None:
        self._row(event.at, "ack", event.who, event.where, self._label(event, "ack "))

    def _nacked(self, event: Event) -> None:
        reason = event.data.get("reason")
        after = f" ({reason})" if reason else ""
        self._row(event.at, "nack", event.who, event.where, self._label(event, "nack ", after))

    def _extended(self, event: Event) -> None:
        self._row(event.at, "extend", event.who, event.where, self._label(event, "more time for "))

    def _stale(self, event: Event) -> None:
        before = f"stale {event.data.get('attempted', 'ack')} "
        self._row(event.at, "stale", event.who, event.where, self._label(event, before))

    def _returned(self, event: Event) -> None:
        last = self.result.rows[-1] if self.result.rows else None
        if last is not None and last.form in (Kind.EXPIRED, "nack") and last.at == event.at:
            last.label += ", ready again"
        else:
            self._mark(event, "ready again")

    def _dead(self, event: Event) -> None:
        to, rows = str(event.data.get("to", "")), self.result.rows
        if rows and rows[-1].form in ("open", "send") and rows[-1].target == to and not rows[-1].source:
            rows.pop()  # the letter's arrival there, told a moment before
        self.sends.pop((to, event.message), None)
        reason = event.data.get("reason", "")
        after = f" ({reason})" if reason else ""
        self._row(event.at, "dead", event.where, to, self._label(event, "dead: ", after))

    def _replayed(self, event: Event) -> None:
        to = str(event.data.get("to", ""))
        self.sends[to, event.message] = self._row(
            event.at, "replay", event.where, to, self._label(event, "replay of ")
        )

    # Inside a participant

    def _started(self, event: Event) -> None:
        bar = Bar(event.who, self._place(event.at))
        self.working[event.who, event.message] = bar
        self.result.bars.append(bar)

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

    def _crashed(self, event: Event) -> None:
        for who, message in [key for key in self.working if key[0] == event.who]:
            self.ending.append((self.working.pop((who, message)), event.at))
        self._row(event.at, "crashed", event.who or event.where, "", f"{event.who or event.where} crashed")
        self.result.bars.append(Bar(event.who or event.where, len(self.result.rows) - 1, down=True))

    def _restarted(self, event: Event) -> None:
        name = event.who or event.where
        self._row(event.at, "restarted", name, "", f"{name} restarted")
        for bar in self.result.bars:
            if bar.down and bar.who == name and bar.end is None:
                bar.end = len(self.result.rows) - 1

    def _note(self, event: Event) -> None:
        self._row(event.at, "note", "", "", str(event.data.get("text", "")))


_MARKS = {
    Kind.EXPIRED: "lease over",
    Kind.DROPPED: "dropped",
    Kind.DUPLICATE: "known already",
    Kind.CLOSED: "closed",
}
