"""The pictures of the class overview, drawn like those of traces."""

from __future__ import annotations

from collections.abc import Sequence

from ...lab.figures.canvas import LEFT, RIGHT, Canvas, Figure, area, drawing, names_axis, round_numbers
from ...lab.figures.style import BLACK, BLUE, GREEN, GREY, MARGIN, PALE, PAPER, RED, widest
from ...lab.wording import listing, plural
from .class_record import ExerciseFacts

__all__ = ["outcomes", "spread"]

PARTS = (
    ("passed", GREEN, GREEN, None),
    ("wrong", PAPER, RED, "////"),
    ("not begun", PALE, GREY, None),
)  #: of a bar: what it counts, how it is filled, its edge, its hatch
_ROW = 21.0
_NAMES = 215.0  # room for titles
_COLUMNS = 12  # of the histogram, at most about


@drawing()
def outcomes(facts: Sequence[ExerciseFacts], title: str) -> Figure:
    """A bar for each exercise: how many passed, were wrong, and had not begun."""
    names, rows = [each.exercise.title for each in facts], range(len(facts))
    canvas = Canvas(
        title,
        _ROW * len(facts) + 16,
        key=[area(words, facecolor=fill, edgecolor=edge, hatch=hatch) for words, fill, edge, hatch in PARTS],
    )
    left = MARGIN + widest(names, 40, _NAMES) + 8
    axes = canvas.axes(left, canvas.top + 6, RIGHT - 30, canvas.height - 10)
    ends = [0] * len(facts)
    for counts, (_, fill, edge, hatch) in zip(_counts(facts), PARTS, strict=True):
        bars = axes.barh(rows, counts, 0.7, ends, facecolor=fill, edgecolor=edge, hatch=hatch)
        plate = {"facecolor": PAPER, "edgecolor": "none", "pad": 1} if hatch else None
        colour = PAPER if fill == GREEN else BLACK
        words = [str(count) if count else "" for count in counts]
        axes.bar_label(bars, words, label_type="center", weight="bold", color=colour, bbox=plate)
        ends = [end + count for end, count in zip(ends, counts, strict=True)]
    names_axis(axes, rows, names, _NAMES, bold=())
    axes.set(xlim=(0, max([1, *ends])), ylim=(len(facts) - 0.5, -0.5))
    axes.xaxis.set_visible(False)
    axes.spines.bottom.set_visible(False)
    for row, each in enumerate(facts):
        share, y = f"{100 * each.share:.0f} %", canvas.top + 6 + _ROW * (row + 0.5)
        canvas.text(RIGHT + 4, y, share, align="right", bold=True)
    said = [
        f"{each.exercise.title}: {each.passed} passed, {each.wrong} wrong, {each.not_begun} not begun"
        for each in facts
    ]
    return canvas.picture(f"{title}. {'; '.join(said)}.")


def _counts(facts: Sequence[ExerciseFacts]) -> tuple[list[int], list[int], list[int]]:
    return (
        [each.passed for each in facts],
        [each.wrong for each in facts],
        [each.not_begun for each in facts],
    )


@drawing()
def spread(points: Sequence[int], most: int, title: str) -> Figure:
    """A column for each range of points: how many learners have so many."""
    wide = max(1, -(-(most + 1) // _COLUMNS))
    ranges = [(low, min(low + wide - 1, most)) for low in range(0, most + 1, wide)]
    counts = [sum(low <= each <= high for each in points) for low, high in ranges]
    names = [f"{low}–{high}" if high > low else f"{low}" for low, high in ranges]
    canvas = Canvas(title, 168, subtitle="Learners by points in all")
    axes = canvas.axes(LEFT, canvas.top + 6, RIGHT, canvas.height - 24)
    bars = axes.bar(range(len(names)), counts, 0.8, color=BLUE)
    axes.bar_label(bars, [str(count) if count else "" for count in counts], padding=3, weight="bold")
    axes.set_xticks(range(len(names)), names)
    axes.set(xlim=(-0.5, len(names) - 0.5), ylim=(0, max([1, *counts]) * 1.15))
    axes.yaxis.set_major_locator(round_numbers(4, whole=True))
    axes.tick_params("x", length=0)
    said = [
        f"{plural(count, 'learner')} with {name} points"
        for count, name in zip(counts, names, strict=True)
        if count
    ]
    return canvas.picture(f"{title}. {listing(said, max_items=20) or 'Nobody'}.")
