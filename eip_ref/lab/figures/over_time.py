"""Numbers over time: how many messages wait and are in flight, and what was counted so far."""

from __future__ import annotations

import math
from collections.abc import Collection
from typing import NamedTuple

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...trace import Kind, Trace
from ..invariants.journeys import Journeys, dead_letter_channels
from ..wording import listing, seconds
from .ink import BLUE, DASHES, GREEN, GREY, INK, MARGIN, ORANGE, PURPLE, RED, WIDTH, fit, tint, width_of
from .sheet import Figure, Sheet, drawing

MOST_CHANNELS = 5
_LEFT = 50.0


class _Level(NamedTuple):
    """What one channel held from one instant on."""

    at: float
    ready: int
    in_flight: int


def depth(trace: Trace, *, where: str | Collection[str] | None = None, title: str | None = None) -> Figure:
    """Draw, for each channel, how many messages were ready and how many in flight, over time.

    `where` names the channels; without it, the first five of the trace. The highest number that
    waited is marked and said.
    """
    levels = _levels(trace)
    wanted = [where] if isinstance(where, str) else list(where or levels)
    shown, title = wanted[:MOST_CHANNELS], title or "How many messages wait, over time"
    capacity = {e.where: e.data.get("capacity") for e in trace if e.kind == Kind.OPENED}
    said = {name: _said(name, levels.get(name, []), capacity.get(name)) for name in shown}
    cut = f"Not shown: {listing(wanted[MOST_CHANNELS:])}." if len(wanted) > MOST_CHANNELS else ""
    with drawing():
        panel, top = 128.0, 40.0
        sheet = Sheet(top + (panel * len(shown) + 22 if shown else 36) + (14 if cut else 0), title)
        sheet.key(32, *_key([capacity.get(name) for name in shown]))
        if not shown:
            sheet.text(MARGIN, top + 20, "No channel held a message.", colour=GREY)
        for number, name in enumerate(shown):
            y = top + panel * number
            sheet.text(_LEFT, y + 12, fit(said[name], WIDTH - MARGIN - _LEFT), bold=True)
            axes = sheet.axes(_LEFT, y + 22, WIDTH - MARGIN - 4, y + panel - 12)
            _panel(axes, levels.get(name, []), capacity.get(name), trace.end)
            time_axis(axes, trace.end, last=number == len(shown) - 1)
        if cut:
            sheet.text(MARGIN, sheet.height - 10, fit(cut, WIDTH - 2 * MARGIN), colour=GREY)
        alt = (
            f"{title}. " + (". ".join(said.values()) + ". " if shown else "No channel held a message. ") + cut
        )
        return sheet.picture(alt.strip(), title)


def _key(capacities: list[int | None]) -> list[tuple[str, str, str]]:
    dotted = [("dotted", GREY, "capacity")] if any(capacities) else []
    return [("line", BLUE, "ready"), ("dashed", ORANGE, "in flight"), *dotted] if capacities else []


def _levels(trace: Trace) -> dict[str, list[_Level]]:
    """By channel, each change of what it holds."""
    journeys, levels = Journeys(), dict[str, list[_Level]]()
    for event in trace:
        copies = journeys.of(event) if event.message and event.kind != Kind.SENT else None
        if copies is None:
            continue
        ready, held = copies.waiting, len(copies.held)
        journeys.follow(event)
        change = copies.waiting - ready, len(copies.held) - held
        if any(change):
            so_far = levels.setdefault(event.where, [_Level(0.0, 0, 0)])
            so_far.append(_Level(event.at, so_far[-1].ready + change[0], so_far[-1].in_flight + change[1]))
    return levels


def _said(name: str, levels: list[_Level], capacity: int | None) -> str:
    if not levels:
        return f"{name}: no message"
    highest, busiest = max(levels, key=lambda v: v.ready), max(v.in_flight for v in levels)
    room = f", capacity {capacity:,}" if capacity else ""
    most = f"at most {highest.ready:,} ready at {seconds(highest.at)}"
    left = f"{levels[-1].ready:,} left at the end"
    return f"{name}: {most}, {busiest:,} in flight{room}, {left}"


def _panel(axes: Axes, levels: list[_Level], capacity: int | None, end: float) -> None:
    factor, _ = unit_of(end)
    settled = [a for a, b in zip(levels, [*levels[1:], None], strict=True) if b is None or b.at > a.at]
    if settled:
        settled.append(settled[-1]._replace(at=max(end, settled[-1].at)))
    times = [level.at / factor for level in settled]
    ready, flying = [v.ready for v in settled], [v.in_flight for v in settled]
    axes.fill_between(times, ready, step="post", color=tint(BLUE), linewidth=0)
    axes.plot(times, ready, drawstyle="steps-post", color=BLUE, linewidth=1.6)
    axes.plot(times, flying, drawstyle="steps-post", color=ORANGE, linewidth=1.6, dashes=DASHES["dashed"])
    most = max([1, *(v.ready for v in levels), *flying])
    if levels:
        highest = max(levels, key=lambda v: v.ready)
        axes.plot([highest.at / factor], [highest.ready], "o", color=INK, markersize=4.5, clip_on=False)
    if capacity and capacity <= 3 * most:
        axes.axhline(capacity, color=GREY, linewidth=1.3, dashes=DASHES["dotted"])
        most = max(most, capacity)
    axes.set_ylim(0, most * 1.1)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))


_COUNTED = {  # kind -> sign, colour
    Kind.ACCEPTED: ("line", BLUE),
    Kind.DELIVERED: ("dashed", INK),
    Kind.ACKED: ("dash-dot", GREEN),
    Kind.DEAD: ("long", RED),
    Kind.DROPPED: ("short", RED),
    Kind.LOST: ("dotted", PURPLE),
}


def counters(trace: Trace, *, where: str | None = None, title: str | None = None) -> Figure:
    """Draw how many messages were accepted, delivered, acked, dead, dropped and lost so far, over time.

    `where` names one channel or link; without it all are counted but those of dead letters.
    """
    apart = dead_letter_channels(trace.events) if where is None else set()
    events = [e for e in trace if e.where not in apart and where in (None, e.where)]
    times = {kind: [e.at for e in events if e.kind == kind] for kind in _COUNTED}
    times = {kind: found for kind, found in times.items() if found}
    title = title or f"Counted so far{f' in {where}' if where else ''}"
    with drawing():
        sheet = Sheet(226, title)
        _draw_counters(sheet, times, trace.end)
        said = listing([f"{len(found):,} {kind}" for kind, found in times.items()], max_items=6)
        return sheet.picture(f"{title}. By {seconds(trace.end)}: {said or 'no message'}.", title)


def _draw_counters(sheet: Sheet, times: dict[Kind, list[float]], end: float) -> None:
    words = {kind: f"{len(found):,} {kind}" for kind, found in times.items()}
    right = WIDTH - MARGIN - max([60.0, *(width_of(w) for w in words.values())]) - 12
    top, bottom = 34.0, 188.0
    axes, factor = sheet.axes(_LEFT, top, right, bottom), unit_of(end)[0]
    most = max([1, *(len(found) for found in times.values())]) * 1.05
    for kind, found in times.items():
        sign, colour = _COUNTED[kind]
        x = [0.0, *(at / factor for at in found), end / factor]
        y = [0, *range(1, len(found) + 1), len(found)]
        line = axes.plot(x, y, drawstyle="steps-post", color=colour, linewidth=1.6)[0]
        if dash := DASHES[sign]:
            line.set_dashes(dash)
    axes.set_ylim(0, most)
    axes.yaxis.set_major_locator(MaxNLocator(5, integer=True, steps=[1, 2, 5, 10]))
    axes.set_ylabel("messages", fontsize=9, color=GREY)
    time_axis(axes, end, last=True)
    places = {kind: bottom - (bottom - top) * len(found) / most for kind, found in times.items()}
    label_ends(sheet, right, [(places[kind], words[kind], _COUNTED[kind][1]) for kind in times])


def label_ends(sheet: Sheet, x: float, labels: list[tuple[float, str, str]]) -> None:
    """Write a label beside the end of each line, moved apart where they would touch."""
    low, placed = -math.inf, []
    for y, words, colour in sorted(labels):
        low = max(y, low + 12)
        placed.append((y, low, words, colour))
    up = max(0.0, low - (sheet.height - 32))  # so that the lowest stays above the numbers of the axis
    for y, at, words, colour in placed:
        sheet.lines([[(x + 2, y), (x + 9, at - up)]], colour, 1.0)
        sheet.text(x + 12, at - up, words, colour=colour)


def unit_of(end: float) -> tuple[float, str]:
    """The unit of a time axis that ends at `end` seconds: its length in seconds, and its name."""
    for factor, name in ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds")):
        if end >= (2 * factor if factor > 60 else 10 * factor if factor > 1 else 0.1):
            return factor, name
    return (0.001, "milliseconds") if end else (1.0, "seconds")


def time_axis(axes: Axes, end: float, *, last: bool) -> None:
    """Time from 0 to `end`, named and numbered below the last of several axes."""
    factor, name = unit_of(end)
    axes.set_xlim(0, end / factor or 1)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    if last:
        axes.set_xlabel(name, fontsize=9, color=GREY, labelpad=2)
    else:
        axes.tick_params(labelbottom=False)
