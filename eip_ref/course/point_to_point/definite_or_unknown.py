"""Definite or unknown

Complete · medium · 3 points · 6 minutes

Answer: async def outcome(send, invoice, limit)
Called: Your `outcome(send, invoice, limit)` for six invoices: one is confirmed in time, one is slow, one is
    lost, one confirmation is lost, one connection is refused, and one breaks while you wait.
Promised: You say 'accepted' only of what was confirmed in time, 'not sent' only of what was refused, and
    'unknown' of all else, within the limit. Each invoice is sent once.
Hint: Three things can happen: `send` returns, `send` raises, or nothing happens until the limit.
Hint: A `NotSent` is the only error that is definite. What may billing have done when the limit passes, or
    when the connection breaks while you wait?
Hint: Await `send(invoice)` inside `with anyio.fail_after(limit):`, and all of that inside `try`. Then `except
    NotSent` is one answer, `except (TimeoutError, anyio.BrokenResourceError)` another, and coming through
    without an error is the third.
Why: Only a refusal is definite. A timeout and a connection that breaks say nothing about what the other side
    did, so the only true word is 'unknown'. What to do about it, such as asking or sending again with the
    same id, is for a later lesson.

sent-again: Sent the same invoice again. After a silence the first one may have been booked. Sending it again
    is a decision with a price, and not for this function to take.
no-time-limit (deadlock): Waits past the limit. A silence never ends by itself. Without a limit that is kept,
    one lost message holds up the shop.
silence-called-definite: Called a silence a failure. A lost invoice, a slow one and a lost confirmation look
    the same from the shop. Whoever believes this answer sends the invoice again, and some customers pay
    twice.
broken-called-definite: Called a broken connection a failure. The connection broke after the invoice had left.
    An error says that you will get no answer. It does not say that nothing was done.
accepted-without-confirmation: Said accepted without a confirmation. Nothing came back that says so. Whoever
    believes this answer never sends the invoice again, and if it was lost, it stays lost.
refusal-called-unknown: Knows less than it was told. A refusal is good news of a kind: it is certain. Called
    unknown, somebody has to find out what the shop already knew.
confirmation-ignored: Had a confirmation and did not use it. The confirmation came within the limit. Whoever
    hears another answer asks or sends again for nothing.
outcome-escapes (TimeoutError, BrokenResourceError, ReceiverAway): An outcome left the function as an error.
    This error is one of the outcomes that the function is there to name. Here it ended the whole run.
no-such-outcome: An answer that is none of the three. Whoever asks decides by three words: 'accepted', 'not
    sent' and 'unknown'. Any other answer is lost on them.
"""

from __future__ import annotations

from typing import Any

import anyio
import anyio.abc

from ...autograder import kit
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import ReceiverAway
from ...trace import Kind, Trace, acting, record

__all__ = ["EXERCISE", "a_shaky_line"]

FATES = {  # what becomes of an invoice, and why the shop may or may not say so
    "confirmed": "Its confirmation came in time.",
    "slow": "It was on its way, and billing booked it later.",
    "lost": "The line lost it, and the shop could not know.",
    "confirmation lost": "Billing had booked it; what the line lost was the confirmation.",
    "refused": "The connection was refused before it left the shop.",
    "cut": "Billing had booked it when the connection broke.",
}
ACCEPTED, NOT_SENT, UNKNOWN = "accepted", "not sent", "unknown"
KNOWN = {"confirmed": ACCEPTED, "refused": NOT_SENT}  #: all other fates leave the shop in doubt
RECEIPT = "-receipt"  #: what makes the id of a confirmation from that of its invoice


async def a_shaky_line(outcome: kit.Answer, seed: int) -> list[tuple[str, object]]:
    """Send six invoices, each with a fate of its own. Returns what `outcome` says of each."""
    chance = Faults(seed).random("the line")
    limit, number = round(chance.uniform(2.0, 3.0), 1), chance.randint(10, 80)
    rows: list[dict[str, Any]] = []
    async with anyio.create_task_group() as group:
        for place, fate in enumerate(chance.sample(list(FATES), len(FATES))):
            invoice, line = Message(f"invoice {number + place}"), _Line(fate, limit, group)
            start = anyio.current_time()
            with acting("shop"):
                said = await outcome(line.send, invoice, limit)
            took = anyio.current_time() - start
            row = {
                "message": invoice.id,
                "label": invoice.label,
                "fate": fate,
                "took": took,
                "tries": line.tries,
            }
            rows.append({**row, "said": said if isinstance(said, str) else repr(said)})
            await anyio.sleep(max(0.0, 1.7 * limit - took))
    kit.write_down(limit=limit, rows=rows)
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
        self._group.start_soon(self._travel, message, ended)
        await ended.wait()
        if self._fate == "cut":
            raise anyio.BrokenResourceError("the connection broke")

    async def _travel(self, message: Message, ended: anyio.Event) -> None:
        fate, there, back = self._fate, 0.4 * self._limit, 0.4 * self._limit
        if fate == "slow":
            there *= 3
        if await _carry(message.id, message.label, "billing", there, lost=fate == "lost"):
            record(Kind.EFFECT, "billing", message.id, who="billing", effect="booked")
            receipt, label = f"{message.id}{RECEIPT}", f"receipt for {message.label}"
            with acting("billing"):
                await _carry(receipt, label, "shop", back, lost=fate in ("confirmation lost", "cut"))
            if fate != "confirmation lost":
                ended.set()


async def _carry(message: str, label: str, to: str, seconds: float, *, lost: bool) -> bool:
    """Take a message along the line, and say whether it arrived."""
    record(Kind.SENT, "line", message, label=label)
    await anyio.sleep(seconds)
    if lost:
        record(Kind.LOST, "line", message, who="", to=to)
    else:
        record(Kind.ARRIVED, "line", message, who="")
        record(Kind.ACCEPTED, to, message, who="")
    return not lost


def judge(trace: Trace) -> kit.Symptoms:
    day = kit.facts(trace)
    booked = trace.messages(Kind.EFFECT)
    # What was booked all the same is the plainest proof, so it is shown first.
    for row in sorted(day["rows"], key=lambda row: row["message"] not in booked):
        mistake = _mistake(row, day["limit"])
        if mistake:
            said = (
                f"You said {row['said']!r} of {row['label']} ({row['message']}) after {row['took']:.1f} s, "
            )
            words = f"{said}with a limit of {day['limit']:.1f} s. {FATES[row['fate']]}"
            way = [trace.filter(message=row["message"] + end) for end in ("", RECEIPT)]
            yield kit.seen(mistake, words, [event for part in way for event in part])


def _mistake(row: dict[str, Any], limit: float) -> str:
    fate, said = row["fate"], row["said"]
    right = KNOWN.get(fate, UNKNOWN)
    if row["tries"] > 1:
        return "sent-again"
    if row["took"] > limit + 0.01:
        return "no-time-limit"
    if said == right:
        return ""
    if said not in (ACCEPTED, NOT_SENT, UNKNOWN):
        return "no-such-outcome"
    if right == ACCEPTED:
        return "confirmation-ignored"
    if said == ACCEPTED:
        return "accepted-without-confirmation"
    if right == NOT_SENT:
        return "refusal-called-unknown"
    return "broken-called-definite" if fate == "cut" else "silence-called-definite"


EXERCISE = kit.exercise(__name__, __doc__, kit.play(a_shaky_line), judge)
