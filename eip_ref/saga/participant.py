"""Participant: carries out each operation once, and can take it back, in whichever order both arrive.

The record "this operation is done, refused or revoked" commits with the effect. So a repetition gets
the first answer again, and *action and compensation commute*: a compensation that comes first leaves
a tombstone, and the action that comes late finds it and is refused.

*Left out:* forgetting operations. A tombstone must outlive the latest copy of its action, so in
production records are kept for as long as the slowest channel may hold a message, and then some.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import anyio.lowlevel

from ..message import Message
from ..trace import Kind, record
from .commands import ASKS, UNDOES, role
from .outcomes import Refused, Revoked
from .store import Draft, Store

__all__ = ["Handler", "Participant", "answering"]

Handler = Callable[[Message, Draft], Any]
"""One local transaction: reads and writes the draft and returns the answer, or raises `Refused`."""

_RECORD = "operation "


class Participant:
    """A service whose handlers, by type of command, work on one store."""

    def __init__(self, name: str, store: Store, handlers: Mapping[str, Handler]) -> None:
        self.name = name
        self.store = store
        self._handlers = handlers

    async def __call__(self, command: Message) -> Any:
        """The answer to a command, the same for every repetition. Raises `Refused`.

        When a handler raises anything else, nothing has happened and the command may come again. The
        handler of a compensation may refuse too: then what was done stays done.
        """
        await anyio.lowlevel.checkpoint()
        if key := command.headers.get(ASKS):
            answer = self._ask(key)
        elif key := command.headers.get(UNDOES):
            answer = self._undo(command, key)
        else:
            answer = self._act(command)
        await anyio.lowlevel.cancel_shielded_checkpoint()  # it is done: anything can happen on the way back
        return answer

    def business(self) -> dict[str, Any]:
        """The values without the records of operations: the state that the business sees."""
        return {name: value for name, value in self.store.values().items() if not name.startswith(_RECORD)}

    def _act(self, command: Message) -> Any:
        handler = self._handler(command)
        with self.store.transaction() as draft:
            before = draft.get(_RECORD + command.id)
            known = before or _acted(handler, command, draft)
            draft.set(_RECORD + command.id, known)
        self._tell(draft, command)
        if known["state"] != "done":
            record(Kind.REFUSED, self.name, command.id, who=self.name, reason=known["reason"])
            raise (Revoked if known["state"] == "revoked" else Refused)(known["reason"])
        if before:
            record(Kind.DUPLICATE, self.name, command.id, who=self.name)
        return known["answer"]

    def _undo(self, command: Message, key: str) -> Any:
        handler = self._handler(command)
        try:
            with self.store.transaction() as draft:
                known = draft.get(_RECORD + key, {"state": "unknown"})
                if known["state"] == "done":
                    handler(command, draft)
                if known["state"] in ("done", "unknown"):
                    tombstone = {"state": "revoked", "reason": f"{key} was revoked before"}
                    draft.set(_RECORD + key, tombstone)
        except Refused as refusal:
            record(Kind.REFUSED, self.name, command.id, who=self.name, reason=str(refusal))
            raise
        self._tell(draft, command)
        if known["state"] == "unknown":
            record(Kind.STATE, self.name, key, who=self.name, was="unknown", now="revoked")
        elif known["state"] != "done":
            record(Kind.DUPLICATE, self.name, command.id, who=self.name)
        return None

    def _ask(self, key: str) -> dict[str, Any]:
        with self.store.transaction() as draft:
            known = draft.get(_RECORD + key, {"state": "unknown"})
        return {"state": known["state"], "answer": known.get("answer")}

    def _handler(self, command: Message) -> Handler:
        try:
            return self._handlers[command.type]
        except KeyError:
            raise LookupError(f"{self.name} does not know how to {command.type!r}") from None

    def _tell(self, draft: Draft, command: Message) -> None:
        step = command.headers.get("step", "")
        draft.tell(self.name, command.id, saga=command.correlation_id, step=step, role=role(command))


def _acted(handler: Handler, command: Message, draft: Draft) -> dict[str, Any]:
    """Do it, and say what to remember. What a refusing handler wrote is forgotten."""
    try:
        return {"state": "done", "answer": handler(command, draft)}
    except Refused as refusal:
        draft.forget()
        return {"state": "refused", "reason": str(refusal)}


def answering(participant: Participant, send: Callable[[Message], Any]) -> Callable[[Message], Any]:
    """A receiver of commands that sends the answer back, caused by the command that it answers.

    Answers are `{"done": …}` or `{"refused": …}`. What else the participant raises comes out: then
    there is no answer, and the channel delivers the command again.
    """

    async def receive(command: Message) -> None:
        try:
            body = {"done": await participant(command)}
        except Refused as refusal:
            body = {"refused": str(refusal)}
        await send(command.reply(body, type="Answer"))

    return receive
