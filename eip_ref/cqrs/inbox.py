"""The inbox: however often a message comes to a service, what it changes there is changed once.

The row that says "this id is done" is written in the transaction that does it. A failed attempt
leaves neither, so its retry is no duplicate; a repetition finds the row and changes nothing. An
event type may have many handlers, which all share that transaction; what happens to a type that
has none is a policy.

*Left out:* a transaction per handler. Handlers that must not fail each other are two inboxes.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from enum import StrEnum
from functools import partial

from .. import values
from ..message import Message
from ..storage import Store, Transaction
from ..trace import Kind, record

TransactionalHandler = Callable[[Transaction, Message], object]
"""Changes the store inside the transaction, without an await. What it raises undoes all of it."""


class UnknownEvent(LookupError):
    """An event of a type that nobody here handles came to an inbox that refuses those."""


class WhenUnknown(StrEnum):
    """The fate of an event of a type that has no handler."""

    ACK = "ack"  #: it is none of our business: count it and go on
    NACK = "nack"  #: it should have one: raise `UnknownEvent`, so that the queue's own policy decides


class Inbox:
    """The inbox `name` on the store of a consumer; a handler for a queue's worker.

    It remembers the last `remember` ids. A repetition that comes later than that is not recognised,
    so the window must be longer than a message can live on its way.
    """

    def __init__(
        self, store: Store, name: str, *, unknown: WhenUnknown | str = WhenUnknown.ACK, remember: int = 10_000
    ) -> None:
        self.store = store
        self.name = values.name("the name of an inbox", name)
        self.unknown: Counter[str] = Counter()  #: events without a handler, by type
        self._policy = WhenUnknown(unknown)
        self._remember = values.count("remember", remember)
        self._handlers: dict[str, list[TransactionalHandler]] = {}

    def on(self, type: str, *handlers: TransactionalHandler) -> None:
        """Let these handle the events of this type too, in the order in which they were given.

        Raises TypeError for an `async def`: there must be no await inside a transaction.
        """
        for handler in handlers:
            values.must_not_be_async(f"a handler of {type}", handler)
        self._handlers.setdefault(type, []).extend(handlers)

    async def __call__(self, message: Message) -> bool:
        """Handle the message and return after the commit; false when it was done before.

        What a handler raises comes out, and then nothing is committed. Raises `UnknownEvent` by policy.
        """
        return await self.store.commit(partial(self._take, message))

    def handle(self, message: Message) -> bool:
        """The same without an await. Inside a transaction of the store it is a part of that.

        When a handler raises, this part is undone, also when the caller catches the error and commits.
        """
        with self.store.transaction() as transaction:
            return self._take(message, transaction)

    def _take(self, message: Message, transaction: Transaction) -> bool:
        handlers = self._handlers.get(message.type)
        if handlers is None:
            self._unknown(message)
            return False
        if not self._first(transaction, message.id):
            transaction.after_commit(lambda: record(Kind.DUPLICATE, self.name, message.id))
            return False
        for handler in handlers:
            handler(transaction, message.copy())
        effect = f"handled {message.type}"
        transaction.after_commit(lambda: record(Kind.EFFECT, self.name, message.id, effect=effect))
        return True

    def _unknown(self, message: Message) -> None:
        self.unknown[message.type] += 1
        reason = f"no handler for {message.type!r}"
        record(Kind.NOTE, self.name, message.id, text=reason, policy=self._policy.value)
        if self._policy is WhenUnknown.NACK:
            raise UnknownEvent(f"{self.name} has {reason}")

    def _first(self, transaction: Transaction, message_id: str) -> bool:
        """True for a new id, which is remembered."""
        seen = f"{self.name}.seen"
        if transaction.get(seen, message_id) is not None:
            return False
        transaction.remember(seen, message_id, True, capacity=self._remember)
        return True
