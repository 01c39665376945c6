"""The predictions of lessons 04a and 04b · Backpressure."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Kind, Trace
from .._proof import Proved
from .rush import outcome
from .scaler import calm
from .spike import served

__all__ = ["PREDICTIONS"]

PATIENCE = 5.0


def _in_time(trace: Trace) -> int:
    came = {event.message: event.at for event in trace.filter(Kind.SENT)}
    return sum(round(event.at - came[event.message], 3) <= PATIENCE for event in trace.filter(Kind.EFFECT))


def _smallest_that_keeps_it_busy(by_window: Mapping[int, Trace]) -> int:
    packed = {window: trace.count(Kind.EFFECT) for window, trace in by_window.items()}
    return min(window for window, count in packed.items() if count == max(packed.values()))


def _most_in_a_second(trace: Trace) -> int:
    at = [event.at for event in trace.filter(Kind.EFFECT)]
    return max(sum(start <= other < start + 1.001 for other in at) for start in at)


def _hired_and_packed(trace: Trace) -> tuple[bool, bool]:
    """True when all 20 packers were hired; true when no more was packed than one packer can pack."""
    return calm(trace).most == 20, trace.count(Kind.EFFECT) <= trace.end


def _end(trace: Trace) -> str:
    if trace.count(Kind.EFFECT) == 400:
        return "all done"
    return "some lost" if trace.count(Kind.DROPPED) else "stopped"


PREDICTIONS = (
    Proved(
        name="backpressure/two_more",
        question=(
            "With room for 48 orders, 1,248 are packed in time. Somebody gives the buffer a little more "
            "room: 50. How many are packed in time then?"
        ),
        run="by_room",
        reading=lambda by_room: _in_time(by_room[50]),
        claims={
            "1,250: two more": 1_250,
            "About 1,200: a few wait too long": 1_200,
            "99": 99,
        },
        answer="99",
        why=(
            "Whoever comes in at the end of a full buffer of 50 waits 5 s for those before, and then for her "
            "own packing: 5.1 s. All 50 places are always taken, so nearly everybody is a tenth of a second "
            "too late. Only the first 99 found it emptier."
        ),
    ),
    Proved(
        name="backpressure/expire",
        question=(
            "No bound again, but each order expires after 5 s, when its customer leaves. An expired order is "
            "dropped without packing. How many are packed in time?"
        ),
        run="by_patience",
        reading=lambda by_patience: _in_time(by_patience[5]),
        claims={
            "About 1,250: all that can be packed in two minutes": 1_250,
            "About 600: half of those": 625,
            "99: as few as without deadlines": 99,
        },
        answer="99: as few as without deadlines",
        why=(
            "The line grows until it is 5 s long and stays so: what is older expires. So the packer always "
            "takes an order that has a moment left, and is done when the moment is over. The deadline forgot "
            "the packing."
        ),
    ),
    Proved(
        name="backpressure/block",
        question=(
            "With no bound the customers waited 30 s on average. With the policy `block` at most 50 orders "
            "wait, and the rest of the line stands in the street. What is the mean wait, from the moment a "
            "customer comes?"
        ),
        run="answers",
        reading=lambda answers: round(outcome(answers["block"]).mean_wait),
        claims={
            "2.5 s: half of a full buffer": 2.5,
            "15 s: half as long": 15,
            "30 s: the same": 30,
        },
        answer="30 s: the same",
        why=(
            "The packer packs the same orders in the same order. Blocking moves the line from the buffer "
            "into the street. It protects the memory of the shop, not the time of the customer."
        ),
    ),
    Proved(
        name="backpressure/never_closed",
        question="The producer sends a hundred messages and does not close the channel. How does it end?",
        run="endless",
        reading=lambda trace: (trace.count(Kind.EFFECT), trace.count(Kind.CLOSED)),
        claims={
            "It ends after 100 messages": (100, 1),
            "It ends with an error after 90 messages: the last ten stay in the channel": (90, 0),
            "All 100 are processed, and it does not end": (100, 0),
        },
        answer="All 100 are processed, and it does not end",
        why=(
            "The reader cannot know that nothing more comes. It takes the last message and waits for the "
            "next. In Go, and in the laboratory, a program in which everybody waits is stopped with an error."
        ),
    ),
    Proved(
        name="backpressure/after_the_bus",
        question=(
            "Before the bus everybody was served within 5 s. The bus left at once, its 100 people have had "
            "their tea or have gone. How many of those who come in the last minute, three minutes later, are "
            "served in time?"
        ),
        run="bus",
        reading=lambda bus: served(bus, since=240),
        claims={
            "Nearly all: 8 a second are fewer than 10": 480,
            "About four of five: the line is shrinking": 384,
            "None": 0,
        },
        answer="None",
        why=(
            "Everybody who waits 5 s orders a second time. 8 customers a second make 16 orders a second, and "
            "10 can be packed. The line grows by the tries of those whom it keeps waiting."
        ),
    ),
    Proved(
        name="backpressure/window",
        question="The pack room can do 10 orders a second. Which is the smallest window that keeps it busy?",
        run="by_window",
        reading=_smallest_that_keeps_it_busy,
        claims={
            "1: when one is done, the next may come": 1,
            "2: one is packed, one is on its way": 2,
            "11": 11,
            "100": 100,
        },
        answer="11",
        why=(
            "From the moment an order leaves until its credit is back, 1.1 s pass. In 1.1 s a busy pack room "
            "packs 11 orders, so 11 must be under way."
        ),
    ),
    Proved(
        name="backpressure/burst",
        question=(
            "A bucket has a rate of 10 a second and a burst of 50, and it is full. Somebody calls as often "
            "as it lets her. How many calls does the partner see in its worst second?"
        ),
        run="by_burst",
        reading=lambda by_burst: _most_in_a_second(by_burst[50]),
        claims={
            "10": 10,
            "50": 50,
            "60": 60,
        },
        answer="60",
        why="The 50 tokens that were saved go at once, and in the same second 10 more fall in and are used.",
    ),
    Proved(
        name="backpressure/one_customer",
        question=(
            "The same ten minutes, but all orders come from one customer, and orders of one customer keep "
            "their order. The scaler may hire up to 20 packers. What comes of it?"
        ),
        run="one",
        reading=_hired_and_packed,
        claims={
            "20 packers keep up: the line stays short": (True, False),
            "The scaler sees that more packers do not help, and stays at one": (False, True),
            "It hires up to 20, and the line is as long as with one": (True, True),
        },
        answer="It hires up to 20, and the line is as long as with one",
        why=(
            "One order of a key is in flight at a time, so one packer works and 19 wait. The scaler sees the "
            "long line. It measures how many wait, and not why."
        ),
    ),
    Proved(
        name="backpressure/own_queue",
        question="5.3 orders a second, and the packer can do 5. What happens?",
        run="at_rate",
        reading=lambda at_rate: _end(at_rate[5.3]),
        claims={
            "It is slower: the shop waits a little at each order": "all done",
            "Some labels are lost": "some lost",
            "It stops for ever, after a while": "stopped",
        },
        answer="It stops for ever, after a while",
        why=(
            "The buffer fills up slowly. When it is full, the packer, with an order in its hands, waits for "
            "room for the label. Nobody else takes anything out."
        ),
    ),
)
