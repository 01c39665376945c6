"""How many consumers a crew had, over time, below the depth of the queue that they work on."""

from __future__ import annotations

from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator

from ...trace import Event, Kind, Trace
from ..wording import plural, seconds
from .ink import BLUE, GREEN, GREY, INK, MARGIN, ORANGE, WIDTH, fit, tint
from .over_time import _levels, _panel, _said, time_axis, unit_of
from .sheet import Figure, Sheet, drawing

_LEFT, _TOP, _PANEL = 50.0, 40.0, 128.0


def scaling(trace: Trace, *, where: str | None = None, title: str | None = None) -> Figure:
    """Draw the depth of a queue and the number of its consumers, one above the other.

    A crew says in "state" events how many `consumers` it has, and on which `queue`. `where` names the
    crew; without it, the first of the trace.
    """
    title = title or "How many wait, and how many consumers work"
    changes = [e for e in trace.filter(Kind.STATE, where=where) if "consumers" in e.data]
    with drawing():
        if not changes:
            sheet = Sheet(80, title)
            sheet.text(MARGIN, 52, "No crew changed its size.", colour=GREY)
            return sheet.picture(f"{title}. No crew changed its size.", title)
        changes = [e for e in changes if e.where == changes[0].where]
        queue = str(changes[0].data.get("queue", ""))
        levels = _levels(trace).get(queue, [])
        said = [_said(queue, levels, None), _crew_said(changes)]
        sheet = Sheet(_TOP + 2 * _PANEL + 22, title)
        sheet.key(32, ("line", BLUE, "ready"), ("dashed", ORANGE, "in flight"), ("line", GREEN, "consumers"))
        for number, words in enumerate(said):
            y = _TOP + _PANEL * number
            sheet.text(_LEFT, y + 12, fit(words, WIDTH - MARGIN - _LEFT, bold=True), bold=True)
            axes = sheet.axes(_LEFT, y + 22, WIDTH - MARGIN - 4, y + _PANEL - 12)
            if number:
                _steps(axes, changes, trace.end)
            elif levels:
                _panel(axes, levels, None, trace.end)
            time_axis(axes, trace.end, last=number == 1)
        return sheet.picture(f"{title}. {'. '.join(said)}.", title)


def _crew_said(changes: list[Event]) -> str:
    sizes = [int(e.data["consumers"]) for e in changes]
    most, least = max(changes, key=lambda e: int(e.data["consumers"])), min(sizes)
    turns = plural(len(changes) - 1, "change")
    return (
        f"{changes[0].where}: {plural(sizes[0], 'consumer')} at first, at most {max(sizes)} at "
        f"{seconds(most.at)}, at least {least}, {sizes[-1]} at the end; {turns}"
    )


def _steps(axes: Axes, changes: list[Event], end: float) -> None:
    factor, _ = unit_of(end)
    times = [e.at / factor for e in changes]
    sizes = [int(e.data["consumers"]) for e in changes]
    x, y = [*times, end / factor], [*sizes, sizes[-1]]
    axes.fill_between(x, y, step="post", color=tint(GREEN), linewidth=0)
    axes.plot(x, y, drawstyle="steps-post", color=GREEN, linewidth=1.6)
    axes.plot(times[1:], sizes[1:], "o", color=INK, markersize=4.5, clip_on=False)
    axes.set_ylim(0, max(sizes) * 1.15)
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
