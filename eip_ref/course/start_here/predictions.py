"""The predictions of lesson 00 · Start here."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

from ...lab import simulate
from ...trace import Trace
from .._proof import Proved
from .spaghetti import lost

__all__ = ["PREDICTIONS"]


def _faster(scenario: Callable[[], Awaitable[Any]]) -> str:
    """The wait for a run, by how many of its seconds pass in one of ours: an hour in a blink is far above."""
    began = time.perf_counter()
    seconds = float(simulate(scenario).result)
    times = seconds / (time.perf_counter() - began)
    return "an hour" if times < 10 else "a minute" if times < 1_000 else "a blink"


def _at_twelve(counted: Mapping[str, list[tuple[int, int]]]) -> int:
    return dict(counted["direct"])[12]


def _lost(failures: Mapping[str, Trace]) -> list[int]:
    return [lost(trace) for trace in failures.values()]


PREDICTIONS = (
    Proved(
        name="start_here/an_hour",
        question="`simulate(an_hour)` runs this program. How long will you wait for it?",
        run="an_hour",
        reading=_faster,
        claims={"An hour": "an hour", "A minute": "a minute", "A blink": "a blink"},
        answer="A blink",
        why=(
            "Nothing happens between two looks, so the clock of `simulate` jumps from one to the next. The "
            "program itself sees a whole hour pass. This is virtual time."
        ),
    ),
    Proved(
        name="start_here/links",
        question=(
            "Four systems that all talk to each other need 12 one-way links. How many do twelve systems need?"
        ),
        run="counted",
        reading=_at_twelve,
        claims={"36: three times as many": 36, "72": 72, "132": 132},
        answer="132",
        why=(
            "Each of 12 systems has a link to each of the 11 others: 12 × 11. Three times the systems, "
            "eleven times the links. With a hub in the middle there are two links per system: 24."
        ),
    ),
    Proved(
        name="start_here/blast_radius",
        question=(
            "Twenty systems. What share of the messages is lost when one system fails and they are wired "
            "directly? When one fails and there is a hub? And when the hub fails?"
        ),
        run="failures",
        reading=_lost,
        claims={
            "5 %, 5 % and 100 %: one of twenty is down": [5, 5, 100],
            "10 %, 10 % and 100 %": [10, 10, 100],
            "5 %, 10 % and 100 %: the hub doubles what a failure costs": [5, 10, 100],
        },
        answer="10 %, 10 % and 100 %",
        why=(
            "A system that is down neither sends nor hears: 2 × 19 of 380 messages, however they are wired. "
            "With the hub down nobody hears anything. A hub has few links and a large blast radius."
        ),
    ),
)
