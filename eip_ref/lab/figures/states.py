"""The state strip: in which state each state machine was, over time, and what became of its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from ...trace import Event, Kind, Trace
from ..wording import listing, plural, seconds
from .ink import (
    BLUE,
    GREEN,
    GREY,
    INK,
    MARGIN,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SKY,
    WIDTH,
    Point,
    box,
    cross,
    fit,
    ring,
    tint,
    width_of,
)
from .over_time import time_axis
from .rows import by_number
from .sheet import Figure, Sheet, drawing

MOST_ROWS = 20
_RIGHT = WIDTH - MARGIN - 6
_BAND, _LANE = 20.0, 14.0  # the heights of a strip and of the calls below it
_SIGN, _GAP = 22.0, 9.0  # in the key: the room for a sign, and between two entries

_CALLS = {  # kind -> what it says in the key; the signs are those of `_draw_calls`
    Kind.FINISHED: "finished",
    Kind.FAILED: "failed",
    Kind.CANCELLED: "cancelled",
    Kind.REFUSED: "refused",
}


class _Style(NamedTuple):
    colour: str
    hatch: str | None


_KNOWN = {
    "closed": _Style(GREEN, None),
    "open": _Style(RED, "/////"),
    "half-open": _Style(ORANGE, "....."),
    "forced open": _Style(RED, "xxxxx"),
    "disabled": _Style(GREY, None),
    "observing": _Style(SKY, "-----"),
}
_OTHERS = [  # for state machines that the laboratory has not heard of, in order of appearance
    _Style(colour, hatch)
    for hatch in (None, "/////", ".....", "-----")
    for colour in (BLUE, ORANGE, GREEN, PURPLE, SKY, GREY)
]


class _Band(NamedTuple):
    state: str
    start: float
    end: float


@dataclass(slots=True)
class _Machine:
    """One state machine: its states one after the other, and its calls, if it has any."""

    name: str
    bands: list[_Band] = field(default_factory=list)
    calls: list[Event] = field(default_factory=list)

    @property
    def height(self) -> float:
        return _BAND + 12 + (_LANE if self.calls else 0)


def states(trace: Trace, *, title: str | None = None) -> Figure:
    """Draw for each state machine in which state it was when, and below it how its calls ended.

    A state machine is whatever recorded a change of state. The first twenty are drawn; a note says
    which are not.
    """
    title = title or "In which state, when"
    machines = _machines(trace)
    names = by_number(list(machines))
    shown = [machines[name] for name in names[:MOST_ROWS]]
    hidden = names[MOST_ROWS:]
    note = f"Not shown: {listing(hidden)}." if hidden else "" if shown else "Nothing changed its state."
    styles = _styles(shown)
    with drawing():
        keys = _in_lines(_key_of(shown, styles))
        top = 26.0 + 18 * len(keys)
        height = top + sum(machine.height for machine in shown) + (36 if shown else 0) + (16 if note else 0)
        sheet = Sheet(height, title)
        for number, entries in enumerate(keys):
            _draw_key(sheet, 34 + 18.0 * number, entries)
        _draw(sheet, shown, styles, top, trace.end)
        if note:
            sheet.text(MARGIN, height - 10, fit(note, WIDTH - 2 * MARGIN), colour=GREY)
        said = [_said(machine, trace.end) for machine in shown]
        return sheet.picture(" ".join([f"{title}.", *said, note]).strip(), title)


def _machines(trace: Trace) -> dict[str, _Machine]:
    changes: dict[str, list[Event]] = {}
    for event in trace.filter(Kind.STATE):
        changes.setdefault(event.where, []).append(event)
    machines = {name: _Machine(name, _bands(events, trace.end)) for name, events in changes.items()}
    for event in trace:
        if event.where in machines and event.kind in _CALLS:
            machines[event.where].calls.append(event)
    return machines


def _bands(changes: Sequence[Event], end: float) -> list[_Band]:
    """The states from the start to the end; what was before the first change is what that says."""
    starts = [(str(changes[0].data.get("was") or "?"), 0.0)]
    starts += [(str(change.data.get("now") or "?"), change.at) for change in changes]
    ends = [at for _, at in starts[1:]] + [end]
    bands = [_Band(state, at, until) for (state, at), until in zip(starts, ends, strict=True)]
    return bands[1:] if bands[0].end == 0 else bands


def _styles(machines: Sequence[_Machine]) -> dict[str, _Style]:
    found = list(dict.fromkeys(band.state for machine in machines for band in machine.bands))
    others = [state for state in found if state not in _KNOWN]
    styles = {state: _OTHERS[number % len(_OTHERS)] for number, state in enumerate(others)}
    known = {state: style for state, style in _KNOWN.items() if state in found}
    return {**known, **styles}


def _draw(
    sheet: Sheet, machines: Sequence[_Machine], styles: dict[str, _Style], top: float, end: float
) -> None:
    names = min(130.0, max([40.0, *(width_of(machine.name, bold=True) for machine in machines)]))
    left, y = MARGIN + names + 10, top
    scale = (_RIGHT - left) / (end or 1)
    many = sum(len(machine.calls) for machine in machines) > 120
    for machine in machines:
        name = fit(machine.name, names, bold=True, middle=True)
        sheet.text(left - 10, y + 6 + _BAND / 2, name, align="right", bold=True)
        for band in machine.bands:
            x = min(left + band.start * scale, _RIGHT - 2)  # the shortest band can still be seen
            _draw_band(sheet, band.state, styles[band.state], x, y + 6, max(x + 2, left + band.end * scale))
        if machine.calls:
            _draw_calls(sheet, machine.calls, left, scale, y + 6 + _BAND + _LANE / 2 + 1, many)
        y += machine.height
        sheet.lines([[(MARGIN, y), (_RIGHT, y)]], "#e5e7eb", z=1)
    if not machines:
        return
    axes = sheet.axes(left, top, _RIGHT, y)
    axes.patch.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_visible(False)
    time_axis(axes, end, last=True)


def _draw_band(sheet: Sheet, state: str, style: _Style, left: float, top: float, right: float) -> None:
    area = box(left, top, right, top + _BAND)
    sheet.shapes([area], tint(style.colour, 0.3), tint(style.colour, 0.7), z=2, hatch=style.hatch)
    room = width_of(state, bold=True)
    if right - left > room + 12:
        if style.hatch:
            plate = box(left + 4, top + 3, left + 10 + room, top + _BAND - 3)
            sheet.shapes([plate], tint(style.colour, 0.3), z=3)
        sheet.text(left + 7, top + _BAND / 2, state, bold=True)


def _draw_calls(
    sheet: Sheet, calls: Sequence[Event], left: float, scale: float, y: float, many: bool
) -> None:
    """A stroke finished, a cross failed, an open square was cancelled, and a ring was refused."""
    places: dict[str, list[Point]] = {kind: [] for kind in _CALLS}
    for call in calls:
        places[call.kind].append((left + call.at * scale, y))
    r = 2.5 if many else 3.5
    sheet.lines([[(x, y - r - 1), (x, y + r + 1)] for x, y in places[Kind.FINISHED]], GREEN, 1.6, z=4)
    sheet.lines([stroke for x, y in places[Kind.FAILED] for stroke in cross(x, y, r)], RED, 1.6, z=4.2)
    squares = [box(x - r, y - r, x + r, y + r) for x, y in places[Kind.CANCELLED]]
    sheet.shapes(squares, PAPER, GREY, z=4.1)
    sheet.shapes([ring(x, y, r) for x, y in places[Kind.REFUSED]], PAPER, INK, z=4)


_Entry = tuple[str, _Style | Kind]  # words, and what they explain


def _key_of(machines: Sequence[_Machine], styles: dict[str, _Style]) -> list[_Entry]:
    happened = {call.kind for machine in machines for call in machine.calls}
    calls: list[_Entry] = [(words, kind) for kind, words in _CALLS.items() if kind in happened]
    return [*styles.items(), *calls]


def _in_lines(entries: list[_Entry]) -> list[list[_Entry]]:
    """The key, broken into lines that fit the sheet; a single entry is cut when it is drawn."""
    lines: list[list[_Entry]] = []
    room = 0.0
    for entry in entries:
        needs = _SIGN + width_of(entry[0]) + _GAP
        if not lines or needs > room:
            lines.append([])
            room = WIDTH - 2 * MARGIN + _GAP
        lines[-1].append(entry)
        room -= needs
    return lines


def _draw_key(sheet: Sheet, y: float, entries: Sequence[_Entry]) -> None:
    x = MARGIN
    for words, sign in entries:
        if isinstance(sign, _Style):
            area = box(x, y - 5, x + 18, y + 5)
            sheet.shapes([area], tint(sign.colour, 0.3), tint(sign.colour, 0.7), hatch=sign.hatch)
        else:
            _draw_calls(sheet, [Event(0.0, sign, "", "", "", {})], x + 9, 1.0, y, many=False)
        sheet.text(x + _SIGN, y, fit(words, WIDTH - MARGIN - x - _SIGN), colour=GREY)
        x += _SIGN + width_of(words) + _GAP


def _said(machine: _Machine, end: float) -> str:
    """One state machine in words: its states, how long it was in each, and its calls."""
    first = [f"{band.state} from {seconds(band.start)}" for band in machine.bands]
    spent = dict.fromkeys((band.state for band in machine.bands), 0.0)
    for band in machine.bands:
        spent[band.state] += band.end - band.start
    shares = [f"{state} {100 * time / end:.0f} %" for state, time in spent.items() if end]
    calls = Counter(call.kind for call in machine.calls)
    ended = [f"{calls[kind]:,} {words}" for kind, words in _CALLS.items() if calls[kind]]
    parts = [listing(first, max_items=8)]
    if len(first) > 1:
        parts.append(f"{plural(len(first) - 1, 'change')}, and of the time {listing(shares)}")
    if ended:
        parts.append(f"calls: {listing(ended)}")
    return f"{machine.name}: {'; '.join(parts)}."
