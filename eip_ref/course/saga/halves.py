"""Two sagas that are half done at the same time, of lesson 09b: what each sees and changes of the other's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import anyio

from ...lab import simulate
from ...saga import LocalHandler, NotDone, Participant, Refused, action, compensation
from ...storage import MemoryStore
from ...trace import Kind, Trace, record

__all__ = ["Command", "commands_in_turn", "holds", "in_turn"]

Command = tuple[str, str, str, Any]
"""Whose saga, the step, the command, and its body; "undo" before a step's name takes it back."""


async def commands_in_turn(
    handlers: Mapping[str, LocalHandler], first: Mapping[str, Any], commands: Sequence[Command]
) -> None:
    """Let a service execute these commands, one each second, and write down what it said."""
    store = MemoryStore()
    with store.transaction() as transaction:
        for key, value in first.items():
            transaction.put("shop", key, value)
    service = Participant("shop", store, handlers)
    for saga, step, what, body in commands:
        await anyio.sleep(1)
        make = compensation if step.startswith("undo ") else action
        command = make(saga, step.removeprefix("undo "), what, body)
        try:
            said = await service(command)
        except Refused as refusal:
            said = f"refused: {refusal}"
        except NotDone as error:
            said = f"not now: {error}"
        text = f"{saga:4} {step:12} {said if said is not None else 'done'}"
        record(Kind.NOTE, "said", saga, who="shop", text=text, said=said)
    record(Kind.NOTE, "books", who="", text="", **service.business())


def in_turn(handlers: Mapping[str, LocalHandler], first: Mapping[str, Any], *commands: Command) -> Trace:
    """Print what a service answers to these commands, one after the other, and what its books hold then."""
    trace = simulate(commands_in_turn, handlers, first, commands)
    for event in trace.filter(Kind.NOTE, where="said"):
        print(event.data["text"])
    print("books:", {key: value for key, value in holds(trace).items() if value is not None})
    return trace


def holds(trace: Trace) -> dict[str, Any]:
    """The books at the end."""
    facts = trace.filter(Kind.NOTE, where="books")[-1].data
    return {key: value for key, value in facts.items() if key != "text"}
