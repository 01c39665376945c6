"""Read the log of a dead coordinator

Read the trace · medium · 3 points · 10 minutes

Answer: def read_the_log()
Called: The night that you can play: `simulate(a_night)`. A coordinator runs four orders, and dies.
Promised: The three lists of your dictionary are what the log tells.
Hint: Follow one order at a time: `lines(night, "order 3")`. An intent without a result below it is in
    doubt.
Hint: What was refused is not undone, and what is undone already is not undone again. The last begun is the
    first to go.
Hint: An order may turn back as long as its pivot, `charge`, has certainly not happened. Look whose intent
    of `charge` is in the log.
Why: Order 1 has ended. Order 2 was refused by stock; payment is undone, and the undo of credit is in doubt,
    so it is sent again, before that of the order itself. Order 3 is in doubt about payment, and may still
    turn back. Order 4 is in doubt about the pivot: it must ask again, and cannot turn back.

not-in-doubt: Another step is in doubt. In doubt is an action whose intent is in the log, and no result.
refused-is-undone: A step that was refused is in your list. It certainly did not happen.
undone-already: A step that is undone already is in your list. The log has its result.
wrong-undo: What is left to undo is another list, or in another order. An undo without a result is still to
    be sent, and the last step begun is undone first.
wrong-pivot: Other orders cannot turn back. An order that has ended does not turn anywhere, and one that has
    not begun its pivot can turn back.
no-answer: An answer is missing or cannot be read. Each is a list of texts: "order 9/ship" for a step,
    "order 9" for an order.
"""

from __future__ import annotations

from typing import Any

import anyio

from ...autograder import kit
from ...lab import Crash, Participant
from ...saga import LogRecord, Orchestrator, RecordType, SagaLog, SagaState
from ...storage import MemoryStore
from ...trace import Kind, Trace, record
from .order_story import OrderServices, order_saga
from .shop import TRAVEL

__all__ = ["EXERCISE", "a_night", "lines"]

DEATH = 8.6
BEGIN = {"order 1": 0.0, "order 2": 3.0, "order 4": 4.2, "order 3": 6.0}  #: seconds
DOUBT, UNDO, PIVOT = "in doubt", "still to undo", "cannot turn back"


async def a_night() -> None:
    """Play four orders, until the coordinator dies. Each line of its log is a note."""
    first = {
        "customers": {"credit ann": 200},
        "payments": {"card ann": 200},
        "inventory": {"stock tea": 5, "stock coffee": 0},
    }
    services, log = OrderServices(first), _ToldLog(MemoryStore())

    async def execute(command: Any) -> Any:
        await anyio.sleep(TRAVEL)
        try:
            return await services.execute(command)
        finally:
            await anyio.sleep(TRAVEL)

    async def one(order: str, begin: float) -> None:
        await anyio.sleep_until(begin)
        item = "coffee" if order == "order 2" else "tea"
        body = {"customer": "ann", "item": item, "quantity": 1, "price": 30}
        await Orchestrator(order_saga(), log, execute).run(order, body)

    async def life() -> None:
        async with anyio.create_task_group() as group:
            for order, begin in BEGIN.items():
                group.start_soon(one, order, begin)

    await Participant("coordinator", life, crashes=(Crash(at=DEATH),)).run()


class _ToldLog(SagaLog):
    """A log whose lines are in the trace as well."""

    def append(self, saga: str, number: int, records: Any) -> None:
        super().append(saga, number, records)
        for each in records:
            data = [str(each.type), each.step, each.data]
            text = f"{saga}: {each.type} {each.step}".strip()
            record(Kind.NOTE, "log", saga, who="", text=text, line=data)


def lines(trace: Trace, order: str = "") -> list[str]:
    """The lines that the log has of an order, or of all, in the order in which they were written."""
    log = trace.filter(Kind.NOTE, where="log")
    return [event.data["text"] for event in log if order in ("", event.message)]


def _states(trace: Trace) -> dict[str, SagaState]:
    records: dict[str, list[LogRecord]] = {}
    for event in trace.filter(Kind.NOTE, where="log"):
        type_, step, data = event.data["line"]
        records.setdefault(event.message, []).append(LogRecord(RecordType(type_), step, data))
    return {order: SagaState.of(order, records[order]) for order in sorted(records)}


def in_doubt(trace: Trace) -> list[str]:
    return [
        f"{order}/{step.name}"
        for order, state in _states(trace).items()
        for step in state.steps.values()
        if step.result is None
    ]


def still_to_undo(trace: Trace) -> list[str]:
    return [f"order 2/{step.name}" for step in _states(trace)["order 2"].to_undo()]


def cannot_turn_back(trace: Trace) -> list[str]:
    """The orders that have not ended, with a pivot that is done or in doubt."""
    return [order for order, state in _states(trace).items() if not state.over and "charge" in state.steps]


READINGS = {DOUBT: in_doubt, UNDO: still_to_undo, PIVOT: cannot_turn_back}


def texts(question: str, said: object) -> list[str] | None:
    if not isinstance(said, list | tuple) or not all(isinstance(each, str) for each in said):
        return None
    if question != PIVOT and not all("/" in each for each in said):
        return None
    return [*said] if question == UNDO else sorted(said)


def mistake(answered: kit.Answered) -> str:
    question, said, _ = answered
    if question == DOUBT:
        return "not-in-doubt"
    if question == PIVOT:
        return "wrong-pivot"
    if "order 2/stock" in said:
        return "refused-is-undone"
    return "undone-already" if "order 2/payment" in said else "wrong-undo"


RUN = kit.ask(kit.readings(a_night, READINGS), texts)
EXERCISE = kit.exercise(__name__, __doc__, RUN, kit.misread(mistake, unread="no-answer"), seeds=(1,))
