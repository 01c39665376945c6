"""The paper that every figure is drawn on, and the picture that comes off it.

Measures are points (1/72 inch) from the top left corner, so a text of 9 is 9 pt on the screen and
on paper. Matplotlib draws; only its object API is used, so nothing is shown twice and no global
figure exists. The SVG is the same bytes in every process: no date, no random ids, no version.
"""

from __future__ import annotations

import re
import threading
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from hashlib import sha256
from html import escape
from io import StringIO
from pathlib import Path
from typing import Any

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure as Canvas
from matplotlib.patches import PathPatch
from matplotlib.path import Path as Strokes
from matplotlib.transforms import Affine2D

from ..still import image
from .ink import (
    DASHES,
    GREY,
    INK,
    MARGIN,
    PAPER,
    SIGNS,
    SIZE,
    TEXT,
    WIDTH,
    Point,
    box,
    cross,
    fit,
    tint,
    width_of,
)

_FONTS = ["DejaVu Sans", "Verdana", "Arial", "sans-serif"]
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "eip",
    "svg.fonttype": "none",  # text stays text: sharp, searchable, and read aloud
    "font.family": ["sans-serif"],
    "font.sans-serif": _FONTS,
    "font.size": SIZE,
    "text.usetex": False,
    "text.color": INK,
    "path.simplify": False,
    "path.sketch": None,
    "axes.unicode_minus": True,
}
_one_at_a_time = threading.RLock()  # matplotlib's settings are global


class Figure:
    """A finished picture: an SVG that shows itself in a notebook, and the words that say the same."""

    def __init__(self, svg: str, alt: str) -> None:
        self.svg = svg  #: one <svg> element, for a file or inside a page
        self.alt = alt  #: what the picture shows, in words

    def _repr_mimebundle_(self, include: object = None, exclude: object = None) -> dict[str, str]:
        return {"text/html": self.html, "text/plain": self.alt}

    @property
    def html(self) -> str:
        """The picture as an HTML image with its alternative text."""
        return image(self.svg, self.alt)

    def __repr__(self) -> str:
        return f"<Figure: {self.alt}>"

    def save(self, path: str | Path) -> None:
        """Write the picture to an SVG file."""
        Path(path).write_text(f'<?xml version="1.0" encoding="utf-8"?>\n{self.svg}\n', encoding="utf-8")


class Sheet:
    """An empty white sheet with a title; draw on it, then take the picture with `picture`."""

    def __init__(self, height: float, title: str, subtitle: str = "") -> None:
        self.height = height
        self.canvas = Canvas(figsize=(WIDTH / 72, height / 72), dpi=72, facecolor=PAPER)
        self._points = Affine2D().scale(1, -1).translate(0, height)
        room = WIDTH - 2 * MARGIN
        self.text(MARGIN, 17, fit(title, room, 11, bold=True), size=11, bold=True)
        if subtitle:
            self.text(MARGIN, 33, fit(subtitle, room), colour=GREY)

    def lines(
        self,
        paths: Sequence[Sequence[Point]],
        colour: str,
        width: float = 1.0,
        dash: tuple[float, ...] | None = None,
        z: float = 2.0,
    ) -> None:
        """Draw open paths, all in one style."""
        if paths:
            style = (0, dash) if dash else "solid"
            self._add(PathPatch(_compound(paths), fill=False, ec=colour, lw=width, ls=style, zorder=z))

    def shapes(
        self,
        polygons: Sequence[Sequence[Point]],
        fill: str,
        edge: str = "none",
        z: float = 2.0,
        hatch: str | None = None,
    ) -> None:
        """Draw closed polygons, all in one style."""
        if polygons:
            path = _compound([[*corners, corners[0]] for corners in polygons])
            self._add(PathPatch(path, fc=fill, ec=edge, lw=1, zorder=z, hatch=hatch))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = SIZE,
        colour: str = INK,
        align: str = "left",
        bold: bool = False,
        italic: bool = False,
        z: float = 5.0,
    ) -> None:
        """Write one line of text; `y` is its middle, roughly."""
        # Placed by its baseline: the vertical middle depends on the glyphs of each text.
        self.canvas.text(
            x,
            y + 0.36 * size,
            words,
            transform=self._points,
            fontsize=size,
            color=TEXT.get(colour, colour),
            ha=align,
            va="baseline",
            weight="bold" if bold else "normal",
            style="italic" if italic else "normal",
            zorder=z,
            parse_math=False,
        )

    def key(self, y: float, *entries: tuple[str, str, str]) -> None:
        """A line that explains signs: each entry is a sign, its colour, and what it means."""
        x = MARGIN
        for sign, colour, words in entries:
            self._sign(sign, colour, x, y)
            self.text(x + 20, y, words, colour=GREY)
            x += 20 + width_of(words) + 16

    def _sign(self, sign: str, colour: str, x: float, y: float) -> None:
        if sign in DASHES:
            self.lines([[(x, y), (x + 16, y)]], colour, 1.8, DASHES[sign])
        elif sign == "bar":
            self.shapes([box(x + 1, y - 4.5, x + 15, y + 4.5)], tint(colour), colour)
        elif sign == "hatched":
            self.shapes([box(x + 1, y - 4.5, x + 15, y + 4.5)], PAPER, colour, hatch="////")
        elif sign == "cross":
            self.lines(cross(x + 8, y), colour, 2.0)
        else:
            self.shapes([SIGNS[sign](x + 8, y, 4.0)], colour)

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Axes in the house style, given by their four edges."""
        x, y = left / WIDTH, 1 - bottom / self.height
        axes = self.canvas.add_axes((x, y, (right - left) / WIDTH, (bottom - top) / self.height))
        axes.set_facecolor(PAPER)
        for side in ("top", "right"):
            axes.spines[side].set_visible(False)
        for side in ("left", "bottom"):
            axes.spines[side].set(color=GREY, linewidth=0.8)
        axes.tick_params(labelsize=SIZE, labelcolor=GREY, color=GREY, length=3, width=0.8)
        return axes

    def picture(self, alt: str, title: str) -> Figure:
        """The finished picture."""
        out = StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        FigureCanvasSVG(self.canvas).print_svg(out, metadata=nothing)  # type: ignore[no-untyped-call]
        return Figure(_tidy(out.getvalue(), title, alt), alt)

    def _add(self, artist: PathPatch) -> None:
        artist.set_transform(self._points)
        artist.set_clip_on(False)
        self.canvas.add_artist(artist)


def _compound(paths: Sequence[Sequence[Point]]) -> Strokes:
    """Many strokes as one path, which is far quicker to draw and shorter to write than many."""
    corners = [corner for path in paths for corner in path]
    codes = [c for path in paths for c in (Strokes.MOVETO, *[Strokes.LINETO] * (len(path) - 1))]
    return Strokes(corners, codes)


@contextmanager
def drawing() -> Iterator[None]:
    """Matplotlib in the house style, whatever the user's own settings are."""
    with _one_at_a_time, matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has more fonts
        yield


def _tidy(svg: str, title: str, alt: str) -> str:
    """Make matplotlib's file one element that can stand in a page beside others."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<defs>\s*<style type=\"text/css\">.*?</style>\s*</defs>", "", svg, count=1, flags=re.S)
    svg = re.sub(r'<g id="[\w.]+_\d+">', "<g>", svg)
    svg = re.sub(r'font-family: [^;"]+; ?', "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    # A hundredth of a point is enough, and rounds away what differs between processors.
    svg = re.sub(r"^([ML] -?\d+(?:\.\d\d?)?)\d* (-?\d+(?:\.\d\d?)?)\d*$", r"\1 \2", svg, flags=re.M)
    mark = sha256(svg.encode()).hexdigest()[:8]
    families = ", ".join(f"'{name}'" if " " in name else name for name in _FONTS)
    head, body = svg.split(">", 1)
    return (
        f'{head} role="img" aria-labelledby="title-{mark} words-{mark}" style="font-family: {families}; '
        f'stroke-linejoin: round; max-width: 100%; height: auto">\n<title id="title-{mark}">{escape(title)}'
        f'</title>\n<desc id="words-{mark}">{escape(alt)}</desc>{body}'
    )
