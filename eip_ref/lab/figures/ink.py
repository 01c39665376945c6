"""What figures are made of: measures, colours, text that fits, and small shapes. All in points."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from functools import lru_cache
from unicodedata import east_asian_width

from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font

WIDTH = 580.0  #: 773 px on a screen, the width of a notebook's output
SIZE = 9.0  #: of all text but titles
MARGIN = 12.0

INK, GREY, PALE, PAPER = "#111827", "#4b5563", "#d1d5db", "#ffffff"
BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
PURPLE, SKY = "#CC79A7", "#56B4E9"
# The same hues, dark enough for text on white (contrast of 4.5 to 1).
TEXT = {
    ORANGE: "#8a5a00",
    GREEN: "#00694d",
    RED: "#a84300",
    PURPLE: "#93376b",
    SKY: "#0b6a9f",
    BLUE: "#005f96",
}

Point = tuple[float, float]
DASHES: dict[str, tuple[float, ...] | None] = {
    "line": None,
    "dashed": (5.0, 2.0),
    "dotted": (1.2, 1.8),
    "dash-dot": (6.0, 2.0, 1.2, 2.0),
    "long": (9.0, 3.0),
    "short": (2.5, 1.5),
}
LINES = (
    ("line", BLUE),
    ("dashed", RED),
    ("dash-dot", GREEN),
    ("dotted", INK),
    ("long", ORANGE),
    ("short", PURPLE),
)  #: how lines side by side are told apart: by their dashes first, then by colour


@lru_cache(maxsize=4)
def _font(bold: bool) -> FT2Font:
    path = findfont(FontProperties(family="DejaVu Sans", weight="bold" if bold else "normal"))
    font = FT2Font(path)
    font.set_size(100, 72)
    return font


@lru_cache(maxsize=4096)
def _advance(character: str, bold: bool) -> float:
    if east_asian_width(character) in "WF":
        return 1.0
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(_font(bold).load_char(ord(character)).linearHoriAdvance) / 65536 / 100


def width_of(text: str, size: float = SIZE, *, bold: bool = False) -> float:
    """How wide a text is, in points."""
    return size * sum(_advance(character, bold) for character in text)


def fit(text: str, room: float, size: float = SIZE, *, bold: bool = False, middle: bool = False) -> str:
    """The text on one line; if it is wider than `room` points, with an ellipsis at its end or middle.

    Names are cut in the middle, since many differ in their last characters only.
    """
    text = " ".join(text.split())
    if width_of(text, size, bold=bold) <= room:
        return text
    for kept in range(len(text) - 1, 0, -1):
        end = kept // 2 if middle else 0
        cut = f"{text[: kept - end].rstrip()}…{text[len(text) - end :] if end else ''}"
        if width_of(cut, size, bold=bold) <= room:
            return cut
    return "…"


def box(left: float, top: float, right: float, bottom: float, round_: float = 0.0) -> list[Point]:
    """A rectangle, with its corners cut by `round_`."""
    if not round_:
        return [(left, top), (right, top), (right, bottom), (left, bottom)]
    r = round_
    return [
        (left + r, top),
        (right - r, top),
        (right, top + r),
        (right, bottom - r),
        (right - r, bottom),
        (left + r, bottom),
        (left, bottom - r),
        (left, top + r),
    ]


def diamond(x: float, y: float, r: float = 5.0) -> list[Point]:
    """A diamond around a point."""
    return [(x - r, y), (x, y - r), (x + r, y), (x, y + r)]


def cross(x: float, y: float, r: float = 4.5) -> list[list[Point]]:
    """The two strokes of a cross around a point."""
    return [[(x - r, y - r), (x + r, y + r)], [(x - r, y + r), (x + r, y - r)]]


def triangle(x: float, y: float, r: float = 4.0) -> list[Point]:
    """A triangle that stands on a point."""
    return [(x - r, y - r), (x + r, y - r), (x, y + r)]


def tint(colour: str, strength: float = 0.25) -> str:
    """A pale version of a colour, for areas."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - (255 - part) * strength):02x}" for part in parts)


def ring(x: float, y: float, r: float = 4.0) -> list[Point]:
    """A circle around a point, near enough."""
    return [(x + r * math.cos(i * math.pi / 6), y + r * math.sin(i * math.pi / 6)) for i in range(12)]


SIGNS: dict[str, Callable[[float, float, float], list[Point]]] = {
    "diamond": diamond,
    "triangle": triangle,
    "ring": ring,
}
