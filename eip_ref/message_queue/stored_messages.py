"""Stored messages: the states of a message in a queue, and what a table that keeps them must do.

A message is always in one state:

    behind ─▶ resting ─▶ ready ─▶ leased ─▶ gone: acked, or dropped
                 ▲                  │
                 └──────────────────┴─▶ dead ─▶ gone, when the dead letters have it

*Behind* waits for an earlier message of its key, *resting* for its time to come. Messages keep the place
at which they were put, and the lowest place goes first: a message that comes back is at the head again.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple, Protocol, TypeVar, TypeVarTuple

from ..message import Message
from ..signal import Signal
from .protocol import Lease

T = TypeVar("T")
Given = TypeVarTuple("Given")


class MessageState:
    """The states of a message in a queue, as text that a file can keep."""

    BEHIND: Final = "behind"  #: an earlier message of its key is not settled
    RESTING: Final = "resting"  #: ready when its time has come
    READY: Final = "ready"
    LEASED: Final = "leased"  #: a consumer has it, until its time has come
    DEAD: Final = "dead"  #: tried often enough; on its way to the dead letters
    GONE: Final = "gone"  #: settled, and forgotten


@dataclass(eq=False, slots=True)
class StoredMessage:
    """A message in a queue, and what happened to it there. Times are seconds on anyio's clock."""

    id: str
    key: str | None
    content: Any  #: the message, or its text
    state: str
    due: float = 0.0  #: leased: the end of the lease; resting and behind: it is not ready before
    sequence: int = 0  #: its place, given by the table; the lowest goes first
    token: int = 0  #: of its last lease
    consumer: str = ""  #: who has or had that lease
    deliveries: int = 0
    failures: int = 0
    first: float = math.nan  #: when it was first delivered
    dead_letter_reason: str = ""


class Counts(NamedTuple):
    """The numbers of messages in each state, and how many of the ready ones nobody can have yet.

    *Delayed* are those that rest, wait behind another, or are on their way to the dead letters.
    """

    ready: int
    in_flight: int
    acked: int
    dead: int
    dropped: int
    accepted: int
    delayed: int  #: of the ready ones


class MessageTable(Protocol):
    """Keeps the messages of one queue, and carries out the steps in which they change.

    What it returned may be changed, and then `save` writes it down.
    """

    ready: Signal  #: for those who wait until a message is ready
    settled: Signal  #: for those who wait until none is left
    died: Signal  #: for the task that moves the dead

    def __enter__(self) -> object: ...
    def __exit__(self, *error: object) -> None: ...

    # Steps

    async def run(self, step: Callable[[*Given], T], *given: *Given) -> T:
        """Return what the step returns, after its commit."""

    def run_nowait(self, step: Callable[[*Given], T], *given: *Given) -> T:
        """`run` for callers that cannot wait, and those in a transaction."""

    def after_commit(self, call: Callable[[*Given], object], *given: *Given) -> None:
        """Call this when the step that runs now is committed, and never if it was undone."""

    async def news(self, signal: Signal) -> None:
        """Wait until all at the signal are notified, or another process may have changed something."""

    async def sleep(self, until: float) -> None:
        """Wait until that time, or until something is saved that is due earlier."""

    # Changes

    def add(self, stored: StoredMessage) -> None:
        """Take in a new message, at the end, and count it as accepted."""

    def save(self, stored: StoredMessage) -> None:
        """Keep the new state of a message."""

    def remove(self, stored: StoredMessage, counter: str) -> tuple[StoredMessage | None, int]:
        """Forget a message and count it as acked, dropped or dead.

        Returns the next one of its key, and how many messages are left.
        """

    def purge(self) -> list[StoredMessage]:
        """Forget what nobody has in hand, and count it as dropped; returns what that was, in its order."""

    def next_token(self) -> int:
        """A number for a lease, higher than all before."""

    # Questions

    def content_of(self, message: Message) -> object:
        """The content to keep of a message. Raises TypeError for a body that is not JSON."""

    def read(self, stored: StoredMessage) -> Message:
        """The message itself, as a copy of its own."""

    def take_ready(self) -> StoredMessage | None:
        """The ready message with the lowest place; it must be leased or removed in this step."""

    def ready_ones(self) -> Iterator[StoredMessage]:
        """The ready messages in the order of their places, to be looked at in this step."""

    def holder(self, lease: Lease) -> StoredMessage | None:
        """The message that this lease holds."""

    def has_key(self, key: str) -> bool:
        """True when a message of this key is here."""

    def due(self, now: float) -> Iterable[StoredMessage]:
        """The resting and leased ones whose time has come, at this very instant included, in its order."""

    def next_due(self) -> float:
        """The time at which the next of them will be due; infinity when none will."""

    def next_dead(self) -> tuple[StoredMessage | None, float]:
        """The first of those that are on their way to the dead letters, or when to look for one again."""

    def unsettled(self) -> int:
        """The number of messages."""

    def counts(self) -> Counts: ...
