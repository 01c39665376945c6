"""The timeline: what each participant did, to scale. One row each, time from left to right."""

from __future__ import annotations

from collections.abc import Sequence

from ...trace import Kind, Trace
from ..wording import Names, listing
from .ink import (
    BLUE,
    GREEN,
    GREY,
    MARGIN,
    ORANGE,
    PAPER,
    PURPLE,
    RED,
    SIGNS,
    WIDTH,
    Point,
    box,
    cross,
    fit,
    tint,
    width_of,
)
from .lives import MARKED, Life, Span, lives_of, said_of
from .over_time import time_axis
from .rows import by_number
from .sheet import Figure, Sheet, drawing

MOST_ROWS = 20
_MOST_LABELS = 60
_RIGHT = WIDTH - MARGIN - 6


def timeline(trace: Trace, *, title: str | None = None) -> Figure:
    """Draw for each participant when it worked on which message, held leases, and was down.

    Work that overlaps is drawn in lanes. The first twenty participants are drawn; a note says who is not.
    """
    title = title or "Who did what, when"
    lives = lives_of(trace)
    shown = [lives[name] for name in by_number(list(lives))[:MOST_ROWS]]
    hidden = by_number(list(lives))[MOST_ROWS:]
    note = f"Not shown: {listing(hidden)}." if hidden else "" if lives else "Nobody did anything."
    with drawing():
        height = 48 + sum(life.height for life in shown) + 36 + (14 if note else 0)
        sheet = Sheet(height, title)
        _draw(sheet, shown, trace)
        if note:
            sheet.text(MARGIN, height - 10, fit(note, WIDTH - 2 * MARGIN), colour=GREY)
        return sheet.picture(
            " ".join([f"{title}.", *(said_of(life, trace.end) for life in shown), note]).strip(), title
        )


def _draw(sheet: Sheet, shown: Sequence[Life], trace: Trace) -> None:
    names = min(130.0, max([40.0, *(width_of(life.name, bold=True) for life in shown)]))
    left, top, y = MARGIN + names + 10, 46.0, 46.0
    sheet.key(32, *_key(shown))
    page = _Page(sheet, left, (_RIGHT - left) / (trace.end or 1), Names(trace))
    for life in shown:
        sheet.text(
            left - 10,
            y + life.height / 2,
            fit(life.name, names, bold=True, middle=True),
            align="right",
            bold=True,
        )
        page.row(life, y)
        y += life.height
        sheet.lines([[(MARGIN, y), (_RIGHT, y)]], "#e5e7eb", z=1)
    page.finish()
    axes = sheet.axes(left, top, _RIGHT, max(y, top + 10))
    axes.patch.set_visible(False)
    axes.spines["left"].set_visible(False)
    axes.yaxis.set_visible(False)
    time_axis(axes, trace.end, last=True)


def _key(shown: Sequence[Life]) -> list[tuple[str, str, str]]:
    """The signs that occur, explained."""
    signs = {MARKED[Kind(event.kind)] for life in shown for event in life.signs}
    entries = [
        (any(life.work for life in shown), ("bar", ORANGE, "works")),
        (any(life.leases for life in shown), ("line", GREY, "holds a lease")),
        (("diamond", GREEN) in signs, ("diamond", GREEN, "effect")),
        (("triangle", BLUE) in signs, ("triangle", BLUE, "sends")),
        (("ring", PURPLE) in signs, ("ring", PURPLE, "stale or duplicate")),
        (("cross", RED) in signs, ("cross", RED, "fails or crashes")),
        (any(life.down for life in shown), ("hatched", RED, "is down")),
    ]
    return [entry for occurs, entry in entries if occurs]


class _Page:
    """Collects the shapes of all rows, so that each style is drawn once."""

    def __init__(self, sheet: Sheet, left: float, scale: float, names: Names) -> None:
        self.sheet, self.left, self.scale, self.names = sheet, left, scale, names
        self.work: list[list[Point]] = []
        self.broken: list[list[Point]] = []  # work that did not finish
        self.leases: list[list[Point]] = []
        self.down: list[list[Point]] = []
        self.signs: dict[tuple[str, str], list[Point]] = {}
        self.labels = 0

    def _x(self, at: float) -> float:
        return self.left + at * self.scale

    def row(self, life: Life, top: float) -> None:
        """Place all of one participant."""
        lanes = max(1, life.lanes[0])
        middle = top + 4 + 7.0 * lanes
        for span in life.work:
            self._work(span, top + 4 + 14 * span.lane)
        for span in life.leases:
            y = top + 4 + 14 * lanes + 4 * span.lane + 1
            self.leases.append(
                [(self._x(span.start), y), (max(self._x(span.end), self._x(span.start) + 1), y)]
            )
        for span in life.down:
            self.down.append(box(self._x(span.start), top + 3, self._x(span.end), top + life.height - 3))
        at = {span.message: top + 11 + 14 * span.lane for span in life.work}
        for event in life.signs:
            sign = MARKED[Kind(event.kind)]
            self.signs.setdefault(sign, []).append((self._x(event.at), at.get(event.message, middle)))

    def _work(self, span: Span, top: float) -> None:
        left, right = self._x(span.start), max(self._x(span.end), self._x(span.start) + 1)
        into = self.broken if span.ended in (Kind.CRASHED, Kind.FAILED, Kind.CANCELLED) else self.work
        into.append(box(left, top, right, top + 12))
        words = self.names.label(span.message)
        if right - left > width_of(words) + 16 and self.labels < _MOST_LABELS:
            self.labels += 1
            self.sheet.text(left + 7, top + 6, words)

    def finish(self) -> None:
        """Draw what was collected."""
        self.sheet.shapes(self.down, PAPER, RED, z=1.5, hatch="////")
        self.sheet.lines(self.leases, GREY, 2.0, z=2)
        self.sheet.shapes(self.work, tint(ORANGE, 0.45), PAPER, z=3)
        self.sheet.shapes(self.broken, tint(RED, 0.4), PAPER, z=3)
        size = 4.0 if sum(len(points) for points in self.signs.values()) < 80 else 2.8
        edge = PAPER if size == 4 else "none"
        for (sign, colour), points in self.signs.items():
            if sign == "cross":
                self.sheet.lines([s for p in points for s in cross(*p, size)], colour, 1.8, z=4)
            else:
                self.sheet.shapes([SIGNS[sign](x, y, size) for x, y in points], colour, edge, z=4)
