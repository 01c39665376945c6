"""What happens to messages by itself: leases expire, rests end, the dead are moved, and others hear of it.

Every method runs inside a transaction. It writes rows, and leaves what it has to say until the
commit: facts for the trace, the end of a lease for its consumer, a change for those who wait.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from functools import partial
from typing import NamedTuple

import anyio

from ..message import Message
from ..message_queue import Backoff, DeadLetterPolicy, Lease, QueueClosed, QueueFull, dead_letter
from ..storage import Database, microseconds
from ..trace import Kind, record
from .rows import BEHIND, DYING, LEASED, READY, RESTING, Row, Rows
from .seen import SCHEMA, Seen
from .waiting import Waiting

__all__ = ["Put", "Upkeep"]


class Put(NamedTuple):
    """A message that somebody, or a queue that gives it up, waits to see accepted."""

    message: Message
    envelope: str
    delay: float = 0.0
    who: str = ""


class Upkeep(ABC):
    """The messages of one queue, and what time does to them.

    `dead` are those of the dead letters, if they are in the same file.
    """

    def __init__(
        self,
        file: Database,
        name: str,
        *,
        capacity: int | None,
        policy: DeadLetterPolicy,
        backoff: Backoff,
        dedup: int,
        dead_name: str,
        dead: Upkeep | None,
    ) -> None:
        self.name = name
        self.rows = Rows(file, name)
        self.seen = Seen(file, f"queue {name}", dedup)
        self.waiting = Waiting()
        self.leases: dict[int, Lease] = {}  #: granted by this process and not over, by token
        self.closed = False
        self._database = file
        self._capacity = capacity
        self._policy = policy
        self._backoff = backoff
        self._dead_name = dead_name
        self._dead = dead

    def create(self) -> None:
        """Make in the file what is missing there, and keep what is there."""
        self._database.create(SCHEMA)
        self.rows.create()

    @abstractmethod
    def accept(self, put: Put) -> QueueFull | QueueClosed | None:
        """Take responsibility for the message, or return why not."""

    # Time

    def catch_up(self) -> None:
        """Do what is due by now: a lease is over at the very instant at which it expires."""
        for row in self.rows.due(self._database.now()):
            if row.state == LEASED:
                self._expire(row)
                continue
            if row.deliveries:
                self._say(Kind.RETURNED, row.id, lease=row.token, reason="its delay is over")
            self._rest(row, 0.0)

    def next_due(self) -> float:
        """When, on anyio's clock, there will be something to do."""
        due = self.rows.next_due()
        return min(
            math.inf if due is None else self._database.on_anyio(due),
            min((lease.expires for lease in self.leases.values()), default=math.inf),
        )

    def let_go(self) -> None:
        """End the leases of this process that another process has seen expire."""
        now = anyio.current_time()
        for lease in [lease for lease in self.leases.values() if lease.expires <= now]:
            del self.leases[lease.token]
            lease.end()

    def _expire(self, row: Row) -> None:
        self._say(Kind.EXPIRED, row.id, who=row.consumer, lease=row.token)
        if (lease := self.leases.get(row.token or 0)) is not None:
            self.end(lease)
        self._try_again(row._replace(failures=row.failures + 1), 0.0, "the lease expired")

    def _try_again(self, row: Row, rest: float, reason: str) -> None:
        verdict = self._policy.verdict(deliveries=row.deliveries, failures=row.failures)
        if verdict is not None:
            self._die(row._replace(state=DYING, reason=f"{verdict}, the last: {reason}"))
            return
        if rest == 0:
            self._say(Kind.RETURNED, row.id, lease=row.token, reason=reason)
        self._rest(row, rest)

    def _rest(self, row: Row, seconds: float) -> None:
        due = self._database.now() + microseconds(seconds)
        row = row._replace(state=RESTING if seconds else READY, due=due, reason="")
        self.rows.save(row)
        self._offered(row)

    def _remove(self, counter: str, row: Row) -> None:
        self.rows.count(counter)
        behind = self.rows.remove(row, self._database.now())
        if behind is not None:
            self._offered(behind)
        if not self.rows.unsettled():  # whoever waits for the end need wait no longer
            self._database.after_commit(self.waiting.wake)

    # To the dead letters

    def _die(self, row: Row) -> None:
        """At once when the dead letters are in this file, else the clerk will carry it there."""
        if self._dead is None:
            self.rows.save(row)
            self._database.after_commit(self.waiting.call_clerk)
            return
        letter = self.letter(row)
        sent = partial(record, Kind.SENT, self._dead.name, row.id, who="", label=letter.label, key=row.key)
        self._database.after_commit(sent)
        refusal = self._dead.accept(Put(letter, letter.to_json(shift=self._database.shift)))
        if refusal is None:
            self.buried(row)
        else:
            self.refused(row, refusal)

    def letter(self, row: Row) -> Message:
        """The message as a dead letter."""
        now = anyio.current_time()
        return dead_letter(
            Message.from_json(row.envelope, shift=self._database.shift),
            reason=row.reason,
            source=self.name,
            deliveries=row.deliveries,
            failures=row.failures,
            first=now if row.first is None else self._database.on_anyio(row.first),
            last=now,
        )

    def buried(self, row: Row) -> None:
        """The dead letters have it."""
        self._say(Kind.DEAD, row.id, lease=row.token, reason=row.reason, to=self._dead_name)
        self.seen.died(row.id)
        self._remove("dead", row)

    def refused(self, row: Row, error: Exception) -> None:
        """Whatever is wrong over there, the message must not be lost here."""
        self._say(Kind.NOTE, row.id, text=f"dead letter refused: {error!r}")
        self._rest(row, self._backoff.seconds(max(1, row.failures)))

    # What the others hear of it

    def _offered(self, row: Row) -> None:
        if row.state == READY:
            self._database.after_commit(self.waiting.wake)
        elif row.state != BEHIND:
            self._watch(row)

    def _watch(self, row: Row) -> None:
        self._database.after_commit(partial(self.waiting.set_alarm, self._database.on_anyio(row.due)))

    def _say(self, kind: str, message_id: str, *, who: str = "", **data: object) -> None:
        self._database.after_commit(partial(record, kind, self.name, message_id, who=who, **data))

    def end(self, lease: Lease, outcome: str = "") -> None:
        """The lease is over, once that is committed."""

        def end() -> None:
            self.leases.pop(lease.token, None)
            lease.end(outcome)

        self._database.after_commit(end)
