"""Repair: tasks that nobody owns, and the invoices that they take along when the shop closes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Any

import anyio
import anyio.lowlevel

from ...autograder.exercise import Diagnosis, Exercise, Vacuous, play
from ...autograder.forms import async_function
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import PointToPointChannel
from ...trace import Kind, Trace, acting
from . import mistakes
from .books import Counter, WatchedChannel, books, close_the_books, ids, named
from .reporting import false_alarms, proof, twice

__all__ = ["HAND_OVER_BEFORE_LEAVING", "closing_time"]

CUSTOMERS = 6  #: one every second
PATIENCE = 3.0  #: seconds from the last customer until the shop is dark
TakeOrders = Callable[[Counter, PointToPointChannel, float], Awaitable[object]]


async def closing_time(take_orders: TakeOrders, seed: int) -> object:
    """Customers come faster than billing takes invoices; then the shop closes and its program ends.

    Returns what `take_orders` reports. Tasks that it leaves behind are cancelled, as `asyncio.run`
    does when a program ends.
    """
    chance = Faults(seed).random("closing time")
    number = chance.randint(10, 80)
    invoices = WatchedChannel("invoices", when_away="block")
    plan = [(at, Message(f"invoice {number + at}")) for at in range(1, CUSTOMERS + 1)]
    counter = Counter(plan)
    async with anyio.create_task_group() as group:
        with acting("billing"):
            opens, work = chance.uniform(1.1, 1.7), chance.uniform(1.7, 2.3)
            # A twentieth of a second beside every time at which something else happens.
            group.start_soon(_billing, invoices, round(opens, 1) + 0.05, round(work, 1))
        await anyio.lowlevel.checkpoint()
        before = asyncio.all_tasks()
        with acting("shop"):
            report = await take_orders(counter, invoices, PATIENCE)
        left_at = anyio.current_time()
        left_behind = await _program_ends(before)
        group.cancel_scope.cancel()
    close_the_books(
        invoices={message.id: message.body for _, message in plan},
        accepted=invoices.accepted,
        reported=ids(report),
        waited=counter.waited,
        left_at=left_at,
        left_behind=left_behind,
    )
    return report


async def _billing(invoices: PointToPointChannel, opens: float, work: float) -> None:
    await anyio.sleep(opens)
    with invoices.receiver() as inbox:
        async for _ in inbox:
            await anyio.sleep(work)


async def _program_ends(before: set[asyncio.Task[Any]]) -> int:
    left_behind = sorted(asyncio.all_tasks() - before, key=hash)
    for task in left_behind:
        task.cancel()
    await asyncio.gather(*left_behind, return_exceptions=True)
    return len(left_behind)


def _judge(trace: Trace) -> list[Diagnosis]:
    evening = books(trace)
    if evening["reported"] is None:
        return [Diagnosis(mistakes.NO_REPORT, "What `take_orders` returned is no list of message ids.")]
    parts = (_customers_wait, _stays, _lost, false_alarms, twice, _leaves_early)
    found = [finding for part in parts for finding in part(trace, evening)]
    if not found and not evening["reported"]:
        raise Vacuous("billing took every invoice in time.")
    return found


def _customers_wait(trace: Trace, evening: dict[str, Any]) -> Iterable[Diagnosis]:
    waited = {message: time for message, time in evening["waited"].items() if time > 0.01}
    if len(evening["waited"]) < CUSTOMERS:
        yield Diagnosis(mistakes.CUSTOMERS_WAIT, f"Only {len(evening['waited'])} of {CUSTOMERS} were served.")
    elif waited:
        message = max(waited, key=lambda each: waited[each])
        words = f"The customer of {named(evening, message)} waited {waited[message]:.1f} s to be served"
        blocked = tuple(trace.filter(Kind.SENT, Kind.ACCEPTED))
        yield Diagnosis(
            mistakes.CUSTOMERS_WAIT, f"{words}, behind invoices that billing had not taken.", blocked
        )


def _stays(trace: Trace, evening: dict[str, Any]) -> Iterable[Diagnosis]:
    closes = CUSTOMERS + PATIENCE
    if evening["left_at"] > closes + 0.01:
        words = (
            f"`take_orders` returned at {evening['left_at']:.1f} s, and the shop was dark at {closes:g} s."
        )
        late = trace.filter(test=lambda e: e.kind == Kind.ACCEPTED and e.at > closes)
        yield Diagnosis(mistakes.STAYS_TOO_LONG, words, late.events)


def _lost(trace: Trace, evening: dict[str, Any]) -> Iterable[Diagnosis]:
    """Invoices that were neither accepted nor reported."""
    mistake = mistakes.NOBODY_OWNS_THE_TASKS if evening["left_behind"] else mistakes.LEFT_UNREPORTED
    for message in evening["invoices"]:
        if message not in evening["accepted"] and message not in evening["reported"]:
            gone = f"When the program ended at {evening['left_at']:.1f} s,"
            words = f"{gone} {named(evening, message)} was not accepted, and the report does not name it."
            yield Diagnosis(mistake, words, proof(trace, message))


def _leaves_early(trace: Trace, evening: dict[str, Any]) -> Iterable[Diagnosis]:
    left, closes = evening["left_at"], CUSTOMERS + PATIENCE
    if left < closes - 0.01 and len(set(evening["accepted"])) < CUSTOMERS:
        waiting = [message for message in evening["invoices"] if message not in evening["accepted"]]
        words = (
            f"`take_orders` returned at {left:.1f} s, {closes - left:.1f} s before its time was up, "
            f"while {named(evening, waiting[0])} still waited."
        )
        yield Diagnosis(mistakes.LEAVES_TOO_EARLY, words, proof(trace, waiting[0]))


HAND_OVER_BEFORE_LEAVING = Exercise(
    name="point_to_point/hand_over_before_leaving",
    title="Hand over before leaving",
    points=4,
    minutes=7,
    difficulty=3,
    kind="repair",
    answer="take_orders",
    form=async_function("counter", "invoices", "patience"),
    called="Your `take_orders(counter, invoices, patience)`. Six customers pay, one a second; billing needs "
    "about two seconds for each invoice. After the last customer there are three seconds. Tasks that still "
    "run when you return are cancelled, as at the end of every program.",
    promised="No customer waits for billing. Each invoice is accepted, or named in the report that you "
    "return. You return when all are accepted, and at the latest `patience` seconds after the last customer.",
    hints=(
        "Who waits for the tasks that the broken version starts, and who knows how they ended?",
        "Start them in a task group: its block ends only when all of them have ended. A task group has a "
        "`cancel_scope`, and a cancel scope has a `deadline`.",
        "Keep a list of ids that are not accepted yet: add an id before its task starts, and let the task "
        "remove it after `send`. After the loop, still inside the group's block, set "
        "`group.cancel_scope.deadline = anyio.current_time() + patience`. Return the list after the block.",
    ),
    explanation="The task group owns the tasks, so nothing can outlive it. Its deadline bounds the wait, and "
    "a cancelled `send` takes its message back, so what is left on the list was certainly not accepted.",
    run=play(closing_time),
    judge=_judge,
)
