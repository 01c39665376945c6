"""How long messages waited: from accepted to first delivered."""

from __future__ import annotations

from collections import defaultdict, deque

from matplotlib.ticker import MaxNLocator

from ...trace import Kind, Trace
from ..invariants.journeys import dead_letter_channels
from ..wording import plural, seconds
from .ink import BLUE, GREY, INK, MARGIN, ORANGE, WIDTH, tint, width_of
from .over_time import unit_of
from .sheet import Figure, Sheet, drawing

_MOST_BINS = 30


def latency(trace: Trace, *, where: str | None = None, title: str | None = None) -> Figure:
    """Draw how the waiting times from accepted to first delivered are spread, and say median and p95.

    `where` names one channel; without it the waits in all channels but those of dead letters are
    drawn together.
    """
    waits = waiting_times(trace, where)
    title = title or f"How long messages waited{f' in {where}' if where else ''}"
    with drawing():
        sheet = Sheet(226, title, _said(waits))
        _draw(sheet, waits)
        return sheet.picture(f"{title}. {_said(waits)}", title)


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


def quantile(ordered: list[float], share: float) -> float:
    """The smallest value that at least this share of the values does not exceed."""
    return ordered[max(0, -int(-share * len(ordered) // 1) - 1)]


def _said(waits: list[float]) -> str:
    if not waits:
        return "No message was delivered."
    if waits[-1] == 0:
        return f"All {plural(len(waits), 'message')} were delivered at once."
    half, most = quantile(waits, 0.5), quantile(waits, 0.95)
    of = plural(len(waits), "message")
    return (
        f"Of {of}, half waited at most {seconds(half)}, 95 in 100 at most {seconds(most)}, "
        f"the longest {seconds(waits[-1])}."
    )


def _draw(sheet: Sheet, waits: list[float]) -> None:
    left, top, right, bottom = 50.0, 62.0, WIDTH - MARGIN - 4, 188.0
    axes = sheet.axes(left, top, right, bottom)
    longest = waits[-1] if waits and waits[-1] > 0 else 1.0
    factor, name = unit_of(longest)
    end = longest / factor
    bins = min(_MOST_BINS, max(8, int(2 * len(waits) ** 0.5)))
    counts = [0] * bins
    for wait in waits:
        counts[min(bins - 1, int(wait / longest * bins))] += 1
    edges = [end * i / bins for i in range(bins + 1)]
    axes.stairs(counts, edges, fill=True, facecolor=tint(BLUE, 0.5), edgecolor=BLUE, linewidth=1)
    axes.set_xlim(0, end)
    axes.set_ylim(0, max([1, *counts]) * 1.05)
    axes.xaxis.set_major_locator(MaxNLocator(8, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True, steps=[1, 2, 5, 10]))
    axes.set_xlabel(f"waiting time in {name}", fontsize=9, color=GREY, labelpad=2)
    axes.set_ylabel("messages", fontsize=9, color=GREY)
    if waits and waits[-1] > 0:
        for share, words, colour, y in ((0.5, "half", INK, top - 4), (0.95, "95 in 100", ORANGE, top - 15)):
            x = left + (right - left) * quantile(waits, share) / longest
            dash = None if share == 0.5 else (5.0, 2.0)
            sheet.lines([[(x, y), (x, bottom)]], colour, 1.4, dash)
            right_of = x + 6 + width_of(words) < right
            sheet.text(
                x + (4 if right_of else -4), y, words, colour=colour, align="left" if right_of else "right"
            )
