"""The predictions of lessons 12a and 12b · Choosing and combining."""

from __future__ import annotations

from collections.abc import Mapping

from .._proof import Proved
from .evening import Reading

__all__ = ["PREDICTIONS"]


def _final_and_unseen(measured: Mapping[str, Reading]) -> tuple[str, ...]:
    return tuple(way for way, it in measured.items() if it.lag == 0 and it.hurt == 0)


PREDICTIONS = (
    Proved(
        name="choosing/breaker",
        question=(
            "Without a breaker 18 of the 120 customers hear “no”. Now a breaker stands before mail. How many "
            "hear “no”?"
        ),
        run="resilient",
        reading=lambda resilient: resilient["breaker"].no,
        claims={
            "About 5: it stops most of the failures": 5,
            "18: the same customers, but sooner": 18,
            "20": 20,
        },
        answer="20",
        why=(
            "A breaker cannot make mail answer. It turns failures that would take seconds into failures at "
            "once, and it also rejects whoever comes between the moment in which mail is back and the moment "
            "in which it tries again. It spares mail and time; the customer needs a fallback."
        ),
    ),
    Proved(
        name="choosing/saga",
        question="How many of the 20 customers who come while mail is away have their answer within 2 s?",
        run="measured",
        reading=lambda measured: 20 - measured["saga"].hurt,
        claims={
            "All 20: it goes on in the background": 20,
            "About 10: those who come late in the outage": 10,
            "Not one of the 20": 0,
        },
        answer="Not one of the 20",
        why=(
            "Here the customer waits for the end of the saga, and it ends when mail is back and its next try "
            "has come. A saga makes the outcome whole, not quick. To answer before its end is another "
            "decision: lesson 12b."
        ),
    ),
    Proved(
        name="choosing/both",
        question="Which of the eleven ways give everybody a final answer and let nobody feel the outage?",
        run="measured",
        reading=_final_and_unseen,
        claims={
            "The saga": ("saga",),
            "The queue and the log, with idempotent receivers": ("idempotent queue", "idempotent log"),
            "None of them": (),
        },
        answer="None of them",
        why=(
            "A final answer says that all three have done their work. Nobody can say it while one of them is "
            "away: one can only wait, say “no”, or promise something smaller."
        ),
    ),
    Proved(
        name="choosing/own_order",
        question="Each customer opens the page right after she placed her order. How many of 120 see it?",
        run="pages",
        reading=lambda pages: 120 - pages["view"].nothing,
        claims={
            "All 120: a view is there for quick reads": 120,
            "About 100: all but those in the outage": 100,
            "Not one of the 120": 0,
        },
        answer="Not one of the 120",
        why=(
            "The event takes a moment from the shop to the view, a tenth of a second here. The customer is "
            "quicker. The outage of mail plays no part. She must say which version she has seen, and the "
            "view must wait for it."
        ),
    ),
)
