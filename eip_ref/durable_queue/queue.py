"""The durable queue: the lease rules over rows of an SQLite file, which is all the memory that it has.

Every call is one transaction and returns after its commit. What a call has returned is therefore true
after any crash, and a crash before the commit leaves the queue as it was.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import anyio
import anyio.lowlevel

from ..message import Message
from ..message_queue import (
    NEVER,
    Backoff,
    DeadLetterPolicy,
    LeaseQueue,
    Queue,
    QueueClosed,
    QueueFull,
    StoredMessage,
)
from ..storage import Database, despite_faults
from ..trace import Kind, record
from .confirm import Deduplication, GroupCommit
from .messages import SQLiteMessages


class SQLiteQueue(LeaseQueue):
    """A queue in the file at `path`, or in a `Database` that others share. Use it with `async with`.

    As with `MessageQueue`, `lease` is in seconds and `capacity` is the number of messages that may
    be unsettled. Dead letters go to "<name>.dead" in the same file, in the transaction that ends the
    lease, unless `dead_letters` is another queue. Whoever opens the queue too, here or in another
    process, gives it the same policy and dead letters: each of them ends leases that run out, and
    moves the dead.

    `dedup` is how many accepted ids are remembered: a put of one of them is confirmed and adds
    nothing. `group_commit` puts share one commit, and each waits at most `linger` seconds for the
    others. `synchronous` and `clock` are those of `Database`.

    What should happen in one commit is done by the calls that do not wait, in one transaction:

        with database.transaction():
            lease = orders.receive_nowait()
            invoices.put_nowait(Message("invoice", causation_id=lease.message.id))
            orders.ack_nowait(lease)

    The book calls this a *Transactional Client*. There must be no await inside.
    """

    _messages: SQLiteMessages

    def __init__(
        self,
        path: str | Path | Database,
        name: str,
        *,
        lease: float = 30.0,
        capacity: int | None = None,
        policy: DeadLetterPolicy | None = None,
        backoff: Backoff | None = None,
        dead_letters: Queue | None = None,
        dedup: int = 0,
        group_commit: int = 1,
        linger: float = 0.0,
        synchronous: str | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.database = Database.at(path, synchronous=synchronous, clock=clock)
        super().__init__(
            name,
            lease=lease,
            capacity=capacity,
            policy=policy,
            backoff=backoff,
            dead_letters=dead_letters,
        )
        self._accepted = Deduplication(self.database, f"queue {name}", dedup)
        self._puts = GroupCommit(self.database, self._accept_all, size=group_commit, linger=linger)

    def _make_messages(self) -> SQLiteMessages:
        return SQLiteMessages(self.database, self.name)

    def _make_dead_letters(self, name: str) -> SQLiteQueue:
        return SQLiteQueue(self.database, name, lease=self.lease, policy=NEVER)

    def close(self) -> None:
        """Take no more messages until the next opening. Puts that wait for company are committed first.

        Receivers get `QueueClosed` when all messages are settled. Idempotent.
        """
        if self._closed:
            return
        self._puts.flush()
        super().close()
        if self._open is not None:
            self._tasks.start_soon(despite_faults, self._tell_the_end, self.name, name=f"end of {self.name}")

    async def _tell_the_end(self) -> None:
        """Receivers wait for the end too, and another who has the file open may settle the last message."""
        while await self._messages.run(self._asked, self._messages.unsettled):
            await self._messages.news(self._messages.settled)
        self._messages.ready.notify_all()

    # In

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        """Return after the message is on the disk: this is the confirm. Ready `delay` seconds later.

        Raises `QueueFull` or `QueueClosed` when it certainly is not, TypeError for a body that is
        not JSON. When it is cancelled, or raises an error of sqlite3, the outcome is indefinite: put
        the message again, with the same id, which `dedup` makes harmless.
        """
        checked = self._checked(message, delay)
        await anyio.lowlevel.checkpoint_if_cancelled()
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        await self._puts.add(checked)

    def _accept_all(
        self, puts: list[tuple[Message, object, float, str]]
    ) -> list[QueueFull | QueueClosed | None]:
        self._must_be_open()
        return [self._accept(*put) for put in puts]

    def _accept(
        self, message: Message, content: object, delay: float, who: str
    ) -> QueueFull | QueueClosed | None:
        if self._knows(message.id):  # a refusal would be a lie: it was accepted
            self._tell(Kind.DUPLICATE, message.id, who=who)
            return None
        refusal = super()._accept(message, content, delay, who)
        if refusal is None:
            self._accepted.add(message.id)
        return refusal

    def _knows(self, message_id: str) -> bool:
        """True when this message is here, or was; not when it died and somebody now brings it back."""
        if (known := self._accepted.find(message_id)) is None:
            return False
        _, died = known
        dead = self._dead_letters_here
        return not died or (dead is not None and not dead._messages.has_leased(message_id))

    # Settled

    def _is_same(self, other: Queue) -> bool:
        """A lease settles by its token, for as long as it lasts, whichever process has granted it."""
        place = isinstance(other, SQLiteQueue) and (other.name, other.database.path)
        return place == (self.name, self.database.path)

    # Time

    async def _expire_in_time(self) -> None:
        await despite_faults(super()._expire_in_time, self.name)

    def _look(self) -> float:
        """Also end the leases of this process that another process has seen expire."""
        next_due = super()._look()
        now = anyio.current_time()
        for lease in self._leases.values():
            if lease.expires <= now:
                self._end(lease)
        return min([next_due, *(lease.expires for lease in self._leases.values())])

    # To the dead letters

    @property
    def _dead_letters_here(self) -> SQLiteQueue | None:
        """The dead letters, if they are open in this file."""
        dead = self.dead_letters
        here = isinstance(dead, SQLiteQueue) and dead.database is self.database and dead._open is not None
        return dead if isinstance(dead, SQLiteQueue) and here else None

    def _die(self, stored: StoredMessage) -> None:
        """At once when the dead letters are in this file."""
        dead = self._dead_letters_here
        if dead is None:
            super()._die(stored)
            return
        message = self._dead_letter(stored)
        refusal = dead._send(message, dead._messages.content_of(message), 0.0, "")
        if refusal is None:
            self._moved(stored, dead.name)
        else:
            self._keep(stored, refusal)

    async def _move_in_turn(self) -> None:
        await despite_faults(super()._move_in_turn, self.name)

    async def _move(self, stored: StoredMessage) -> None:
        try:
            await super()._move(stored)
        except anyio.get_cancelled_exc_class():
            with anyio.CancelScope(shield=True), suppress(sqlite3.Error):  # the next one need not wait
                await self._messages.run(super()._die, stored)
            raise

    def _moved(self, stored: StoredMessage, to: str) -> None:
        if self._messages.has(stored):  # another process may have moved it too, when this one was slow
            super()._moved(stored, to)
            self._accepted.died(stored.id)
