"""Offsets per group: the head of a log, and below it how far each group that reads it has come."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.path import Path as Strokes
from matplotlib.ticker import MaxNLocator

from ...trace import Trace
from ..wording import listing, plural, seconds
from .ink import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    INK,
    MARGIN,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    WIDTH,
    fit,
    tint,
    width_of,
)
from .over_time import time_axis, unit_of
from .places import LogTracks, Place, Reading, Track, places
from .rows import by_number
from .sheet import Figure, Sheet, drawing

MOST_LOGS, MOST_READERS = 4, 5
_LEFT, _TOP, _PANEL = 50.0, 46.0, 140.0
_SAMPLE = 30.0  # long enough to see a dash
_ABOVE = [(-0.5, 1.3), (0.5, 1.3), (0, 0.5), (-0.5, 1.3)]  # the place, which another mark may need
_TRIANGLE = Strokes(_ABOVE)
_LINES = (("dashed", BLUE), ("dash-dot", GREEN), ("dotted", PURPLE), ("long", ORANGE), ("short", SKY))
_MARKS = (("cross", RED, "crashed"), ("triangle", GREEN, "restarted"), ("diamond", PURPLE, "reads again"))


class _Lag(NamedTuple):
    """From when to when a reader was that far behind, and where it was."""

    start: float
    end: float
    offset: int
    head: int

    @property
    def size(self) -> int:
        return self.head - self.offset


def offsets(trace: Trace, *, where: str | Collection[str] | None = None, title: str | None = None) -> Figure:
    """Draw, for each log, its head and the committed offset of each group, over time.

    The distance between the two is the lag. A thin line shows what was read and not committed yet.
    Crashes, restarts, and where a group began to read again are marked. `where` names the logs; without
    it, the first four of the trace.
    """
    title = title or "How far each group has come, over time"
    found = places(trace)
    names = [where] if isinstance(where, str) else list(where or by_number(list(found)))
    logs = {name: found[name] for name in names[:MOST_LOGS] if name in found}
    hidden = [*_hidden(logs), *names[MOST_LOGS:]]
    note = f"Not shown: {listing(hidden)}." if hidden else ""
    said = [_said(name, log, trace.end) for name, log in logs.items()] or ["No log kept a message."]
    with drawing():
        sheet = Sheet(_TOP + (_PANEL * len(logs) + 22 if logs else 36) + (14 if note else 0), title)
        if logs:
            sheet.key(34, *_key(logs.values()))
        else:
            sheet.text(MARGIN, _TOP, said[0], colour=GREY)
        _draw(sheet, logs, trace.end)
        if note:
            sheet.text(MARGIN, sheet.height - 10, fit(note, WIDTH - 2 * MARGIN), colour=GREY)
        return sheet.picture(" ".join([f"{title}.", *said, note]).strip(), title)


def _hidden(logs: dict[str, LogTracks]) -> list[str]:
    """The readers that there is no line for."""
    return [
        f"{reader} of {name}" for name, log in logs.items() for reader in list(log.readers)[MOST_READERS:]
    ]


def _shown(log: LogTracks) -> list[Reading]:
    return [reader for reader in log.readers.values() if reader.committed][:MOST_READERS]


def _key(logs: Iterable[LogTracks]) -> Iterator[tuple[str, str, str]]:
    readers = [reader for log in logs for reader in _shown(log)]
    yield "line", INK, "head"
    if readers:
        yield "dashed", GREY, "committed"
        yield "bar", GREY, "read, not committed"
    marks = ("crashes", "restarts", "replays")
    yield from (
        sign for name, sign in zip(marks, _MARKS, strict=True) if any(getattr(r, name) for r in readers)
    )


# The lag


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


# Words


def _said(name: str, log: LogTracks, end: float) -> str:
    readers = [_said_of(reader, log, end) for reader in _shown(log)] or ["nobody read it"]
    return f"{name} has {plural(log.end, 'message')} at {seconds(end)}: {'; '.join(readers)}."


def _said_of(reader: Reading, log: LogTracks, end: float) -> str:
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


# The picture


def _draw(sheet: Sheet, logs: dict[str, LogTracks], end: float) -> None:
    styles = dict(zip(_names(logs), _LINES * len(logs), strict=False))
    words = [_words(log, reader) for log in logs.values() for reader in _shown(log)]
    room = min(190.0, max([70.0, *(width_of(text) for text in words)]))
    right = WIDTH - MARGIN - room - _SAMPLE - 20
    for number, (name, log) in enumerate(logs.items()):
        top, bottom = _TOP + _PANEL * number + 20, _TOP + _PANEL * (number + 1) - 12
        sheet.text(_LEFT, top - 12, fit(name, right - _LEFT, bold=True, middle=True), bold=True)
        axes = sheet.axes(_LEFT, top, right, bottom)
        _axes(axes, log, end, last=number == len(logs) - 1)
        _draw_track(axes, log.head, INK, end, 1.8)
        for reader in _shown(log):
            _draw_reader(axes, reader, styles[reader.name], end)

        _draw_largest(sheet, (_LEFT, top, right, bottom), log, end)
        _list(sheet, right + 14, top, room, log, styles)


def _names(logs: dict[str, LogTracks]) -> list[str]:
    return list(dict.fromkeys(reader.name for log in logs.values() for reader in _shown(log)))


def _words(log: LogTracks, reader: Reading) -> str:
    committed = reader.committed[-1].offset
    return f"{reader.name}: {committed:,} ({_behind(log.end - committed)})"


def _axes(axes: Axes, log: LogTracks, end: float, *, last: bool) -> None:
    axes.set_ylim(0, _most(log))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylabel("next offset", fontsize=9, color=GREY)
    time_axis(axes, end, last=last)


def _most(log: LogTracks) -> float:
    return max(1, log.end) * 1.16


def _draw_reader(axes: Axes, reader: Reading, style: tuple[str, str], end: float) -> None:
    sign, colour = style
    factor, _ = unit_of(end)
    _draw_gap(axes, reader, colour, end)
    _draw_track(axes, reader.committed, colour, end, 2.0, DASHES[sign])
    marks = (reader.replays, "D", PURPLE, 4.5), (reader.restarts, _TRIANGLE, GREEN, 16.0)
    for places_, form, fill, size in marks:
        x, y = [place.at / factor for place in places_], [place.offset for place in places_]
        look: dict[str, Any] = {"markersize": size, "markeredgecolor": INK, "markeredgewidth": 0.8}
        axes.plot(x, y, color=fill, marker=form, linestyle="", zorder=5, clip_on=False, **look)
    x, y = [place.at / factor for place in reader.crashes], [place.offset for place in reader.crashes]
    axes.plot(x, y, "x", color=RED, markersize=7, markeredgewidth=2, zorder=5, clip_on=False)


def _draw_track(
    axes: Axes, track: Track, colour: str, end: float, width: float, dash: tuple[float, ...] | None = None
) -> None:
    factor, _ = unit_of(end)
    last = Place(max(end, track[-1].at), track[-1].offset)
    x, y = [place.at / factor for place in (*track, last)], [place.offset for place in (*track, last)]
    line = axes.plot(x, y, drawstyle="steps-post", color=colour, linewidth=width, zorder=3, clip_on=False)[0]
    if dash:
        line.set_dashes(dash)


def _draw_gap(axes: Axes, reader: Reading, colour: str, end: float) -> None:
    """The area between what was read and what was committed, with a line above it."""
    times = sorted({place.at for place in (*reader.read, *reader.committed)})
    times.append(max(end, times[-1]))
    read, committed = [reader.read.at(time) for time in times], [reader.committed.at(time) for time in times]
    x = [time / unit_of(end)[0] for time in times]
    axes.fill_between(x, committed, read, step="post", color=tint(colour, 0.3), linewidth=0, zorder=1)
    tops = [
        [(start, high), (until, high)]
        for (start, until), high, low in zip(pairwise(x), read, committed, strict=False)
        if high != low
    ]
    axes.add_collection(LineCollection(tops, colors=colour, linewidths=1.0, zorder=2))


def _draw_largest(sheet: Sheet, area: tuple[float, float, float, float], log: LogTracks, end: float) -> None:
    """A measure where the lag was the largest of all, with its size."""
    lags = [_largest(_lags(log, reader, end)) for reader in _shown(log)]
    if not lags or not (lag := _largest(lags)).size:
        return
    left, top, right, bottom = area
    x = left + (right - left) * (lag.start + lag.end) / 2 / (end or 1)
    high, low = (bottom - (bottom - top) * offset / _most(log) for offset in (lag.head, lag.offset))
    caps = [[(x - 3, y), (x + 3, y)] for y in (high, low)]
    sheet.lines([[(x, high), (x, low)], *caps], INK, 1.0, z=4)
    words = f"lag {lag.size:,}"
    sheet.text(max(x + 3, left + 3 + width_of(words)), high - 8, words, align="right")  # no line is there


def _list(
    sheet: Sheet, x: float, top: float, room: float, log: LogTracks, styles: dict[str, tuple[str, str]]
) -> None:
    """Beside a panel, what its lines are and where they end, in the order in which they end."""
    head = ("line", INK, f"head: {log.end:,}", 1.8)
    readers = sorted(_shown(log), key=lambda reader: -reader.committed[-1].offset)
    rows = [head, *((*styles[reader.name], _words(log, reader), 2.0) for reader in readers)]
    for number, (sign, colour, words, width) in enumerate(rows):
        y = top + 6 + 16 * number
        sheet.lines([[(x, y), (x + _SAMPLE, y)]], colour, width, DASHES[sign])
        sheet.text(x + _SAMPLE + 6, y, fit(words, room, middle=True), colour=colour)
