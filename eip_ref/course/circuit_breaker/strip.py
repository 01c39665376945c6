"""The strip of a breaker, of lesson 10a: its state, its calls, and the window that made it open.

The laboratory's `figures.states` draws any state machine; this one also knows which calls
a policy has counted.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from ...lab.figures import Figure
from ...lab.figures.canvas import Canvas, Point, area, box, draw_paths, drawing, seconds_per_point, sign
from ...lab.figures.style import BLACK, GREEN, GREY, ORANGE, PALE, PAPER, RED, tint, width_of
from ...lab.wording import listing, seconds
from ...trace import Event, Kind, Trace

if TYPE_CHECKING:
    from matplotlib.artist import Artist

__all__ = ["strip"]

_ROWS = {"state": 34.0, "answered": 20.0, "failed": 20.0, "refused": 20.0}
_TOPS = {"state": 0.0, "answered": 34.0, "failed": 54.0, "refused": 74.0}
_LOOKS: dict[str, dict[str, Any]] = {
    "closed": {"facecolor": tint(GREEN, 0.3), "edgecolor": tint(GREEN, 0.7)},
    "open": {"facecolor": tint(RED, 0.3), "edgecolor": tint(RED, 0.7), "hatch": "////"},
    "half-open": {"facecolor": tint(ORANGE, 0.3), "edgecolor": tint(ORANGE, 0.7), "hatch": "||||"},
}
_MARKS: dict[str, dict[str, Any]] = {
    "answered": {"marker": "|", "color": GREEN, "markeredgewidth": 1.6, "markersize": 9},
    "failed": {"marker": "x", "color": RED, "markeredgewidth": 1.6, "markersize": 6},
    "neutral": {"marker": "s", "color": GREY, "markerfacecolor": PAPER, "markersize": 5},
    "refused": {"marker": "o", "color": BLACK, "markerfacecolor": PAPER, "markersize": 5},
}
_WINDOW: dict[str, Any] = {
    "facecolor": "none",
    "edgecolor": BLACK,
    "linewidth": 1.4,
    "linestyle": (0, (3, 2)),
}
_OUTAGE: dict[str, Any] = {"facecolor": PALE, "edgecolor": "none"}


class _Window(NamedTuple):
    """The calls that a policy had counted when it opened the breaker."""

    start: float
    end: float
    words: str


@drawing()
def strip(trace: Trace, *, title: str = "The breaker, its calls, and the window that opened it") -> Figure:
    """Draw the states of the one breaker of a trace, and below them how each of its calls ended.

    A dashed frame holds the calls that the policy had counted when it opened. A note of the scenario with
    `until` in its facts is an outage, and is drawn as a grey ground.
    """
    stays, calls, windows = _stays(trace), _calls(trace), _windows(trace)
    outages = [
        (note.at, float(note.data["until"])) for note in trace.filter(Kind.NOTE) if "until" in note.data
    ]
    shown = [name for name in _LOOKS if any(state == name for state, _, _ in stays)]
    key: list[Artist] = [area(name, **_LOOKS[name]) for name in shown]
    key += [sign(name, **_MARKS[name]) for name in _MARKS if calls[name]]
    key += [area("window", **_WINDOW)] * bool(windows) + [area("sick", **_OUTAGE)] * bool(outages)
    canvas = Canvas(title, sum(_ROWS.values()) + 34, key=key)
    axes = canvas.rows(_ROWS, 0.0, trace.end)
    point, (_, end) = seconds_per_point(axes), axes.get_xlim()
    if outages:
        draw_paths(axes, [box(at, 34, min(until, end), 94) for at, until in outages], **_OUTAGE, zorder=0.3)
    for name in shown:
        places: list[Sequence[Point]] = [box(at, 7, until, 27) for state, at, until in stays if state == name]
        draw_paths(axes, places, **_LOOKS[name])
    for state, at, until in stays:
        if until - at > (width_of(state, bold=True) + 12) * point:
            plate = _LOOKS[state] | {"edgecolor": "none", "hatch": None, "pad": 2.0}
            axes.text(at + 6 * point, 17, state, weight="bold", va="center", bbox=plate)
    for name, mark in _MARKS.items():
        lane = _TOPS["failed" if name == "neutral" else name] + 10
        axes.plot(calls[name], [lane] * len(calls[name]), linestyle="none", clip_on=False, zorder=4, **mark)
    if windows:
        frames = [box(window.start - 4 * point, 36, window.end + 4 * point, 73) for window in windows]
        draw_paths(axes, frames, **_WINDOW, zorder=5)
    return canvas.picture(_in_words(title, stays, calls, windows))


def _stays(trace: Trace) -> list[tuple[str, float, float]]:
    changes = trace.filter(Kind.STATE)
    starts = [("closed", 0.0), *((str(change.data["now"]), change.at) for change in changes)]
    ends = [*(at for _, at in starts[1:]), trace.end]
    return [(state, at, until) for (state, at), until in zip(starts, ends, strict=True)]


def _calls(trace: Trace) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {name: [] for name in _MARKS}
    for event in trace:
        if (lane := _lane(event)) is not None:
            found[lane].append(event.at)
    return found


def _lane(event: Event) -> str | None:
    if event.kind == Kind.REFUSED:
        return "refused"
    if event.kind not in (Kind.FINISHED, Kind.FAILED, Kind.CANCELLED) or "verdict" not in event.data:
        return None
    return {"success": "answered", "failure": "failed"}.get(str(event.data["verdict"]), "neutral")


def _windows(trace: Trace) -> list[_Window]:
    """Each window of a breaker that opened: as many of its last counted calls as the reason tells of."""
    found, counted = [], list[float]()
    for event in trace:
        if event.kind == Kind.STATE:
            reason = str(event.data["reason"])
            told = re.match(r"(?:\d+ of )?(\d+) (?:calls|failures? in a row)", reason)
            if event.data["now"] == "open" and told:
                found.append(_Window(counted[-int(told[1])], event.at, f"{reason} at {seconds(event.at)}"))
            counted = []
        elif _lane(event) in ("answered", "failed") and not event.data["stale"]:
            counted.append(event.at)
    return found


def _in_words(
    title: str,
    stays: Sequence[tuple[str, float, float]],
    calls: dict[str, list[float]],
    windows: Sequence[_Window],
) -> str:
    first = listing([f"{state} from {seconds(at)}" for state, at, _ in stays], max_items=8)
    ended = listing([f"{len(times)} {name}" for name, times in calls.items() if times])
    opened = listing([window.words for window in windows], max_items=4)
    return f"{title}. {first}. Calls: {ended or 'none'}. Opened: {opened or 'never by its calls'}."
