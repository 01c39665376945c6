"""The house style of figures: measures, colours, dashes, settings, and text that fits. All in points."""

from __future__ import annotations

import warnings
from bisect import bisect_right
from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal
from unicodedata import east_asian_width

from cycler import cycler

from ..wording import one_line

if TYPE_CHECKING:
    from matplotlib.ft2font import FT2Font

WIDTH = 580.0  #: 773 px on a screen, the width of a notebook's output
SIZE = 9.0  #: of all text but titles
MARGIN = 12.0

BLACK, GREY, PALE, PAPER = "#111827", "#4b5563", "#d1d5db", "#ffffff"
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

Dash = Literal["solid", "none"] | tuple[float, tuple[float, ...]]  #: a line style of matplotlib
SOLID: Dash = "solid"
DASHED: Dash = (0.0, (5.0, 2.0))
DOTTED: Dash = (0.0, (1.2, 1.8))
DASH_DOT: Dash = (0.0, (6.0, 2.0, 1.2, 2.0))
LONG: Dash = (0.0, (9.0, 3.0))
SHORT: Dash = (0.0, (2.5, 1.5))
LINES: tuple[tuple[Dash, str], ...] = (
    (SOLID, BLUE),
    (DASHED, RED),
    (DASH_DOT, GREEN),
    (DOTTED, BLACK),
    (LONG, ORANGE),
    (SHORT, PURPLE),
)  #: how lines side by side are told apart: by their dashes first, then by colour

FONTS = ["DejaVu Sans", "Verdana", "Arial", "sans-serif"]
SETTINGS: dict[Any, Any] = {
    "svg.hashsalt": "eip",
    "svg.fonttype": "none",  # text stays text: sharp, searchable, and read aloud
    "font.family": ["sans-serif"],
    "font.sans-serif": FONTS,
    "font.size": SIZE,
    "text.color": BLACK,
    "text.parse_math": False,
    "path.simplify": False,
    "figure.dpi": 72,
    "figure.facecolor": PAPER,
    "axes.edgecolor": GREY,
    "axes.labelcolor": GREY,
    "axes.labelpad": 2,
    "axes.prop_cycle": cycler(linestyle=[dash for dash, _ in LINES], color=[colour for _, colour in LINES]),
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.titlesize": SIZE,
    "axes.titleweight": "bold",
    "axes.xmargin": 0,
    "hatch.linewidth": 1,
    "legend.borderaxespad": 0,
    "legend.borderpad": 0,
    "legend.columnspacing": 1.6,
    "legend.fontsize": SIZE,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.handletextpad": 0.5,
    "legend.labelcolor": GREY,
    "lines.linewidth": 1.6,
    "lines.markersize": 5,
} | {
    f"{axis}tick.{name}": value
    for axis in "xy"
    for name, value in (("color", GREY), ("labelsize", SIZE), ("major.size", 3), ("major.width", 0.8))
}


@lru_cache(maxsize=4)
def _font(bold: bool) -> FT2Font:
    from matplotlib.font_manager import FontProperties, findfont
    from matplotlib.ft2font import FT2Font

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
    """The width of a text on one line."""
    return size * sum(_advance(character, bold) for character in one_line(text))


def widest(texts: Iterable[str], low: float, high: float, *, bold: bool = False) -> float:
    """The width of the widest text, but not less than `low` or more than `high`."""
    return min(high, max([low, *(width_of(text, bold=bold) for text in texts)]))


def fit(text: str, room: float, size: float = SIZE, *, bold: bool = False, middle: bool = False) -> str:
    """The text on one line; if it is wider than `room`, with an ellipsis at its end or middle.

    Names are cut in the middle, since many differ in their last characters only.
    """
    text = one_line(text)
    if width_of(text, size, bold=bold) <= room:
        return text

    def cut(kept: int) -> str:
        end = kept // 2 if middle else 0
        return f"{text[: kept - end].rstrip()}…{text[len(text) - end :] if end else ''}"

    fitting = bisect_right(range(len(text)), room, key=lambda kept: width_of(cut(kept), size, bold=bold))
    return cut(max(0, fitting - 1))


def tint(colour: str, strength: float = 0.25) -> str:
    """A pale version of a colour, for areas."""
    parts = [int(colour[i : i + 2], 16) for i in (1, 3, 5)]
    return "#" + "".join(f"{round(255 - (255 - part) * strength):02x}" for part in parts)
