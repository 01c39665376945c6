"""The queue in memory: the lease rules over messages that live as long as their process."""

from __future__ import annotations

import heapq
import itertools
import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar, TypeVarTuple

import anyio
import anyio.lowlevel

from ..message import Message
from ..signal import Signal
from ..timers import Timers
from .dead_letters import NEVER
from .lease_rules import LeaseQueue
from .protocol import Lease
from .stored_messages import Counts, MessageState, StoredMessage

T = TypeVar("T")
Given = TypeVarTuple("Given")


class MessageQueue(LeaseQueue):
    """A queue in memory: what it holds is lost with its process."""

    _messages: MessagesInMemory

    def _make_messages(self) -> MessagesInMemory:
        return MessagesInMemory()

    def _make_dead_letters(self, name: str) -> MessageQueue:
        return MessageQueue(name, lease=self.lease, policy=NEVER)

    async def put(self, message: Message, *, delay: float = 0.0) -> None:
        """Take responsibility for a copy of the message, to be handed out after `delay` seconds.

        Raises `QueueFull` or `QueueClosed`: then the queue certainly does not have it. Raises TypeError
        for a body that is not JSON: no queue that outlives its process could take it.
        """
        await anyio.lowlevel.checkpoint()
        self.put_nowait(message, delay=delay)


class MessagesInMemory:
    """The messages of one queue, as objects. A step is committed when it returns."""

    def __init__(self) -> None:
        self.ready, self.settled, self.died = Signal(), Signal(), Signal()
        self._timers = Timers(_is_live)
        self.unsettled_messages: dict[int, StoredMessage] = {}  #: by place
        self._keys: dict[str, deque[StoredMessage]] = {}  # those of a key in their order
        self._ready: list[int] = []  # a heap of places
        self._leased: dict[int, StoredMessage] = {}  # by place
        self._dead: deque[StoredMessage] = deque()
        self._counted = {"accepted": 0, "acked": 0, "dropped": 0, "dead": 0}
        self._tokens = itertools.count(1)

    def __enter__(self) -> None: ...
    def __exit__(self, *error: object) -> None: ...

    # Steps

    async def run(self, step: Callable[[*Given], T], *given: *Given) -> T:
        return step(*given)

    def run_nowait(self, step: Callable[[*Given], T], *given: *Given) -> T:
        return step(*given)

    def after_commit(self, call: Callable[[*Given], object], *given: *Given) -> None:
        call(*given)

    async def news(self, signal: Signal) -> None:
        await signal.wait()

    async def sleep(self, until: float) -> None:
        await self._timers.wait()

    # Changes

    def add(self, stored: StoredMessage) -> None:
        self._counted["accepted"] += 1
        stored.sequence = self._counted["accepted"]
        self.unsettled_messages[stored.sequence] = stored
        if stored.key is not None:
            self._keys.setdefault(stored.key, deque()).append(stored)
        self.save(stored)

    def save(self, stored: StoredMessage) -> None:
        if stored.state == MessageState.LEASED:
            self._leased[stored.sequence] = stored
            self._timers.set(stored.due, stored)
            return
        self._leased.pop(stored.sequence, None)
        if stored.state == MessageState.READY:
            heapq.heappush(self._ready, stored.sequence)
        elif stored.state == MessageState.RESTING:
            self._timers.set(stored.due, stored)
        elif stored.state == MessageState.DEAD:
            self._dead.append(stored)

    def remove(self, stored: StoredMessage, counter: str) -> tuple[StoredMessage | None, int]:
        self._counted[counter] += 1
        stored.state = MessageState.GONE
        del self.unsettled_messages[stored.sequence]
        self._leased.pop(stored.sequence, None)
        following = None if stored.key is None else self._leave_line(stored.key)
        return following, len(self.unsettled_messages)

    def _leave_line(self, key: str) -> StoredMessage | None:
        line = self._keys[key]
        line.popleft()
        if line:
            return line[0]
        del self._keys[key]
        return None

    def purge(self) -> list[StoredMessage]:
        free = (MessageState.READY, MessageState.RESTING, MessageState.BEHIND)
        purged = [stored for stored in self.unsettled_messages.values() if stored.state in free]
        for stored in purged:
            stored.state = MessageState.GONE
            del self.unsettled_messages[stored.sequence]
        self._ready.clear()
        heads = (line[0] for line in self._keys.values() if line[0].state != MessageState.GONE)
        self._keys = {str(head.key): deque([head]) for head in heads}  # in hand, or dead
        self._counted["dropped"] += len(purged)
        return purged

    def next_token(self) -> int:
        return next(self._tokens)

    # Questions

    def content_of(self, message: Message) -> object:
        message.check_json()
        return message.copy()

    def read(self, stored: StoredMessage) -> Message:
        message: Message = stored.content
        return message.copy()

    def take_ready(self) -> StoredMessage | None:
        return self.unsettled_messages[heapq.heappop(self._ready)] if self._ready else None

    def ready_ones(self) -> Iterator[StoredMessage]:
        return (self.unsettled_messages[place] for place in sorted(self._ready))

    def holder(self, lease: Lease) -> StoredMessage | None:
        stored = self._leased.get(lease.sequence)
        return stored if stored is not None and stored.token == lease.token else None

    def has_key(self, key: str) -> bool:
        return key in self._keys

    def due(self, now: float) -> Iterable[StoredMessage]:
        if self._timers.next > now:
            return ()
        due = set(self._timers.due(now))  # one that was leased twice in an instant has two timers for it
        return sorted(due, key=lambda stored: (stored.due, stored.sequence))

    def next_due(self) -> float:
        return self._timers.next

    def next_dead(self) -> tuple[StoredMessage | None, float]:
        while self._dead and self._dead[0].state != MessageState.DEAD:
            self._dead.popleft()
        return self._dead[0] if self._dead else None, math.inf

    def unsettled(self) -> int:
        return len(self.unsettled_messages)

    def counts(self) -> Counts:
        in_flight = len(self._leased)
        ready = len(self.unsettled_messages) - in_flight
        return Counts(ready, in_flight, **self._counted, delayed=ready - len(self._ready))


def _is_live(when: float, stored: StoredMessage) -> bool:
    return stored.due == when and stored.state in (MessageState.LEASED, MessageState.RESTING)
