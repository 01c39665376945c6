"""Participant: executes each operation once, and can take it back, in whichever order both arrive.

A step of a saga is asked for by a command, its *action*. The id of that is `<saga>/<step>`, in every
attempt and after every restart: the key under which the participant remembers the operation. The
*compensation*, which takes it back, and the *question* what became of it name that key in a header.

The record "this operation is done, refused or revoked" commits with the effect. So a repetition gets
the first answer again, and *action and compensation commute*: a compensation that comes first leaves
a tombstone, and the action that comes late finds it and is refused.

*Left out:* forgetting operations. A tombstone must outlive the latest copy of its action, so in
production records are kept for as long as the slowest channel may hold a message, and then some.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import anyio.lowlevel

from .. import values
from ..message import Handler as Receiver
from ..message import Message
from ..request_reply import NotDone
from ..storage import Store, Table, Transaction
from ..trace import Kind, record

_UNDOES = "undoes"  # header of a compensation: the key of the operation that it takes back
_ASKS = "asks"  # header of a question: the key of the operation that it asks about


class Refused(Exception):
    """A business failure: the participant answered no, changed nothing, and will give the same answer
    again. Not worth a retry."""


class Revoked(Refused):
    """The action came after its own compensation, which had left a tombstone: it is refused."""


# The commands of a step


def action(saga: str, step: str, type: str, body: Any) -> Message:
    """The command that asks for a step. All commands of a saga have its id as their key."""
    headers = {"step": step}
    return Message(body, type=type, key=saga, id=f"{saga}/{step}", correlation_id=saga, headers=headers)


def compensation(saga: str, step: str, type: str, body: Any) -> Message:
    """The command that takes it back; it carries the same body."""
    return _about(action(saga, step, type, body), "undo", _UNDOES)


def question(saga: str, step: str, type: str) -> Message:
    """The question what became of it. The answer is `{"state": …, "answer": …}`."""
    return _about(action(saga, step, type, None), "ask", _ASKS)


def _about(operation: Message, word: str, header: str) -> Message:
    key = operation.id
    return replace(
        operation, id=f"{key}/{word}", causation_id=key, headers={**operation.headers, header: key}
    )


def role(command: Message) -> str:
    """The role of a command, as the trace says it: "action", "compensation" or "question"."""
    if _ASKS in command.headers:
        return "question"
    return "compensation" if _UNDOES in command.headers else "action"


# Their receiver


class LocalTransaction(Table):
    """The transaction in which a participant executes one command, on the documents of its own table."""

    def __init__(self, transaction: Transaction, participant: str, command: Message) -> None:
        super().__init__(transaction, participant)
        self._command = command

    def effect(self, effect: str, **amounts: float) -> None:
        """Note what this does in the world, and by how much it changes what; recorded after the commit."""
        who, command = self.name, self._command
        step = command.headers.get("step", "")
        facts = {"amounts": amounts, "saga": command.correlation_id, "step": step, "role": role(command)}
        self.transaction.after_commit(
            lambda: record(Kind.EFFECT, who, command.id, who=who, effect=effect, **facts)
        )


LocalHandler = Callable[[Message, LocalTransaction], Any]
"""One local transaction, without an await: reads and writes, and returns the answer, or raises `Refused`."""


class Participant:
    """A service whose handlers, by type of command, work on the table `name` of a store.

    Handlers are plain functions: a transaction waits for nothing. Raises TypeError for an `async def`.
    """

    def __init__(self, name: str, store: Store, handlers: Mapping[str, LocalHandler]) -> None:
        self.name = values.name("a participant's name", name)
        self.store = store
        self._handlers = handlers
        self._operations = f"{name}.operations"
        for type_, handler in handlers.items():
            values.must_not_be_async(f"the handler of {type_!r}", handler)

    async def __call__(self, command: Message) -> Any:
        """The answer to a command, the same for every repetition. Raises `Refused`.

        When a handler raises anything else, nothing has happened and the command may come again; an
        answer that is not JSON is such an error too, a `NotDone`. The handler of a compensation
        may refuse too: then what was done stays done.
        """
        await anyio.lowlevel.checkpoint()
        if operation := command.headers.get(_ASKS):
            answer = self._ask(operation)
        elif operation := command.headers.get(_UNDOES):
            answer = await self._undo(command, operation)
        else:
            answer = await self._act(command)
        await anyio.lowlevel.cancel_shielded_checkpoint()  # it is done: anything can happen on the way back
        return answer

    def business(self) -> dict[str, Any]:
        """The documents without the records of operations: the state that the business sees."""
        with self.store.reading() as transaction:
            return dict(transaction.scan(self.name))

    async def _act(self, command: Message) -> Any:
        repeated, known = await self.store.run(partial(self._once, self._handler(command), command))
        if known["state"] != "done":
            record(Kind.REFUSED, self.name, command.id, who=self.name, reason=known["reason"])
            raise (Revoked if known["state"] == "revoked" else Refused)(known["reason"])
        if repeated:
            record(Kind.DUPLICATE, self.name, command.id, who=self.name)
        return known["answer"]

    def _once(
        self, handler: LocalHandler, command: Message, transaction: Transaction
    ) -> tuple[bool, dict[str, Any]]:
        """True for a command that was executed before; and what is remembered of it."""
        if (before := transaction.get(self._operations, command.id)) is not None:
            return True, before
        try:
            with self.store.transaction() as savepoint:  # what a refusing handler wrote is undone
                answer = handler(command, LocalTransaction(savepoint, self.name, command))
                values.check_json(f"the answer of {self.name} to {command.type}", answer, NotDone)
            known = {"state": "done", "answer": answer}
        except Refused as refusal:
            known = {"state": "refused", "reason": str(refusal)}
        transaction.put(self._operations, command.id, known)
        return False, known

    async def _undo(self, command: Message, operation: str) -> Any:
        revoke = partial(self._revoke, self._handler(command), command, operation)
        try:
            state = await self.store.run(revoke)
        except Refused as refusal:
            record(Kind.REFUSED, self.name, command.id, who=self.name, reason=str(refusal))
            raise
        if state == "unknown":
            record(Kind.STATE, self.name, operation, who=self.name, was="unknown", now="revoked")
        elif state != "done":
            record(Kind.DUPLICATE, self.name, command.id, who=self.name)

    def _revoke(
        self, handler: LocalHandler, command: Message, operation: str, transaction: Transaction
    ) -> str:
        """The state in which the operation was; afterwards it is undone, and can never be done."""
        state: str = transaction.get(self._operations, operation, {"state": "unknown"})["state"]
        if state == "done":
            handler(command, LocalTransaction(transaction, self.name, command))
        if state in ("done", "unknown"):
            tombstone = {"state": "revoked", "reason": f"{operation} was revoked before"}
            transaction.put(self._operations, operation, tombstone)
        return state

    def _ask(self, operation: str) -> dict[str, Any]:
        with self.store.reading() as transaction:
            known = transaction.get(self._operations, operation, {"state": "unknown"})
        return {"state": known["state"], "answer": known.get("answer")}

    def _handler(self, command: Message) -> LocalHandler:
        try:
            return self._handlers[command.type]
        except KeyError:
            raise LookupError(f"{self.name} does not know how to {command.type!r}") from None


def answering(participant: Participant, send: Receiver) -> Callable[[Message], Awaitable[None]]:
    """A receiver of commands that sends the answer back, caused by the command that it answers.

    Answers are `{"done": …}` or `{"refused": …}`. What else the participant raises comes out: then
    there is no answer, and the channel delivers the command again.
    """

    async def receive(command: Message) -> None:
        try:
            body = {"done": await participant(command)}
        except Refused as refusal:
            body = {"refused": str(refusal)}
        await values.finished(send(command.reply(body, type="Answer")))

    return receive
