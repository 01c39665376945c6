"""The predictions of lesson 01 · Point-to-point."""

from __future__ import annotations

from ...trace import Kind, Trace
from .._proof import Proved

__all__ = ["PREDICTIONS"]


def _booked(evening: Trace) -> tuple[int, int]:
    """The lines of the report, and the invoices that were booked."""
    return len(evening.result), evening.count(Kind.EFFECT)


def _in_a_week(week: Trace) -> tuple[bool, bool, int]:
    """True if the channel refused; true if the shop waited; and the invoices that it holds at last."""
    sent = {event.message: event.at for event in week.filter(Kind.SENT)}
    waited = any(event.at > sent[event.message] for event in week.filter(Kind.ACCEPTED))
    held = week.count(Kind.ACCEPTED) - week.count(Kind.DELIVERED)
    return week.count(Kind.REFUSED) > 0, waited, held


def _booked_in_silence(network: Trace) -> float:
    """The share of the invoices without a confirmation that was booked, to the nearest option."""
    silent = set(network.messages(Kind.SENT, where="there")) - network.result
    share = len(silent & set(network.messages(Kind.EFFECT))) / len(silent)
    return min((0.0, 0.2, 0.5, 1.0), key=lambda option: abs(option - share))


PREDICTIONS = (
    Proved(
        name="point_to_point/booked",
        question="The shop's report has three lines that say “booked”. How many invoices did billing book?",
        run="evening",
        reading=_booked,
        claims={
            "3: each send returned without an error": (3, 3),
            "2: it was working on the second one": (3, 2),
            "1: only the first was done": (3, 1),
        },
        answer="1: only the first was done",
        why=(
            "All three sends returned at 0 s, because the channel had room. At 1.5 s billing had finished "
            "one invoice, held the second in its hands, and had not seen the third."
        ),
    ),
    Proved(
        name="point_to_point/tiny",
        question=(
            "Billing stays away for a week, and the shop sends an invoice every hour. What does "
            "`TinyChannel` do?"
        ),
        run="week",
        reading=_in_a_week,
        claims={
            "It refuses invoices when ten are waiting": (True, False, 10),
            "It makes the shop wait with the first one": (False, True, 0),
            "It accepts all of them": (False, False, 168),
        },
        answer="It accepts all of them",
        why=(
            "Its list has no bound, and `send` never looks at the receiver. When the memory is full or the "
            "process dies in the end, every invoice in the list is gone, and each had been accepted."
        ),
    ),
    Proved(
        name="point_to_point/silence",
        question=(
            "Each of the two links loses one message in five. About a third of the 100 invoices get no "
            "confirmation in time. What share of those did billing book?"
        ),
        run="network",
        reading=_booked_in_silence,
        claims={
            "None: no confirmation means that it was not booked": 0.0,
            "About a fifth: what one link loses": 0.2,
            "About half": 0.5,
            "All: the link back is at fault": 1.0,
        },
        answer="About half",
        why=(
            "One invoice in five is lost on its way there. Of the four others nearly one confirmation is "
            "lost on its way back. From the shop both look the same: silence. So a timeout is indefinite: "
            "it may have happened."
        ),
    ),
)
