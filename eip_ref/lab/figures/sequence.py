"""The message sequence diagram: who sent what to whom, in which order. Time runs down."""

from __future__ import annotations

import itertools
import math
from collections.abc import Collection

from ...trace import Kind, Trace
from ..wording import seconds
from .ink import BLUE, GREY, MARGIN, PAPER, RED, WIDTH, Point, box, fit, width_of
from .marks import ARROWS, MARKS, heads
from .rows import Bar, Row, Steps
from .sheet import Figure, Sheet, drawing
from .steps import steps
from .telling import alt_of, clock, notes_on

_TOP = 32.0  # of the lifelines' boxes
_HEAD = 26.0  # height of a box
_STEP = 17.0  # from one row to the next at the same instant
_LATER = 4.0  # more, when time has passed
_SILENCE = 18.0  # more, when much time has passed
_RIGHT = WIDTH - MARGIN


def sequence(
    trace: Trace,
    *,
    messages: Collection[str] | None = None,
    start: float = 0.0,
    end: float = math.inf,
    max_events: int = 40,
    title: str | None = None,
) -> Figure:
    """Draw who sent what to whom: at most about `max_events` rows, and a note of what was cut.

    `messages` are ids; `start` and `end` are seconds. Time is not to scale: a long silence is cut
    short and says how long it was.
    """
    title = title or "Message by message"
    chosen = steps(trace, messages=messages, start=start, end=end, max_rows=max_events)
    with drawing():
        sheet = _Page(chosen, title).draw()
        return sheet.picture(alt_of(chosen, title), title)


class _Page:
    """Where everything is on the sheet."""

    def __init__(self, chosen: Steps, title: str) -> None:
        self.steps = chosen
        self.clock = clock(chosen.rows)
        self.left = MARGIN + max([28.0, *(width_of(self.clock(row.at)) for row in chosen.rows)]) + 8
        self.silences: list[tuple[float, str]] = []  # height, words
        self.ys = self._heights()
        self.bottom = (self.ys[-1] if self.ys else _TOP + _HEAD + 10) + 12
        self.gap = (_RIGHT - self.left) / max(1, len(chosen.lifelines))
        self.xs = {name: self.left + self.gap * (i + 0.5) for i, name in enumerate(chosen.lifelines)}
        notes = notes_on(chosen)
        self.sheet = Sheet(self.bottom + 14 * len(notes) + (10 if notes else 4), title)
        for number, note in enumerate(notes):
            y = self.bottom + 10 + 14 * number
            self.sheet.text(MARGIN, y, fit(note, WIDTH - 2 * MARGIN), colour=GREY)

    def _heights(self) -> list[float]:
        ys: list[float] = []
        y, rows = _TOP + _HEAD + 2, self.steps.rows
        gaps = sorted(b.at - a.at for a, b in itertools.pairwise(rows) if b.at > a.at)
        usual = gaps[len(gaps) // 2] if gaps else 0.0
        for before, row in zip([None, *rows], rows, strict=False):
            passed = 0.0 if before is None else row.at - before.at
            if passed > max(12 * usual, 1e-9) and len(gaps) > 2:
                self.silences.append((y + _SILENCE / 2 + 3, f"{seconds(passed)} pass"))
                y += _SILENCE
            y += (12.0 if row.form == "blank" else _STEP) + (_LATER if passed > 0 else 0.0)
            ys.append(y)
        return ys

    def draw(self) -> Sheet:
        """Draw the lifelines, then the bars, then the rows in front of them."""
        self._lifelines()
        self._boxes()
        self._bars([bar for bar in self.steps.bars if not bar.down])
        self._times()
        for form in ARROWS:
            self._arrows(form)
        for kind in dict.fromkeys(row.form for row in self.steps.rows if row.form not in ARROWS):
            self._marks(kind)
        return self.sheet

    def _lifelines(self) -> None:
        lives, downs = [], []
        for name, x in self.xs.items():
            y = _TOP + _HEAD
            for bar in (b for b in self.steps.bars if b.down and b.who == name):
                lives.append([(x, y), (x, self.ys[bar.start])])
                y = self.bottom if bar.end is None else self.ys[bar.end]
                downs.append([(x, self.ys[bar.start]), (x, y)])
            lives.append([(x, y), (x, self.bottom)])
        self.sheet.lines(lives, "#9ca3af", 1.0, z=1)
        self.sheet.lines(downs, RED, 1.2, (1.0, 3.0), z=1)

    def _boxes(self) -> None:
        half = min(self.gap / 2 - 3, 62.0)
        kinds: dict[str, list[list[Point]]] = {"#f3f4f6": [], "#e3f0fa": [], "#fdeadd": []}
        for name, x in self.xs.items():
            channel = name in self.steps.channels
            fill = "#fdeadd" if name in self.steps.dead_letters else "#e3f0fa" if channel else "#f3f4f6"
            kinds[fill].append(box(x - half, _TOP, x + half, _TOP + _HEAD, 8 if channel else 0))
            lines = _two_lines(name, 2 * half - 6)
            for number, line in enumerate(lines):
                y = _TOP + _HEAD / 2 + (number - (len(lines) - 1) / 2) * 11
                self.sheet.text(x, y, line, align="center", bold=True)
        for (fill, shapes), edge in zip(kinds.items(), (GREY, BLUE, RED), strict=True):
            self.sheet.shapes(shapes, fill, edge, z=3)

    def _bars(self, bars: list[Bar]) -> None:
        shapes = []
        for bar in bars:
            x, start = self.xs[bar.who], self.ys[bar.start]
            end = self.bottom if bar.end is None else self.ys[bar.end]
            shapes.append(box(x - 3.5, start, x + 3.5, max(end, start + 4)))
        self.sheet.shapes(shapes, "#e5e7eb", GREY, z=1.5)

    def _times(self) -> None:
        last = None
        for row, y in zip(self.steps.rows, self.ys, strict=True):
            if row.at != last:
                self.sheet.text(self.left - 8, y, self.clock(row.at), colour=GREY, align="right")
            last = row.at
        middle = (self.left + _RIGHT) / 2
        for y, words in self.silences:
            self.sheet.shapes([box(self.left, y - 6, _RIGHT, y + 6)], PAPER, z=1.8)
            half = width_of(words) / 2 + 8
            edges = [[(self.left, y), (middle - half, y)], [(middle + half, y), (_RIGHT, y)]]
            self.sheet.lines(edges, "#9ca3af", 1.0, (1.0, 3.0), z=2)
            self.sheet.text(middle, y, words, colour=GREY, align="center", italic=True)

    def _arrows(self, form: str) -> None:
        colour, width, dash = ARROWS[form]
        rows = [(row, y) for row, y in zip(self.steps.rows, self.ys, strict=True) if row.form == form]
        ends = [(row, *self._ends(row, y)) for row, y in rows]
        self.sheet.lines([[a, b] for _, a, b in ends], colour, width, dash, z=3)
        filled, open_ = heads(ends)
        self.sheet.shapes(filled, colour, z=4)
        self.sheet.lines(open_, colour, 1.4, z=4)
        for row, a, b in ends:
            self._label(row, (self._label_place(row, a, b), a[1] - 6.5), align="center")

    def _ends(self, row: Row, y: float) -> tuple[Point, Point]:
        later = y if row.end is None else self.ys[row.end]
        source, target = self.xs.get(row.source), self.xs.get(row.target)
        if source is None:
            source = (target or self.left + 36) - 36
        if target is None or row.form == "lost":
            way = target - source if target is not None else self.gap
            target = source + 0.55 * (way if source + way < _RIGHT else -way)
        return (source, y), (target, later)

    def _label_place(self, row: Row, a: Point, b: Point) -> float:
        """The middle of a short arrow; on a long one, beside the participant or the dead letters."""
        if abs(b[0] - a[0]) < 1.5 * self.gap:
            return (a[0] + b[0]) / 2
        near, far = (a[0], b[0]) if row.source not in self.steps.channels else (b[0], a[0])
        return near + math.copysign(self.gap / 2, far - near)

    def _marks(self, kind: str) -> None:
        mark = MARKS.get(kind, MARKS["other"])
        rows = [(row, y) for row, y in zip(self.steps.rows, self.ys, strict=True) if row.form == kind]
        rows = [(row, y) for row, y in rows if kind != "blank"]
        points = [(self.xs[row.source], y) for row, y in rows if row.source]
        self.sheet.shapes([mark.outline(*p) for p in points if mark.outline], mark.fill, mark.colour, z=4)
        strokes = [stroke for p in points if mark.strokes for stroke in mark.strokes(*p)]
        self.sheet.lines(strokes, mark.colour, 2.0, z=4)
        for row, y in rows:
            x = self.xs.get(row.source, self.left - 9)
            right = x + 9 + width_of(row.label) < _RIGHT or x < (self.left + _RIGHT) / 2
            self._label(row, (x + (9 if right else -9), y), align="left" if right else "right")

    def _label(self, row: Row, at: Point, *, align: str) -> None:
        """Write a label on white, moved so that all of it is on the sheet."""
        x, y = at
        part = {"left": 0.0, "center": 0.5, "right": 1.0}[align]
        room = {"left": _RIGHT - x, "center": _RIGHT - self.left, "right": x - self.left}[align]
        words = fit(row.label, room)
        wide = width_of(words)
        x = min(max(x - part * wide, self.left), _RIGHT - wide)
        self.sheet.shapes([box(x - 1, y - 5.5, x + wide + 1, y + 4.5)], PAPER, z=2.5)
        colour = ARROWS[row.form][0] if row.form in ARROWS else MARKS.get(row.form, MARKS["other"]).colour
        self.sheet.text(x, y, words, colour=colour, italic=row.form == Kind.NOTE)


def _two_lines(name: str, room: float) -> list[str]:
    """A name on one line, or broken at a separator near its middle."""
    if width_of(name, bold=True) <= room:
        return [name]
    breaks = [i + 1 for i, c in enumerate(name[:-1]) if c in " -_./→"] or [len(name) // 2]
    at = min(breaks, key=lambda i: abs(i - len(name) / 2))
    return [fit(name[:at], room, bold=True), fit(name[at:], room, bold=True, middle=True)]
