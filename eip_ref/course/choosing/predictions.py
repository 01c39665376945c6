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
    Proved(
        name="choosing/one_fault",
        question="Which fault alone makes most customers of the naive shop pay for nothing?",
        run="alone",
        reading=lambda alone: max(alone, key=lambda fault: alone[fault].for_nothing),
        claims={
            "Slow payments: the shop gives up, and the charge goes on": "slow payments",
            "Milk that is sold out: paid, and never to be had": "sold out",
            "The spike: nothing is broken, there are only more orders": "spike",
        },
        answer="The spike: nothing is broken, there are only more orders",
        why=(
            "Payments can do 10 a second and get 14, each up to three times. All charges become slower than "
            "1 s, for everybody who comes in these 8 s and for some after them. Slow payments hit only one "
            "order a second."
        ),
    ),
    Proved(
        name="choosing/saga_slow",
        question="With the saga, how many customers wait more than 3 s for a first word?",
        run="steps",
        reading=lambda steps: steps["+ saga"].slow,
        claims={
            "None: what can be repaired is repaired": 0,
            "One, as before: the saga is about money": 1,
            "About sixty": 58,
        },
        answer="About sixty",
        why=(
            "The shop answers when the saga has ended. The saga tries again with pauses where the naive shop "
            "gave up, and before it says “no” it takes everything back, through the same slow payments."
        ),
    ),
    Proved(
        name="choosing/without_key",
        question="All repairs but the key: how many customers pay more than once?",
        run="without",
        reading=lambda without: without["without key"].twice,
        claims={
            "26, as in the naive shop": 26,
            "About 5, those whose answer the network loses": 5,
            "Not a single one": 0,
        },
        answer="Not a single one",
        why=(
            "The saga sends each command under a key of its own, made of the saga's name and the step. What "
            "comes again under it is answered, and not done again. So this repair is part of another one now."
        ),
    ),
)
