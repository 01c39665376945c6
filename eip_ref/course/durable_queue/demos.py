"""The controls, presets, figures and words of the demos of this lesson."""

from __future__ import annotations

from functools import partial
from typing import Any

from ...lab import figures
from ...lab.demo import choice, slider, toggle
from ...trace import Kind, Trace
from .disk import what_was_left

__all__ = ["OUTAGE", "TWO_GROUPS", "how_far", "who_has_them"]


def who_has_them(trace: Trace) -> figures.Figure:
    """Draw how many orders were confirmed, written and synced, by the millisecond."""
    drawn = {}
    for name, where in (("confirmed", "broker"), ("written", "cache"), ("synced", "disk")):
        steps = [(0.0, 0.0)]
        for number, event in enumerate(trace.filter(Kind.ACCEPTED, where=where), 1):
            steps += [(event.at * 1000, number - 1.0), (event.at * 1000, float(number))]
        drawn[name] = [*steps, (trace.end * 1000, steps[-1][1])]
    return figures.lines(drawn, x="ms", y="orders", title="Who has them, until the broker dies")


def what_is_left(trace: Trace) -> figures.Figure:
    """Draw how many orders are lost and how many are there twice, beside those that were confirmed."""
    found = trace.result
    counts = {"confirmed": found.confirmed, "lost": found.lost, "there twice": found.doubled}
    return figures.bars(counts, unit="orders", title="After the restart", highlight=("lost", "there twice"))


OUTAGE: dict[str, Any] = {
    "controls": {
        "confirm": choice("put", "write", "sync", value="sync", label="Confirm at"),
        "share": slider(1, 20, value=1, label="Orders that share a sync"),
        "wait": slider(0, 100, 5, value=0, label="Wait for company (ms)"),
        "tills": slider(1, 20, value=20, label="Tills"),
        "death": choice("kill", "plug", value="plug", label="The broker dies by"),
        "at": slider(5, 400, value=97, label="It dies at (ms)"),
        "same_ids": toggle(False, label="Send again with the same id"),
    },
    "presets": {
        "One by one": {},
        "Share": {"share": 20},
        "Share, same ids": {"share": 20, "same_ids": True},
        "Yes before the sync": {"share": 20, "confirm": "write"},
        "Yes at once": {"confirm": "put"},
        "Wait for a 20th till": {"share": 20, "wait": 100, "tills": 19, "at": 400},
    },
    "summary": what_was_left,
    "figures": [who_has_them, what_is_left],
    "player": False,
    "seed": None,
    "title": "Kill it, or pull the plug",
}


def how_far(trace: Trace) -> str:
    """For each group: what it read, what it never read, and how far it is behind in the end."""
    said = "; ".join(map(partial(_how_far, trace), ("billing", "search")))
    return f"{trace.count(Kind.ACCEPTED)} orders: {said}."


def _how_far(trace: Trace, group: str) -> str:
    appended = trace.messages(Kind.ACCEPTED)
    mine = trace.filter(Kind.DELIVERED, Kind.STATE, test=lambda event: event.data["group"] == group)
    read = mine.messages(Kind.DELIVERED)
    places = [event.data["now"] for event in mine.filter(Kind.STATE)]
    done = places[-1] if places else 0
    passed = set(appended[:done]) - set(read)
    return f"{group} read {len(read)}, passed over {len(passed)} unread, and is {len(appended) - done} behind"


TWO_GROUPS: dict[str, Any] = {
    "controls": {
        "seconds": slider(0.1, 2.0, 0.1, value=0.4, label="Search needs (s an order)"),
        "rewind_at": slider(0, 110, 10, value=60, label="Search back at (s, 0 never)"),
        "keep": slider(0, 100, 10, value=0, label="The log keeps (s, 0 all)"),
    },
    "presets": {
        "Calm": {"rewind_at": 0},
        "Search goes back": {},
        "Search is slow": {"seconds": 1.5, "rewind_at": 0},
        "Slow, and the log forgets": {"seconds": 1.5, "keep": 20, "rewind_at": 0},
        "Back, and the log forgets": {"keep": 20},
    },
    "summary": how_far,
    "figures": [figures.offsets],
    "player": False,
    "seed": None,
    "title": "Two groups, and one goes back",
}
