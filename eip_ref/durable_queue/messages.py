"""The messages of a durable queue, as rows of an SQLite file: a step is a transaction.

The state of a message is written down, instead of being computed when somebody asks, so that each question
(what is ready, what is due, who holds this lease) is one look into an index, however long the queue is.
One index has them all: what is ready is in it by its place, everything else by its time.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any, TypeVar, TypeVarTuple

import anyio

from ..message import Message
from ..message_queue import Counts, Lease, MessageState, StoredMessage
from ..signal import Signal, alone
from ..storage import FOREVER, Database, microseconds
from .confirm import ACCEPTED_IDS

T = TypeVar("T")
Given = TypeVarTuple("Given")

# A place may be given again when nothing is behind it; a token never.
SCHEMA = (
    """CREATE TABLE IF NOT EXISTS queues (
        name TEXT PRIMARY KEY,
        accepted INTEGER NOT NULL DEFAULT 0,
        acked INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0,
        tokens INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID""",
    """CREATE TABLE IF NOT EXISTS messages (
        sequence INTEGER PRIMARY KEY,
        queue TEXT NOT NULL,
        id TEXT NOT NULL,
        key TEXT,
        envelope TEXT NOT NULL,
        state TEXT NOT NULL,
        due INTEGER NOT NULL,
        token INTEGER NOT NULL DEFAULT 0,
        consumer TEXT NOT NULL DEFAULT '',
        deliveries INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        first INTEGER,
        dead_letter_reason TEXT NOT NULL DEFAULT '')""",
    "CREATE INDEX IF NOT EXISTS states ON messages (queue, state, due)",
    "CREATE INDEX IF NOT EXISTS keys_of_messages ON messages (queue, key) WHERE key IS NOT NULL",
)
COLUMNS = (
    "id, key, envelope, state, due, sequence,"
    " token, consumer, deliveries, failures, first, dead_letter_reason"
)
SELECT = f"SELECT {COLUMNS} FROM messages WHERE queue = ? AND "
UNSETTLED = "accepted - acked - dead - dropped"
MOVING = 30.0  #: seconds that one process has for moving a dead message before another may try
DUE = (MessageState.LEASED, MessageState.RESTING)  #: something happens at their time


class SQLiteMessages:
    """The rows of one queue, and who waits for them: here, and by looking now and then, elsewhere."""

    def __init__(self, database: Database, queue: str) -> None:
        self.database = database
        self.ready, self.settled, self.died, self._due_earlier = Signal(), Signal(), Signal(), Signal()
        self.run, self.news, self.after_commit = database.run, database.news, database.after_commit
        self._queue = queue
        self._next_due: int | None = None  # not later than that; None when somebody else may have set one
        self._version = -1  # of the file, as this connection saw it last

    def __enter__(self) -> None:
        row = "INSERT OR IGNORE INTO queues (name) VALUES (?)"
        self.database.open(SCHEMA + ACCEPTED_IDS, row, self._queue)
        self.ready = self.database.signal(f"ready in {self._queue}")
        self.settled = self.database.signal(f"settled in {self._queue}")
        self.died = self.database.signal(f"died in {self._queue}")
        self._due_earlier = self.database.signal(f"due earlier in {self._queue}")
        self._next_due, self._version = None, -1  # another connection counts otherwise

    def __exit__(self, *error: object) -> None:
        self.database.__exit__()

    # Steps

    def run_nowait(self, step: Callable[[*Given], T], *given: *Given) -> T:
        with self.database.transaction():
            return step(*given)

    async def sleep(self, until: float) -> None:
        """See `MessageTable`. What another process has changed is looked for every `poll` seconds."""
        while not self._changed_elsewhere():
            look = math.inf if alone.get() else anyio.current_time() + self.database.poll
            with anyio.CancelScope(deadline=min(until, look)):
                await self._due_earlier.wait()
                return
            if anyio.current_time() >= until:
                return

    def _changed_elsewhere(self) -> bool:
        """True once after a commit of another connection: then those who wait have to look again."""
        (version,) = self.database.one("PRAGMA data_version")
        if version == self._version:
            return False
        self._version, self._next_due = version, None
        if not alone.get():
            for signal in (self.ready, self.settled, self.died, self._due_earlier):
                signal.notify_all()
        return True

    # Changes

    def add(self, stored: StoredMessage) -> None:
        self.database.execute("UPDATE queues SET accepted = accepted + 1 WHERE name = ?", self._queue)
        self.database.execute(
            "INSERT INTO messages (queue, id, key, envelope, state, due) VALUES (?, ?, ?, ?, ?, ?)",
            self._queue,
            stored.id,
            stored.key,
            stored.content,
            stored.state,
            self._due(stored),
        )

    def save(self, stored: StoredMessage) -> None:
        self.database.execute(
            "UPDATE messages SET state = ?, due = ?, token = ?, consumer = ?, deliveries = ?, failures = ?,"
            " first = ?, dead_letter_reason = ? WHERE sequence = ?",
            stored.state,
            self._due(stored),
            stored.token,
            stored.consumer,
            stored.deliveries,
            stored.failures,
            self._in_file(stored.first) if stored.deliveries else None,
            stored.dead_letter_reason,
            stored.sequence,
        )

    def _due(self, stored: StoredMessage) -> int:
        """The time in the file; those that are ready are all due, and so in the order of their places."""
        if stored.state == MessageState.READY:
            return 0
        due = self._in_file(stored.due)
        if stored.state in DUE and (self._next_due is None or due < self._next_due):
            self.database.after_commit(self._is_due_earlier, due)
        return due

    def _is_due_earlier(self, due: int) -> None:
        if self._next_due is not None:
            self._next_due = min(due, self._next_due)
        self._due_earlier.notify_all()

    def remove(self, stored: StoredMessage, counter: str) -> tuple[StoredMessage | None, int]:
        self.database.execute("DELETE FROM messages WHERE sequence = ?", stored.sequence)
        count = f"UPDATE queues SET {counter} = {counter} + 1 WHERE name = ? RETURNING {UNSETTLED}"
        (left,) = self.database.one(count, self._queue)
        following = None if stored.key is None else self._first("key = ? ORDER BY sequence", stored.key)
        return following, left

    def purge(self) -> list[StoredMessage]:
        free = "state IN ('ready', 'resting', 'behind')"
        purge = f"DELETE FROM messages WHERE queue = ? AND {free} RETURNING {COLUMNS}"
        purged = [self._stored(row) for row in self.database.rows(purge, self._queue)]
        count = "UPDATE queues SET dropped = dropped + ? WHERE name = ?"
        self.database.execute(count, len(purged), self._queue)
        return sorted(purged, key=lambda stored: stored.sequence)

    def next_token(self) -> int:
        step = "UPDATE queues SET tokens = tokens + 1 WHERE name = ? RETURNING tokens"
        return int(self.database.one(step, self._queue)[0])

    # Questions

    def content_of(self, message: Message) -> str:
        return message.to_json(shift=self.database.shift)

    def read(self, stored: StoredMessage) -> Message:
        return Message.from_json(stored.content, shift=self.database.shift)

    def take_ready(self) -> StoredMessage | None:
        return self._first("state = 'ready' ORDER BY due, sequence")

    def ready_ones(self) -> Iterator[StoredMessage]:
        return self._select("state = 'ready' ORDER BY due, sequence")

    def holder(self, lease: Lease) -> StoredMessage | None:
        return self._first("state = 'leased' AND sequence = ? AND token = ?", lease.sequence, lease.token)

    def has_key(self, key: str) -> bool:
        return self._any("key = ?", key)

    def has_leased(self, message_id: str) -> bool:
        """True when somebody has a message with this id in hand."""
        return self._any("state = 'leased' AND id = ?", message_id)

    def has(self, stored: StoredMessage) -> bool:
        """True until it is removed."""
        return self._any("sequence = ? AND id = ?", stored.sequence, stored.id)

    def due(self, now: float) -> Iterable[StoredMessage]:
        self._changed_elsewhere()
        if self._in_file(now) < self._earliest_due():
            return ()
        self._next_due = None  # what follows changes it
        is_due = "state IN ('leased', 'resting') AND due <= ? ORDER BY due, sequence"
        return list(self._select(is_due, self._in_file(now)))

    def next_due(self) -> float:
        self._next_due = None  # another object of this queue may have set one, on the same connection
        return self.database.on_anyio(self._earliest_due())

    def _earliest_due(self) -> int:
        if self._next_due is None:
            query = "SELECT min(due) FROM messages WHERE queue = ? AND state = ?"
            earliest = (self.database.one(query, self._queue, state)[0] for state in DUE)
            self._next_due = min((due for due in earliest if due is not None), default=FOREVER)
        return self._next_due

    def next_dead(self) -> tuple[StoredMessage | None, float]:
        """See `MessageTable`. Whoever has the file open too leaves it alone while this process moves it."""
        now = anyio.current_time()
        stored = self._first("state = 'dead' ORDER BY due, sequence")
        if stored is None:
            return None, math.inf
        if self._in_file(stored.due) > self._in_file(now):
            return None, stored.due
        stored.due = now + MOVING
        self.save(stored)
        return stored, now

    def unsettled(self) -> int:
        return int(self.database.one(f"SELECT {UNSETTLED} FROM queues WHERE name = ?", self._queue)[0])

    def counts(self) -> Counts:
        """Row by row for those that are here, and by the counters for those that are gone."""
        here = "SELECT count(*), total(state = 'leased'), total(state = 'ready') FROM messages"
        every, leased, now = map(int, self.database.one(f"{here} WHERE queue = ?", self._queue))
        gone = "SELECT acked, dead, dropped, accepted FROM queues WHERE name = ?"
        acked, dead, dropped, accepted = self.database.one(gone, self._queue)
        return Counts(every - leased, leased, acked, dead, dropped, accepted, delayed=every - leased - now)

    def _in_file(self, seconds: float) -> int:
        return microseconds(seconds + self.database.shift)

    def _any(self, condition: str, *given: object) -> bool:
        query = f"SELECT 1 FROM messages WHERE queue = ? AND {condition} LIMIT 1"
        return self.database.execute(query, self._queue, *given).fetchone() is not None

    def _first(self, condition: str, *given: object) -> StoredMessage | None:
        row = self.database.execute(f"{SELECT}{condition} LIMIT 1", self._queue, *given).fetchone()
        return None if row is None else self._stored(row)

    def _select(self, condition: str, *given: object) -> Iterator[StoredMessage]:
        return map(self._stored, self.database.rows(SELECT + condition, self._queue, *given))

    def _stored(self, row: tuple[Any, ...]) -> StoredMessage:
        stored = StoredMessage(*row)
        stored.due = self.database.on_anyio(row[4])
        stored.first = math.nan if row[10] is None else self.database.on_anyio(row[10])
        return stored
