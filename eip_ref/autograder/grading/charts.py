"""The pictures of the class overview, drawn like those of traces."""

from __future__ import annotations

from collections.abc import Sequence

from ...lab.figures.ink import BLUE, GREEN, GREY, INK, MARGIN, PALE, PAPER, RED, WIDTH, box, fit, width_of
from ...lab.figures.sheet import Figure, Sheet, drawing
from ...lab.wording import listing, plural
from .classbook import ExerciseFacts

__all__ = ["outcomes", "spread"]

PARTS = (
    ("passed", GREEN, GREEN, None),
    ("wrong", PAPER, RED, "////"),
    ("not begun", PALE, GREY, None),
)  #: of a bar: what it counts, how it is filled, its edge
_ROW = 21.0
_TOP = 54.0
_NAMES = 215.0  # room for titles
_COLUMNS = 12  # of the histogram, at most about


def outcomes(facts: Sequence[ExerciseFacts], title: str) -> Figure:
    """A bar for each exercise: how many passed, were wrong, and had not begun."""
    with drawing():
        sheet = Sheet(_TOP + _ROW * len(facts) + 8, title)
        _key(sheet)
        left = MARGIN + _NAMES + 8
        room = WIDTH - MARGIN - 34 - left
        most = max([1, *(each.answers for each in facts)])
        for row, each in enumerate(facts):
            y = _TOP + _ROW * (row + 0.5)
            sheet.text(left - 8, y, fit(each.exercise.title, _NAMES), align="right")
            _stack(sheet, each, left, y, room / most)
            words = f"{100 * each.share:.0f} %"
            sheet.text(WIDTH - MARGIN, y, words, align="right", bold=True)
        said = [
            f"{each.exercise.title}: {each.passed} passed, {each.wrong} wrong, {each.not_begun} not begun"
            for each in facts
        ]
        return sheet.picture(f"{title}. {'; '.join(said)}.", title)


def _key(sheet: Sheet) -> None:
    x = MARGIN
    for words, fill, edge, hatch in PARTS:
        sheet.shapes([box(x, 31, x + 15, 41)], fill, edge, hatch=hatch)
        sheet.text(x + 20, 36, words, colour=GREY)
        x += 36 + width_of(words)


def _stack(sheet: Sheet, each: ExerciseFacts, left: float, y: float, scale: float) -> None:
    at = left
    for count, (_, fill, edge, hatch) in zip((each.passed, each.wrong, each.not_begun), PARTS, strict=True):
        wide = count * scale
        if count:
            sheet.shapes([box(at, y - 7, at + wide, y + 7)], fill, edge, hatch=hatch)
        words = str(count)
        if wide > width_of(words, bold=True) + 8:
            middle = at + wide / 2
            half = width_of(words, bold=True) / 2 + 3
            if hatch:
                sheet.shapes([box(middle - half, y - 5.5, middle + half, y + 5.5)], PAPER, z=3)
            colour = PAPER if fill == GREEN else INK
            sheet.text(middle, y, words, align="center", bold=True, colour=colour)
        at += wide


def spread(points: Sequence[int], most: int, title: str) -> Figure:
    """How many learners have how many points: a column for each range of points."""
    wide = max(1, -(-(most + 1) // _COLUMNS))
    ranges = [(low, min(low + wide - 1, most)) for low in range(0, most + 1, wide)]
    counts = [sum(low <= each <= high for each in points) for low, high in ranges]
    names = [f"{low}–{high}" if high > low else f"{low}" for low, high in ranges]
    with drawing():
        sheet = Sheet(210, title, "Learners by points in all")
        gap = (WIDTH - 2 * MARGIN) / len(ranges)
        tallest = max([1, *counts])
        bottom, height = 180.0, 112.0
        bars = []
        for column, (count, name) in enumerate(zip(counts, names, strict=True)):
            x = MARGIN + gap * (column + 0.5)
            top = bottom - height * count / tallest
            if count:
                bars.append(box(x - 0.4 * gap, top, x + 0.4 * gap, bottom))
                sheet.text(x, top - 8, str(count), align="center", bold=True)
            sheet.text(x, bottom + 11, name, align="center", colour=GREY)
        sheet.shapes(bars, BLUE)
        sheet.lines([[(MARGIN, bottom), (WIDTH - MARGIN, bottom)]], GREY)
        said = [
            f"{plural(count, 'learner')} with {name} points"
            for count, name in zip(counts, names, strict=True)
            if count
        ]
        return sheet.picture(f"{title}. {listing(said, max_items=20) or 'Nobody'}.", title)
