"""The Resequencer: in whatever order messages come, they go on in the order of their streams.

A channel may deliver an event late, early or twice. Each event says its stream, which is its key, and
its version there: 1, 2, 3 and so on without a gap. What comes too early is held back until all before
it have come; what has come before is a duplicate and goes no further. A stream never waits for another.

What it hands on, what it holds back and what it has seen change in one transaction, together with all
that the receiver writes in the same store. So nothing is lost or doubled wherever the process stops.

    projector = Projector(views, dashboard)
    intake = Resequencer(views, projector.name, projector.take)
    await intake(message)  # as the handler of a worker, a relay or a subscription

*Left out:* giving up on a message that never comes; the bound on what is held back tells of it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from .. import values
from ..message import Message
from ..storage import Store, Transaction, key_of
from ..trace import Kind, record
from .store import Recorded

STREAM_VERSION = "stream-version"  #: the header of an event that says which version of its stream it made


def stream_version(message: Message) -> int:
    """The version of its stream that this event made. Raises ValueError when it does not say."""
    version = message.headers.get(STREAM_VERSION)
    if type(version) is not int or version < 1 or not message.key:
        raise ValueError(
            f"event {message.id!r} must have a key and a header {STREAM_VERSION!r} of at least 1"
        )
    return version


class ResequencerFull(Exception):
    """More events wait for an earlier one than may be held back: perhaps it was lost."""


class Resequencer:
    """An endpoint that calls `hand_on(events)` with those whose turn has come, in order.

    Their positions count what it has handed on. `hand_on` is a plain function that writes to `store`;
    what it raises undoes all, and the message may come again. At most `capacity` events are held back.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        hand_on: Callable[[list[Recorded]], object],
        *,
        capacity: int = 1_000,
    ) -> None:
        values.must_not_be_async("hand_on", hand_on)
        self.store = store
        self.name = values.name("the name of a resequencer", name)
        self._hand_on = hand_on
        self._capacity = values.count("capacity", capacity)
        self._versions, self._early, self._count = f"{name}.versions", f"{name}.early", f"{name}.handed-on"

    async def __call__(self, message: Message) -> bool:
        """Take the event and return after the commit; false when it was known. See `handle`."""
        return await self.store.commit(lambda _: self.handle(message))

    def handle(self, message: Message) -> bool:
        """Hand the event on, hold it back, or know it as a duplicate: in one transaction.

        What `hand_on` raises comes out, and nothing is committed. Raises ValueError for a message that
        does not say its stream and version, TypeError for one that is not JSON, and `ResequencerFull`.
        """
        version = stream_version(message)
        values.check_json(f"event {message.id!r}", [message.body, dict(message.headers)])
        with self.store.transaction() as transaction:
            last = int(transaction.get(self._versions, str(message.key), 0))
            early = _place(message, version)
            if version <= last or transaction.get(self._early, early) is not None:
                self._say(transaction, Kind.DUPLICATE, message, version=version)
                return False
            if version == last + 1:
                self._release(transaction, message, version)
            else:
                self._hold_back(transaction, message, version, missing=last + 1)
        return True

    def _release(self, transaction: Transaction, message: Message, version: int) -> None:
        """Hand the message on, and those that have waited for it, as far as there is no gap."""
        ready = [self._recorded(transaction, message, version)]
        while text := transaction.get(self._early, early := _place(message, version + 1)):
            version += 1
            transaction.delete(self._early, early)
            next_ = Message.from_json(text, shift=transaction.shift)
            ready.append(self._recorded(transaction, next_, version))
        transaction.put(self._versions, str(message.key), version)
        self._hand_on(ready)

    def _recorded(self, transaction: Transaction, message: Message, version: int) -> Recorded:
        position = transaction.count(self._count)
        return Recorded(position, str(message.key), version, message, message.created)

    def _hold_back(self, transaction: Transaction, message: Message, version: int, missing: int) -> None:
        if transaction.size(self._early) >= self._capacity:
            waits = f"{self.name} waits for version {missing} of {message.key}"
            raise ResequencerFull(f"{waits} and holds back {self._capacity} events already")
        transaction.put(self._early, _place(message, version), message.to_json(shift=transaction.shift))
        self._say(transaction, Kind.NOTE, message, text="held back", version=version, missing=missing)

    def _say(self, transaction: Transaction, kind: Kind, message: Message, **facts: Any) -> None:
        told = partial(record, kind, self.name, message.id, who=self.name, stream=message.key, **facts)
        transaction.after_commit(told)

    # What it has seen

    def versions(self) -> dict[str, int]:
        """The last version of each stream that was handed on."""
        with self.store.reading() as transaction:
            return dict(transaction.scan(self._versions))

    def version(self, stream: str) -> int:
        """The last version of the stream that was handed on; 0 when there is none."""
        with self.store.reading() as transaction:
            return int(transaction.get(self._versions, stream, 0))

    @property
    def held_back(self) -> int:
        """The number of events that wait for an earlier one."""
        with self.store.reading() as transaction:
            return transaction.size(self._early)

    def clear(self) -> None:
        """Forget what it has seen and what it holds back, as when the view behind it is dropped."""
        with self.store.transaction() as transaction:
            transaction.clear(self._versions)
            transaction.clear(self._early)
            transaction.delete("counters", self._count)


def _place(message: Message, version: int) -> str:
    """The key under which an event of this stream and version is held back."""
    return f"{message.key} {key_of(version)}"
