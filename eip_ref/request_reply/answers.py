"""What a replier remembers: the first answer to each operation, so that a repetition gets the same.

An operation is known by its idempotency key. While its first attempt runs, later ones wait for the
same answer. When the first attempt ends without an answer, nothing is remembered of it.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Any

import anyio

from ..message import Message
from .envelope import Answer, idempotency_key
from .errors import KeyReused, NotDone

__all__ = ["Answers", "Operation"]


@dataclass(eq=False, slots=True)
class Operation:
    """One operation: running, answered, or given up."""

    key: str
    asked: tuple[str, Any]  #: what for: the request's type and body
    attempts: set[str] = field(default_factory=set)  #: those that wait for it while it runs
    answer: Answer | None = None
    over: anyio.Event = field(default_factory=anyio.Event)


class Answers:
    """The last `remember` operations. An older one, asked for again, is carried out again."""

    def __init__(self, remember: int) -> None:
        if remember < 1:
            raise ValueError(f"remember must be at least 1 operation, not {remember}")
        self._remember = remember
        self._running: dict[str, Operation] = {}
        self._answered: OrderedDict[str, Operation] = OrderedDict()
        self._refused: OrderedDict[str, tuple[type[NotDone], str]] = OrderedDict()  # by attempt

    def __len__(self) -> int:
        """How many finished operations are remembered."""
        return len(self._answered)

    def find(self, request: Message) -> Operation | None:
        """The operation that this attempt is for, if it is known.

        Raises `KeyReused` when the key belongs to something else, and the refusal of this very
        attempt again: who was told "not done" must be able to rely on it when a copy comes.
        """
        if request.id in self._refused:
            kind, words = self._refused[request.id]
            raise kind(words)
        key = idempotency_key(request)
        operation = self._running.get(key) or self._answered.get(key)
        if operation is not None and operation.asked != (request.type, request.body):
            raise KeyReused(f"key {key} belongs to an operation that asked for something else")
        return operation

    def begin(self, request: Message) -> Operation:
        """From now on this operation runs."""
        kept = request.copy()
        operation = Operation(idempotency_key(request), (kept.type, kept.body), {request.id})
        self._running[operation.key] = operation
        return operation

    def finish(self, operation: Operation, answer: Answer) -> None:
        """This is the answer, also for every later attempt."""
        operation.answer = answer
        self._answered[operation.key] = operation
        if len(self._answered) > self._remember:
            self._answered.popitem(last=False)
        self.give_up(operation)

    def give_up(self, operation: Operation) -> None:
        """It runs no more. Without an answer, the next attempt begins anew."""
        del self._running[operation.key]
        operation.attempts.clear()
        operation.over.set()

    def refuse(self, request: Message, refusal: NotDone) -> None:
        """This attempt was told that it is not carried out."""
        self._refused[request.id] = type(refusal), str(refusal)
        if len(self._refused) > self._remember:
            self._refused.popitem(last=False)
