"""The parts of a sequence diagram: its rows, its bars, and its lifelines from left to right."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ...trace import Kind

IN_CHANNELS = frozenset(
    {
        Kind.SENT,
        Kind.BLOCKED,
        Kind.ACCEPTED,
        Kind.REFUSED,
        Kind.DELIVERED,
        Kind.EXTENDED,
        Kind.ACKED,
        Kind.NACKED,
        Kind.EXPIRED,
        Kind.RETURNED,
        Kind.STALE,
        Kind.DEAD,
        Kind.REPLAYED,
        Kind.DROPPED,
    }
)
ON_LINKS = frozenset({Kind.LOST, Kind.DUPLICATED, Kind.ARRIVED})


@dataclass(slots=True)
class Row:
    """One line of the diagram: an arrow between two lifelines, or a mark on one.

    The forms of arrows are those of `marks.ARROWS`; a mark's form is the kind of its event. "blank"
    only gives a bar or a slow arrow a place to end, and "open" is a send that nobody accepted.
    """

    at: float
    form: str
    source: str = ""
    target: str = ""
    label: str = ""
    end: int | None = None  #: for arrows that take time, the row at which they arrive


@dataclass(slots=True)
class Bar:
    """From one row to another: work on a message, or a time in which a participant is down."""

    who: str
    start: int
    end: int | None = None
    down: bool = False


@dataclass(slots=True)
class Steps:
    """All rows of a diagram, and its lifelines from left to right."""

    rows: list[Row] = field(default_factory=list)
    bars: list[Bar] = field(default_factory=list)
    lifelines: list[str] = field(default_factory=list)
    channels: set[str] = field(default_factory=set)
    dead_letters: set[str] = field(default_factory=set)
    left_out: list[str] = field(default_factory=list)  #: participants for whom there was no room
    shown: int = 0  #: events read into the rows
    total: int = 0  #: events selected
    until: float = 0.0  #: the time of the last event that was read
    last: float = 0.0  #: the time of the last event selected


def left_to_right(names: list[str], result: Steps) -> list[str]:
    """In order of appearance, numbered ones by number; dead letters and who only cares for them last."""
    dead = [name for name in names if name in result.dead_letters]
    first: dict[str, set[str]] = {}
    for row in result.rows:
        for name in (row.source, row.target):
            first.setdefault(name, {row.source, row.target})
    after = [n for n in names if n not in result.channels and first.get(n, set()).intersection(dead)]
    return by_number([name for name in names if name not in dead + after]) + dead + by_number(after)


def by_number(names: list[str]) -> list[str]:
    """Names in their order, but those that differ in a number alone sorted by it."""
    stems = [re.sub(r"\d+", "#", name) for name in names]
    groups = {
        stem: iter(sorted((n for n, s in zip(names, stems, strict=True) if s == stem), key=_numbers))
        for stem in dict.fromkeys(stems)
    }
    return [next(groups[stem]) for stem in stems]


def _numbers(name: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", name)]
