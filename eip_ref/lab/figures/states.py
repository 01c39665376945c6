"""The state strip: in which state each state machine was, over time, and what became of its calls."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from ...trace import Event, Kind, Trace
from ..wording import listing, plural, seconds
from .canvas import Canvas, Figure, Point, area, box, draw_paths, drawing, seconds_per_point, sign
from .rows import by_number
from .style import BLACK, BLUE, GREEN, GREY, ORANGE, PAPER, PURPLE, RED, SKY, WIDTH, fit, tint, width_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_ROWS = 20
_BAND, _LANE = 20.0, 14.0  # the heights of a strip and of the calls below it

_CALLS: dict[Kind, tuple[str, dict[str, Any]]] = {  # kind -> what it is called, and its mark
    Kind.FINISHED: ("finished", {"marker": "|", "color": GREEN, "markeredgewidth": 1.8, "markersize": 9}),
    Kind.FAILED: ("failed", {"marker": "x", "color": RED, "markeredgewidth": 1.8, "markersize": 7}),
    Kind.CANCELLED: ("cancelled", {"marker": "s", "color": GREY, "markerfacecolor": PAPER, "markersize": 7}),
    Kind.REFUSED: ("refused", {"marker": "o", "color": BLACK, "markerfacecolor": PAPER, "markersize": 7}),
}


class _Look(NamedTuple):
    colour: str
    hatch: str | None

    @property
    def artist(self) -> dict[str, Any]:
        """The look as matplotlib's settings."""
        return {
            "facecolor": tint(self.colour, 0.3),
            "edgecolor": tint(self.colour, 0.7),
            "hatch": self.hatch,
        }


_KNOWN = {
    "closed": _Look(GREEN, None),
    "open": _Look(RED, "////"),
    "half-open": _Look(ORANGE, "||||"),
    "forced open": _Look(RED, "xxxx"),
    "disabled": _Look(GREY, "\\\\\\\\"),
    "observing": _Look(SKY, "----"),
}
_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, SKY, GREY)
_HATCHES = (None, "////", "||||", "----", "\\\\\\\\", "xxxx")
_OTHERS = [  # for states that the laboratory has not heard of: six in a row differ in pattern and colour
    _Look(_COLOURS[number % 6], _HATCHES[(number + number // 6) % 6]) for number in range(36)
]


class _Stay(NamedTuple):
    """The time that a machine spent in one state."""

    state: str
    start: float
    end: float


@dataclass(slots=True)
class _Machine:
    """One state machine: its states one after the other, and its calls, if it has any."""

    name: str
    stays: list[_Stay] = field(default_factory=list)
    calls: list[Event] = field(default_factory=list)

    @property
    def height(self) -> float:
        return _BAND + 12 + (_LANE if self.calls else 0)


@drawing()
def states(trace: Trace, *, title: str | None = None) -> Figure:
    """Draw for each state machine in which state it was when, and below it how its calls ended.

    A state machine is whatever recorded a change of state. The first twenty are drawn; a note says
    which are not.
    """
    title, machines = title or "In which state, when", _machines(trace)
    names = by_number(list(machines))
    shown, hidden = [machines[name] for name in names[:MAX_ROWS]], names[MAX_ROWS:]
    note = f"Not shown: {listing(hidden)}." if hidden else "" if shown else "Nothing changed its state."
    looks, happened = _looks(shown), {call.kind for machine in shown for call in machine.calls}
    key = [area(fit(state, 200), **look.artist) for state, look in looks.items()]
    calls = [sign(words, **mark) for kind, (words, mark) in _CALLS.items() if kind in happened]
    heights = {machine.name: machine.height for machine in shown}
    canvas = Canvas(title, sum(heights.values()) + (36 if shown else 16), key=[*key, *calls], notes=[note])
    if shown:
        axes = canvas.rows(heights, 0.0, trace.end)
        tops = [*accumulate(heights.values(), initial=0.0)]
        _draw_stays(axes, shown, tops, looks)
        _draw_calls(axes, shown, tops)
    said = [_in_words(machine, trace.end) for machine in shown]
    return canvas.picture(" ".join([f"{title}.", *said, note]))


# Reading


def _machines(trace: Trace) -> dict[str, _Machine]:
    changes: dict[str, list[Event]] = {}
    for event in trace.filter(Kind.STATE):
        changes.setdefault(event.where, []).append(event)
    machines = {name: _Machine(name, _stays(events, trace.end)) for name, events in changes.items()}
    for event in trace:
        if event.where in machines and event.kind in _CALLS:
            machines[event.where].calls.append(event)
    return machines


def _stays(changes: Sequence[Event], end: float) -> list[_Stay]:
    """The states from the start to the end; what was before the first change is what that says."""
    starts = [(str(changes[0].data.get("was") or "?"), 0.0)]
    starts += [(str(change.data.get("now") or "?"), change.at) for change in changes]
    ends = [at for _, at in starts[1:]] + [end]
    stays = [_Stay(state, at, until) for (state, at), until in zip(starts, ends, strict=True)]
    return stays[1:] if stays[0].end == 0 else stays


def _looks(machines: Sequence[_Machine]) -> dict[str, _Look]:
    found = list(dict.fromkeys(stay.state for machine in machines for stay in machine.stays))
    others = [state for state in found if state not in _KNOWN]
    known = {state: look for state, look in _KNOWN.items() if state in found}
    return known | {state: _OTHERS[number % len(_OTHERS)] for number, state in enumerate(others)}


# Drawing


def _draw_stays(
    axes: Axes, machines: Sequence[_Machine], tops: Sequence[float], looks: dict[str, _Look]
) -> None:
    point, (_, end) = seconds_per_point(axes), axes.get_xlim()
    boxes: dict[str, list[list[Point]]] = {}
    for machine, top in zip(machines, tops, strict=False):
        starts = [min(stay.start, end - 2 * point) for stay in machine.stays]  # the last can still be seen
        for stay, start, until in zip(machine.stays, starts, [*starts[1:], end], strict=True):
            boxes.setdefault(stay.state, []).append(box(start, top + 6, until, top + 6 + _BAND))
            if until - start > (width_of(stay.state, bold=True) + 9) * point:
                plate = looks[stay.state].artist | {"edgecolor": "none", "hatch": None, "pad": 2.5}
                place, words = (start + 7 * point, top + 6 + _BAND / 2), fit(stay.state, WIDTH, bold=True)
                axes.text(*place, words, weight="bold", va="center", bbox=plate)
    for state, places in boxes.items():
        draw_paths(axes, places, **looks[state].artist)


def _draw_calls(axes: Axes, machines: Sequence[_Machine], tops: Sequence[float]) -> None:
    for kind, (_, mark) in _CALLS.items():
        calls = [
            (call.at, top + _BAND + 14)
            for machine, top in zip(machines, tops, strict=False)
            for call in machine.calls
            if call.kind == kind
        ]
        if calls:
            axes.plot(*zip(*calls, strict=True), linestyle="none", clip_on=False, zorder=4, **mark)


# In words


def _in_words(machine: _Machine, end: float) -> str:
    """One state machine in words: its states, how long it was in each, and its calls."""
    first = [f"{stay.state} from {seconds(stay.start)}" for stay in machine.stays]
    spent = dict.fromkeys((stay.state for stay in machine.stays), 0.0)
    for stay in machine.stays:
        spent[stay.state] += stay.end - stay.start
    shares = [f"{state} {100 * time / end:.0f} %" for state, time in spent.items() if end]
    calls = Counter(call.kind for call in machine.calls)
    ended = [f"{calls[kind]:,} {words}" for kind, (words, _) in _CALLS.items() if calls[kind]]
    parts = [listing(first, max_items=8)]
    if len(first) > 1:
        parts.append(f"{plural(len(first) - 1, 'change')}, and of the time {listing(shares)}")
    if ended:
        parts.append(f"calls: {listing(ended)}")
    return f"{machine.name}: {'; '.join(parts)}."
