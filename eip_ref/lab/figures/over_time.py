"""Numbers over time: what waits, what was counted, who is behind, how many work; and how long it took."""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Collection, Iterator, Sequence
from itertools import groupby, pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

from ...trace import Event, Kind, Trace
from ..invariants.journeys import Journeys, dead_letter_channels
from ..wording import listing, plural, quantile, seconds
from .canvas import Canvas, Figure, beside, drawing, empty, number, room_beside, sign, time_axis
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
    SOLID,
    fit,
    tint,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D

MAX_CHANNELS, MAX_READERS, MAX_BINS = 5, 6, 30
_COLUMNS = 200  #: parts of a time axis that the eye can tell apart
_PANEL, _ALONE = 128.0, 188.0  # the height of axes among others, and of those that stand alone


def over_time(panels: Sequence[Axes], end: float) -> None:
    """Let time run from 0 to `end` on all axes, numbered below the last."""
    for axes in panels:
        time_axis(axes, 0.0, end)
    for axes in panels[:-1]:
        axes.set_xlabel("")
        axes.tick_params(labelbottom=False)


def steps(axes: Axes, points: Sequence[tuple[float, float]], end: float, **look: Any) -> Line2D:
    """Draw a value that stays until the next of (time, value), and the last one until `end`."""
    times, values = zip(*_thinned(points, end), strict=True)
    line: Line2D = axes.step([*times, max(end, times[-1])], [*values, values[-1]], where="post", **look)[0]
    return line


def _thinned(points: Sequence[tuple[float, float]], end: float) -> Sequence[tuple[float, float]]:
    """The points that can be told apart: of each column the first, the lowest, the highest and the last."""
    if len(points) <= 4 * _COLUMNS:
        return points
    width = max(end, points[-1][0]) / _COLUMNS
    shown = list[tuple[float, float]]()
    for _, group in groupby(points, key=lambda point: int(point[0] / width)):
        column = list(group)
        values = [value for _, value in column]
        places = {0, values.index(min(values)), values.index(max(values)), len(column) - 1}
        shown += [column[place] for place in sorted(places)]
    return shown


# Depth and scaling


class _Level(NamedTuple):
    """The contents of one channel from one instant on."""

    at: float
    ready: int
    in_flight: int


@drawing()
def depth(trace: Trace, *, where: str | Collection[str] | None = None, title: str | None = None) -> Figure:
    """Draw, for each channel, how many messages were ready and how many in flight, over time.

    `where` names the channels; without it, the first five of the trace. The highest number that
    waited is marked and said.
    """
    levels, title = _levels(trace), title or "How many messages wait, over time"
    wanted = [where] if isinstance(where, str) else list(where or levels)
    shown = wanted[:MAX_CHANNELS]
    if not shown:
        return empty(title, "No channel held a message.")
    capacity = {e.where: e.data.get("capacity") for e in trace if e.kind == Kind.OPENED}
    said = [_depth_in_words(name, levels.get(name, []), capacity.get(name)) for name in shown]
    note = f"Not shown: {listing(wanted[MAX_CHANNELS:])}." if len(wanted) > MAX_CHANNELS else ""
    dotted = [sign("capacity", GREY, DOTTED)] if any(map(capacity.get, shown)) else []
    key = [sign("ready", BLUE), sign("in flight", ORANGE, DASHED), *dotted]
    canvas = Canvas(title, _PANEL * len(shown) + 20, key=key, notes=[note])
    panels = canvas.panels(said, _PANEL)
    for name, axes in zip(shown, panels, strict=True):
        _draw_depth(axes, levels.get(name, []), capacity.get(name), trace.end)
    over_time(panels, trace.end)
    return canvas.picture(" ".join([f"{title}.", *(f"{words}." for words in said), note]))


def _levels(trace: Trace) -> dict[str, list[_Level]]:
    """Each change of what a channel holds, by channel."""
    journeys, levels = Journeys(), dict[str, list[_Level]]()
    for event in trace:
        if not event.message or event.kind == Kind.SENT:
            continue
        copies = journeys.of(event)
        ready, held = copies.waiting, len(copies.held)
        journeys.follow(event)
        change = copies.waiting - ready, len(copies.held) - held
        if any(change):
            so_far = levels.setdefault(event.where, [_Level(0.0, 0, 0)])
            so_far.append(_Level(event.at, so_far[-1].ready + change[0], so_far[-1].in_flight + change[1]))
    return levels


def _depth_in_words(name: str, levels: list[_Level], capacity: int | None) -> str:
    if not levels:
        return f"{name}: no message"
    highest, busiest = max(levels, key=lambda v: v.ready), max(v.in_flight for v in levels)
    room = f", capacity {capacity:,}" if capacity else ""
    most = f"at most {highest.ready:,} ready at {seconds(highest.at)}"
    return f"{name}: {most}, {busiest:,} in flight{room}, {levels[-1].ready:,} left at the end"


def _draw_depth(axes: Axes, levels: list[_Level], capacity: int | None, end: float) -> None:
    highest = max(levels, key=lambda level: level.ready, default=_Level(0.0, 0, 0))
    last = [a for a, b in pairwise(levels) if b.at > a.at or a is highest] + levels[-1:]
    top = max([1, highest.ready, *(level.in_flight for level in last)])
    if levels:
        _area(axes, [(level.at, level.ready) for level in last], end, BLUE)
        steps(axes, [(level.at, level.in_flight) for level in last], end, color=ORANGE, linestyle=DASHED)
        axes.plot(highest.at, highest.ready, "o", color=BLACK, clip_on=False)
    if capacity and capacity <= 3 * top:
        axes.axhline(capacity, color=GREY, linewidth=1.3, linestyle=DOTTED)
        top = max(top, capacity)
    axes.set_ylim(0, top * 1.1)


def _area(axes: Axes, points: Sequence[tuple[float, float]], end: float, colour: str) -> None:
    """Draw the values as steps, with the area below them filled."""
    line = steps(axes, points, end, color=colour, linestyle=SOLID)
    axes.fill_between(*line.get_data(), step="post", color=tint(colour), linewidth=0)


@drawing()
def scaling(trace: Trace, *, where: str | None = None, title: str | None = None) -> Figure:
    """Draw the depth of a queue and the number of its consumers, one above the other.

    A pool of consumers says in "state" events how many `consumers` it has, and on which `queue`.
    `where` names the pool; without it, the first of the trace.
    """
    title = title or "How many wait, and how many consumers work"
    changes = [e for e in trace.filter(Kind.STATE, where=where) if "consumers" in e.data]
    if not changes:
        return empty(title, "No pool of consumers changed its size.")
    changes = [e for e in changes if e.where == changes[0].where]
    queue = str(changes[0].data.get("queue", ""))
    levels = _levels(trace).get(queue, [])
    said = [_depth_in_words(queue, levels, None), _scaling_in_words(changes)]
    key = [sign("ready", BLUE), sign("in flight", ORANGE, DASHED), sign("consumers", GREEN)]
    canvas = Canvas(title, 2 * _PANEL + 20, key=key)
    panels = canvas.panels(said, _PANEL)
    _draw_depth(panels[0], levels, None, trace.end)
    sizes = [(e.at, int(e.data["consumers"])) for e in changes]
    _area(panels[1], sizes, trace.end, GREEN)
    panels[1].plot(
        *zip(*sizes[1:], strict=True) if len(sizes) > 1 else ([], []), "o", color=BLACK, clip_on=False
    )
    panels[1].set_ylim(0, max(size for _, size in sizes) * 1.15)
    over_time(panels, trace.end)
    return canvas.picture(f"{title}. {'. '.join(said)}.")


def _scaling_in_words(changes: list[Event]) -> str:
    sizes = [int(e.data["consumers"]) for e in changes]
    most = max(changes, key=lambda e: int(e.data["consumers"]))
    turns = plural(len(changes) - 1, "change")
    return (
        f"{changes[0].where}: {plural(sizes[0], 'consumer')} at first, at most {max(sizes)} at "
        f"{seconds(most.at)}, at least {min(sizes)}, {sizes[-1]} at the end; {turns}"
    )


# Counters

_COUNTED = {
    Kind.ACCEPTED: (BLUE, SOLID),
    Kind.REFUSED: (ORANGE, SHORT),
    Kind.DELIVERED: (BLACK, DASHED),
    Kind.ACKED: (GREEN, DASH_DOT),
    Kind.DEAD: (RED, LONG),
    Kind.DROPPED: (RED, SHORT),
    Kind.LOST: (PURPLE, DOTTED),
}


@drawing()
def counters(trace: Trace, *, where: str | None = None, title: str | None = None) -> Figure:
    """Draw how many messages were accepted, refused, delivered, acked … so far, over time.

    `where` names one channel or link; without it all are counted but those of dead letters.
    """
    title = title or f"Counted so far{f' in {where}' if where else ''}"
    apart = dead_letter_channels(trace.events) if where is None else set()
    events = [e for e in trace if e.where not in apart and where in (None, e.where)]
    times = {kind: [e.at for e in events if e.kind == kind] for kind in _COUNTED}
    words = {kind: f"{len(found):,} {kind}" for kind, found in times.items() if found}
    canvas = Canvas(title, _ALONE)
    (axes,) = canvas.panels([""], _ALONE, room_beside(words.values()), name="messages")
    lines = []
    for kind, said in words.items():
        (colour, dash), points = _COUNTED[kind], [(0.0, 0), *((at, n) for n, at in enumerate(times[kind], 1))]
        lines.append(steps(axes, points, trace.end, label=said, color=colour, linestyle=dash))
    axes.set_ylim(0, max([1, *map(len, times.values())]) * 1.05)
    over_time([axes], trace.end)
    beside(axes, lines)
    said = listing(list(words.values()), max_items=6) or "no message"
    return canvas.picture(f"{title}. By {seconds(trace.end)}: {said}.")


# Lag


@drawing()
def lag(
    trace: Trace, *, where: str | None = None, who: Collection[str] | None = None, title: str | None = None
) -> Figure:
    """Draw, for each reader, how many positions it was behind the last accepted one, over time.

    `where` names one store or log, `who` the readers; without them, the first six of the trace. A
    reader is where its checkpoint is or, when it has none, at the last position that it got.
    """
    title = title or f"How far readers are behind{f' {where}' if where else ''}, over time"
    lags = {name: points for name, points in _lags(trace, where).items() if who is None or name in who}
    shown, hidden = list(lags)[:MAX_READERS], list(lags)[MAX_READERS:]
    if not shown:
        return empty(title, "Nobody read anything with a position.")
    note = f"Not shown: {listing(hidden)}." if hidden else ""
    labels = [fit(f"{name}: {number(lags[name][-1][1])}", 180, middle=True) for name in shown]
    canvas = Canvas(title, _ALONE, notes=[note])
    (axes,) = canvas.panels([""], _ALONE, room_beside(labels), name="events behind")
    lines = [
        steps(axes, lags[name], trace.end, label=label) for name, label in zip(shown, labels, strict=True)
    ]
    axes.set_ylim(0, max([1, *(behind for name in shown for _, behind in lags[name])]) * 1.1)
    over_time([axes], trace.end)
    beside(axes, lines)
    return canvas.picture(" ".join([f"{title}.", *(_lag_in_words(name, lags[name]) for name in shown), note]))


def _lags(trace: Trace, where: str | None) -> dict[str, list[tuple[float, int]]]:
    """Each change of how far a reader was behind, by reader."""
    heads, places = dict[str, int](), dict[str, dict[str, int]]()
    lags: dict[str, list[tuple[float, int]]] = {}
    for event, store in _readings(trace):
        at, data = places.setdefault(store, {}), event.data
        if event.kind == Kind.ACCEPTED:
            heads[store] = max(heads.get(store, 0), int(data["position"]))
        elif event.kind == Kind.OPENED:
            at.setdefault(event.where, int(data.get("after", 0)))
        elif event.kind == Kind.STATE:
            at[event.where] = int(data["now"])
        else:
            at[data["reader"]] = max(at.get(data["reader"], 0), int(data["position"]))
        for name, position in at.items() if where in (None, store) else ():
            behind, changes = max(0, heads.get(store, 0) - position), lags.setdefault(name, [])
            if not changes or changes[-1][1] != behind:
                changes.append((event.at, behind))
    return lags


def _readings(trace: Trace) -> Iterator[tuple[Event, str]]:
    """The events that move the head of a store or a reader of it, each with its store."""
    checkpoints = trace.filter(Kind.STATE, test=lambda e: e.data.get("reason") == "checkpoint")
    keeps_place = {event.where for event in checkpoints}
    for event in trace:
        data = event.data
        if event.kind == Kind.OPENED or (event.kind == Kind.STATE and data.get("reason") == "checkpoint"):
            if data.get("store"):
                yield event, str(data["store"])
        elif "position" in data and (
            event.kind == Kind.ACCEPTED
            or (event.kind == Kind.DELIVERED and data.get("reader") and data["reader"] not in keeps_place)
        ):
            yield event, event.where


def _lag_in_words(name: str, changes: list[tuple[float, int]]) -> str:
    at, most = max(changes, key=lambda change: change[1])
    if not most:
        return f"{name}: never behind."
    return f"{name}: at most {number(most)} behind at {seconds(at)}, {number(changes[-1][1])} at the end."


# Waiting times


@drawing()
def latency(trace: Trace, *, where: str | None = None, title: str | None = None) -> Figure:
    """Draw how the waiting times from accepted to first delivered are spread, and say median and p95.

    `where` names one channel; without it the waits in all channels but those of dead letters are
    drawn together.
    """
    title = title or f"How long messages waited{f' in {where}' if where else ''}"
    waits = waiting_times(trace, where)
    said, longest = _latency_in_words(waits), waits[-1] if waits and waits[-1] else 1.0
    marks = [(0.5, "half", BLACK, SOLID), (0.95, "95 in 100", ORANGE, DASHED)] if any(waits) else []
    key = [sign(name, colour, dash) for _, name, colour, dash in marks]
    canvas = Canvas(title, _ALONE - 24, subtitle=said, key=key)
    (axes,) = canvas.panels([""], _ALONE - 24, name="messages")
    bins = min(MAX_BINS, max(8, int(2 * len(waits) ** 0.5)))
    counts = [0] * bins
    for wait in waits:
        counts[min(bins - 1, int(wait / longest * bins))] += 1
    edges = [longest * number / bins for number in range(bins + 1)]
    axes.stairs(counts, edges, fill=True, facecolor=tint(BLUE, 0.5), edgecolor=BLUE, linewidth=1)
    for share, _, colour, dash in marks:
        axes.axvline(quantile(waits, share), color=colour, linestyle=dash, clip_on=False)
    axes.set_ylim(0, max([1, *counts]) * 1.05)
    time_axis(axes, 0.0, longest, name="waiting time in {}")
    return canvas.picture(f"{title}. {said}")


def waiting_times(trace: Trace, where: str | None = None) -> list[float]:
    """Seconds from each acceptance to the first delivery after it, sorted."""
    accepted: dict[tuple[str, str], deque[float]] = defaultdict(deque)
    apart = dead_letter_channels(trace.events) if where is None else set()
    waits = []
    for event in trace:
        if event.where in apart or where not in (None, event.where):
            continue
        begun = accepted[event.where, event.message]
        if event.kind == Kind.ACCEPTED:
            begun.append(event.at)
        elif event.kind == Kind.DELIVERED and begun:
            waits.append(event.at - begun.popleft())
    return sorted(waits)


def _latency_in_words(waits: list[float]) -> str:
    if not waits:
        return "No message was delivered."
    if waits[-1] == 0:
        return f"All {plural(len(waits), 'message')} were delivered at once."
    half, most = quantile(waits, 0.5), quantile(waits, 0.95)
    return (
        f"Of {plural(len(waits), 'message')}, half waited at most {seconds(half)}, 95 in 100 at most "
        f"{seconds(most)}, the longest {seconds(waits[-1])}."
    )
