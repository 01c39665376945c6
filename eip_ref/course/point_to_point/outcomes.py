"""Complete: what the shop may say of an invoice that it sent over a line that may fail."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.abc

from ...autograder.exercise import Diagnosis, Ending, Exercise, Mistake, play
from ...autograder.forms import async_function
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import ReceiverAway
from ...trace import Kind, Trace, acting, record
from . import mistakes
from .books import books, close_the_books

__all__ = ["DEFINITE_OR_UNKNOWN", "a_shaky_line"]

FATES = ("confirmed", "slow", "lost", "confirmation lost", "refused", "cut")
ACCEPTED, NOT_SENT, UNKNOWN = "accepted", "not sent", "unknown"
KNOWN = {"confirmed": ACCEPTED, "refused": NOT_SENT}  #: all other fates leave the shop in doubt
RECEIPT = "-receipt"  #: what makes the id of a confirmation from that of its invoice
Send = Callable[[Message], Awaitable[None]]
Outcome = Callable[[Send, Message, float], Awaitable[object]]


async def a_shaky_line(outcome: Outcome, seed: int) -> list[tuple[str, object]]:
    """Six invoices, each with a fate of its own. Returns what `outcome` says of each."""
    chance = Faults(seed).random("the line")
    limit, number = round(chance.uniform(2.0, 3.0), 1), chance.randint(10, 80)
    rows: list[dict[str, Any]] = []
    async with anyio.create_task_group() as group:
        for place, fate in enumerate(chance.sample(FATES, len(FATES))):
            invoice = Message(f"invoice {number + place}")
            line = _Line(fate, limit, group)
            start = anyio.current_time()
            with acting("shop"):
                said = await outcome(line.send, invoice, limit)
            took = anyio.current_time() - start
            rows.append(
                {
                    "message": invoice.id,
                    "label": invoice.label,
                    "fate": fate,
                    "took": took,
                    "tries": line.tries,
                    "said": said if isinstance(said, str) else repr(said),
                }
            )
            await anyio.sleep(max(0.0, 1.7 * limit - took))
    close_the_books(limit=limit, rows=rows)
    return [(row["label"], row["said"]) for row in rows]


class _Line:
    """There and back between shop and billing, for one invoice. What is on its way travels on by itself."""

    def __init__(self, fate: str, limit: float, group: anyio.abc.TaskGroup) -> None:
        self.tries = 0
        self._fate, self._limit, self._group = fate, limit, group

    async def send(self, message: Message) -> None:
        """Return when the confirmation is here. Raises `NotSent` when the connection is refused, and
        `anyio.BrokenResourceError` when it breaks while this waits."""
        self.tries += 1
        if self._fate == "refused":
            record(Kind.SENT, "billing", message.id, label=message.label)
            await anyio.sleep(0.1)
            record(Kind.REFUSED, "billing", message.id, who="", reason="connection refused")
            raise ReceiverAway("connection refused: nobody listens there")
        ended = anyio.Event()
        self._group.start_soon(self._there, message, ended)
        await ended.wait()
        if self._fate == "cut":
            raise anyio.BrokenResourceError("the connection broke")

    async def _there(self, message: Message, ended: anyio.Event) -> None:
        record(Kind.SENT, "line", message.id, label=message.label)
        await anyio.sleep(self._limit * (1.2 if self._fate == "slow" else 0.4))
        if self._fate == "lost":
            record(Kind.LOST, "line", message.id, who="", to="billing")
            return
        _arrives(message.id, "billing")
        record(Kind.EFFECT, "billing", message.id, who="billing", effect="booked")
        with acting("billing"):
            await self._back(message, ended)

    async def _back(self, message: Message, ended: anyio.Event) -> None:
        receipt = f"{message.id}{RECEIPT}"
        record(Kind.SENT, "line", receipt, label=f"receipt for {message.label}")
        await anyio.sleep(0.4 * self._limit)
        if self._fate in ("confirmation lost", "cut"):
            record(Kind.LOST, "line", receipt, who="", to="shop")
        else:
            _arrives(receipt, "shop")
        if self._fate != "confirmation lost":
            ended.set()


def _arrives(message: str, where: str) -> None:
    record(Kind.ARRIVED, "line", message, who="")
    record(Kind.ACCEPTED, where, message, who="")


def _judge(trace: Trace) -> list[Diagnosis]:
    day = books(trace)
    found = [_wrong(trace, row, day["limit"]) for row in day["rows"]]
    # What was booked all the same is the plainest proof, so it is shown first.
    booked = set(trace.messages(Kind.EFFECT))
    found.sort(key=lambda finding: finding is None or not ({e.message for e in finding.events} & booked))
    return [finding for finding in found if finding is not None]


def _wrong(trace: Trace, row: dict[str, Any], limit: float) -> Diagnosis | None:
    mistake = _mistake(row, limit)
    if mistake is None:
        return None
    name = f"{row['label']} ({row['message']})"
    said = f"You said {row['said']!r} of {name} after {row['took']:.1f} s, with a limit of {limit:.1f} s."
    words = f"{said} {_truth(row['fate'])}"
    story = trace.filter(test=lambda e: e.message.removesuffix(RECEIPT) == row["message"])
    events = story.filter(test=lambda e: e.kind != Kind.ARRIVED).events
    return Diagnosis(mistake, words, events)


def _mistake(row: dict[str, Any], limit: float) -> Mistake | None:
    fate, said = row["fate"], row["said"]
    right = KNOWN.get(fate, UNKNOWN)
    if row["tries"] > 1:
        return mistakes.SENT_AGAIN
    if row["took"] > limit + 0.01:
        return mistakes.NO_TIME_LIMIT
    if said == right:
        return None
    if said not in (ACCEPTED, NOT_SENT, UNKNOWN):
        return mistakes.NO_SUCH_OUTCOME
    if right == ACCEPTED:
        return mistakes.CONFIRMATION_IGNORED
    if said == ACCEPTED:
        return mistakes.ACCEPTED_WITHOUT_CONFIRMATION
    if right == NOT_SENT:
        return mistakes.REFUSAL_CALLED_UNKNOWN
    return mistakes.BROKEN_CALLED_DEFINITE if fate == "cut" else mistakes.SILENCE_CALLED_DEFINITE


def _truth(fate: str) -> str:
    return {
        "confirmed": "Its confirmation came in time.",
        "slow": "It was on its way, and billing booked it later.",
        "lost": "The line lost it, and the shop could not know.",
        "confirmation lost": "Billing had booked it; what the line lost was the confirmation.",
        "refused": "The connection was refused before it left the shop.",
        "cut": "Billing had booked it when the connection broke.",
    }[fate]


DEFINITE_OR_UNKNOWN = Exercise(
    name="point_to_point/definite_or_unknown",
    title="Definite or unknown",
    points=3,
    minutes=6,
    difficulty=2,
    kind="complete",
    answer="outcome",
    form=async_function("send", "invoice", "limit"),
    called="Your `outcome(send, invoice, limit)` for six invoices: one is confirmed in time, one is slow, "
    "one is lost, one confirmation is lost, one connection is refused, and one breaks while you wait.",
    promised="You say 'accepted' only of what was confirmed in time, 'not sent' only of what was refused, "
    "and 'unknown' of all else, within the limit. Each invoice is sent once.",
    hints=(
        "Three things can happen: `send` returns, `send` raises, or nothing happens until the limit.",
        "A `NotSent` is the only error that is definite. What may billing have done when the limit passes, "
        "or when the connection breaks while you wait?",
        "Await `send(invoice)` inside `with anyio.fail_after(limit):`, and all of that inside `try`. Then "
        "`except NotSent` is one answer, `except (TimeoutError, anyio.BrokenResourceError)` another, and "
        "coming through without an error is the third.",
    ),
    explanation="Only a refusal is definite. A timeout and a connection that breaks say nothing about what "
    "the other side did, so the only true word is 'unknown'. What to do about it, such as asking or sending "
    "again with the same id, is for a later lesson.",
    run=play(a_shaky_line),
    judge=_judge,
    endings={
        Ending.DEADLOCK: mistakes.NO_TIME_LIMIT,
        "TimeoutError": mistakes.OUTCOME_ESCAPES,
        "BrokenResourceError": mistakes.OUTCOME_ESCAPES,
        "ReceiverAway": mistakes.OUTCOME_ESCAPES,
    },
)
