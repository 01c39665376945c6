"""The timeline: what each participant did, to scale. One row each, time from left to right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from ...trace import Event, Kind, Trace
from ..wording import Names, listing, plural, seconds
from .canvas import Canvas, Figure, Point, area, box, draw_paths, drawing, seconds_per_point, sign
from .rows import by_number
from .style import BLUE, GREEN, GREY, ORANGE, PAPER, PURPLE, RED, SOLID, tint, width_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

MAX_ROWS = 20
_MAX_LANES, _MAX_LABELS = 4, 60
_LANE, _LEASE = 14.0, 4.0  # the heights of a lane of work and of leases
_LOOKS: dict[str, dict[str, Any]] = {
    "down": {"facecolor": PAPER, "edgecolor": RED, "hatch": "////", "zorder": 1.5},
    "lease": {"fill": False, "edgecolor": GREY, "linewidth": 2, "zorder": 2},
    "works": {"facecolor": tint(ORANGE, 0.45), "edgecolor": PAPER, "zorder": 3},
    "broken": {"facecolor": tint(RED, 0.4), "edgecolor": PAPER, "zorder": 3},
}
_BROKEN = frozenset({Kind.CRASHED, Kind.FAILED, Kind.CANCELLED})  # work that ends so is not done
_SIGNS = {
    Kind.EFFECT: ("D", GREEN, "effect"),
    Kind.SENT: ("v", BLUE, "sends"),
    Kind.STALE: ("o", PURPLE, "stale or duplicate"),
    Kind.DUPLICATE: ("o", PURPLE, "stale or duplicate"),
    Kind.FAILED: ("x", RED, "fails or crashes"),
    Kind.CRASHED: ("x", RED, "fails or crashes"),
}  #: the moments that are marked: marker, colour, and what they are called in the key


@dataclass(slots=True)
class Span:
    """A stretch of time, from `start` to `end`, drawn in one of the row's lanes."""

    start: float
    end: float
    message: str = ""
    lane: int = 0
    ended: str = ""  #: how work ended, as the kind of the last event


@dataclass(slots=True)
class Activity:
    """All that is drawn of one participant: its work, its leases, its down time, and moments to mark."""

    name: str
    work: list[Span] = field(default_factory=list)
    leases: list[Span] = field(default_factory=list)
    down: list[Span] = field(default_factory=list)
    signs: list[Event] = field(default_factory=list)
    open_work: dict[str, Span] = field(default_factory=dict)

    @property
    def lanes(self) -> int:
        """The number of lanes that the work needs."""
        return max((span.lane + 1 for span in self.work), default=1)

    @property
    def height(self) -> float:
        leases = max((span.lane + 1 for span in self.leases), default=0)
        return max(24.0, 8 + _LANE * self.lanes + _LEASE * leases)

    def follow(self, event: Event, end: float) -> None:
        """Take in an event of this participant, in a trace that ends at `end`."""
        match event.kind:
            case Kind.STARTED:
                self.open_work[event.message] = Span(event.at, end, event.message)
                self.work.append(self.open_work[event.message])
            case Kind.FINISHED | Kind.FAILED | Kind.CANCELLED:
                if span := self.open_work.pop(event.message, None):
                    span.end, span.ended = event.at, event.kind
            case Kind.CRASHED:
                for span in self.open_work.values():
                    span.end, span.ended = event.at, event.kind
                self.open_work.clear()
                self.down.append(Span(event.at, end))
            case Kind.RESTARTED if self.down:
                self.down[-1].end = event.at
        if event.kind in _SIGNS:
            self.signs.append(event)


@drawing()
def timeline(trace: Trace, *, title: str | None = None) -> Figure:
    """Draw for each participant when it worked on which message, held leases, and was down.

    Work that overlaps is drawn in lanes. The first twenty participants are drawn; a note says who is not.
    """
    title, found = title or "Who did what, when", activities(trace)
    names = by_number(list(found))
    shown, hidden = [found[name] for name in names[:MAX_ROWS]], names[MAX_ROWS:]
    note = f"Not shown: {listing(hidden)}." if hidden else "" if found else "Nobody did anything."
    heights = {activity.name: activity.height for activity in shown}
    canvas = Canvas(title, sum(heights.values()) + 36, key=[*_key(shown)], notes=[note])
    axes = canvas.rows(heights, 0.0, trace.end)
    tops = [*accumulate(heights.values(), initial=0.0)]
    _draw(axes, shown, tops)
    _draw_signs(axes, shown, tops)
    _write(axes, shown, tops, Names(trace))
    return canvas.picture(" ".join([f"{title}.", *(_in_words(each, trace.end) for each in shown), note]))


# Reading


def activities(trace: Trace) -> dict[str, Activity]:
    """The activity of each participant, by name."""
    found: dict[str, Activity] = {}
    leases: dict[object, Span] = {}
    for event in trace:
        if event.who and event.kind not in (Kind.OPENED, Kind.ACCEPTED, Kind.EXPIRED):
            activity = found.setdefault(event.who, Activity(event.who))
            activity.follow(event, trace.end)
            if event.kind == Kind.DELIVERED and event.data.get("lease") is not None:
                span = leases[event.where, event.data["lease"]] = Span(event.at, trace.end, event.message)
                activity.leases.append(span)
        held = (event.where, event.data.get("lease"))
        if event.kind in (Kind.ACKED, Kind.NACKED, Kind.EXPIRED) and held in leases:
            leases.pop(held).end = event.at
    for activity in found.values():
        _into_lanes(activity.work)
        _into_lanes(activity.leases)
    return found


def _into_lanes(spans: list[Span]) -> None:
    """Give spans that overlap different lanes, as far as there are any."""
    free: list[float] = []
    for span in spans:
        lane = next((i for i, end in enumerate(free) if end <= span.start), len(free))
        span.lane = min(lane, _MAX_LANES - 1)
        if span.lane == len(free):
            free.append(span.end)
        free[span.lane] = max(free[span.lane], span.end)


# Drawing


def _key(shown: Sequence[Activity]) -> Iterator[Artist]:
    """The signs that occur, explained."""
    if any(activity.work for activity in shown):
        yield area("works", **_LOOKS["works"])
    if any(activity.leases for activity in shown):
        yield sign("holds a lease", GREY, SOLID, linewidth=2)
    happened = {event.kind for activity in shown for event in activity.signs}
    for marker, colour, words in dict.fromkeys(look for kind, look in _SIGNS.items() if kind in happened):
        yield sign(words, colour, marker=marker, markeredgewidth=1.8 if marker == "x" else 1)
    if any(activity.down for activity in shown):
        yield area("is down", **_LOOKS["down"])


def _draw(axes: Axes, shown: Sequence[Activity], tops: Sequence[float]) -> None:
    """Draw what took time."""
    paths: dict[str, list[list[Point]]] = {look: [] for look in _LOOKS}
    least = seconds_per_point(axes)
    for activity, top in zip(shown, tops, strict=False):
        below = top + 5 + _LANE * activity.lanes
        for span in activity.work:
            y, end = top + 4 + _LANE * span.lane, max(span.end, span.start + least)
            look = "broken" if span.ended in _BROKEN else "works"
            paths[look].append(box(span.start, y, end, y + _LANE - 2))
        for span in activity.leases:
            y, end = below + _LEASE * span.lane, max(span.end, span.start + least)
            paths["lease"].append([(span.start, y), (end, y)])
        for span in activity.down:
            paths["down"].append(box(span.start, top + 3, span.end, top + activity.height - 3))
    for look, found in paths.items():
        if found:
            draw_paths(axes, found, closed=look != "lease", **_LOOKS[look])


def _draw_signs(axes: Axes, shown: Sequence[Activity], tops: Sequence[float]) -> None:
    """Mark the moments, each in the lane of its work or else in the middle of the row."""
    places: dict[tuple[str, str], list[tuple[float, float]]] = {}
    for activity, top in zip(shown, tops, strict=False):
        lanes = {span.message: span.lane + 0.5 for span in activity.work}
        for event in activity.signs:
            lane = lanes.get(event.message, activity.lanes / 2)
            marker, colour, _ = _SIGNS[Kind(event.kind)]
            places.setdefault((marker, colour), []).append((event.at, top + 3 + _LANE * lane))
    many = sum(map(len, places.values())) > 80
    for (marker, colour), points in places.items():
        look = {"markeredgewidth": 1.8} if marker == "x" else {"markeredgecolor": colour if many else PAPER}
        x, y = zip(*points, strict=True)
        size = 4 if many else 7
        axes.plot(x, y, marker, color=colour, markersize=size, zorder=4, clip_on=False, **look)


def _write(axes: Axes, shown: Sequence[Activity], tops: Sequence[float], names: Names) -> None:
    """Name the work where there is room for it."""
    rows = [(span, top) for activity, top in zip(shown, tops, strict=False) for span in activity.work]
    point, written = seconds_per_point(axes), 0
    for span, top in rows:
        words = names.label(span.message)
        if written < _MAX_LABELS and (span.end - span.start) / point > width_of(words) + 16:
            axes.text(span.start + 7 * point, top + 10 + _LANE * span.lane, words, va="center", zorder=5)
            written += 1


# In words


def _in_words(activity: Activity, end: float) -> str:
    count = Counter(event.kind for event in activity.signs)
    parts = [f"sent {plural(count[Kind.SENT], 'message')}"] if count[Kind.SENT] else []
    if activity.work:
        busy = _covered(activity.work)
        share = f" ({100 * busy / end:.0f} % of the time)" if end else ""
        parts.append(f"worked on {plural(len(activity.work), 'message')} for {seconds(busy)}{share}")
    counted = (Kind.EFFECT, "effect"), (Kind.FAILED, "failure"), (Kind.STALE, "stale attempt")
    parts += [plural(count[kind], word) for kind, word in counted if count[kind]]
    parts += [f"down from {seconds(span.start)} to {seconds(span.end)}" for span in activity.down]
    if not parts:
        parts = [f"held {plural(len(activity.leases), 'lease')}"] if activity.leases else ["took part"]
    return f"{activity.name}: {', '.join(parts)}."


def _covered(spans: list[Span]) -> float:
    """The seconds in which at least one of the spans, sorted by start, went on."""
    total, until = 0.0, 0.0
    for span in spans:
        total += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return total
