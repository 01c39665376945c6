"""A scene: what the player shows of a trace, worked out before anything is drawn.

A pure function from a trace to plain lists: the boxes with their places, senders left, channels
between, receivers right; and for each event what it changes, that is which token moves to which box in
which state. The browser only replays the changes, so whatever the picture claims can be tested here
without one.

*Left out:* zooming into a part of a long trace; filter the trace instead. Traces with so many
participants that they need more than one screen.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median
from typing import Any

from ..trace import Event, Kind, Trace
from .replay import LINK, Replay, mark_of
from .wording import caption, labels, one_line

__all__ = ["Box", "beats", "boxes", "scene"]

MAX_COLUMNS = 5
_INSIDE = (Kind.STARTED, Kind.EFFECT, Kind.FINISHED, Kind.FAILED, Kind.CANCELLED, Kind.DUPLICATE)
_PARTICIPANT = (*_INSIDE, Kind.CRASHED, Kind.RESTARTED)


def scene(trace: Trace, columns: Sequence[Sequence[str]] | None = None) -> dict[str, Any]:
    """The trace as the lists that the player's browser half replays; equal traces, equal scenes."""
    replay = Replay(trace)
    for index, event in enumerate(trace):
        replay.play(index, event)
    found = boxes(trace, columns)
    place = {"": -1} | {box.name: i for i, box in enumerate(found)}
    names = labels(trace)
    number = {"": -1} | {message: i for i, message in enumerate(names)}
    for move in replay.moves:
        move[2] = place[move[2]]
    return {
        "boxes": [
            [one_line(b.name), b.role, b.capacity, b.column, b.row, replay.peaks[b.name]] for b in found
        ],
        "arrows": [[place[a], place[b]] for a, b in _arrows(trace, {b.name: b for b in found})],
        "messages": [[one_line(message), one_line(label)] for message, label in names.items()],
        "tokens": [[number[token.message], place[token.home]] for token in replay.tokens],
        "at": [round(event.at, 6) for event in trace],
        "beat": beats(trace),
        "say": [
            caption(event, names.get(event.message, ""), replay.remarks.get(i, ""))
            for i, event in enumerate(trace)
        ],
        "about": [number[event.message] for event in trace],
        "moves": replay.moves,
        "marks": [
            [i, place[marked[0]], int(marked[1])]
            for i, e in enumerate(trace)
            if (marked := mark_of(e)) and marked[0] in place
        ],
        "poster": -replay.busiest[1],
    }


def beats(trace: Trace) -> list[float]:
    """The time at which to show each event, at speed 1: long gaps shortened, events at one instant spread.

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


# Where the boxes stand


@dataclass
class Box:
    """A participant or channel and its place in the picture, counted in columns and rows."""

    name: str
    role: str  #: participant, channel, link or dead letters
    capacity: int | None = None
    column: int = 0
    row: int = 0
    peak: int = 0  #: the most tokens that it ever shows at once


def boxes(trace: Trace, columns: Sequence[Sequence[str]] | None = None) -> list[Box]:
    """Every participant and channel of the trace with its place: senders left, receivers right.

    `columns` names the boxes of each column from left to right, to be used instead: names that the
    trace does not have are passed over, and boxes that it does not name come last.
    """
    found = _found(trace)
    if columns is None:
        columns = _ranked(found, list(_arrows(trace, found)))
    columns = [here for column in columns if (here := [name for name in column if name in found])]
    named = {name for column in columns for name in column}
    if rest := [name for name in found if name not in named]:
        columns = [*columns, rest]
    for x, column in enumerate(columns):
        for y, name in enumerate(column):
            found[name].column, found[name].row = x, y
    return [found[name] for column in columns for name in column]


def _found(trace: Trace) -> dict[str, Box]:
    found: dict[str, Box] = {}
    for e in trace:
        if e.who and e.kind != Kind.NOTE:
            found.setdefault(e.who, Box(e.who, "participant"))
        if e.where and e.kind != Kind.NOTE:
            box = found.setdefault(e.where, Box(e.where, ""))
            box.role = box.role or _role(e)
            if e.kind == Kind.OPENED:
                box.role, box.capacity = _role(e), e.data.get("capacity")
            elif e.kind in LINK:
                box.role = "link"
        if e.kind == Kind.DEAD and e.data.get("to"):
            found.setdefault(e.data["to"], Box(e.data["to"], "")).role = "dead letters"
    return found


def _role(event: Event) -> str:
    role = str(event.data.get("role", "")) if event.kind == Kind.OPENED else ""
    if role in ("participant", "channel", "link", "dead letters"):
        return role
    return "participant" if event.kind in _PARTICIPANT or event.where == event.who else "channel"


def _arrows(trace: Trace, found: dict[str, Box]) -> Iterator[tuple[str, str]]:
    """Pairs of who hands messages to whom, each once, in the order of their first message."""
    seen: set[tuple[str, str]] = set()
    carried: dict[str, str] = {}  # messages that have come to the end of a link, and which
    for e in trace:
        pair = (e.where, e.who or str(e.data.get("to", "")))
        if e.kind == Kind.SENT:
            pair = (carried.pop(e.message, e.who), e.where)
            if found[e.where].role == "dead letters":
                continue
        elif e.kind == Kind.ARRIVED and pair[1] not in found:
            carried[e.message] = e.where
        elif e.kind not in (Kind.ARRIVED, Kind.DELIVERED, Kind.DEAD):
            continue
        if e.kind == Kind.DEAD:
            pair = (e.where, str(e.data.get("to", "")))
        if pair not in seen and pair[0] != pair[1] and all(name in found for name in pair):
            seen.add(pair)
            yield pair


def _ranked(found: dict[str, Box], pairs: list[tuple[str, str]]) -> list[list[str]]:
    """Columns such that messages go right; what would close a circle goes back to the left."""
    forward: list[tuple[str, str]] = []
    for a, b in pairs:
        if "dead letters" not in (found[a].role, found[b].role) and not _leads(b, a, forward):
            forward.append((a, b))
    rank = dict.fromkeys(found, 0)
    for _ in found:
        for a, b in forward:
            rank[b] = max(rank[b], rank[a] + 1)
    touched = {name for pair in forward for name in pair}
    for a, b in pairs:
        if found[a].role == "channel" and not any(a == start for start, _ in forward) and rank[b] < rank[a]:
            rank[a] = max(rank[b] + 1, rank[a] - 2)  # a reply channel stands between, not behind
        if found[b].role == "dead letters":
            rank[b] = rank[a]
            touched.add(b)
    last = max(rank.values(), default=0)
    for name, box in found.items():
        if name not in touched:
            rank[name] = min(1, last) if box.role != "participant" else last
    used = sorted({min(r, MAX_COLUMNS - 1) for r in rank.values()})
    lower = sorted(found, key=lambda name: found[name].role == "dead letters")
    return [[name for name in lower if min(rank[name], MAX_COLUMNS - 1) == r] for r in used]


def _leads(a: str, b: str, arrows: Iterable[tuple[str, str]]) -> bool:
    reached, pairs = {a}, list(arrows)
    for _ in pairs:
        reached |= {end for start, end in pairs if start in reached}
    return b in reached
