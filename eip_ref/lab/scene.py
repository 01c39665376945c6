"""A scene: what the player shows of a trace, worked out before anything is drawn.

A pure function from a trace to plain lists: the boxes, and for each event what it changes, that is
which token moves to which box in which state. The browser only replays the changes, so whatever the
picture claims can be tested here without one.

*Left out:* zooming into a part of a long trace; filter the trace instead.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from statistics import median
from typing import Any

from ..trace import Kind, Trace
from .layout import arrows, boxes
from .stage import Stage
from .states import MARKS
from .wording import caption, labels

__all__ = ["beats", "scene"]


def scene(trace: Trace, columns: Sequence[Sequence[str]] | None = None) -> dict[str, Any]:
    """The trace as the lists that the player's browser half replays; equal traces, equal scenes."""
    stage = Stage(trace)
    for index, event in enumerate(trace):
        stage.play(index, event)
    found = boxes(trace, columns)
    place = {"": -1} | {box.name: i for i, box in enumerate(found)}
    names = labels(trace)
    number = {"": -1} | {message: i for i, message in enumerate(names)}
    for row in stage.rows:
        row[2] = place[row[2]]
    return {
        "boxes": [[b.name, b.role, b.capacity, b.column, b.row, stage.peaks[b.name]] for b in found],
        "arrows": [[place[a], place[b]] for a, b in arrows(trace, {b.name: b for b in found})],
        "messages": [[message, label] for message, label in names.items()],
        "tokens": [[number[token.message], place[token.home]] for token in stage.tokens],
        "at": [round(event.at, 6) for event in trace],
        "beat": beats(trace),
        "say": [
            caption(event, names.get(event.message, ""), stage.remarks.get(i, ""))
            for i, event in enumerate(trace)
        ],
        "about": [number[event.message] for event in trace],
        "moves": stage.rows,
        "marks": [
            [i, place[e.where], int(MARKS[e.kind])]
            for i, e in enumerate(trace)
            if e.kind in MARKS and e.where in place
        ],
        "poster": -stage.busiest[1],
    }


def beats(trace: Trace) -> list[float]:
    """When to show each event, in seconds at speed 1: long gaps shortened, events at one instant spread.

    The whole takes between 4 and 45 seconds, however long or dense the trace is.
    """
    if not trace.events:
        return []
    gaps = [b.at - a.at for a, b in pairwise(trace)]
    usual = median([gap for gap in gaps if gap > 0] or [1.0])
    total, shown = 0.0, [0.0]
    for gap, event in zip(gaps, trace.events[1:], strict=False):
        first = event.kind == Kind.OPENED
        total += 0.0 if first else 0.15 + 0.35 * min(gap / usual, 3.0)
        shown.append(total)
    scale = min(max(total, 4.0), 45.0) / total if total else 1.0
    return [round(beat * scale, 3) for beat in shown]
