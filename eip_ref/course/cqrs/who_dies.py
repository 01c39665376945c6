"""The demo of lesson 08a: one sign-up, a design, and the step at which its service dies."""

from __future__ import annotations

from collections.abc import Mapping

from ...lab.demo import Demo, choice, demo, slider, toggle
from ...lab.figures import Figure, sequence
from ...trace import Trace
from .crash_points import Design, Handler, Relay, a_sign_up, ending

__all__ = ["who_dies_demo"]

TOLD = {
    "right": "Database and mail agree.",
    "lost": "Lost: she is a customer, and mail will never hear of her.",
    "phantom": "Phantom: mail has welcomed somebody who is no customer.",
    "doubled": "Doubled: mail has welcomed her twice.",
}


def _in_words(trace: Trace) -> str:
    died = "The service died once." if trace.count("crashed") else "Nobody died."
    ids = [event.data["event"] for event in trace.filter("accepted", where="broker")]
    same = ", with the same id" if len(ids) == 2 and ids[0] and ids[0] == ids[1] else ""
    rows, mails = ("yes" if trace.result["rows"] else "no"), trace.result["mails"]
    answer = "201" if trace.count("note") else "none"
    told = f"Answer to the browser: {answer}. Ann in the database: {rows}."
    heard = f"Events at the broker: {len(ids)}{same}. Mails to Ann: {mails}."
    return f"{died} {told} {heard} {TOLD[ending(trace)]}"


def _figure(trace: Trace) -> Figure:
    return sequence(trace, title="Who wrote what, until somebody died")


def who_dies_demo(handlers: Mapping[str, Handler], relay: Relay) -> Demo:
    """A sign-up with each of these handlers. The last one has an outbox, and the relay beside it."""
    *_, with_outbox = handlers
    _, second, look, _ = handlers

    async def scenario(order: str, dies_at: int, again: bool, knows: bool) -> dict[str, int]:
        beside = relay if order == with_outbox else None
        return await a_sign_up(Design(handlers[order], again, beside, knows), dies_at)

    return demo(
        scenario,
        {
            "order": choice(*handlers, label="The service"),
            "dies_at": slider(1, 14, value=4, label="It dies at step"),
            "again": toggle(label="The browser asks again"),
            "knows": toggle(label="Mail knows ids"),
        },
        presets={
            "Lost": {},
            "Phantom": {"order": second},
            "Asked again": {"dies_at": 5, "again": True},
            "Looked first": {"order": look, "again": True},
            "Outbox": {"order": with_outbox, "dies_at": 9, "again": True},
            "Outbox, ids known": {"order": with_outbox, "dies_at": 9, "again": True, "knows": True},
        },
        summary=_in_words,
        figures=[_figure],
        player=False,
        seed=None,
        title="A death at one step",
    )
