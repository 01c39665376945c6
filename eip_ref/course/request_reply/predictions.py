"""The predictions of lessons 06a and 06b · Request–reply."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Kind, Trace
from .._proof import Proved
from .killed import ForReal
from .payments import charges
from .storm import answered
from .suppliers import completeness
from .whose import ANOTHERS, NONE

__all__ = ["PREDICTIONS"]


def _got(trace: Trace, what: str) -> int:
    return sum(event.data["effect"] == what for event in trace.filter(Kind.EFFECT))


def _anothers_of_tea_4_on(trace: Trace) -> int:
    heard = {tea: answer for tea, answer in trace.result.items() if int(tea.split()[1]) >= 4}
    return sum(answer != f"price of {tea}" for tea, answer in heard.items())


def _at_ten(by_callers: Mapping[int, Trace]) -> str:
    return (
        "most"
        if _got(by_callers[10], ANOTHERS) > 500
        else "some"
        if _got(by_callers[10], ANOTHERS)
        else "none"
    )


def _wrong_and_missed(trace: Trace) -> tuple[bool, bool]:
    """True when somebody got another's answer; true when more have none than stock was late for."""
    return _got(trace, ANOTHERS) > 0, _got(trace, NONE) > 50


def _timeouts(trace: Trace) -> str:
    return {0: "none", 100: "all"}.get(trace.count(Kind.EFFECT), "about half")


def _heard_and_ledger(ended: Mapping[tuple[str, str], ForReal]) -> tuple[str, bool]:
    ends = [
        end
        for (story, way), end in ended.items()
        if story == "killed_at_work" and not way.startswith("plain")
    ]
    (heard,) = {end.heard.rpartition(" ")[2] for end in ends}
    return heard, all(end.ledger for end in ends)


def _twice(trace: Trace) -> int:
    return sum(times > 1 for times in charges(trace).values())


def _share_twice(trace: Trace) -> str:
    twice = _twice(trace)
    return "none" if twice == 0 else "few" if twice < 5 else "a third" if 25 < twice < 35 else "other"


def _reserved_after(trace: Trace) -> str:
    reserved = trace.filter(Kind.EFFECT)
    return "not" if not reserved else "in time" if reserved[0].at <= 2 else "late"


def _after_the_spike(trace: Trace) -> str:
    share = answered(trace, 60)
    return "nobody" if share < 5 else "all" if share > 95 else "half"


def _what_ends_it(storms: Mapping[str, Trace]) -> frozenset[str]:
    return frozenset(name for name, storm in storms.items() if answered(storm, 60) > 90)


PREDICTIONS = (
    Proved(
        name="request_reply/one_late",
        question="Of the nine questions from tea 4 to tea 12, how many get another tea's price?",
        run="morning",
        reading=_anothers_of_tea_4_on,
        claims={
            "None: the shop gave up on tea 3 and asked anew": 0,
            "One: tea 4 gets the price of tea 3, and then it is in order again": 1,
            "All nine: each gets the one before its own": 9,
        },
        answer="All nine: each gets the one before its own",
        why=(
            "The price of tea 3 comes half a second after the shop gave up, and is the next in the channel. "
            "So tea 4 gets it, the price of tea 4 is then left for tea 5, and so on. Nothing ever takes the "
            "one out that is too many."
        ),
    ),
    Proved(
        name="request_reply/in_turn",
        question=(
            "Nothing is lost and no answer is late. Now ten callers ask at a time. How many of the 1,000 "
            "questions get another's answer?"
        ),
        run="by_callers",
        reading=_at_ten,
        claims={
            "None: nothing is lost, so each gets its own in turn": "none",
            "A few, one in ten perhaps": "some",
            "Most of them": "most",
        },
        answer="Most of them",
        why=(
            "Stock works on ten questions at once, and the quickest answer comes first. It is that of the "
            "longest waiting only by chance, one time in ten. Two callers are enough to make more than half "
            "wrong."
        ),
    ),
    Proved(
        name="request_reply/too_late",
        question="Ten callers at a time, by id. Who gets no answer of her own?",
        run="too_late",
        reading=_wrong_and_missed,
        claims={
            "Only those whose answer takes 3 s": (False, False),
            "Also some who get another's answer in its place": (True, False),
            "Also those whose answer is there at once": (False, True),
        },
        answer="Also those whose answer is there at once",
        why=(
            "The waiter enters the table when `send` has returned. An answer that is quicker finds nobody, "
            "and is dropped. Its caller then waits until the timeout, for the answer that stock gave first "
            "of all."
        ),
    ),
    Proved(
        name="request_reply/two_shops",
        question="How many of the 100 requests end with a timeout?",
        run="one_queue",
        reading=_timeouts,
        claims={
            "None: each reply says which request it belongs to": "none",
            "About half: those that the other shop takes": "about half",
            "Nearly all: one that goes astray moves all others, as in the morning": "all",
        },
        answer="About half: those that the other shop takes",
        why=(
            "The shop that takes a reply looks into its own table. In about half of the cases the request is "
            "in the other one's. Nobody gets a wrong answer, thanks to the id, and stock has answered all "
            "100 in time."
        ),
    ),
    Proved(
        name="request_reply/killed",
        question="The shop got an error from its connection, at once. What is true?",
        run="ended",
        reading=_heard_and_ledger,
        claims={
            "Not charged, and the shop knows it: an error means that it failed": ("definite", False),
            "Charged, and the shop cannot know": ("indefinite", True),
            "Not charged, and the shop cannot know": ("indefinite", False),
        },
        answer="Charged, and the shop cannot know",
        why=(
            "The bank wrote into its ledger before it died. From outside a death before that line looks the "
            "same. So the error says that no answer will come, and nothing about what was done."
        ),
    ),
    Proved(
        name="request_reply/twice",
        question="Nothing is lost. Of the 100 orders, how many are charged twice or more?",
        run="day",
        reading=_share_twice,
        claims={
            "None: no message was lost": "none",
            "One or two: the shop has four attempts, and nearly always gets an answer": "few",
            "Nearly a third: a second is not much longer than 0.8 s": "a third",
        },
        answer="Nearly a third: a second is not much longer than 0.8 s",
        why=(
            "A bank that is slow looks like a message that was lost. The first question is still being "
            "worked on when the second comes, and both are carried out."
        ),
    ),
    Proved(
        name="request_reply/fresh_key",
        question='With the key "fresh" each attempt has its own. How many orders are charged twice or more?',
        run="by_key",
        reading=lambda by_key: _twice(by_key["fresh"]),
        claims={
            "None: the bank knows each key": 0,
            "15: about half of what it was": 15,
            "31: as without a key": 31,
        },
        answer="31: as without a key",
        why=(
            "To the bank each key is another operation. It cannot see that two of them are about the same "
            "order. A key made anew in each attempt, as many libraries do, protects only against a copy that "
            "the network makes."
        ),
    ),
    Proved(
        name="request_reply/for_nobody",
        question="The customer leaves after 2 s, without her tea. Does the warehouse reserve it?",
        run="own_timeout",
        reading=_reserved_after,
        claims={
            "No: the first timeout ends everything behind it": "not",
            "Yes, shortly before 2 s": "in time",
            "Yes, after she has left": "late",
        },
        answer="Yes, after she has left",
        why=(
            "A timeout ends the waiting of the caller, and nothing else. The shop asked stock at 0.8 s, with "
            "2 s more; stock asked the warehouse at 2.3 s, with 2 s more. At 3.3 s the tea is reserved."
        ),
    ),
    Proved(
        name="request_reply/spike",
        question="The spike ends at 25 s. Who of the customers that come after 60 s gets an answer in time?",
        run="spike",
        reading=_after_the_spike,
        claims={
            "All or nearly all: six a second are less than ten": "all",
            "About half: it takes long to recover": "half",
            "Nobody does": "nobody",
        },
        answer="Nobody does",
        why=(
            "Each customer who waits in vain asks a second time. Six customers become 12 questions a second, "
            "and the bank can answer ten. So the line never gets shorter, although the spike is long over."
        ),
    ),
    Proved(
        name="request_reply/ends_the_storm",
        question=(
            "Four remedies: two retries after a pause of chance length that doubles (backoff with jitter); "
            "no second question; at most 5 questions wait at the bank; the bank is told the deadline. Which "
            "end the storm?"
        ),
        run="storms",
        reading=_what_ends_it,
        claims={
            "All four": frozenset(
                {"backoff with jitter", "no second question", "at most 5 wait", "the deadline is told"}
            ),
            "All but the backoff": frozenset(
                {"no second question", "at most 5 wait", "the deadline is told"}
            ),
            "Only backoff with jitter": frozenset({"backoff with jitter"}),
        },
        answer="All but the backoff",
        why=(
            "Backoff moves questions to another moment, and helps against a peak. Here the sum is too large, "
            "at every moment. The others take away work that is for nobody."
        ),
    ),
    Proved(
        name="request_reply/fifty",
        question=(
            "With 5 suppliers all five answer in time in 87 of 100 cases. With 50, how often do all fifty?"
        ),
        run="offers",
        reading=lambda offers: completeness(offers[50, 50])[0],
        claims={
            "In 98: each is slow in 2 of 100 cases only": 98,
            "In 85: hardly less often": 85,
            "In 36: far less often": 36,
        },
        answer="In 36: far less often",
        why=(
            "All fifty must be quick at the same time: 0.98 multiplied by itself fifty times is 0.36. What "
            "is rare for one is common among many."
        ),
    ),
)
