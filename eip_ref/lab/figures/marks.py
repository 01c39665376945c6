"""The signs of a sequence diagram. Each differs in shape, so that colour is never the only sign."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .ink import (
    BLUE,
    GREEN,
    GREY,
    INK,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    Point,
    box,
    cross,
    diamond,
    ring,
    triangle,
)
from .rows import Row

ARROWS: dict[str, tuple[str, float, tuple[float, ...] | None]] = {  # form -> colour, width, dash
    "send": (BLUE, 1.3, None),
    "open": (BLUE, 1.3, (1.5, 2.0)),
    "refused": (RED, 1.3, None),
    "lost": (RED, 1.3, None),
    "deliver": (INK, 1.3, None),
    "again": (ORANGE, 1.5, (7.0, 2.0)),
    "ack": (GREEN, 1.2, (2.5, 1.5)),
    "nack": (RED, 1.2, (2.5, 1.5)),
    "extend": (GREY, 1.2, (2.5, 1.5)),
    "stale": (PURPLE, 1.4, (2.5, 1.5)),
    "dead": (RED, 1.8, None),
    "replay": (BLUE, 1.5, (7.0, 2.0)),
}


@dataclass(frozen=True, slots=True)
class Mark:
    """A sign on a lifeline: an outline, or strokes, around a point."""

    colour: str
    fill: str = PAPER
    outline: Callable[[float, float], list[Point]] | None = None
    strokes: Callable[[float, float], list[list[Point]]] | None = None


def _square(x: float, y: float) -> list[Point]:
    return box(x - 3.5, y - 3.5, x + 3.5, y + 3.5)


def _hourglass(x: float, y: float) -> list[Point]:
    return [(x - 4, y - 5), (x + 4, y - 5), (x - 4, y + 5), (x + 4, y + 5)]


MARKS = {
    "effect": Mark(GREEN, GREEN, outline=diamond),
    "duplicate": Mark(PURPLE, outline=diamond),
    "expired": Mark(ORANGE, ORANGE, outline=_hourglass),
    "crashed": Mark(RED, strokes=lambda x, y: cross(x, y, 5.5)),
    "restarted": Mark(GREEN, outline=triangle),
    "failed": Mark(RED, strokes=cross),
    "dropped": Mark(RED, strokes=cross),
    "returned": Mark(BLUE, outline=ring),
    "accepted": Mark(BLUE, BLUE, outline=ring),
    "cancelled": Mark(GREY, outline=_square),
    "closed": Mark(INK, INK, outline=_square),
    "other": Mark(GREY, GREY, outline=ring),
}


def heads(arrows: Iterable[tuple[Row, Point, Point]]) -> tuple[list[list[Point]], list[list[Point]]]:
    """The filled and the drawn parts at the ends of arrows of one form."""
    filled: list[list[Point]] = []
    drawn: list[list[Point]] = []
    for row, start, tip in arrows:
        if row.form == "lost":
            drawn += cross(*tip)
        elif row.form in ("stale", "refused"):
            drawn.append(_turned(tip, start, [(-3, -5), (-3, 5)]))
        elif row.form == "open":
            filled.append(ring(*tip))
        elif row.form in ("ack", "nack", "extend"):
            drawn.append(_turned(tip, start, [(-6, -3.5), (0, 0), (-6, 3.5)]))
        elif row.form == "dead":
            filled.append(_turned(tip, start, [(-8, -4), (0, -4), (0, 4), (-8, 4)]))
        else:
            filled.append(_turned(tip, start, [(-7, -3.5), (0, 0), (-7, 3.5)]))
            if row.form == "again":
                filled.append(_turned(tip, start, [(-14, -3.5), (-7, 0), (-14, 3.5)]))
    return filled, drawn


def _turned(tip: Point, start: Point, points: list[Point]) -> list[Point]:
    """Points beside the tip of an arrow, given as along and across it."""
    angle = math.atan2(tip[1] - start[1], tip[0] - start[0])
    cos, sin = math.cos(angle), math.sin(angle)
    return [(tip[0] + x * cos - y * sin, tip[1] + x * sin + y * cos) for x, y in points]
