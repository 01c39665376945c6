"""The chooser of lesson 12a: what was measured, as a picture, and its demo."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

import anyio.lowlevel

from ...lab import simulate
from ...lab.demo import Demo, demo, slider, toggle
from ...lab.figures import Figure, grid
from ...trace import Kind, Trace, record
from .evening import Reading, an_evening, measure
from .pages import PAGES, PageReading, an_evening_of_pages, measure_pages
from .ways import WAYS

__all__ = ["evenings", "evenings_of_pages", "table", "the_chooser_demo"]

Needs = Mapping[str, float]
Choose = Callable[[Needs, Mapping[str, Reading]], tuple[list[str], dict[str, dict[str, float]]]]


def evenings(*ways: str) -> dict[str, Reading]:
    """The readings of one evening on each of these ways, or on all of them."""
    return {way: measure(simulate(an_evening, WAYS[way], seed=1)) for way in ways or WAYS}


def evenings_of_pages() -> dict[str, PageReading]:
    """The readings of one evening with each kind of page."""
    return {
        name: measure_pages(simulate(an_evening_of_pages, pages, seed=1)) for name, pages in PAGES.items()
    }


def table(
    measured: Mapping[str, NamedTuple], title: str, *, marked: Iterable[tuple[str, str]] = ()
) -> Figure:
    """The readings as a picture. `marked` are cells to stand out, as (way, column)."""
    rows = {way: _named(reading) for way, reading in measured.items()}
    cells = {(way, column.replace("_", " ")) for way, column in marked}
    return grid(rows, title=title, highlight=cells)


def _named(reading: Any) -> dict[str, float]:
    return {name.replace("_", " "): value for name, value in reading._asdict().items()}


# Playing

LONGEST = 30.0  #: seconds; as a need it asks for nothing
WISHES = {  # the highest value that a wish accepts, and its label
    "lost": (0, "Nothing is lost"),
    "twice": (0, "Nothing is done twice"),
    "half": (0, "Never half done"),
    "hurt": (0, "Nobody feels the outage"),
    "missed": (0, "A newcomer hears all"),
    "places": (1, "The shop knows one place"),
}


def the_chooser_demo(choose: Choose, measured: Mapping[str, Reading]) -> Demo:
    """Needs as controls. `choose(needs, measured)` gives the ways that fit, and what rejects the others."""

    async def scenario(answer: float, lag: float, **wishes: bool) -> None:
        await anyio.lowlevel.checkpoint()
        times = {name: bound for name, bound in (("answer", answer), ("lag", lag)) if bound < LONGEST}
        _, rejected = choose(times | {name: WISHES[name][0] for name, on in wishes.items() if on}, measured)
        for way in measured:
            broken = [name.replace("_", " ") for name in rejected.get(way, ())]
            record(Kind.NOTE, way, who="", text=f"broken: {', '.join(broken) or 'nothing'}", broken=broken)

    def picture(trace: Trace) -> Figure:
        notes = trace.filter(Kind.NOTE)
        return grid(
            {way: _named(reading) for way, reading in measured.items()},
            title="Red: what rejects a way. Bold: it fits",
            highlight=[(note.where, column) for note in notes for column in note.data["broken"]],
            bold=_fitting(trace),
        )

    exact, safe = {"lag": 0.0, "half": True}, {"lost": True, "twice": True}
    return demo(
        scenario,
        {
            "answer": slider(0.0, LONGEST, 0.5, value=LONGEST, label="Answer within (s)"),
            "lag": slider(0.0, LONGEST, 0.5, value=LONGEST, label="All done after (s)"),
            **{name: toggle(label=label) for name, (_, label) in WISHES.items()},
        },
        presets={
            "A sensor": {"answer": 0.0},
            "Whole or nothing": exact,
            "Unseen outage": {"hurt": True, **safe},
            "Newcomers": {"missed": True, "lost": True},
            "A quick final answer": {"answer": 5.5, "lag": 0.0, "twice": True},
            "All of it": {**exact, "answer": 2.0, "hurt": True, **safe},
        },
        summary=in_words,
        figures=[picture],
        player=False,
        seed=None,
        title="Requirements in, recommendation out",
    )


def _fitting(trace: Trace) -> list[str]:
    return [note.where for note in trace.filter(Kind.NOTE) if not note.data["broken"]]


def in_words(trace: Trace) -> str:
    fitting = _fitting(trace)
    if len(fitting) == len(WAYS):
        return f"All {len(WAYS)} ways fit: nothing is required yet."
    return f"Fits: {', '.join(fitting) or 'none. Something must be given up'}."
