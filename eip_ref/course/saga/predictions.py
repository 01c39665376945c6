"""The predictions of lessons 09a and 09b · Saga."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Kind, Trace
from .._proof import Proved
from .halves import holds
from .race import card
from .shop import as_before
from .styles import outcome

__all__ = ["PREDICTIONS"]


def _taken_back(deaths: Mapping[float, Trace]) -> int:
    return sum(as_before(trace.result) for trace in deaths.values())


def _first_end(trace: Trace) -> str:
    ends = ("completed", "compensated", "stuck")
    return next(str(e.data["now"]) for e in trace.filter(Kind.STATE) if e.data["now"] in ends)


def _undone_before_the_end(trace: Trace) -> tuple[str, tuple[str, ...]]:
    """The first end of the saga, and the steps that were taken back before it."""
    end = _first_end(trace)
    at = next(e.at for e in trace.filter(Kind.STATE) if e.data["now"] == end)
    back = trace.filter(Kind.EFFECT, test=lambda e: e.data["role"] == "compensation" and e.at <= at)
    return end, tuple(e.data["step"] for e in back)


def _declared(trace: Trace) -> tuple[str, int]:
    """The saga's end as the monitor tells it, and the money that is set aside then."""
    return _first_end(trace), trace.result.get("aside 1", 0)


def _order_of_the_choreography(trace: Trace) -> str:
    return str(outcome(trace)["choreographed"].books["order 1"])


def _ben_and_the_box(trace: Trace) -> tuple[bool, int]:
    """True when Ben got it; and the boxes on the shelf."""
    (said,) = (e.data["said"] for e in trace.filter(Kind.NOTE, where="said", message="Ben"))
    return said is None, holds(trace)["tea"]


PREDICTIONS = (
    Proved(
        name="saga/twice",
        question=(
            "Payments gives 30 back whenever it hears `OrderCancelled`. Today each event comes twice. Ann "
            "orders four times and gets no tea. What does her card hold in the end?"
        ),
        run="twice",
        reading=lambda books: books["card"],
        claims={"100": 100, "130": 130, "220": 220},
        answer="220",
        why="Each order takes 30 and gives 60 back. Four times 30 too much makes 120.",
    ),
    Proved(
        name="saga/in_memory",
        question=(
            "There is no tea, and the coordinator dies at one of 28 moments. After how many of these deaths "
            "has Ann all that she had, with no order left pending?"
        ),
        run="hand_deaths",
        reading=_taken_back,
        claims={
            "28": 28,
            "16": 16,
            "4": 4,
        },
        answer="4",
        why=(
            "Only the deaths before the first step is done, and those after the last undo, do no harm. In "
            "all others something was done, and nobody is left who knows that it must be undone."
        ),
    ),
    Proved(
        name="saga/lost",
        question=(
            "The coordinator notes the undo before the command leaves. Now the command “put 30 aside” is "
            "lost on the way, and after 2 s the coordinator turns back. What does Ann's card hold in the end?"
        ),
        run="intent",
        reading=lambda by_fate: card(by_fate["action lost"]),
        claims={"70": 70, "100": 100, "130": 130},
        answer="130",
        why=(
            "The coordinator cannot know that the command was lost, so it sends the undo. Payments believes "
            "it, and gives back what it never put aside."
        ),
    ),
    Proved(
        name="saga/late",
        question=(
            "Rung 3: payments knows the keys of what it has done, and an undo of an unknown key does "
            "nothing. The action is 5 s on its way, the coordinator turns back after 2 s. What does Ann's "
            "card hold in the end?"
        ),
        run="remembers",
        reading=lambda by_fate: card(by_fate["action late"]),
        claims={"100": 100, "130": 130, "70": 70},
        answer="70",
        why=(
            "The undo arrives at 2.1 s, finds no such key, and does nothing. The action arrives at 5 s with "
            "a key that payments has not seen: it puts 30 aside, and the undo has been and gone. Idempotent "
            "is not enough."
        ),
    ),
    Proved(
        name="saga/gives_up",
        question=(
            "Giving the money back fails eight times. What becomes of Ann's credit and of the order, and of "
            "the saga?"
        ),
        run="no_way_back",
        reading=_undone_before_the_end,
        claims={
            "The saga is stuck at payment; credit and order come after it and stay as they are": (
                "stuck",
                (),
            ),
            "Credit and order are taken back, and the saga is stuck": ("stuck", ("credit", "order")),
            "Credit and order are taken back, and the saga is compensated": (
                "compensated",
                ("credit", "order"),
            ),
        },
        answer="Credit and order are taken back, and the saga is stuck",
        why=(
            "Every compensation is tried, whatever became of the one before. And it is not called "
            "compensated, for 30 are still set aside."
        ),
    ),
    Proved(
        name="saga/silent_charge",
        question=(
            "There is tea, and no step is refused. The bank charges the card, and its answer is lost each "
            "time. What is the saga after the fourth attempt?"
        ),
        run="no_answer",
        reading=_first_end,
        claims={
            "Compensated: without an answer it turns back": "compensated",
            "Completed: the card is charged, after all": "completed",
            "Stuck: somebody must look at it": "stuck",
        },
        answer="Stuck: somebody must look at it",
        why=(
            "The coordinator does not know whether the card is charged. If it is, there is no way back; if "
            "it is not, there is no way forward. A definite no would turn it back; a silence does not."
        ),
    ),
    Proved(
        name="saga/declared",
        question=(
            "`OrderCancelled` is declared an end, as in the article. There is no tea. What does the monitor, "
            "which hears every event, say of the saga in the end, and how much of Ann's money is set aside?"
        ),
        run="article",
        reading=_declared,
        claims={
            "Stuck, and 30 are set aside": ("stuck", 30),
            "Compensated, and 30 are set aside": ("compensated", 30),
            "Compensated, and nothing is set aside": ("compensated", 0),
        },
        answer="Compensated, and 30 are set aside",
        why=(
            "An end is what somebody declared an end. The event was heard, so the monitor is content. Nobody "
            "took anything back, and no book is read by the monitor."
        ),
    ),
    Proved(
        name="saga/messages",
        question=(
            "No tea. The coordinator needs 14 messages: four steps and three undos, each a command and an "
            "answer. How many does the choreography need, an event to one listener counted as one?"
        ),
        run="quiet",
        reading=lambda trace: outcome(trace)["choreographed"].messages,
        claims={
            "7": 7,
            "14": 14,
            "21": 21,
        },
        answer="7",
        why=(
            "The answer to one service is the command to the next. Each of the four steps and three undos is "
            "set off by one event, and no service listens to an event that is not for it."
        ),
    ),
    Proved(
        name="saga/never_returns",
        question=(
            "There is enough tea. Payments dies after it has put 30 aside and before it charges, and never "
            "returns. What becomes of the choreographed order?"
        ),
        run="never",
        reading=_order_of_the_choreography,
        claims={
            "It is rejected: the service that waits for payments turns back": "rejected",
            "It stays pending: nobody waits for payments": "pending",
            "It is confirmed: the money and the tea are set aside": "confirmed",
        },
        answer="It stays pending: nobody waits for payments",
        why=(
            "Each service waits for an event and knows of no other. Nobody waits for payments in particular, "
            "so nobody sees that it is missing. Nobody turns back either."
        ),
    ),
    Proved(
        name="saga/lost_update",
        question=(
            "There are 10 boxes. Ann's saga takes 4 and Ben's takes 3, in the order of the table. Each "
            "command is a transaction of its own. How many boxes do the books have in the end?"
        ),
        run="written_back",
        reading=lambda trace: holds(trace)["tea"],
        claims={"3": 3, "6": 6, "7": 7},
        answer="7",
        why=(
            "Ben's saga writes 10 - 3, from the 10 that it saw. Ann's 4 boxes are sold and in the books "
            "again. A transaction protects one command, and a saga is several."
        ),
    ),
    Proved(
        name="saga/dirty_read",
        question=(
            "One box is left. Ann's saga takes it, Ben's asks for it, and then Ann's card is refused and her "
            "saga puts it back. How does it end?"
        ),
        run="half_done",
        reading=_ben_and_the_box,
        claims={
            "Ben gets the box: Ann's saga came to nothing": (True, 0),
            "Ben is refused, and the box stands on the shelf": (False, 1),
            "Ben is refused, and the books have no box": (False, 0),
        },
        answer="Ben is refused, and the box stands on the shelf",
        why=(
            "Ben was told “sold out” because of an order that is not to be. His refusal is definite, and "
            "nobody calls him back when the box is there again."
        ),
    ),
)
