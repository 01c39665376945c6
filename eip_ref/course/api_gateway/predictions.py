"""The predictions of lessons 11a and 11b · API gateway and aggregator."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Trace
from .._proof import Proved
from .bounds import quick_answers
from .noon import in_time
from .parcels import handed_out
from .stampede import seen_by_tabs
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
    Proved(
        name="api_gateway/leader",
        question=(
            "The door shares calls by user and path. The tab that asked first is closed after 0.1 s. What "
            "becomes of Ann's other 24 tabs?"
        ),
        run="left",
        reading=lambda left: seen_by_tabs(left["by user"]),
        claims={
            "One of them asks anew, and all get the basket": "5 calls; 99 own basket",
            "They get an error": "4 calls; 75 own basket",
            "They wait for ever": "4 calls; 75 own basket, 24 still waiting",
        },
        answer="They wait for ever",
        why=(
            "The cancelled call leaves the function at `await read()`. Nobody sets the event, and the flight "
            "stays in the dictionary: whoever asks later waits, too."
        ),
    ),
    Proved(
        name="api_gateway/noon",
        question=(
            "The service can answer 40 requests a second, and about 50 come. There is no limit. How many of "
            "100 requests are answered within 2 s?"
        ),
        run="by_limit",
        reading=lambda by_limit: _nearest(in_time(by_limit[None]), 80, 60, 40),
        claims={
            "About 80: only a fifth is too much": 80,
            "About 60: the line costs some more": 60,
            "About 40: the others come to a line that is too long": 40,
        },
        answer="About 40: the others come to a line that is too long",
        why=(
            "Each second ten more wait. When the line is 2 s long, whoever comes waits longer than 2 s, and "
            "the service works on what nobody waits for any more."
        ),
    ),
    Proved(
        name="api_gateway/layers",
        question=(
            "The service is down. Each of three layers tries three times. How many calls does one customer "
            "cause at the service?"
        ),
        run="calls",
        reading=lambda calls: calls[3, 3, 3] / 100,
        claims={"3": 3, "9: three layers, three tries each": 9, "27": 27, "81": 81},
        answer="27",
        why="Each of 3 tries of the first layer is 3 tries of the second, and each of those 3 of the third.",
    ),
    Proved(
        name="api_gateway/storm",
        question=(
            "The service has room for twice as many calls. Each call that takes longer than 0.3 s is made a "
            "second time. How many of 100 customers have their answer within 2 s?"
        ),
        run="storms",
        reading=lambda storms: _nearest(quick_answers(storms[1.0]), 100, 98, 25),
        claims={
            "All of them: the second call helps the slow ones": 100,
            "98, as before": 98,
            "About 25": 25,
        },
        answer="About 25",
        why=(
            "The loser of a pair still takes a place. When a few slow calls fill some places, others wait "
            "longer than 0.3 s, and are made twice as well. Twice the calls are all that the service can do."
        ),
    ),
)
