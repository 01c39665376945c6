"""The predictions of lessons 10a and 10b · Circuit breaker."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Kind, Trace
from .._proof import Proved
from .cold import answered_after
from .layers import reached
from .pool import slow_pages
from .prices import answers
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


def _harmed(trace: Trace) -> int | str:
    """The number of callers who had no answer, "many" above 100."""
    harmed = sum(event.data["effect"] != "answered" for event in trace.filter(Kind.EFFECT))
    return harmed if harmed <= 100 else "many"


def _times_opened(trace: Trace) -> str:
    opened = sum(change.data["now"] == "open" for change in trace.filter(Kind.STATE))
    return ("never", "once")[opened] if opened < 2 else "often"


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
        question="Five calls fail, a second apart. When does the breaker open?",
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
        run="one",
        reading=_one_for_three,
        claims={
            "It opens for the cards, and the others go on": (True, False),
            "It opens, and all three are refused": (True, True),
            "It stays closed": (False, False),
        },
        answer="It stays closed",
        why="After each failure of cards come two successes, of stock and mail. Never do two fail in a row.",
    ),
    Proved(
        name="circuit_breaker/order",
        question="How many calls reach the card service, with the breaker inside and outside of the retry?",
        run="layers",
        reading=lambda layers: (reached(layers["inside"]), reached(layers["outside"])),
        claims={
            "Inside 5, outside 15": (5, 15),
            "Inside 15, outside 5": (15, 5),
            "15 in both cases": (15, 15),
        },
        answer="Inside 5, outside 15",
        why=(
            "The breaker opens at its fifth failure. Inside each of the tries is one; outside three "
            "tries are one failure, so 15 calls are made before it knows as much."
        ),
    ),
    Proved(
        name="circuit_breaker/between",
        question="With the timeout between retry and breaker: when does the breaker open?",
        run="layers",
        reading=lambda layers: reached(layers["between"]) if layers["between"].count(Kind.STATE) else None,
        claims={"At the fifth call, as before": 5, "At the 15th call": 15, "It does not open": None},
        answer="It does not open",
        why=(
            "Inside of a timeout that is over, a call is cancelled. A cancellation says that the caller has "
            "left, and nothing about the service: its verdict is neutral, 150 times."
        ),
    ),
    Proved(
        name="circuit_breaker/cold",
        question="With which of them does the service get up again, so that the callers have their answers?",
        run="returns",
        reading=lambda returns: frozenset(name for name, run in returns.items() if answered_after(run) > 100),
        claims={
            "With each of the three: the outage is over": frozenset(
                {"no breaker", "one probe", "three probes, ten good"}
            ),
            "With one probe and with three: a breaker protects it": frozenset(
                {"one probe", "three probes, ten good"}
            ),
            "Only with three probes and ten good ones": frozenset({"three probes, ten good"}),
        },
        answer="Only with three probes and ten good ones",
        why=(
            "One probe is answered after 2 s, the breaker closes, and 20 callers come at once to a service "
            "that is still cold. With ten good probes, three at a time, it is warm when the others come."
        ),
    ),
    Proved(
        name="circuit_breaker/old_prices",
        question="Of the 79 answers that are not live, how many give a wrong price?",
        run="aged",
        reading=lambda aged: answers(aged[600], "wrong"),
        claims={
            "None: each was the true price when it was kept": 0,
            "57: those from the change on": 57,
            "79: what is not live is wrong": 79,
        },
        answer="57: those from the change on",
        why=(
            "What was true at 9 s is said until the service answers again. From 32 s on it is wrong, "
            "and nothing in the shop can know that."
        ),
    ),
    Proved(
        name="circuit_breaker/hiccup",
        question="Without a breaker 8 callers are harmed: their calls fail. How many are, with the breaker?",
        run="hiccup",
        reading=lambda hiccup: _harmed(hiccup["with a breaker"]),
        claims={
            "5: those who make it open": 5,
            "8: the same, some refused and not failed": 8,
            "More than 100": "many",
        },
        answer="More than 100",
        why=(
            "The hiccup is over after 2 s, and the door stays shut for 30 s. Five calls failed, three were "
            "refused rightly, and 117 in vain."
        ),
    ),
    Proved(
        name="circuit_breaker/healthy",
        question="The breaker opens at three failures in a row. How often does it open?",
        run="healthy",
        reading=lambda healthy: _times_opened(healthy[3]),
        claims={
            "Never: nothing is wrong": "never",
            "Once perhaps: three in a row are one in a thousand": "once",
            "About ten times": "often",
        },
        answer="About ten times",
        why=(
            "0.1 × 0.1 × 0.1 is one in a thousand, and nearly each of the 10,000 calls can be the third. "
            "Each time 120 callers are refused by a door that shut by itself."
        ),
    ),
)
