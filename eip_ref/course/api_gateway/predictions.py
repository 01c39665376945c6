"""The predictions of lessons 11a and 11b · API gateway and aggregator."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Trace
from .._proof import Proved
from .parcels import handed_out
from .tail import slow_pages, the_cost

__all__ = ["PREDICTIONS"]


def _nearest(number: float, *options: int) -> int:
    return min(options, key=lambda option: abs(option - number))


def _more_calls(trace: Trace) -> float:
    calls, extra = the_cost(trace)
    return 100 * extra / (calls - extra)


def _in_memory(deaths: Mapping[str, Trace]) -> list[str]:
    return [words.partition(": ")[2] for words in handed_out(deaths["in memory"])]


PREDICTIONS = (
    Proved(
        name="api_gateway/one_second",
        question="Each call may take 1 s, and so may the page. Payment hangs. What does Ann get?",
        run="one_second",
        reading=lambda days: days["payment hangs"].result,
        claims={
            "The page without the payment, after 1 s": "1.00 s  order, user",
            "An error and no page, after 1 s": "1.00 s  no page: TimeoutError",
            "The whole page, after 30 s": "30.00 s  order, user, payment",
        },
        answer="An error and no page, after 1 s",
        why=(
            "The payment's second and the page's second are over at the same instant. The branch gives up, "
            "and so does the page, with order and user in its hands."
        ),
    ),
    Proved(
        name="api_gateway/twenty",
        question=(
            "A page asks 20 services at once, and each of them is slow once in twenty times. How many pages "
            "are slow?"
        ),
        run="by_parts",
        reading=lambda by_parts: _nearest(slow_pages(by_parts[20]), 5, 20, 65, 100),
        claims={
            "About 5 in 100, as with one service": 5,
            "About 20 in 100": 20,
            "About 65 in 100": 65,
            "All of them": 100,
        },
        answer="About 65 in 100",
        why=(
            "A page is quick only when all twenty are quick: 0.95 to the power of 20 is 0.36. The other 64 "
            "in 100 have one slow part or more."
        ),
    ),
    Proved(
        name="api_gateway/hedge_cost",
        question=(
            "20 parts again. A call that has no answer after 0.2 s is made a second time. How many more "
            "calls are that?"
        ),
        run="hedged",
        reading=lambda hedged: _nearest(_more_calls(hedged), 5, 65, 100),
        claims={
            "5 % more": 5,
            "65 % more, one for each page that was slow": 65,
            "100 % more: each call is made twice": 100,
        },
        answer="5 % more",
        why=(
            "Two pages of three were slow, and only 5 calls in 100. A second call is made for a slow call, "
            "and not for a slow page."
        ),
    ),
    Proved(
        name="api_gateway/twice",
        question="Parcels 2, 1, 2 again and 3 come to the desk that counts. What does the van take?",
        run="counted",
        reading=lambda counted: counted[0],
        claims={
            "Parcels 1, 2 and 3": [["parcel 1", "parcel 2", "parcel 3"]],
            "Parcels 2, 1 and 2": [["parcel 2", "parcel 1", "parcel 2"]],
            "Nothing": [],
        },
        answer="Parcels 2, 1 and 2",
        why="Three messages have come. To the desk they are three parcels.",
    ),
    Proved(
        name="api_gateway/dies",
        question=(
            "The aggregator keeps its groups in memory, and dies with two of three parcels. What does "
            "the van get?"
        ),
        run="deaths",
        reading=_in_memory,
        claims={
            "All three: the queue sends the first two again": ["parcel 1, parcel 2, parcel 3 (complete)"],
            "Parcels 1 and 2, and later parcel 3": ["parcel 1, parcel 2 (timed out)", "parcel 3 (timed out)"],
            "Only parcel 3": ["parcel 3 (timed out)"],
            "Nothing": [],
        },
        answer="Only parcel 3",
        why=(
            "The worker acknowledged parcels 1 and 2 when the aggregator had taken them, so the queue has "
            "forgotten them. They died with the process. Parcel 3 begins a new group, whose time runs out."
        ),
    ),
)
