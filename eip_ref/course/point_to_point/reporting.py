"""Repair: a sender that swallows refusals and reports as if everything had been accepted."""

from __future__ import annotations

from collections import Counter as Tally
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio

from ...autograder.exercise import Diagnosis, Ending, Exercise, Vacuous, play
from ...autograder.forms import async_function
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import PointToPointChannel
from ...trace import Event, Kind, Trace, acting
from . import mistakes
from .books import Counter, WatchedChannel, books, close_the_books, ids, named

__all__ = ["REPORT_WHAT_WAS_NOT_SENT", "a_day_at_the_counter", "false_alarms", "proof", "twice"]

CUSTOMERS = 9  #: one every second
LIGHTS_OUT = 30.0  #: seconds; who has not reported by then is cancelled
SendAll = Callable[[Counter, PointToPointChannel], Awaitable[object]]


async def a_day_at_the_counter(send_all: SendAll, seed: int) -> object:
    """Billing is there, leaves while an invoice waits, comes back, and closes for good.

    Returns what `send_all` reports.
    """
    chance = Faults(seed).random("the day")
    first, number = chance.randint(1, 2), chance.randint(10, 80)
    invoices = WatchedChannel("invoices", when_away="fail")
    plan = [(at, Message(f"invoice {number + at}")) for at in range(1, CUSTOMERS + 1)]
    report: object = None
    async with anyio.create_task_group() as group:
        with acting("billing"):
            group.start_soon(_billing, invoices, first, round(chance.uniform(1.8, 2.2), 1))
        with acting("shop"), anyio.move_on_after(LIGHTS_OUT) as lights:
            report = await send_all(Counter(plan), invoices)
        group.cancel_scope.cancel()
    close_the_books(
        invoices={message.id: message.body for _, message in plan},
        offered=invoices.offered,
        accepted=invoices.accepted,
        reported=ids(report),
        closed=invoices.closed,
        ended=not lights.cancelled_caught,
    )
    return report


async def _billing(invoices: PointToPointChannel, first: int, away: float) -> None:
    with invoices.receiver() as inbox:
        for work in [0.3] * first + [1.5]:  # the last one takes so long that the next has to wait
            await inbox.receive()
            await anyio.sleep(work)
    await anyio.sleep(away)
    with invoices.receiver() as inbox:
        for _ in range(2):
            await inbox.receive()
            await anyio.sleep(0.3)
        invoices.close_receiver()


def _judge(trace: Trace) -> list[Diagnosis]:
    day = books(trace)
    if not day["ended"] and (stuck := _sent_again_and_again(day)):
        words = f"{named(day, stuck, begins=True)} was sent again and again until {LIGHTS_OUT:g} s."
        return [Diagnosis(mistakes.RETRIES_FOR_EVER, words, proof(trace, stuck))]
    if day["reported"] is None:
        words = f"`send_all` returned no list of message ids by {LIGHTS_OUT:g} s."
        return [Diagnosis(mistakes.NO_REPORT, words)]
    found = [*_stopped(trace, day), *_unreported(trace, day), *false_alarms(trace, day), *twice(trace, day)]
    if not found and not trace.count(Kind.REFUSED):
        raise Vacuous("no invoice was refused.")
    return found


def _sent_again_and_again(day: dict[str, Any]) -> str:
    return next((message for message, times in Tally(day["offered"]).most_common(1) if times > 3), "")


def _stopped(trace: Trace, day: dict[str, Any]) -> Iterable[Diagnosis]:
    """Invoices that were never offered, although billing had not closed."""
    missing = [message for message in day["invoices"] if message not in day["offered"]]
    if not missing or day["closed"]:
        return
    refused = trace.filter(Kind.REFUSED).events[-1:]
    after = f"After the refusal at {refused[0].at:.1f} s" if refused else "Though billing was there"
    more = f", nor were {len(missing) - 1} behind it" if len(missing) > 1 else ""
    words = f"{after} {named(day, missing[0])} was never sent{more}."
    yield Diagnosis(mistakes.ONE_REFUSAL_STOPS_ALL, words, refused)


def _unreported(trace: Trace, day: dict[str, Any]) -> Iterable[Diagnosis]:
    """Invoices that were not accepted and that the report does not name."""
    for message in day["invoices"]:
        if message not in day["accepted"] and message not in day["reported"]:
            why = _why(trace, message)
            words = (
                f"{named(day, message, begins=True)} was not accepted{why}, and the report does not name it."
            )
            yield Diagnosis(mistakes.REFUSAL_SWALLOWED, words, proof(trace, message))


def false_alarms(trace: Trace, day: dict[str, Any]) -> Iterable[Diagnosis]:
    """What the report names and should not."""
    for message in day["reported"]:
        if message not in day["invoices"]:
            yield Diagnosis(mistakes.FALSE_ALARM, f"The report names {message!r}, which is no invoice's id.")
        elif message in day["accepted"]:
            words = f"{named(day, message, begins=True)} was accepted, and the report says that it was not."
            yield Diagnosis(mistakes.FALSE_ALARM, words, proof(trace, message))


def twice(trace: Trace, day: dict[str, Any]) -> Iterable[Diagnosis]:
    """Invoices that were accepted more than once."""
    for message, times in Tally(day["accepted"]).items():
        if times > 1:
            words = f"{named(day, message, begins=True)} was accepted {times} times."
            yield Diagnosis(mistakes.SENT_TWICE, words, proof(trace, message))


def _why(trace: Trace, message: str) -> str:
    refused = trace.filter(Kind.REFUSED, message=message).events
    return f" at {refused[-1].at:.1f} s ({refused[-1].data['reason']})" if refused else ""


def proof(trace: Trace, message: str) -> tuple[Event, ...]:
    """All that happened to a message."""
    return trace.filter(message=message).events


REPORT_WHAT_WAS_NOT_SENT = Exercise(
    name="point_to_point/report_what_was_not_sent",
    title="Report what was not sent",
    points=3,
    minutes=6,
    difficulty=1,
    kind="repair",
    answer="send_all",
    form=async_function("counter", "invoices"),
    called="Your `send_all(counter, invoices)`. Nine customers pay, one a second. Billing leaves for two "
    "seconds while an invoice waits for it, comes back, takes two more, and closes for good. At 30 s the "
    "lights go out.",
    promised="What you return names every invoice that the channel did not accept, and no other. A "
    "refusal does not stop the invoices behind it.",
    hints=(
        "What does your code do in the line after a refusal, and who hears of it?",
        "`send` raises an error for each invoice that was certainly not accepted. All these errors have a "
        "common name, which the lesson's table of conclusions shows.",
        "Begin with an empty list. Around `await invoices.send(invoice)` alone, catch `NotSent`, and append "
        "`invoice.id` to the list there. Return the list after the loop.",
    ),
    explanation="`NotSent` is the common name of all definite refusals. It is caught for one invoice at a "
    "time, so the loop goes on, and whoever reads the report can print those invoices or send them later.",
    run=play(a_day_at_the_counter, max_events=2_000),
    judge=_judge,
    endings={
        "ReceiverAway": mistakes.ONE_REFUSAL_STOPS_ALL,
        "ReceiverClosed": mistakes.ONE_REFUSAL_STOPS_ALL,
        Ending.RUNAWAY: mistakes.RETRIES_FOR_EVER,
    },
)
