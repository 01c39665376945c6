"""Plain comparisons of numbers that a lesson has worked out: bars and lines with direct labels."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

from matplotlib.ticker import MaxNLocator

from ..wording import listing
from .ink import (
    BLUE,
    DASHES,
    GREY,
    INK,
    LINES,
    MARGIN,
    PALE,
    RED,
    WIDTH,
    box,
    fit,
    width_of,
)
from .over_time import label_ends
from .sheet import Figure, Sheet, drawing


def bars(
    values: Mapping[str, float],
    *,
    unit: str = "",
    title: str = "Compared",
    highlight: Collection[str] = (),
) -> Figure:
    """Draw one bar for each name, its value written beside it; `highlight` names bars to stand out.

    Raises ValueError for a negative value, or one that is no number.
    """
    for name, value in values.items():
        if not 0 <= value < float("inf"):
            raise ValueError(f"a bar needs a number of at least 0; {name!r} has {value!r}")
    said = {name: f"{number(value)} {unit}".strip() for name, value in values.items()}
    with drawing():
        sheet = Sheet(40 + 20 * max(1, len(values)), title)
        names = min(220.0, max([20.0, *(width_of(name) for name in values)]))
        left = MARGIN + names + 8
        right = WIDTH - MARGIN - max([20.0, *(width_of(words) for words in said.values())]) - 8
        most = max(values.values(), default=0) or 1
        shapes: dict[bool, list[list[tuple[float, float]]]] = {True: [], False: []}
        for row, (name, value) in enumerate(values.items()):
            y, end = 42 + 20 * row, left + (right - left) * value / most
            sheet.text(left - 8, y, fit(name, names, middle=True), align="right", bold=name in highlight)
            shapes[name in highlight].append(box(left, y - 7, max(end, left + 0.5), y + 7))
            sheet.text(end + 5, y, said[name], bold=name in highlight)
        sheet.shapes(shapes[False], BLUE)
        sheet.shapes(shapes[True], RED, INK)
        sheet.lines([[(left, 32), (left, 32 + 20 * len(values))]], GREY)
        alt = listing([f"{name} {words}" for name, words in said.items()], max_items=25)
        return sheet.picture(f"{title}: {alt or 'no values'}.", title)


def lines(
    series: Mapping[str, Sequence[tuple[float, float]]],
    *,
    x: str = "",
    y: str = "",
    title: str = "Compared",
    mark: float | None = None,
) -> Figure:
    """Draw each series of (x, y) points as a line with its name at its end.

    `x` and `y` name the axes, with units. `mark` is an x at which every line's value is pointed out.
    Raises ValueError for more than six series.
    """
    if len(series) > len(LINES):
        raise ValueError(f"at most {len(LINES)} lines can be told apart, not {len(series)}")
    points = [point for line in series.values() for point in line]
    marked = {name: value for name, line in series.items() if (value := _at(line, mark)) is not None}
    with drawing():
        sheet = Sheet(250, title, _said_at(x, mark, marked))
        _draw_lines(sheet, series, points, (x, y), mark, marked)
        ends = [
            f"{name} goes from {number(p[0][1])} to {number(p[-1][1])}" for name, p in series.items() if p
        ]
        span = f", for {x or 'x'} from {number(min(points)[0])} to {number(max(points)[0])}" if points else ""
        said = f"{title}: {listing(ends, max_items=6) or 'no values'}{span}. {_said_at(x, mark, marked)}"
        return sheet.picture(said.strip(), title)


def _draw_lines(
    sheet: Sheet,
    series: Mapping[str, Sequence[tuple[float, float]]],
    points: list[tuple[float, float]],
    names: tuple[str, str],
    mark: float | None,
    marked: Mapping[str, float],
) -> None:
    right = WIDTH - MARGIN - min(170.0, max([40.0, *(width_of(name) for name in series)])) - 14
    left, top, bottom = 58.0, 44.0, sheet.height - 38
    axes = sheet.axes(left, top, right, bottom)
    low, high = min([0.0, *(p[1] for p in points)]), max((p[1] for p in points), default=0) * 1.05
    high = high if high > low else low + 1
    labels = []
    for (name, line), (sign, colour) in zip(series.items(), LINES, strict=False):
        drawn = axes.plot([p[0] for p in line], [p[1] for p in line], color=colour, linewidth=1.8)[0]
        if dash := DASHES[sign]:
            drawn.set_dashes(dash)
        if name in marked and mark is not None:
            axes.plot([mark], [marked[name]], "o", color=colour, markersize=5, clip_on=False)
        if line:
            place = bottom - (bottom - top) * (line[-1][1] - low) / (high - low)
            labels.append((place, fit(name, 170, middle=True), colour))
    if mark is not None:
        axes.axvline(mark, color=PALE, linewidth=1, zorder=0.5)
    xs = [p[0] for p in points] or [0.0, 1.0]
    axes.set_xlim(min(xs), max(xs) if max(xs) > min(xs) else min(xs) + 1)
    axes.set_ylim(low, high)
    whole = all(x == int(x) for x in xs)
    axes.xaxis.set_major_locator(MaxNLocator(9, integer=whole, steps=[1, 2, 5, 10]))
    axes.yaxis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    axes.set_xlabel(names[0], fontsize=9, color=GREY, labelpad=2)
    axes.set_ylabel(names[1], fontsize=9, color=GREY)
    label_ends(sheet, right, labels)


def _at(line: Sequence[tuple[float, float]], mark: float | None) -> float | None:
    """The value of a line at `mark`, between its points too; None outside of them."""
    if mark is None:
        return None
    for (x0, y0), (x1, y1) in zip(line, line[1:] or line, strict=False):
        if x0 <= mark <= x1:
            return y0 if x1 == x0 else y0 + (y1 - y0) * (mark - x0) / (x1 - x0)
    return None


def _said_at(x: str, mark: float | None, marked: Mapping[str, float]) -> str:
    if mark is None or not marked:
        return ""
    return (
        f"At {number(mark)} {x}: ".replace(" :", ":")
        + ", ".join(f"{n} {number(v)}" for n, v in marked.items())
        + "."
    )


def number(value: float) -> str:
    """'1,234', '0.25', '12.5'."""
    return f"{value:,.0f}" if abs(value) >= 100 or value == int(value) else f"{value:.3g}"
