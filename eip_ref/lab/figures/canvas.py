"""The canvas that every figure is drawn on, the axes in the house style, and the picture that comes off.

Measures are points (1/72 inch) from the top left corner, so a text of 9 is 9 pt on the screen and
on paper. Matplotlib draws; only its object API is used, so nothing is shown twice and no global
figure exists. The SVG is the same bytes in every process: no date, no random ids, no version.
Matplotlib is loaded with the first picture, since that takes a third of a second: whoever judges answers
imports the figures of their lesson, and mostly draws none.

Axes stand where the width of their names puts them, not where matplotlib's constrained layout would:
that draws all of it two times more, which is too slow for a slider.
"""

from __future__ import annotations

import math
import re
import threading
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from html import escape
from io import StringIO
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..static_image import image
from ..wording import one_line
from .style import BLACK, FONTS, GREY, MARGIN, SETTINGS, SIZE, SOLID, TEXT, WIDTH, Dash, fit, widest, width_of

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch, PathPatch
    from matplotlib.ticker import MaxNLocator

Point = tuple[float, float]
TOP = 26.0  #: of what stands below a title alone
LEFT = 50.0  #: of axes with numbers beside them
RIGHT = WIDTH - MARGIN - 4  #: of axes with nothing beside them
_HANDLE, _SPACE, _PAD = 20.7, 14.4, 12.0  # in a key: a sign with its space, between entries, around it
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


@contextmanager
def drawing() -> Iterator[None]:
    """Draw in the house style, whatever the user's own settings of matplotlib are."""
    import matplotlib

    with _one_at_a_time, matplotlib.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's browser has more fonts
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(SETTINGS)
        yield


class Canvas:
    """A white canvas with a title, a key and notes; draw between them, then take the picture.

    `height` is the room between `top` and the notes. What the key explains is given as matplotlib's
    artists, each with its label.
    """

    def __init__(
        self,
        title: str,
        height: float,
        *,
        subtitle: str = "",
        key: Sequence[Artist] = (),
        notes: Iterable[str] = (),
    ) -> None:
        from matplotlib.figure import Figure as MatplotlibFigure
        from matplotlib.transforms import Affine2D

        self.title = one_line(title)
        rows, columns = _arranged([str(entry.get_label()) for entry in key])
        below = [note for note in notes if note]
        self.top = TOP + (15 if subtitle else 0) + 14 * rows
        self.height = self.top + height + 14 * len(below)
        self.figure = MatplotlibFigure(figsize=(WIDTH / 72, self.height / 72))
        self._points = Affine2D().scale(1, -1).translate(0, self.height)
        room = WIDTH - 2 * MARGIN
        self.text(MARGIN, 17, fit(title, room, 11, bold=True), size=11, bold=True)
        self.text(MARGIN, 33, fit(subtitle, room), colour=GREY)
        for number, note in enumerate(below):
            self.text(MARGIN, self.height + 4 - 14 * (len(below) - number), fit(note, room), colour=GREY)
        if key:
            place = MARGIN / WIDTH, 1 - (self.top - 14 * rows + 1) / self.height
            self.figure.legend(
                handles=[*key], loc="upper left", bbox_to_anchor=place, ncols=columns, labelspacing=0.4
            )

    # Shapes, placed point by point

    def lines(
        self,
        paths: Sequence[Sequence[Point]],
        colour: str,
        width: float = 1.0,
        dash: Dash = "solid",
        z: float = 2.0,
    ) -> None:
        """Draw open paths, all in one style."""
        if paths:
            self._add(_compound(paths, fill=False, ec=colour, lw=width, ls=dash, zorder=z))

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
            self._add(_compound(polygons, closed=True, fc=fill, ec=edge, lw=1, zorder=z, hatch=hatch))

    def text(
        self,
        x: float,
        y: float,
        words: str,
        *,
        size: float = SIZE,
        colour: str = BLACK,
        align: str = "left",
        bold: bool = False,
        italic: bool = False,
        z: float = 5.0,
    ) -> None:
        """Write one line of text; `y` is its middle, roughly."""
        # Placed by its baseline: the vertical middle depends on the glyphs of each text.
        self.figure.text(
            x,
            y + 0.36 * size,
            one_line(words),
            transform=self._points,
            fontsize=size,
            color=TEXT.get(colour, colour),
            ha=align,
            va="baseline",
            weight="bold" if bold else "normal",
            style="italic" if italic else "normal",
            zorder=z,
        )

    def _add(self, artist: PathPatch) -> None:
        artist.set_transform(self._points)
        artist.set_clip_on(False)
        self.figure.add_artist(artist)

    # Axes

    def axes(self, left: float, top: float, right: float, bottom: float) -> Axes:
        """Axes in the house style, given by their four edges."""
        x, y = left / WIDTH, 1 - bottom / self.height
        return self.figure.add_axes((x, y, (right - left) / WIDTH, (bottom - top) / self.height))

    def panels(
        self, titles: Sequence[str], height: float, right: float = RIGHT, *, name: str = ""
    ) -> list[Axes]:
        """Axes one above the other, each under its title, with whole numbers of what `name` says."""
        found = []
        for index, title in enumerate(titles):
            top = self.top + height * index
            axes = self.axes(
                LEFT, top + (20 if title else 6), right, top + height - 12 - (0 if title else 24)
            )
            axes.set_title(fit(title, RIGHT - LEFT, bold=True))
            axes.set_ylabel(name)
            axes.yaxis.set_major_locator(round_numbers(4, whole=True))
            found.append(axes)
        return found

    def rows(self, heights: Mapping[str, float], start: float, end: float, *, above: float = 4.0) -> Axes:
        """Axes with a named row for each name, of so many points, over a stretch of time."""
        left, top = MARGIN + widest(heights, 40, 150, bold=True) + 10, self.top + above
        bottom = max(10.0, sum(heights.values()))
        axes = self.axes(left, top, RIGHT - 2, top + bottom)
        axes.set_ylim(bottom, 0)
        axes.spines.left.set_visible(False)
        axes.yaxis.set_visible(False)
        time_axis(axes, start, end)
        edges = [*accumulate(heights.values(), initial=top)]
        for name, (upper, lower) in zip(heights, pairwise(edges), strict=True):
            words = fit(name, 150, bold=True, middle=True)
            self.text(left - 10, (upper + lower) / 2, words, align="right", bold=True)
        self.lines([[(MARGIN, edge), (RIGHT - 2, edge)] for edge in edges[1:-1]], "#e5e7eb", z=0.5)
        return axes

    def picture(self, alt: str) -> Figure:
        """The finished picture; `alt` says in words what it shows."""
        from matplotlib.backends.backend_svg import FigureCanvasSVG

        out = StringIO()
        nothing = {"Date": None, "Creator": None, "Format": None, "Type": None}
        FigureCanvasSVG(self.figure).print_svg(out, metadata=nothing)  # type: ignore[no-untyped-call]
        alt = one_line(alt)
        return Figure(_tidy(out.getvalue(), self.title, alt), alt)


def empty(title: str, words: str) -> Figure:
    """The picture of nothing, which says so."""
    canvas = Canvas(title, 40)
    canvas.text(MARGIN, canvas.top + 14, words, colour=GREY)
    return canvas.picture(f"{title}. {words}")


# Keys


def sign(label: str, color: str, dash: Dash = SOLID, **look: Any) -> Line2D:
    """An entry of a key: a line or, where `look` has one, a marker."""
    from matplotlib.lines import Line2D

    shown = "none" if "marker" in look else dash
    return Line2D([], [], label=_label(label), color=color, linestyle=shown, **look)


def area(label: str, **look: Any) -> Patch:
    """An entry of a key: a filled area."""
    from matplotlib.patches import Patch

    return Patch(label=_label(label), **look)


def _label(name: str) -> str:
    """The name, with a space before an underscore, since matplotlib leaves out names that begin so."""
    return f" {name}" if name.startswith("_") else name


def beside(axes: Axes, lines: Sequence[Line2D]) -> None:
    """List the lines of the axes on their right, from the highest end to the lowest."""
    falling = sorted(lines, key=lambda line: -float(line.get_ydata()[-1]))  # type: ignore[index,arg-type]
    axes.legend(
        falling,
        [_label(str(line.get_label())) for line in falling],
        loc="upper left",
        bbox_to_anchor=(1, 1),
        borderaxespad=_PAD / SIZE,
    )


def room_beside(labels: Iterable[str]) -> float:
    """The right edge of axes whose lines are listed beside them."""
    return RIGHT - widest(labels, 40, 200) - _HANDLE - _PAD


def _arranged(labels: Sequence[str]) -> tuple[int, int]:
    """The rows and columns of a key: as few rows as its labels have room for."""
    for columns in range(len(labels), 0, -1):
        rows, longer = divmod(len(labels), columns)
        starts = [number * rows + min(number, longer) for number in range(columns + 1)]
        widths = [max(map(width_of, labels[start:end])) for start, end in pairwise(starts)]
        if sum(widths) + columns * (_HANDLE + _SPACE) - _SPACE <= WIDTH - 2 * MARGIN:
            return -(-len(labels) // columns), columns
    return len(labels), 1


def time_axis(axes: Axes, start: float, end: float, *, name: str = "{}") -> None:
    """Number the axis in the unit that suits this stretch of seconds, and name it."""
    end = end if end > start else start + 1
    factor, unit = unit_of(end)
    ticks = round_numbers(8).tick_values(start / factor, end / factor)
    shown = [tick for tick in ticks if start <= tick * factor <= end]
    axes.set_xticks([tick * factor for tick in shown], [f"{tick:g}" for tick in shown])
    axes.set_xlim(start, end)
    axes.set_xlabel(name.format(unit))


def round_numbers(most: int, *, whole: bool = False) -> MaxNLocator:
    """The places of an axis that have numbers: at most so many steps, between numbers that people like."""
    from matplotlib.ticker import MaxNLocator

    return MaxNLocator(most, integer=whole, steps=[1, 2, 5, 10])


def draw_paths(axes: Axes, paths: Sequence[Sequence[Point]], *, closed: bool = True, **look: Any) -> None:
    """Draw polygons, or lines, in the units of the axes.

    All are one path: with `broken_barh` 1,000 bars take ten times as long, and twice as many bytes.
    """
    axes.add_artist(_compound(paths, closed=closed, **look))


def names_axis(
    axes: Axes,
    places: Iterable[float],
    names: Iterable[str],
    room: float,
    *,
    bold: Collection[str] | None = None,
) -> None:
    """Write names beside the rows of the axes: in bold all of them, or those in `bold`."""
    names = list(names)
    axes.set_yticks([*places], [fit(name, room, bold=True, middle=True) for name in names])
    axes.tick_params("y", length=0, labelcolor=BLACK, pad=8)
    for name, label in zip(names, axes.get_yticklabels(), strict=True):
        label.set_fontweight("bold" if bold is None or name in bold else "normal")


def seconds_per_point(axes: Axes) -> float:
    """The length in seconds of a point along the time axis."""
    start, end = axes.get_xlim()
    return float((end - start) / axes.bbox.width)


def unit_of(end: float) -> tuple[float, str]:
    """The unit of a time axis that ends at `end` seconds: its length in seconds, and its name."""
    for factor, name in ((3600.0, "hours"), (60.0, "minutes"), (1.0, "seconds")):
        if end >= (2 * factor if factor > 60 else 10 * factor if factor > 1 else 0.1):
            return factor, name
    return (0.001, "milliseconds") if end else (1.0, "seconds")


def number(value: float) -> str:
    """A number for people: '1,234', '0.25', '12.5'."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"


# Shapes


def box(left: float, top: float, right: float, bottom: float, round_: float = 0.0) -> list[Point]:
    """A rectangle, with its corners cut by `round_`."""
    r = round_
    corners = [
        (left + r, top),
        (right - r, top),
        (right, top + r),
        (right, bottom - r),
        (right - r, bottom),
        (left + r, bottom),
        (left, bottom - r),
        (left, top + r),
    ]
    return corners if r else [(left, top), (right, top), (right, bottom), (left, bottom)]


def cross(x: float, y: float, r: float = 4.5) -> list[list[Point]]:
    """The two strokes of a cross around a point."""
    return [[(x - r, y - r), (x + r, y + r)], [(x - r, y + r), (x + r, y - r)]]


def ring(x: float, y: float, r: float = 4.0) -> list[Point]:
    """A circle around a point, near enough."""
    return [(x + r * math.cos(i * math.pi / 6), y + r * math.sin(i * math.pi / 6)) for i in range(12)]


def _compound(paths: Sequence[Sequence[Point]], *, closed: bool = False, **look: Any) -> PathPatch:
    """Many strokes or polygons as one path, which is far quicker to draw and shorter to write than many."""
    from matplotlib.patches import PathPatch
    from matplotlib.path import Path as Strokes

    paths = [[*path, path[0]] for path in paths] if closed else paths
    corners = [corner for path in paths for corner in path]
    codes = [c for path in paths for c in (Strokes.MOVETO, *[Strokes.LINETO] * (len(path) - 1))]
    return PathPatch(Strokes(corners, codes), **look)


def _tidy(svg: str, title: str, alt: str) -> str:
    """Make matplotlib's file one element that can stand in a page beside others."""
    svg = svg[svg.index("<svg") :].strip()
    svg = re.sub(r"<defs>\s*<style type=\"text/css\">.*?</style>\s*</defs>", "", svg, count=1, flags=re.S)
    svg = re.sub(r'<g id="[\w.]+_\d+"/>', "", svg)
    svg = re.sub(r'<g id="[\w.]+_\d+">', "<g>", svg)
    svg = re.sub(r'font-family: [^;"]+; ?', "", svg)
    svg = re.sub(r' transform="rotate\(-?0 [^"]*\)"', "", svg)
    svg = re.sub(r"\s*<!--.*?-->", "", svg, flags=re.S)
    svg = re.sub(r"\s*\n\s*", "\n", svg)
    # A hundredth of a point is enough, and cuts off what differs between processors.
    svg = re.sub(r"<[^>]*>", lambda tag: re.sub(r"(\.\d\d)\d+", r"\1", tag[0]), svg)
    mark = sha256(svg.encode()).hexdigest()[:8]
    families = ", ".join(f"'{name}'" if " " in name else name for name in FONTS)
    head, body = svg.split(">", 1)
    return (
        f'{head} role="img" aria-labelledby="title-{mark} words-{mark}" style="font-family: {families}; '
        f'stroke-linejoin: round; max-width: 100%; height: auto">\n<title id="title-{mark}">{escape(title)}'
        f'</title>\n<desc id="words-{mark}">{escape(alt)}</desc>{body}'
    )
