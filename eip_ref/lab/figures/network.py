"""The network: who is linked to whom, and which links carried nothing."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...trace import Kind, Trace
from ..wording import plural
from .canvas import Canvas, Figure, Point, box, cross, drawing, ring, sign
from .style import BLACK, BLUE, DASHED, GREY, PAPER, RED, SOLID, WIDTH, fit, width_of

__all__ = ["ARROW", "network"]

ARROW = " → "  #: a channel with this in its name is a link, as in "shop → billing"
_RADIUS, _TOP = 150.0, 62.0


@drawing()
def network(trace: Trace, *, hub: str = "", title: str = "Who is linked to whom") -> Figure:
    """Draw every link of a trace: participants on a circle, with `hub` in the middle if there is one.

    A link is a channel named "from → to". A participant that closed the receiving end of a link is
    down: it is crossed out. A link from or to it, or in which a message was refused, is drawn dashed.
    """
    links = sorted({event.where for event in trace if ARROW in event.where})
    down = {_ends(event.where)[1] for event in trace if event.kind == Kind.CLOSED and ARROW in event.where}
    refused = {event.where for event in trace if event.kind == Kind.REFUSED}
    broken = {link for link in links if link in refused or down & set(_ends(link))}
    names = sorted({end for link in links for end in _ends(link)})
    places = _places(names, hub)
    key = [
        sign("working link", BLUE, SOLID),
        sign("link that failed", RED, DASHED),
        sign("down", RED, marker="x", markersize=8, markeredgewidth=2),
    ]
    canvas = Canvas(title, 2 * _RADIUS + 62, key=key)
    lines: dict[bool, list[list[Point]]] = {True: [], False: []}
    for link in links:
        start, end = (places[name] for name in _ends(link))
        lines[link in broken].append(_beside(start, end))
    thin = 0.7 if len(links) > 100 else 1.1
    canvas.lines(lines[False], BLUE, thin)
    canvas.lines(lines[True], RED, thin, (0.0, (4.0, 2.0)))
    canvas.shapes([ring(*place, r=5) for place in places.values()], PAPER, BLACK, z=3)
    canvas.lines([arm for name in down if name in places for arm in cross(*places[name], r=7)], RED, 2.2, z=4)
    for name, place in places.items():
        _write(canvas, name, place, hub)
    many = f"{plural(len(names) - (hub in names), 'system')}, {plural(len(links), 'one-way link')}"
    working, broken_down = len(links) - len(broken), ", ".join(sorted(down)) or "nobody"
    return canvas.picture(f"{title}. {many}, {working} of them working. Down: {broken_down}.")


def _ends(link: str) -> tuple[str, str]:
    start, _, end = link.partition(ARROW)
    return start, end


def _places(names: Iterable[str], hub: str) -> dict[str, Point]:
    around = [name for name in names if name != hub]
    centre = (WIDTH / 2, _TOP + _RADIUS + 8)
    places = {hub: centre} if hub else {}
    for number, name in enumerate(around):
        angle = 2 * math.pi * number / len(around) - math.pi / 2
        places[name] = (centre[0] + _RADIUS * math.cos(angle), centre[1] + _RADIUS * math.sin(angle))
    return places


def _beside(start: Point, end: Point, apart: float = 1.6) -> list[Point]:
    """The two directions of a pair lie side by side."""
    length = math.dist(start, end) or 1.0
    x, y = (end[1] - start[1]) / length * apart, (start[0] - end[0]) / length * apart
    return [(start[0] + x, start[1] + y), (end[0] + x, end[1] + y)]


def _write(canvas: Canvas, name: str, place: Point, hub: str) -> None:
    """Write a name outside of the circle; that of the hub below it, on a plate."""
    x, y = place
    if name == hub:
        name = fit(name, 200, bold=True)
        half = width_of(name, bold=True) / 2 + 4
        canvas.shapes([box(x - half, y + 9, x + half, y + 24)], PAPER, GREY, z=4)
        canvas.text(x, y + 16.5, name, align="center", bold=True)
        return
    side = x - WIDTH / 2
    align = "center" if abs(side) < 12 else "left" if side > 0 else "right"
    up = -13 if y < _TOP + _RADIUS else 15
    shift = 0.0 if align == "center" else math.copysign(11, side)
    canvas.text(x + shift, y + (up if align == "center" else 0), fit(name, 110), align=align)
