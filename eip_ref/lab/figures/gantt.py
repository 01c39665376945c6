"""The Gantt chart: when each step or branch ran, how each attempt of it ended, and what was taken back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ...trace import Event, Kind, Trace
from ..wording import Names, listing, plural, seconds
from .canvas import Canvas, Figure, Point, area, box, draw_paths, drawing, seconds_per_point
from .style import BLUE, GREEN, GREY, ORANGE, RED, SHORT, SKY, TEXT, Dash, fit, tint, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_ROWS = 30
_ROW = 20.0
_NO_END = "no end"
_BACK, _NOT_BACK = "compensation", "failed compensation"


class _Look(NamedTuple):
    words: str
    colour: str
    strength: float  # of the tint
    hatch: str | None
    dash: Dash = "solid"

    @property
    def artist(self) -> dict[str, Any]:
        """The look as matplotlib's settings."""
        fill = tint(self.colour, self.strength)
        return {"facecolor": fill, "edgecolor": self.colour, "hatch": self.hatch, "linestyle": self.dash}


_LOOKS = {
    Kind.FINISHED.value: _Look("finished", GREEN, 0.5, None),
    _BACK: _Look("taken back", BLUE, 0.3, "////"),
    Kind.FAILED.value: _Look("failed", RED, 0.35, "xx"),
    _NOT_BACK: _Look("not taken back", RED, 0.2, "++"),
    Kind.TIMED_OUT.value: _Look("timed out", ORANGE, 0.35, "||||"),
    Kind.CANCELLED.value: _Look("cancelled", GREY, 0.15, "\\\\\\\\"),
    _NO_END: _Look("no end in sight", RED, 0.0, None, SHORT),
}


@dataclass(slots=True)
class _Bar:
    """One attempt."""

    begun: Event
    end: float
    how: str = _NO_END

    @property
    def look(self) -> str:
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


@drawing()
def gantt(trace: Trace, *, of: str | None = None, title: str | None = None) -> Figure:
    """Draw a row for each step or branch, with a bar for each attempt from its start to its end.

    A row is what the events call their `step` or `branch`; where none does, it is their message. `of`
    is the id of the saga or request to draw; without it all of the trace is drawn, and rows of several
    sagas or requests carry its id too. The first thirty rows are drawn; a note says which are not.
    """
    title = title or (f"{of}: what ran when" if of else "What ran when")
    chart = _read(trace, of)
    shown, hidden = list(chart.rows)[:MAX_ROWS], list(chart.rows)[MAX_ROWS:]
    note = f"Not shown: {listing(hidden)}." if hidden else "" if shown else "Nothing was started."
    used = {bar.look for name in shown for bar in chart.rows[name]}
    key = [area(look.words, **look.artist) for name, look in _LOOKS.items() if name in used]
    above = 18.0 if chart.changes else 4.0
    canvas = Canvas(title, above + _ROW * len(shown) + 36, key=key, notes=[note])
    axes = canvas.rows(dict.fromkeys(shown, _ROW), chart.start, chart.end, above=above)
    _draw(axes, [chart.rows[name] for name in shown])
    _draw_changes(axes, chart.changes)
    words = [f"{title}.", *(_in_words(name, chart.rows[name]) for name in shown), *_changed(chart), note]
    return canvas.picture(" ".join(words))


# Reading


def _group(event: Event) -> str:
    return str(event.data.get("saga") or event.data.get("request") or "")


def _part(event: Event) -> str:
    return str(event.data.get("step") or event.data.get("branch") or "")


def _read(trace: Trace, of: str | None) -> _Chart:
    events = trace.filter(test=lambda e: of is None or of in (_group(e), e.message) or e.kind == Kind.CRASHED)
    starts = events.filter(Kind.STARTED, test=lambda e: bool(_part(e))) or events.filter(Kind.STARTED)
    groups = {_group(event) for event in starts if _part(event)}
    names, chart, wanted = Names(trace), _Chart(end=trace.end), {id(event) for event in starts}
    running: dict[tuple[str, str], list[_Bar]] = {}
    for event in events:
        here = event.where, event.message
        if id(event) in wanted:
            name = _part(event) or names.label(event.message)
            bar = _Bar(event, trace.end)
            chart.rows.setdefault(f"{_group(event)} {name}" if len(groups) > 1 else name, []).append(bar)
            running.setdefault(here, []).append(bar)
        elif event.kind in _LOOKS and running.get(here):
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
    """Leave without an end what the dead one had begun; it is drawn up to the crash."""
    for bars in running.values():
        for bar in [bar for bar in bars if bar.begun.who == event.who]:
            bar.end = event.at
            bars.remove(bar)


def _trim(chart: _Chart) -> None:
    """Keep only the time in which something of it happened."""
    bars = [bar for row in chart.rows.values() for bar in row]
    times = [*(bar.begun.at for bar in bars), *(event.at for event in chart.changes)]
    ends = [*(bar.end for bar in bars if bar.how != _NO_END), *times]
    chart.start, chart.end = min(times, default=0.0), max(ends, default=chart.end)


# Drawing


def _draw(axes: Axes, rows: Sequence[Sequence[_Bar]]) -> None:
    (_, end), least = axes.get_xlim(), 1.5 * seconds_per_point(axes)
    boxes: dict[str, list[list[Point]]] = {}
    for number, bars in enumerate(rows):
        for bar in bars:
            start, until = bar.begun.at, max(min(bar.end, end), bar.begun.at + least)
            place = box(start, _ROW * number + 3, until, _ROW * (number + 1) - 3)
            boxes.setdefault(bar.look, []).append(place)
    for name, places in boxes.items():
        draw_paths(axes, places, zorder=3, **_LOOKS[name].artist)


def _draw_changes(axes: Axes, changes: Sequence[Event]) -> None:
    """Draw a line for each change of state, with the new state above it where there is room."""
    (_, end), point = axes.get_xlim(), seconds_per_point(axes)
    free = float("-inf")
    for event in changes:
        words = fit(str(event.data.get("now", "")), 150)
        axes.axvline(event.at, color=SKY, linewidth=1, linestyle=(0.0, (3.0, 2.0)), zorder=2, clip_on=False)
        at = min(event.at, end - width_of(words) * point)
        if at > free:
            axes.text(at, -6, words, color=TEXT[SKY])
            free = at + (width_of(words) + 8) * point


# In words


def _in_words(name: str, bars: Sequence[_Bar]) -> str:
    def one(bar: _Bar) -> str:
        return f"{_LOOKS[bar.look].words} from {seconds(bar.begun.at)} to {seconds(bar.end)}"

    if len(bars) > 3:
        return f"{name}: {plural(len(bars), 'attempt')}, the last {one(bars[-1])}."
    return f"{name}: {listing([one(bar) for bar in bars])}."


def _changed(chart: _Chart) -> list[str]:
    said = listing([f"{event.data.get('now')} at {seconds(event.at)}" for event in chart.changes])
    return [f"{said[:1].upper()}{said[1:]}."] if said else []
