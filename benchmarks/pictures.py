"""Pictures of benchmarks: bars of ratios beside an aim, and lines over growing sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.core import AIM, Line
from benchmarks.growth import Point
from eip_ref.lab.figures.canvas import LEFT, RIGHT, Canvas, Figure, beside, drawing, room_beside
from eip_ref.lab.figures.style import BLACK, BLUE, DASHED, GREY, MARGIN, PAPER, RED, fit, widest

_ROW = 34.0
_MARKERS = "osD^vP"


# Bars


@drawing()
def ratios(title: str, lines: Sequence[Line]) -> Figure:
    """Draw one bar for each comparison: how many times as long it takes as what it stands beside."""
    canvas = Canvas(
        title, _ROW * len(lines) + 60, subtitle="How many times as long as what is named below it"
    )
    names = widest((words for line in lines for words in (line.what, _beside(line))), 40, 280)
    left, top = MARGIN + names + 12, canvas.top + 16
    axes = canvas.axes(left, top, RIGHT - 40, canvas.height - 44)
    _ratio_axis(axes, *_span([line.ratio for line in lines]))
    axes.set_ylim(len(lines), 0)
    for number, line in enumerate(lines):
        y = top + _ROW * number + 11
        canvas.text(left - 10, y - 6, fit(line.what, names), align="right")
        canvas.text(left - 10, y + 6, fit(_beside(line), names), align="right", colour=GREY)
        _bar(axes, number + 11 / _ROW, line)
    axes.axvline(1, color=BLACK, linewidth=1, linestyle="solid")
    axes.axvline(AIM, color=GREY, linewidth=1.4, linestyle=DASHED, zorder=0.5)
    for at, words, align in ((1.0, "as long", "center"), (AIM, f"aim: {AIM:g} ×", "left")):
        axes.text(at, -5 / _ROW, words, ha=align, color=GREY)
    told = "; ".join(f"{line.what}: {line.ratio:.2f} × {line.beside}" for line in lines)
    return canvas.picture(f"{title}. {told}. The aim is at most {AIM:g} ×.")


def _bar(axes: Axes, y: float, line: Line) -> None:
    """Draw blue within the aim, hatched beyond it, grey where there is none."""
    left, right = sorted((1.0, line.ratio))
    far = line.aim is not None and line.ratio > line.aim
    colour = RED if far else BLUE if line.aim else GREY
    fill, hatch = (PAPER, "////") if far else (colour, None)
    axes.barh(y, right - left, 14 / _ROW, left, facecolor=fill, edgecolor=colour, hatch=hatch)
    words = f"{line.ratio:.1f} ×" if line.ratio >= 0.95 else f"{line.ratio:.2f} ×"
    axes.annotate(
        words,
        (right, y),
        (5, 0),
        textcoords="offset points",
        va="center",
        weight="bold" if far else "normal",
        color=RED if far else BLACK,
        bbox={"facecolor": PAPER, "edgecolor": "none", "pad": 1},
    )


def _beside(line: Line) -> str:
    return f"beside {line.beside}"


def _span(values: Sequence[float]) -> tuple[float, float]:
    """The ends of the axis: a little more than all that is on it."""
    return min([0.8, *(0.85 * value for value in values)]), max(
        [1.4 * AIM, *(1.1 * value for value in values)]
    )


def _ratio_axis(axes: Axes, low: float, high: float) -> None:
    axes.set_xscale("log")
    axes.set_xlim(low, high)
    axes.xaxis.set_major_locator(FixedLocator(_round_numbers(low, high)))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.yaxis.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.set_xlabel("times as long (logarithmic)")


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 3, 4, 5, 7, 10, 20 …; over longer stretches 1, 2, 5, 10, 20 …, and then 1, 10, 100 …"""
    stretch = high / low
    bases = (1, 2, 3, 4, 5, 7) if stretch < 10 else (1, 2, 5) if stretch < 1000 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        round(n, 9) for n in (base * 10.0**power for power in powers for base in bases) if low <= n <= high
    ]


# Lines


@drawing()
def by_size(
    title: str,
    subtitle: str,
    unit: str,
    found: dict[str, list[Point]],
    value: Callable[[Point], float],
    aim: float,
) -> Figure:
    """Draw a line for each name over the number of messages, both on logarithmic axes.

    Beside each stands how many times as much the last is as the first, and whether that is beyond the aim.
    """
    grew = {name: value(points[-1]) / value(points[0]) for name, points in found.items()}
    words = {name: f"{name} – {by:.2f} ×{f' > {aim:g} ×' if by > aim else ''}" for name, by in grew.items()}
    values = [value(point) for points in found.values() for point in points]
    canvas = Canvas(title, 228, subtitle=subtitle)
    axes = canvas.axes(LEFT, canvas.top + 6, room_beside(words.values()), canvas.height - 42)
    drawn = []
    for (name, points), marker in zip(found.items(), _MARKERS, strict=False):
        x, y = [point.count for point in points], [value(point) for point in points]
        drawn += axes.plot(x, y, marker=marker, label=words[name], clip_on=False)
    _sizes_axis(axes, [point.count for points in found.values() for point in points])
    _logarithmic(axes, min(values) / 1.6, max(values) * 1.6, unit)
    beside(axes, drawn)
    told = "; ".join(
        f"{name}: " + ", ".join(f"{value(point):.3g} {unit} for {point.count:,}" for point in points)
        for name, points in found.items()
    )
    return canvas.picture(f"{title}. {told}.")


def _sizes_axis(axes: Axes, counts: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(counts) / 1.15, max(counts) * 1.15 if len(set(counts)) > 1 else min(counts) * 10)
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(counts))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("messages (logarithmic)")


def _logarithmic(axes: Axes, low: float, high: float, unit: str) -> None:
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(_round_numbers(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel(f"{unit} (logarithmic)")
