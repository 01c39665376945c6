"""Plain comparisons of numbers that a lesson has worked out: bars, lines and grids with their names."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING

from ..wording import listing
from .canvas import (
    LEFT,
    RIGHT,
    Canvas,
    Figure,
    beside,
    box,
    drawing,
    names_axis,
    number,
    room_beside,
    round_numbers,
)
from .style import BLACK, BLUE, GREY, LINES, MARGIN, PALE, RED, fit, tint, widest

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@drawing()
def bars(
    values: Mapping[str, float],
    *,
    unit: str = "",
    title: str = "Compared",
    highlight: Collection[str] = (),
) -> Figure:
    """Draw one bar for each name, its value written beside it; `highlight` names bars to stand out.

    `unit` is a symbol of one or two letters, or a word in the plural, which loses its s for one. Raises
    ValueError for a negative value, or one that is no number.
    """
    for name, value in values.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"a bar needs a number of at least 0; {name!r} has {value!r}")
    one = unit.removesuffix("s") if len(unit) > 2 else unit
    said = [f"{number(value)} {one if value == 1 else unit}".strip() for value in values.values()]
    left = MARGIN + widest(values, 20, 220, bold=bool(highlight)) + 8
    canvas = Canvas(title, 20.0 * max(1, len(values)) + 14)
    axes = canvas.axes(left, canvas.top + 4, RIGHT - widest(said, 20, 200) - 8, canvas.height - 10)
    drawn = axes.barh(range(len(values)), [*values.values()], 0.7, color=BLUE)
    for name, bar in zip(values, drawn, strict=True):
        if name in highlight:
            bar.set(facecolor=RED, edgecolor=BLACK)
    axes.bar_label(drawn, [fit(words, 200) for words in said], padding=5)
    names_axis(axes, range(len(values)), values, 220, bold=highlight)
    axes.set_ylim(max(1, len(values)) - 0.5, -0.5)
    axes.set_xlim(0, max(values.values(), default=0) or 1)
    axes.xaxis.set_visible(False)
    axes.spines.bottom.set_visible(False)
    alt = listing([f"{name} {words}" for name, words in zip(values, said, strict=True)], max_items=25)
    return canvas.picture(f"{title}: {alt or 'no values'}.")


@drawing()
def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str = "",
    y: str = "",
    title: str = "Compared",
    mark: float | None = None,
) -> Figure:
    """Draw each series of (x, y) points as a line, with its name beside it.

    `x` and `y` name the axes, with units. `mark` is an x at which every line's value is pointed out.
    Raises ValueError for more than six series.
    """
    if len(series) > len(LINES):
        raise ValueError(f"at most {len(LINES)} lines can be told apart, not {len(series)}")
    marked = {name: value for name, line in series.items() if (value := _at(line, mark)) is not None}
    marks = f"At {number(mark)} {x}".rstrip() if mark is not None and marked else ""
    marks += f": {', '.join(f'{name} {number(value)}' for name, value in marked.items())}." if marks else ""
    names = {name: fit(name, 170, middle=True) for name in series}
    canvas = Canvas(title, 212, subtitle=marks)
    axes = canvas.axes(LEFT + 8, canvas.top + 4, room_beside(names.values()), canvas.height - 38)
    drawn = []
    for name, line in series.items():
        if not line:
            continue
        drawn += axes.plot(*([value[i] for value in line] for i in (0, 1)), linewidth=1.8, label=names[name])
        if mark is not None and name in marked:
            axes.plot(mark, marked[name], "o", color=drawn[-1].get_color(), clip_on=False)
    if mark is not None:
        axes.axvline(mark, color=PALE, linewidth=1, linestyle="solid", zorder=0.5)
    points = [point for line in series.values() for point in line]
    _limits(axes, points or [(0.0, 0.0)])
    axes.set(xlabel=fit(x, 300), ylabel=fit(y, 150))
    beside(axes, drawn)
    ends = [f"{name} goes from {number(p[0][1])} to {number(p[-1][1])}" for name, p in series.items() if p]
    span = f", for {x or 'x'} from {number(min(points)[0])} to {number(max(points)[0])}" if points else ""
    return canvas.picture(f"{title}: {listing(ends, max_items=6) or 'no values'}{span}. {marks}")


@drawing()
def grid(
    rows: Mapping[str, Mapping[str, float | str]],
    *,
    title: str = "Compared",
    highlight: Collection[tuple[str, str]] = (),
    bold: Collection[str] = (),
    notes: Sequence[str] = (),
) -> Figure:
    """Draw a row of values for each name; all rows have the columns of the first.

    `highlight` names cells to stand out, as (row, column), and `bold` rows. Raises ValueError without rows.
    """
    if not rows:
        raise ValueError("a grid needs at least one row")
    columns = [*next(iter(rows.values()))]
    canvas = Canvas(title, 19.0 * (len(rows) + 1) + 8, notes=notes)
    left = MARGIN + widest(rows, 40, 190, bold=True) + 10
    wanted = [widest([column], 20, 90) + 12 for column in columns]
    ends = [*accumulate(((RIGHT - left) * each / sum(wanted) for each in wanted), initial=left)]
    for column, (start, end) in zip(columns, pairwise(ends), strict=True):
        words = fit(column, end - start - 2)
        canvas.text((start + end) / 2, canvas.top + 9, words, colour=GREY, align="center")
    for line, (name, values) in enumerate(rows.items(), 1):
        top = canvas.top + 19 * line
        canvas.text(MARGIN, top + 9, fit(name, left - MARGIN - 6, bold=True), bold=name in bold)
        for column, (start, end) in zip(columns, pairwise(ends), strict=True):
            marked = (name, column) in highlight
            if marked:
                canvas.shapes([box(start + 2, top + 1, end - 2, top + 18)], tint(RED, 0.35), RED)
            words = fit(_said(values[column]), end - start - 4)
            canvas.text((start + end) / 2, top + 9, words, align="center", bold=marked)
    canvas.lines([[(MARGIN, canvas.top + 19), (RIGHT, canvas.top + 19)]], PALE)
    said = [f"{name}: {_listed(name, values, highlight)}" for name, values in rows.items()]
    return canvas.picture(f"{title}. {'; '.join(said)}. {' '.join(notes)}")


def _said(value: float | str) -> str:
    return value if isinstance(value, str) else number(value)


def _listed(name: str, values: Mapping[str, float | str], highlight: Collection[tuple[str, str]]) -> str:
    signs = {column: " (marked)" for row, column in highlight if row == name}
    return ", ".join(f"{column} {_said(value)}{signs.get(column, '')}" for column, value in values.items())


def _limits(axes: Axes, points: Sequence[tuple[float, float]]) -> None:
    """All points, and zero; whole numbers below when all are whole."""
    xs, ys = [x for x, _ in points], [y for _, y in points]
    low, high = min(0.0, *ys), max(0.0, *ys) * 1.05
    axes.set_ylim(low, high if high > low else low + 1)
    axes.set_xlim(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1)
    whole = all(x == int(x) for x in xs)
    axes.xaxis.set_major_locator(round_numbers(9, whole=whole))
    axes.yaxis.set_major_locator(round_numbers(6))


def _at(line: Sequence[tuple[float, float]], mark: float | None) -> float | None:
    """The value of a line at `mark`, between its points too; None outside of them."""
    if mark is None:
        return None
    for (x0, y0), (x1, y1) in zip(line, line[1:] or line, strict=False):
        if x0 <= mark <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (mark - x0) / (x1 - x0)
    return None
