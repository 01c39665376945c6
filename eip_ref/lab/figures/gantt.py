"""The Gantt chart: when each step or branch ran, how each attempt of it ended, and what was taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...trace import Event, Kind, Trace
from ..wording import Names, listing, plural, seconds
from .ink import BLUE, GREEN, GREY, MARGIN, ORANGE, RED, SKY, WIDTH, box, cross, fit, tint, width_of
from .over_time import time_axis
from .sheet import Figure, Sheet, drawing

MOST_ROWS = 30
_RIGHT = WIDTH - MARGIN - 6
_ROW, _BAR = 20.0, 7.0  # the height of a row, and half that of a bar
_SIGN, _GAP = 24.0, 12.0  # in the key: the room for a sign, and between two entries
_NO_END = "no end"
_BACK, _NOT_BACK = "compensation", "failed compensation"


class _Style(NamedTuple):
    words: str
    colour: str
    fill: float  # how strong the tint is
    hatch: str | None


_STYLES = {
    Kind.FINISHED.value: _Style("finished", GREEN, 0.5, None),
    _BACK: _Style("taken back", BLUE, 0.3, "/////"),
    Kind.FAILED.value: _Style("failed", RED, 0.35, None),
    _NOT_BACK: _Style("not taken back", RED, 0.2, "/////"),
    Kind.TIMED_OUT.value: _Style("timed out", ORANGE, 0.35, "....."),
    Kind.CANCELLED.value: _Style("cancelled", GREY, 0.15, None),
    _NO_END: _Style("no end in sight", RED, 0.0, "xxxxx"),
}


@dataclass(slots=True)
class _Bar:
    """One attempt."""

    begun: Event
    end: float
    how: str = _NO_END

    @property
    def style(self) -> str:
        if self.begun.data.get("role") != _BACK:
            return self.how
        return {Kind.FINISHED.value: _BACK, Kind.FAILED.value: _NOT_BACK}.get(self.how, self.how)


@dataclass(slots=True)
class _Chart:
    """All rows from top to bottom, each with its attempts; and the changes of state, if of one thing."""

    rows: dict[str, list[_Bar]] = field(default_factory=dict)
    changes: list[Event] = field(default_factory=list)
    start: float = 0.0
    end: float = 0.0


def gantt(trace: Trace, *, of: str | None = None, title: str | None = None) -> Figure:
    """Draw a row for each step or branch, with a bar for each attempt from its start to its end.

    A row is what the events call their `step` or `branch`; where none does, it is their message. `of`
    is the id of the saga or request to draw; without it all of the trace is drawn, and rows of several
    sagas or requests carry its id too. The first thirty rows are drawn; a note says which are not.
    """
    title = title or (f"{of}: what ran when" if of else "What ran when")
    chart = _read(trace, of)
    shown, hidden = list(chart.rows)[:MOST_ROWS], list(chart.rows)[MOST_ROWS:]
    note = f"Not shown: {listing(hidden)}." if hidden else "" if shown else "Nothing was started."
    with drawing():
        height = 62 + _ROW * len(shown) + 36 + (14 if note else 0)
        sheet = Sheet(height, title)
        _draw(sheet, chart, shown)
        if note:
            sheet.text(MARGIN, height - 10, fit(note, WIDTH - 2 * MARGIN), colour=GREY)
        words = [f"{title}.", *(_said(name, chart.rows[name]) for name in shown), *_changed(chart), note]
        return sheet.picture(" ".join(words).strip(), title)


# Reading


def _group(event: Event) -> str:
    return str(event.data.get("saga") or event.data.get("request") or "")


def _part(event: Event) -> str | None:
    part = event.data.get("step") or event.data.get("branch")
    return str(part) if part else None


def _read(trace: Trace, of: str | None) -> _Chart:
    events = trace.filter(test=lambda e: of is None or of in (_group(e), e.message) or e.kind == Kind.CRASHED)
    starts = events.filter(Kind.STARTED)
    named = starts.filter(test=lambda e: _part(e) is not None)
    starts, groups = named or starts, {_group(event) for event in named}
    names, chart = Names(trace), _Chart(end=trace.end)
    wanted = {id(event) for event in starts}
    running: dict[tuple[str, str], list[_Bar]] = {}
    for event in events:
        here = event.where, event.message
        if id(event) in wanted:
            name = _part(event) or names.label(event.message)
            bar = _Bar(event, trace.end)
            chart.rows.setdefault(f"{_group(event)} {name}" if len(groups) > 1 else name, []).append(bar)
            running.setdefault(here, []).append(bar)
        elif event.kind in _STYLES and running.get(here):
            bar = running[here].pop(0)
            bar.end, bar.how = event.at, str(event.kind)
        elif event.kind == Kind.CRASHED:
            _crash(event, running)
        elif event.kind == Kind.STATE and len(groups) == 1 and event.message in groups:
            chart.changes.append(event)
    if of is not None and len(events):
        _trim(chart)
    return chart


def _crash(event: Event, running: dict[tuple[str, str], list[_Bar]]) -> None:
    """What the dead had begun has no end; it is drawn up to the crash."""
    for bars in running.values():
        for bar in [bar for bar in bars if bar.begun.who == event.who]:
            bar.end = event.at
            bars.remove(bar)


def _trim(chart: _Chart) -> None:
    """Only the time in which something of it happened."""
    bars = [bar for row in chart.rows.values() for bar in row]
    times = [*(bar.begun.at for bar in bars), *(event.at for event in chart.changes)]
    ends = [*(bar.end for bar in bars if bar.how != _NO_END), *times]
    chart.start, chart.end = min(times, default=0.0), max(ends, default=chart.end)


# Drawing


def _draw(sheet: Sheet, chart: _Chart, shown: Sequence[str]) -> None:
    names = min(150.0, max([40.0, *(width_of(name, bold=True) for name in shown)]))
    left, top = MARGIN + names + 10, 62.0
    bottom = top + _ROW * len(shown)
    scale = (_RIGHT - left) / ((chart.end - chart.start) or 1)
    _key(sheet, [bar for name in shown for bar in chart.rows[name]])
    for row, name in enumerate(shown):
        y = top + _ROW * (row + 0.5)
        sheet.text(left - 10, y, fit(name, names, bold=True, middle=True), align="right", bold=True)
        sheet.lines([[(MARGIN, y + _ROW / 2), (_RIGHT, y + _ROW / 2)]], "#e5e7eb", z=1)
    _bars(sheet, chart, shown, left, scale)
    _changes(sheet, chart, left, scale, bottom)
    axes = sheet.axes(left, top, _RIGHT, max(bottom, top + 10))
    axes.patch.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_visible(False)
    time_axis(axes, chart.end, last=True)
    axes.set_xlim(chart.start, chart.end if chart.end > chart.start else chart.start + 1)


def _bars(sheet: Sheet, chart: _Chart, shown: Sequence[str], left: float, scale: float) -> None:
    shapes: dict[str, list[list[tuple[float, float]]]] = {}
    strokes: list[list[tuple[float, float]]] = []
    for row, name in enumerate(shown):
        y = 62 + _ROW * (row + 0.5)
        for bar in chart.rows[name]:
            x = left + (bar.begun.at - chart.start) * scale
            end = max(x + 1.5, left + (min(bar.end, chart.end) - chart.start) * scale)
            shapes.setdefault(bar.style, []).append(box(x, y - _BAR, end, y + _BAR))
            if bar.how == Kind.FAILED:
                strokes += cross(end, y, 3.5)
    for how, polygons in shapes.items():
        style = _STYLES[how]
        sheet.shapes(polygons, tint(style.colour, style.fill), style.colour, z=3, hatch=style.hatch)
    sheet.lines(strokes, RED, 1.8, z=4)


def _changes(sheet: Sheet, chart: _Chart, left: float, scale: float, bottom: float) -> None:
    """A line for each change of state, with the new state above it where there is room."""
    free = left - 20
    for event in chart.changes:
        x, words = left + (event.at - chart.start) * scale, str(event.data.get("now", ""))
        sheet.lines([[(x, 58), (x, bottom)]], SKY, 1.0, (3.0, 2.0), z=2)
        at = min(x, _RIGHT - width_of(words))
        if at > free:
            sheet.text(at, 52, words, colour=SKY)
            free = at + width_of(words) + 8


def _key(sheet: Sheet, bars: Sequence[_Bar]) -> None:
    """The styles that occur, explained."""
    used = {bar.style for bar in bars}
    x = MARGIN
    for how, style in _STYLES.items():
        if how in used:
            area = [box(x, 27.5, x + 15, 36.5)]
            sheet.shapes(area, tint(style.colour, style.fill), style.colour, hatch=style.hatch)
            if how in (Kind.FAILED, _NOT_BACK):
                sheet.lines(cross(x + 15, 32, 3.5), RED, 1.8, z=4)
            sheet.text(x + _SIGN, 32, style.words, colour=GREY)
            x += _SIGN + width_of(style.words) + _GAP


# In words


def _said(name: str, bars: Sequence[_Bar]) -> str:
    def one(bar: _Bar) -> str:
        how = _STYLES[bar.style].words
        return f"{how} from {seconds(bar.begun.at)} to {seconds(bar.end)}"

    if len(bars) > 3:
        return f"{name}: {plural(len(bars), 'attempt')}, the last {one(bars[-1])}."
    return f"{name}: {listing([one(bar) for bar in bars])}."


def _changed(chart: _Chart) -> list[str]:
    said = [f"{event.data.get('now')} at {seconds(event.at)}" for event in chart.changes]
    return [f"{listing(said)}.".capitalize()] if said else []
