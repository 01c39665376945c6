"""Lag: how far readers, projections and groups are behind the head of what they read, over time."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

from ...trace import Event, Kind, Trace
from ..wording import listing, seconds
from .ink import DASHES, GREY, LINES, MARGIN, WIDTH, fit, width_of
from .over_time import label_ends, time_axis, unit_of
from .plain import number
from .sheet import Figure, Sheet, drawing

MOST_READERS = 6
_LEFT = 50.0


class _Step(NamedTuple):
    """From when on a reader was this much behind."""

    at: float
    lag: int


def lag(
    trace: Trace, *, where: str | None = None, who: Collection[str] | None = None, title: str | None = None
) -> Figure:
    """Draw, for each reader, how many positions it was behind the last accepted one, over time.

    `where` names one store or log, `who` the readers; without them, the first six of the trace. A
    reader is where its checkpoint is or, when it has none, at the last position that it got.
    """
    lags = {name: steps for name, steps in _lags(trace, where).items() if who is None or name in who}
    shown = dict(list(lags.items())[:MOST_READERS])
    title = title or f"How far readers are behind{f' {where}' if where else ''}, over time"
    said = {name: _said(name, steps) for name, steps in shown.items()}
    cut = f"Not shown: {listing(list(lags)[MOST_READERS:])}." if len(lags) > MOST_READERS else ""
    with drawing():
        sheet = Sheet(226 + (14 if cut else 0), title)
        if shown:
            _draw(sheet, shown, trace.end)
        else:
            sheet.text(MARGIN, 60, "Nobody read anything with a position.", colour=GREY)
        if cut:
            sheet.text(MARGIN, sheet.height - 10, fit(cut, WIDTH - 2 * MARGIN), colour=GREY)
        words = ". ".join(said.values()) or "Nobody read anything with a position"
        return sheet.picture(f"{title}. {words}. {cut}".strip(), title)


def _lags(trace: Trace, where: str | None) -> dict[str, list[_Step]]:
    """By reader, each change of its lag."""
    heads: dict[str, int] = {}
    readers = _Readers(trace)
    lags: dict[str, list[_Step]] = {}
    for event in trace:
        store = readers.store_of(event)
        if not store or where not in (None, store):
            continue
        if event.kind == Kind.ACCEPTED:
            heads[store] = max(heads.get(store, 0), _position(event))
        else:
            readers.move(store, event)
        for name, at in readers.of(store):
            steps = lags.setdefault(name, [])
            behind = max(0, heads.get(store, 0) - at)
            if not steps or steps[-1].lag != behind:
                steps.append(_Step(event.at, behind))
    return lags


class _Readers:
    """Who reads what, and how far each has come."""

    def __init__(self, trace: Trace) -> None:
        self._at: dict[str, dict[str, int]] = {}  # by store and reader
        self._with_checkpoints = {
            e.where for e in trace if e.kind == Kind.STATE and e.data.get("reason") == "checkpoint"
        }

    def store_of(self, event: Event) -> str:
        """The store that this event tells something of, or "" when it does not matter here."""
        if event.kind == Kind.ACCEPTED or (event.kind == Kind.DELIVERED and event.data.get("reader")):
            return event.where if "position" in event.data else ""
        is_checkpoint = event.kind == Kind.STATE and event.data.get("reason") == "checkpoint"
        return str(event.data.get("store", "")) if is_checkpoint or event.kind == Kind.OPENED else ""

    def move(self, store: str, event: Event) -> None:
        """Note where its reader is now."""
        readers = self._at.setdefault(store, {})
        if event.kind == Kind.OPENED:
            readers.setdefault(event.where, int(event.data.get("after", 0)))
        elif event.kind == Kind.STATE:
            readers[event.where] = int(event.data["now"])
        elif event.data["reader"] not in self._with_checkpoints:
            reader = str(event.data["reader"])
            readers[reader] = max(readers.get(reader, 0), _position(event))

    def of(self, store: str) -> Iterable[tuple[str, int]]:
        return self._at.get(store, {}).items()


def _position(event: Event) -> int:
    return int(event.data["position"])


def _said(name: str, steps: list[_Step]) -> str:
    most = max(steps, key=lambda step: step.lag)
    if not most.lag:
        return f"{name}: never behind"
    end = f"{number(steps[-1].lag)} at the end"
    return f"{name}: at most {number(most.lag)} behind at {seconds(most.at)}, {end}"


def _draw(sheet: Sheet, lags: dict[str, list[_Step]], end: float) -> None:
    words = {name: f"{name}: {number(steps[-1].lag)}" for name, steps in lags.items()}
    room = min(180.0, max([60.0, *(width_of(w) for w in words.values())]))
    right, top, bottom = WIDTH - MARGIN - room - 14, 34.0, 188.0
    axes, (factor, _) = sheet.axes(_LEFT, top, right, bottom), unit_of(end)
    most = max([1, *(step.lag for steps in lags.values() for step in steps)]) * 1.1
    labels = []
    for (name, steps), (sign, colour) in zip(lags.items(), LINES, strict=False):
        x = [*(step.at / factor for step in steps), max(end, steps[-1].at) / factor]
        y = [*(step.lag for step in steps), steps[-1].lag]
        line = axes.plot(x, y, drawstyle="steps-post", color=colour, linewidth=1.6)[0]
        if dash := DASHES[sign]:
            line.set_dashes(dash)
        place = bottom - (bottom - top) * steps[-1].lag / most
        labels.append((place, fit(words[name], room, middle=True), colour))
    axes.set_ylim(0, most)
    axes.set_ylabel("events behind", fontsize=9, color=GREY)
    time_axis(axes, end, last=True)
    label_ends(sheet, right, labels)
