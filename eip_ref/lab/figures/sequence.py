"""The message sequence diagram: who sent what to whom, in which order. Time runs down."""

from __future__ import annotations

import itertools
import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from ...trace import Kind, Trace
from ..wording import listing, one_line, plural, seconds
from .canvas import TOP, Canvas, Figure, Point, box, cross, drawing, ring
from .rows import Bar, Diagram, Row, read
from .style import BLACK, BLUE, GREEN, GREY, MARGIN, ORANGE, PAPER, PURPLE, RED, WIDTH, Dash, fit, width_of

_HEAD = 26.0  # height of a lifeline's box
NAMELESS = "(no name)"  #: who acts outside `acting`
_STEP = 17.0  # from one row to the next at the same instant
_LATER = 4.0  # more, when time has passed
_SILENCE = 18.0  # more, when much time has passed
_BOXES = TOP + 6.0
_RIGHT = WIDTH - MARGIN
_DOTTED: Dash = (0.0, (1.0, 3.0))
_SHORT: Dash = (0.0, (2.5, 1.5))
_LONG: Dash = (0.0, (7.0, 2.0))
ARROWS: dict[str, tuple[str, float, Dash]] = {  # form -> colour, width, dash
    "send": (BLUE, 1.3, "solid"),
    "open": (BLUE, 1.3, (0.0, (1.5, 2.0))),
    "refused": (RED, 1.3, "solid"),
    "lost": (RED, 1.3, "solid"),
    "deliver": (BLACK, 1.3, "solid"),
    "again": (ORANGE, 1.5, _LONG),
    "ack": (GREEN, 1.2, _SHORT),
    "nack": (RED, 1.2, _SHORT),
    "extend": (GREY, 1.2, _SHORT),
    "stale": (PURPLE, 1.4, _SHORT),
    "dead": (RED, 1.8, "solid"),
    "replay": (BLUE, 1.5, _LONG),
}


@drawing()
def sequence(
    trace: Trace,
    *,
    messages: Collection[str] | None = None,
    start: float = 0.0,
    end: float = math.inf,
    lifelines: Sequence[str] | None = None,
    max_events: int = 40,
    title: str | None = None,
) -> Figure:
    """Draw who sent what to whom: at most about `max_events` rows, and a note of what was cut.

    `messages` are ids; `start` and `end` are seconds; `lifelines` are the participants and channels to
    draw, from left to right. Without them, where there is no room for all, those that do most are drawn.
    Time is not to scale: a long silence is cut short and says how long it was.
    """
    title = title or "Message by message"
    diagram = read(trace, messages=messages, start=start, end=end, lifelines=lifelines, max_rows=max_events)
    return _Page(diagram, title).draw().picture(_alt_text(diagram, title))


class _Page:
    """The places of everything on the canvas."""

    def __init__(self, diagram: Diagram, title: str) -> None:
        self.diagram = diagram
        self.clock = _clock(diagram.rows)
        self.left = MARGIN + max([28.0, *(width_of(self.clock(row.at)) for row in diagram.rows)]) + 8
        self.silences: list[tuple[float, str]] = []  # height, words
        self.ys = self._heights()
        self.bottom = (self.ys[-1] if self.ys else _BOXES + _HEAD + 10) + 12
        self.gap = (_RIGHT - self.left) / max(1, len(diagram.lifelines))
        self.xs = {name: self.left + self.gap * (i + 0.5) for i, name in enumerate(diagram.lifelines)}
        notes = _notes(diagram)
        self.canvas = Canvas(title, self.bottom + (6 if notes else 4) - TOP, notes=notes)

    def _heights(self) -> list[float]:
        ys: list[float] = []
        y, rows = _BOXES + _HEAD + 2, self.diagram.rows
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

    def draw(self) -> Canvas:
        """Draw the lifelines, then the bars, then the rows in front of them."""
        self._lifelines()
        self._boxes()
        self._bars([bar for bar in self.diagram.bars if not bar.down])
        self._times()
        for form in ARROWS:
            self._arrows(form)
        for kind in dict.fromkeys(row.form for row in self.diagram.rows if row.form not in ARROWS):
            self._marks(kind)
        return self.canvas

    def _lifelines(self) -> None:
        alive, down = [], []
        for name, x in self.xs.items():
            y = _BOXES + _HEAD
            for bar in (b for b in self.diagram.bars if b.down and b.who == name):
                alive.append([(x, y), (x, self.ys[bar.start])])
                y = self.bottom if bar.end is None else self.ys[bar.end]
                down.append([(x, self.ys[bar.start]), (x, y)])
            alive.append([(x, y), (x, self.bottom)])
        self.canvas.lines(alive, "#9ca3af", z=1)
        self.canvas.lines(down, RED, 1.2, _DOTTED, z=1)

    def _boxes(self) -> None:
        half = min(self.gap / 2 - 3, 62.0)
        kinds: dict[str, list[list[Point]]] = {"#f3f4f6": [], "#e3f0fa": [], "#fdeadd": []}
        for name, x in self.xs.items():
            channel = name in self.diagram.channels
            fill = "#fdeadd" if name in self.diagram.dead_letters else "#e3f0fa" if channel else "#f3f4f6"
            kinds[fill].append(box(x - half, _BOXES, x + half, _BOXES + _HEAD, 8 if channel else 0))
            lines = _two_lines(name or NAMELESS, 2 * half - 6)
            for number, line in enumerate(lines):
                y = _BOXES + _HEAD / 2 + (number - (len(lines) - 1) / 2) * 11
                self.canvas.text(x, y, line, align="center", bold=True)
        for (fill, shapes), edge in zip(kinds.items(), (GREY, BLUE, RED), strict=True):
            self.canvas.shapes(shapes, fill, edge, z=3)

    def _bars(self, bars: list[Bar]) -> None:
        shapes = []
        for bar in bars:
            x, start = self.xs[bar.who], self.ys[bar.start]
            end = self.bottom if bar.end is None else self.ys[bar.end]
            shapes.append(box(x - 3.5, start, x + 3.5, max(end, start + 4)))
        self.canvas.shapes(shapes, "#e5e7eb", GREY, z=1.5)

    def _times(self) -> None:
        last = None
        for row, y in zip(self.diagram.rows, self.ys, strict=True):
            if row.at != last:
                self.canvas.text(self.left - 8, y, self.clock(row.at), colour=GREY, align="right")
            last = row.at
        middle = (self.left + _RIGHT) / 2
        for y, words in self.silences:
            self.canvas.shapes([box(self.left, y - 6, _RIGHT, y + 6)], PAPER, z=1.8)
            half = width_of(words) / 2 + 8
            edges = [[(self.left, y), (middle - half, y)], [(middle + half, y), (_RIGHT, y)]]
            self.canvas.lines(edges, "#9ca3af", 1.0, _DOTTED, z=2)
            self.canvas.text(middle, y, words, colour=GREY, align="center", italic=True)

    def _arrows(self, form: str) -> None:
        colour, width, dash = ARROWS[form]
        rows = [(row, y) for row, y in zip(self.diagram.rows, self.ys, strict=True) if row.form == form]
        ends = [(row, *self._ends(row, y)) for row, y in rows]
        self.canvas.lines([[a, b] for _, a, b in ends], colour, width, dash, z=3)
        filled, open_ = _heads(ends)
        self.canvas.shapes(filled, colour, z=4)
        self.canvas.lines(open_, colour, 1.4, z=4)
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
        near, far = (a[0], b[0]) if row.source not in self.diagram.channels else (b[0], a[0])
        return near + math.copysign(self.gap / 2, far - near)

    def _marks(self, kind: str) -> None:
        mark = _MARKS.get(kind, _MARKS["other"])
        rows = [(row, y) for row, y in zip(self.diagram.rows, self.ys, strict=True) if row.form == kind]
        rows = [(row, y) for row, y in rows if kind != "blank"]
        points = [(self.xs[row.source], y) for row, y in rows if row.source]
        self.canvas.shapes([mark.outline(*p) for p in points if mark.outline], mark.fill, mark.colour, z=4)
        strokes = [stroke for p in points if mark.strokes for stroke in mark.strokes(*p)]
        self.canvas.lines(strokes, mark.colour, 2.0, z=4)
        for row, y in rows:
            x = self.xs.get(row.source, self.left - 9)
            right = x + 9 + width_of(row.label) < _RIGHT or x < (self.left + _RIGHT) / 2
            self._label(row, (x + (9 if right else -9), y), align="left" if right else "right")

    def _label(self, row: Row, at: Point, *, align: str) -> None:
        """Write a label on white, moved so that all of it is on the canvas."""
        x, y = at
        part = {"left": 0.0, "center": 0.5, "right": 1.0}[align]
        room = {"left": _RIGHT - x, "center": _RIGHT - self.left, "right": x - self.left}[align]
        words = fit(row.label, room)
        wide = width_of(words)
        x = min(max(x - part * wide, self.left), _RIGHT - wide)
        self.canvas.shapes([box(x - 1, y - 5.5, x + wide + 1, y + 4.5)], PAPER, z=2.5)
        colour = ARROWS[row.form][0] if row.form in ARROWS else _MARKS.get(row.form, _MARKS["other"]).colour
        self.canvas.text(x, y, words, colour=colour, italic=row.form == Kind.NOTE)


def _two_lines(name: str, room: float) -> list[str]:
    """A name on one line, or broken at a separator near its middle."""
    name = one_line(name)
    if width_of(name, bold=True) <= room:
        return [name]
    breaks = [i + 1 for i, c in enumerate(name[:-1]) if c in " -_./→"] or [len(name) // 2]
    at = min(breaks, key=lambda i: abs(i - len(name) / 2))
    return [fit(name[:at], room, bold=True), fit(name[at:], room, bold=True, middle=True)]


# Signs: each differs in shape, so that colour is never the only one


@dataclass(frozen=True, slots=True)
class _Mark:
    """A sign on a lifeline: an outline, or strokes, around a point."""

    colour: str
    fill: str = PAPER
    outline: Callable[[float, float], list[Point]] | None = None
    strokes: Callable[[float, float], list[list[Point]]] | None = None


def _diamond(x: float, y: float) -> list[Point]:
    return [(x - 5, y), (x, y - 5), (x + 5, y), (x, y + 5)]


def _triangle(x: float, y: float) -> list[Point]:
    return [(x - 4, y - 4), (x + 4, y - 4), (x, y + 4)]


def _square(x: float, y: float) -> list[Point]:
    return box(x - 3.5, y - 3.5, x + 3.5, y + 3.5)


def _hourglass(x: float, y: float) -> list[Point]:
    return [(x - 4, y - 5), (x + 4, y - 5), (x - 4, y + 5), (x + 4, y + 5)]


_MARKS = {
    "effect": _Mark(GREEN, GREEN, outline=_diamond),
    "duplicate": _Mark(PURPLE, outline=_diamond),
    "expired": _Mark(ORANGE, ORANGE, outline=_hourglass),
    "crashed": _Mark(RED, strokes=lambda x, y: cross(x, y, 5.5)),
    "restarted": _Mark(GREEN, outline=_triangle),
    "failed": _Mark(RED, strokes=cross),
    "dropped": _Mark(RED, strokes=cross),
    "returned": _Mark(BLUE, outline=ring),
    "accepted": _Mark(BLUE, BLUE, outline=ring),
    "cancelled": _Mark(GREY, outline=_square),
    "closed": _Mark(BLACK, BLACK, outline=_square),
    "other": _Mark(GREY, GREY, outline=ring),
}


def _heads(arrows: Iterable[tuple[Row, Point, Point]]) -> tuple[list[list[Point]], list[list[Point]]]:
    """The filled and the drawn parts at the ends of arrows of one form."""
    filled: list[list[Point]] = []
    drawn: list[list[Point]] = []
    for row, start, tip in arrows:
        if row.form == "lost":
            drawn += cross(*tip)
        elif row.form in ("stale", "refused"):
            drawn.append(_turned(tip, start, [(-3, -5), (-3, 5)]))
        elif row.form == "open":
            filled.append(ring(*tip))
        elif row.form in ("ack", "nack", "extend"):
            drawn.append(_turned(tip, start, [(-6, -3.5), (0, 0), (-6, 3.5)]))
        elif row.form == "dead":
            filled.append(_turned(tip, start, [(-8, -4), (0, -4), (0, 4), (-8, 4)]))
        else:
            filled.append(_turned(tip, start, [(-7, -3.5), (0, 0), (-7, 3.5)]))
            if row.form == "again":
                filled.append(_turned(tip, start, [(-14, -3.5), (-7, 0), (-14, 3.5)]))
    return filled, drawn


def _turned(tip: Point, start: Point, points: list[Point]) -> list[Point]:
    """Points beside the tip of an arrow, given as along and across it."""
    angle = math.atan2(tip[1] - start[1], tip[0] - start[0])
    cos, sin = math.cos(angle), math.sin(angle)
    return [(tip[0] + x * cos - y * sin, tip[1] + x * sin + y * cos) for x, y in points]


# In words


def _clock(rows: Sequence[Row]) -> Callable[[float], str]:
    """The way in which times are written in the left margin: seconds, or hours, minutes and seconds."""
    if not rows or rows[-1].at < 1000:
        digits = max([1, *(len(f"{row.at:.3f}".rstrip("0").partition(".")[2]) for row in rows)])
        return lambda at: f"{at:.{digits}f} s"
    digits = 2 if any(row.at % 1 for row in rows) else 0
    width = 5 if digits else 2
    return lambda at: f"{int(at // 3600)}:{int(at % 3600 // 60):02}:{at % 60:0{width}.{digits}f}"


def _notes(diagram: Diagram) -> list[str]:
    """All that the diagram does not show, in words."""
    notes = []
    if diagram.shown < diagram.total and not diagram.left_out:
        cut = f"Cut here: {diagram.shown:,} of {plural(diagram.total, 'event')} shown"
        notes.append(f"{cut}, until {seconds(diagram.until)} of {seconds(diagram.last)}.")
    elif diagram.shown < diagram.total:
        notes.append(f"{diagram.shown:,} of {plural(diagram.total, 'event')} shown.")
    if diagram.left_out:
        why = "Not chosen:" if diagram.chosen else "No room for"
        notes.append(f"{why} {listing(diagram.left_out)}.")
    if diagram.total == 0:
        notes.append("Nothing happened.")
    return notes


def _alt_text(diagram: Diagram, title: str) -> str:
    """The diagram in words: who is there, what happened how often, what went wrong."""
    if not diagram.shown:
        return f"{title}. Message sequence diagram without any event."
    forms = Counter(row.form for row in diagram.rows)
    counts = [
        (forms["send"] + forms["open"] + forms["refused"] + forms["lost"], "sent"),
        (forms["lost"], "lost on the way"),
        (forms["refused"], "refused"),
        (forms["deliver"] + forms["again"], "delivered"),
        (forms["again"], "of these delivered again"),
        (forms["ack"], "acknowledged"),
        (forms["nack"], "handed back"),
        (forms[Kind.EXPIRED], "taken back because the lease was over"),
        (forms["stale"], "stale"),
        (forms["dead"], "moved to the dead letters"),
        (forms[Kind.DROPPED], "dropped"),
    ]
    said = ", ".join(f"{number} {what}" for number, what in counts if number)
    crashes = [f"{r.label} at {seconds(r.at)}" for r in diagram.rows if r.form == Kind.CRASHED]
    who = listing([name or NAMELESS for name in diagram.lifelines], max_items=10)
    when = f"from {seconds(diagram.rows[0].at)} to {seconds(diagram.until)}"
    what = f"{title}. Message sequence diagram of {who}, {when}: {said or plural(diagram.shown, 'event')}."
    return " ".join([what, *(f"{crash}." for crash in crashes), *_notes(diagram)])
