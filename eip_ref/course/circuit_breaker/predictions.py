"""The predictions of lessons 10a and 10b · Circuit breaker."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Kind, Trace
from .._proof import Proved
from .pool import slow_pages
from .strangers import by_service, refused_of

__all__ = ["PREDICTIONS"]


def _without_slow_pages(remedies: Mapping[str, Trace]) -> frozenset[str]:
    one_at_a_time = ("breaker", "shorter timeout")
    return frozenset(name for name in one_at_a_time if not slow_pages(remedies[name]))


def _failures_until_open(trace: Trace) -> int | None:
    """The number of failures in which the breaker opened, None if it never did."""
    opened = trace.filter(Kind.STATE)
    if not opened:
        return None
    return len(trace.filter(Kind.FAILED, test=lambda event: event.at <= opened[0].at))


def _one_for_three(trace: Trace) -> tuple[bool, bool]:
    """True when the breaker opened; true when somebody well was refused."""
    ends = by_service(trace)
    return trace.count(Kind.STATE) > 0, ends["stock"]["refused"] + ends["mail"]["refused"] > 0


PREDICTIONS = (
    Proved(
        name="circuit_breaker/pages",
        question="Each remedy is tried alone. With which of them does no page take over 2 s?",
        run="remedies",
        reading=_without_slow_pages,
        claims={
            "With the breaker alone": frozenset({"breaker"}),
            "With the shorter timeout alone": frozenset({"shorter timeout"}),
            "With either of the two": frozenset({"breaker", "shorter timeout"}),
        },
        answer="With the shorter timeout alone",
        why=(
            "One payment comes every 1.25 s, and a clerk who gives up after 5 s is soon back: four of ten "
            "wait at a time. With 20 s the breaker hears of its fifth failure when all ten wait."
        ),
    ),
    Proved(
        name="circuit_breaker/five_failures",
        question="Five calls fail, a second apart. When did the breaker open?",
        run="loop",
        reading=_failures_until_open,
        claims={"At the third failure": 3, "At the fifth failure": 5, "Not at all": None},
        answer="Not at all",
        why=(
            "More than five failures are six, and the loop makes five. `MaxRequests` is about the probes, "
            "and has no part in opening."
        ),
    ),
    Proved(
        name="circuit_breaker/at_once",
        question="How many of the 20 calls reach the sick service?",
        run="herd",
        reading=lambda trace: trace.result["failed"],
        claims={
            "One: it fails, and the fuse opens again": 1,
            "Three: the third failure opens the fuse": 3,
            "All of them": 20,
        },
        answer="All of them",
        why="When the last one asks, no other has its answer yet. Nothing has failed since the fuse closed.",
    ),
    Proved(
        name="circuit_breaker/old_news",
        question="How many of the eight customers does `OneProbe` refuse?",
        run="old_news",
        reading=lambda trace: trace.result["refused"],
        claims={
            "None: the probe was good": 0,
            "One: the next probe closes it again": 1,
            "All eight": 8,
        },
        answer="All eight",
        why=(
            "At 13 s three failures come in a row, and the fuse opens until 23 s. That the calls began "
            "before the outage was over, nobody asks."
        ),
    ),
    Proved(
        name="circuit_breaker/bot",
        question="How many of the 120 customers does the breaker refuse?",
        run="bot",
        reading=lambda trace: refused_of(trace, "customer"),
        claims={
            "None: the card service is well": 0,
            "Four: one for each visit of the bot": 4,
            "40: a third of them": 40,
        },
        answer="40: a third of them",
        why=(
            "Ten errors at once are five in a row, whoever made them. Each visit of the bot opens the "
            "breaker for 10 s, and in each of these seconds a customer comes."
        ),
    ),
    Proved(
        name="circuit_breaker/one_for_three",
        question="What does this one breaker do?",
        run="together",
        reading=_one_for_three,
        claims={
            "It opens for the cards, and the others go on": (True, False),
            "It opens, and all three are refused": (True, True),
            "It stays closed": (False, False),
        },
        answer="It stays closed",
        why="After each failure of cards come two successes, of stock and mail. Never do two fail in a row.",
    ),
)
