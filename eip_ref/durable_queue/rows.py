"""The rows of a queue: every unsettled message with its state, and one row of counters.

    behind ─▶ resting ─▶ ready ─▶ leased ─▶ removed, when acked, dropped or dead
                 ▲                  │
                 └──────────────────┴─▶ dying ─▶ removed, when other dead letters have taken it

*Behind* waits for an earlier message of its key; *resting* and *leased* end by themselves at `due`.
The state is written down, instead of being computed when somebody asks, so that each question (what
is ready, what is due, who holds this lease) is one look into an index, however long the queue is.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from ..storage import Database

__all__ = ["BEHIND", "DYING", "LEASED", "READY", "RESTING", "SCHEMA", "Row", "Rows"]

READY, RESTING, BEHIND, LEASED, DYING = "ready", "resting", "behind", "leased", "dying"

SCHEMA = (
    """CREATE TABLE IF NOT EXISTS queues (
        name TEXT PRIMARY KEY,
        accepted INTEGER NOT NULL DEFAULT 0,
        acked INTEGER NOT NULL DEFAULT 0,
        dead INTEGER NOT NULL DEFAULT 0,
        dropped INTEGER NOT NULL DEFAULT 0,
        tokens INTEGER NOT NULL DEFAULT 0)""",
    """CREATE TABLE IF NOT EXISTS messages (
        place INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL,
        key TEXT,
        envelope TEXT NOT NULL,
        state TEXT NOT NULL,
        due INTEGER NOT NULL,
        token INTEGER,
        consumer TEXT NOT NULL DEFAULT '',
        deliveries INTEGER NOT NULL DEFAULT 0,
        failures INTEGER NOT NULL DEFAULT 0,
        first INTEGER,
        reason TEXT NOT NULL DEFAULT '',
        queue TEXT NOT NULL)""",
    "CREATE INDEX IF NOT EXISTS lines ON messages (queue, key, place) WHERE key IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS readies ON messages (queue, place) WHERE state = 'ready'",
    "CREATE INDEX IF NOT EXISTS alarms ON messages (queue, due, place) WHERE state IN ('resting', 'leased')",
    "CREATE INDEX IF NOT EXISTS leases ON messages (queue, token) WHERE state = 'leased'",
    "CREATE INDEX IF NOT EXISTS dying ON messages (queue, place) WHERE state = 'dying'",
)


class Row(NamedTuple):
    """An unsettled message. Times are on the file's clock."""

    place: int  #: the lowest goes first
    id: str
    key: str | None
    envelope: str
    state: str
    due: int  #: leased: when the lease is over; else: from when on it may be ready
    token: int | None = None  #: of its last lease
    consumer: str = ""  #: who has or had that lease
    deliveries: int = 0
    failures: int = 0
    first: int | None = None  #: when it was first delivered
    reason: str = ""  #: why it is dying


COLUMNS = ", ".join(Row._fields)


class Rows:
    """The rows of the queue with this name. All of it happens inside a transaction of the file."""

    def __init__(self, file: Database, queue: str) -> None:
        self._database = file
        self._queue = queue

    def create(self) -> None:
        """Make what is missing in the file, and keep what is there."""
        self._database.create(SCHEMA)
        with self._database.transaction():
            self._database.execute("INSERT OR IGNORE INTO queues (name) VALUES (?)", self._queue)

    # Counters

    def count(self, counter: str) -> int:
        """Add one to a counter and return it."""
        step = f"UPDATE queues SET {counter} = {counter} + 1 WHERE name = ? RETURNING {counter}"
        (value,) = self._database.one(step, self._queue)
        return int(value)

    def counters(self) -> tuple[int, int, int, int]:
        """How many were accepted, acked, dead and dropped since the queue was made."""
        query = "SELECT accepted, acked, dead, dropped FROM queues WHERE name = ?"
        accepted, acked, dead, dropped = self._database.one(query, self._queue)
        return accepted, acked, dead, dropped

    def unsettled(self) -> int:
        """How many messages there are, by the counters: no row is looked at."""
        accepted, acked, dead, dropped = self.counters()
        return accepted - acked - dead - dropped

    def counted(self) -> tuple[int, int]:
        """How many messages are not leased and leased, row by row."""
        query = "SELECT count(*) FROM messages WHERE queue = ?"
        (every,) = self._database.one(query, self._queue)
        (leased,) = self._database.one(f"{query} AND state = 'leased'", self._queue)
        return every - leased, leased

    # Messages

    def add(self, *, id: str, key: str | None, envelope: str, due: int, now: int) -> Row:
        """Take in a new message at the end of the queue and of the line of its key."""
        waits = key is not None and self._head(key) is not None
        state = BEHIND if waits else READY if due <= now else RESTING
        values = {"queue": self._queue, "id": id, "key": key, "envelope": envelope}
        cursor = self._database.connection.execute(
            "INSERT INTO messages (queue, id, key, envelope, state, due)"
            " VALUES (:queue, :id, :key, :envelope, :state, :due)",
            values | {"state": state, "due": due},
        )
        return Row(cursor.lastrowid or 0, id, key, envelope, state, due)

    def save(self, row: Row) -> None:
        """Write down what has changed about a message."""
        self._database.execute(
            "UPDATE messages SET state = ?, due = ?, token = ?, consumer = ?, deliveries = ?,"
            " failures = ?, first = ?, reason = ? WHERE place = ?",
            *row[4:],
            row.place,
        )

    def remove(self, row: Row, now: int) -> Row | None:
        """Forget a settled message; the answer is the one behind it, which now is the head of its line."""
        self._database.execute("DELETE FROM messages WHERE place = ?", row.place)
        behind = None if row.key is None else self._head(row.key)
        if behind is None:
            return None
        behind = behind._replace(state=READY if behind.due <= now else RESTING)
        self.save(behind)
        return behind

    # Questions

    def first_ready(self) -> Row | None:
        """The ready message with the lowest place."""
        return self._first("state = 'ready' ORDER BY place")

    def holder(self, token: int) -> Row | None:
        """The message that is leased under this token."""
        return self._first("state = 'leased' AND token = ?", token)

    def is_leased(self, message_id: str) -> bool:
        """Whether somebody has a message with this id in hand."""
        return self._first("state = 'leased' AND id = ?", message_id) is not None

    def due(self, now: int) -> list[Row]:
        """The rests and leases that are over, at this very instant included, in their order."""
        return list(self._select("state IN ('resting', 'leased') AND due <= ? ORDER BY due, place", now))

    def next_due(self) -> int | None:
        """When the next rest or lease will be over."""
        row = self._first("state IN ('resting', 'leased') ORDER BY due, place")
        return None if row is None else row.due

    def dying(self) -> Row | None:
        """The first message on its way to dead letters elsewhere."""
        return self._first("state = 'dying' ORDER BY place")

    def _head(self, key: str) -> Row | None:
        return self._first("key = ? ORDER BY place", key)

    def _first(self, condition: str, *values: object) -> Row | None:
        return next(self._select(f"{condition} LIMIT 1", *values), None)

    def _select(self, condition: str, *values: object) -> Iterator[Row]:
        query = f"SELECT {COLUMNS} FROM messages WHERE queue = ? AND {condition}"
        return map(Row._make, self._database.execute(query, self._queue, *values))
