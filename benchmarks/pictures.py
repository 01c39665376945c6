"""Pictures of benchmarks: bars of ratios beside an aim, and lines over growing sizes."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from benchmarks.core import AIM, Line
from benchmarks.growth import Point
from eip_ref.lab.figures.ink import (
    BLUE,
    DASHES,
    GREEN,
    GREY,
    INK,
    MARGIN,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    WIDTH,
    box,
    fit,
    width_of,
)
from eip_ref.lab.figures.over_time import label_ends
from eip_ref.lab.figures.sheet import Figure, Sheet, drawing

_STYLES = list(zip(DASHES, "osD^vP", (BLUE, RED, GREEN, INK, ORANGE, PURPLE), strict=True))


# Bars


def ratios(title: str, lines: Sequence[Line]) -> Figure:
    """Draw one bar for each comparison: how many times as long it takes as what it stands beside."""
    row, top = 34.0, 66.0
    with drawing():
        sheet = Sheet(top + row * len(lines) + 44, title, "How many times as long as what is named below it")
        names = min(280.0, max(width_of(words) for line in lines for words in (line.what, _beside(line))))
        left, right = MARGIN + names + 12, WIDTH - MARGIN - 44
        low, high = _span([line.ratio for line in lines])

        def x(ratio: float) -> float:
            return left + (right - left) * math.log(ratio / low) / math.log(high / low)

        bottom = top + row * len(lines)
        axes = sheet.axes(left, top - 8, right, bottom)
        _ratio_axis(axes, low, high)
        for number, line in enumerate(lines):
            y = top + row * number + row / 2 - 6
            sheet.text(left - 10, y - 6, fit(line.what, names), align="right")
            sheet.text(left - 10, y + 6, fit(_beside(line), names), align="right", colour=GREY)
            _bar(sheet, y, line, x)
        sheet.lines([[(x(1), top - 8), (x(1), bottom)]], INK, 1.0, z=3)
        sheet.lines([[(x(AIM), top - 8), (x(AIM), bottom)]], GREY, 1.4, DASHES["dashed"], z=1.5)
        sheet.text(x(1), top - 16, "as long", align="center", colour=GREY)
        sheet.text(x(AIM), top - 16, f"aim: {AIM:g} ×", colour=GREY)
        told = "; ".join(f"{line.what}: {line.ratio:.2f} × {line.beside}" for line in lines)
        return sheet.picture(f"{title}. {told}. The aim is at most {AIM:g} ×.", title)


def _bar(sheet: Sheet, y: float, line: Line, x: Callable[[float], float]) -> None:
    """Blue within the aim, hatched beyond it, grey where there is none."""
    left, right = sorted((x(1), x(line.ratio)))
    area, far = box(left, y - 7, max(right, left + 1), y + 7), line.aim is not None and line.ratio > line.aim
    colour = RED if far else BLUE if line.aim else GREY
    sheet.shapes([area], PAPER if far else colour, colour, hatch="////" if far else None)
    words, start = (
        f"{line.ratio:.1f} ×" if line.ratio >= 0.95 else f"{line.ratio:.2f} ×",
        max(right, x(1)) + 5,
    )
    sheet.shapes([box(start - 1, y - 6, start + width_of(words, bold=far) + 2, y + 6)], PAPER, z=4)
    sheet.text(start, y, words, bold=far, colour=RED if far else INK)


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
    axes.set_xlabel("times as long (logarithmic)", fontsize=9, color=GREY, labelpad=2)


def _round_numbers(low: float, high: float) -> list[float]:
    """1, 2, 3, 4, 5, 7, 10, 20 …; over longer stretches 1, 2, 5, 10, 20 …, and then 1, 10, 100 …"""
    stretch = high / low
    bases = (1, 2, 3, 4, 5, 7) if stretch < 10 else (1, 2, 5) if stretch < 1000 else (1,)
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [
        round(n, 9) for n in (base * 10.0**power for power in powers for base in bases) if low <= n <= high
    ]


# Lines


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
    low, high = min(values) / 1.6, max(values) * 1.6
    with drawing():
        sheet = Sheet(270, title, subtitle)
        left, top, bottom = 52.0, 50.0, 228.0
        right = WIDTH - MARGIN - 16 - max(width_of(text) for text in words.values())
        axes = sheet.axes(left, top, right, bottom)
        labels = []
        for (name, points), (sign, marker, colour) in zip(found.items(), _STYLES, strict=False):
            x, y = [point.count for point in points], [value(point) for point in points]
            line = axes.plot(x, y, color=colour, marker=marker, markersize=5, linewidth=1.6, clip_on=False)[0]
            if dash := DASHES[sign]:
                line.set_dashes(dash)
            place = bottom - (bottom - top) * math.log(y[-1] / low) / math.log(high / low)
            labels.append((place, words[name], colour))
        _sizes_axis(axes, [point.count for points in found.values() for point in points])
        _logarithmic(axes, low, high, unit)
        label_ends(sheet, right, labels)
        told = "; ".join(
            f"{name}: " + ", ".join(f"{value(point):.3g} {unit} for {point.count:,}" for point in points)
            for name, points in found.items()
        )
        return sheet.picture(f"{title}. {told}.", title)


def _sizes_axis(axes: Axes, counts: list[int]) -> None:
    axes.set_xscale("log")
    axes.set_xlim(min(counts) / 1.15, max(counts) * 1.15 if len(set(counts)) > 1 else min(counts) * 10)
    axes.xaxis.set_major_locator(FixedLocator(sorted(set(counts))))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.set_xlabel("messages (logarithmic)", fontsize=9, color=GREY, labelpad=2)


def _logarithmic(axes: Axes, low: float, high: float, unit: str) -> None:
    axes.set_yscale("log")
    axes.set_ylim(low, high)
    axes.yaxis.set_major_locator(FixedLocator(_round_numbers(low, high)))
    axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.set_ylabel(f"{unit} (logarithmic)", fontsize=9, color=GREY)
