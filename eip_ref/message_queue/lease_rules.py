"""The lease rules: who may have which message, until when, and what happens then.

They are said here once for every queue, whatever keeps its messages: `stored_messages.py` has the states
of a message, and what is asked of the table that keeps them.

Whatever happens in a queue is a *step*: a plain function that first does what is due by now, then what
was asked for, and is committed as a whole. So each public method checks what it was given and runs one
step, `ack` the step `_settle`; what others are told, they are told after the commit.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from itertools import islice
from types import TracebackType
from typing import Any, Self, TypeVar

import anyio
import anyio.abc
import anyio.lowlevel

from .. import values
from ..message import EXPIRED, Message
from ..tasks import background
from ..trace import Kind, listening, record, whoami
from .dead_letters import NEVER, Backoff, DeadLetterPolicy, dead_letter
from .protocol import Empty, Lease, Queue, QueueClosed, QueueFull, Settled
from .stored_messages import Counts, MessageState, MessageTable, StoredMessage

T = TypeVar("T")


class LeaseQueue(ABC):
    """A queue that follows the rules. Use it as `async with MessageQueue("orders") as queue: …`.

    `lease` is how many seconds a consumer has for a message, `capacity` how many messages may be
    unsettled. Dead letters go to `dead_letters`, by default a queue of its own named "<name>.dead".
    """

    _role = "channel"

    def __init__(
        self,
        name: str,
        *,
        lease: float = 30.0,
        capacity: int | None = None,
        policy: DeadLetterPolicy | None = None,
        backoff: Backoff | None = None,
        dead_letters: Queue | None = None,
    ) -> None:
        self.name = values.name("name", name)
        self.lease = values.duration("lease", lease, zero=False, infinite=True)
        self.capacity = None if capacity is None else values.count("capacity", capacity)
        self.policy = policy or DeadLetterPolicy()
        self.backoff = backoff or Backoff()
        self._owned: LeaseQueue | None = None
        if dead_letters is None and self.policy != NEVER:
            dead_letters = self._owned = self._make_dead_letters(f"{name}.dead")
            self._owned._role = "dead letters"
        self.dead_letters = dead_letters
        self._messages = self._make_messages()
        self._leases: dict[int, Lease] = {}  # granted here and not over, by token
        self._closed = False
        self._open: AsyncExitStack | None = None
        self._tasks: anyio.abc.TaskGroup

    @abstractmethod
    def _make_messages(self) -> MessageTable: ...

    @abstractmethod
    def _make_dead_letters(self, name: str) -> LeaseQueue:
        """Make a queue for the messages that die in this one."""

    # Opening and closing

    async def __aenter__(self) -> Self:
        if self._open is not None:
            raise RuntimeError(f"{self.name} is open already: enter it once, and share it")
        async with AsyncExitStack() as stack:
            stack.enter_context(self._messages)
            record(Kind.OPENED, self.name, who="", role=self._role, capacity=self.capacity)
            if self._owned is not None:
                await stack.enter_async_context(self._owned)
            self._tasks = await stack.enter_async_context(background())
            self._tasks.start_soon(self._expire_in_time, name=f"expiry task of {self.name}")
            self._tasks.start_soon(self._move_in_turn, name=f"mover of dead letters of {self.name}")
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        assert self._open is not None
        stack, self._open = self._open, None
        self._closed = False
        self._messages.ready.notify_all()  # whoever waits for it elsewhere is told that it is not open
        self._messages.settled.notify_all()
        return await stack.__aexit__(kind, error, trace)

    def _must_be_open(self) -> None:
        if self._open is None:
            kind = type(self).__name__
            raise RuntimeError(f"{self.name} is not open; use it inside: async with {kind}(…) as queue")

    def close(self) -> None:
        """Take no more messages until the next opening. Idempotent.

        Receivers get `QueueClosed` when all are settled.
        """
        if not self._closed:
            self._closed = True
            record(Kind.CLOSED, self.name)
            self._messages.ready.notify_all()

    # In

    @abstractmethod
    async def put(self, message: Message, *, delay: float = 0.0) -> None: ...

    def put_nowait(self, message: Message, *, delay: float = 0.0) -> None:
        """`put` for callers that cannot wait, and those in a transaction: that is its confirm."""
        _returned(self._messages.run_nowait(self._send, *self._checked(message, delay)))

    def _checked(self, message: Message, delay: float) -> tuple[Message, object, float, str]:
        """The message, the content to keep of it, its delay, and who waits to see it accepted."""
        self._must_be_open()
        if delay:
            values.duration("delay", delay)
        return message, self._messages.content_of(message), delay, whoami()

    def _send(
        self, message: Message, content: object, delay: float, who: str
    ) -> QueueFull | QueueClosed | None:
        self._tell(Kind.SENT, message.id, who=who, label=message.label, key=message.key)
        return self._accept(message, content, delay, who)

    def _accept(
        self, message: Message, content: object, delay: float, who: str
    ) -> QueueFull | QueueClosed | None:
        """Take responsibility for a message that `who` has put, or return why not."""
        if self._closed:
            self._tell(Kind.REFUSED, message.id, who=who, reason="closed")
            return QueueClosed(f"{self.name} is closed and takes no more messages")
        if self.capacity is not None and self._messages.unsettled() >= self.capacity:
            self._tell(Kind.REFUSED, message.id, who=who, reason="full")
            return QueueFull(f"{self.name} holds {self.capacity} unsettled messages and may hold no more")
        stored = StoredMessage(message.id, message.key, content, MessageState.READY)
        if delay:
            stored.state, stored.due = MessageState.RESTING, anyio.current_time() + delay
        if message.key is not None and self._messages.has_key(message.key):
            stored.state = MessageState.BEHIND
        self._messages.add(stored)
        self._tell(Kind.ACCEPTED, message.id, who=who, key=message.key)
        self._notify(stored)
        return None

    # Out

    async def receive(
        self, *, lease: float | None = None, timeout: float = math.inf, consumer: str | None = None
    ) -> Lease:
        """Wait at most `timeout` seconds for a message; take a lease on it, by default `self.lease` long.

        Those who wait are served in the order in which they came. Cancelling a waiting receive takes
        nothing. Raises `Empty` and `QueueClosed`.
        """
        (granted,) = await self.receive_batch(1, lease=lease, timeout=timeout, consumer=consumer)
        return granted

    async def receive_batch(
        self,
        max_messages: int,
        *,
        lease: float | None = None,
        timeout: float = math.inf,
        consumer: str | None = None,
    ) -> list[Lease]:
        """Wait as `receive` does until one message is ready; take it and what else is, at most so many.

        All are granted in one step, each with a lease of its own. Raises what `receive` raises.
        """
        values.count("max_messages", max_messages)
        values.duration("timeout", timeout, infinite=True)
        take = partial(self._take, max_messages, self._seconds(lease), _consumer(consumer))
        await anyio.lowlevel.checkpoint()
        return await self._messages.ready.first(take, Empty, timeout=timeout)

    async def _take(self, *given: Any) -> list[Lease]:
        self._must_be_open()
        return _returned(await self._messages.run(self._receive, *given))

    def receive_nowait(self, *, lease: float | None = None, consumer: str | None = None) -> Lease:
        """Take the ready message with the lowest place. Raises `Empty` when there is none now."""
        self._must_be_open()
        given = 1, self._seconds(lease), _consumer(consumer)
        (granted,) = _returned(self._messages.run_nowait(self._receive, *given))
        return granted

    def _seconds(self, lease: float | None) -> float:
        return self.lease if lease is None else values.duration("lease", lease, zero=False, infinite=True)

    def _receive(self, max_messages: int, seconds: float, consumer: str) -> list[Lease] | Empty | QueueClosed:
        """Grant leases on the ready messages with the lowest places, or return why not."""
        now = self._catch_up()
        leases: list[Lease] = []
        while len(leases) < max_messages and (stored := self._messages.take_ready()) is not None:
            message = self._messages.read(stored)
            if message.has_expired(now):
                self._tell(Kind.DROPPED, stored.id, who="", reason=EXPIRED)
                self._remove(stored, "dropped")
            else:
                leases.append(self._grant(stored, message, now, seconds, consumer))
        if leases:
            return leases
        if self._closed and not self._messages.unsettled():
            return QueueClosed(f"{self.name} is closed and every message is settled")
        return Empty(f"no message is ready in {self.name}")

    def _grant(
        self, stored: StoredMessage, message: Message, now: float, seconds: float, consumer: str
    ) -> Lease:
        stored.state, stored.due, stored.consumer = MessageState.LEASED, now + seconds, consumer
        stored.token = self._messages.next_token()
        stored.deliveries += 1
        if stored.deliveries == 1:
            stored.first = now
        self._messages.save(stored)
        lease = self._leases[stored.token] = Lease(
            message=message,
            sequence=stored.sequence,
            token=stored.token,
            expires=stored.due,
            seconds=seconds,
            deliveries=stored.deliveries,
            failures=stored.failures,
            consumer=consumer,
            queue=self,
        )
        until, count = stored.due, stored.deliveries
        self._tell(Kind.DELIVERED, stored.id, who=consumer, lease=stored.token, deliveries=count, until=until)
        return lease

    # Settled

    async def ack(self, lease: Lease) -> Settled:
        """Settle as done, unless the lease is over or was nacked: the message never comes back."""
        self._must_be_mine(lease)
        return await self._messages.run(self._settle, lease, "ack", self._ack)

    def ack_nowait(self, lease: Lease) -> Settled:
        """`ack` for callers that cannot wait, and those in a transaction."""
        self._must_be_mine(lease)
        return self._messages.run_nowait(self._settle, lease, "ack", self._ack)

    async def nack(self, lease: Lease, *, delay: float | None = None, reason: str = "") -> Settled:
        """Settle as not done: ready again after `delay` seconds, or a dead letter."""
        self._must_be_mine(lease)
        _must_be_text("reason", reason)
        if delay is not None:
            values.duration("delay", delay)
        return await self._messages.run(self._settle, lease, "nack", partial(self._nack, delay, reason))

    async def reject(self, lease: Lease, *, reason: str = "") -> Settled:
        """Settle as never to be done: a dead letter now, whatever the policy would have allowed.

        Raises RuntimeError for a queue without dead letters.
        """
        self._must_be_mine(lease)
        _must_be_text("reason", reason)
        if self.dead_letters is None:
            raise RuntimeError(f"{self.name} has no dead letters; ack what shall not come again")
        return await self._messages.run(self._settle, lease, "reject", partial(self._reject, reason))

    async def extend(self, lease: Lease, seconds: float) -> Settled:
        """Let the lease end `seconds` from now; 0 releases the message."""
        self._must_be_mine(lease)
        values.duration("seconds", seconds, infinite=True)
        return await self._messages.run(self._settle, lease, "extend", partial(self._extend, seconds))

    def _settle(
        self, lease: Lease, attempted: str, settle: Callable[[StoredMessage, Lease], None]
    ) -> Settled:
        """Settle the message of this lease, or give the answer for a lease that holds none."""
        self._catch_up()
        stored = self._messages.holder(lease)
        if stored is not None:
            settle(stored, lease)
            return Settled.DONE
        if lease.outcome:
            return Settled.DONE if lease.outcome.startswith(attempted) else Settled.REFUSED
        self._end(lease)
        self._tell(Kind.STALE, lease.message.id, lease=lease.token, attempted=attempted)
        return Settled.STALE

    def _ack(self, stored: StoredMessage, lease: Lease) -> None:
        self._tell(Kind.ACKED, stored.id, lease=lease.token)
        self._end(lease, "acked")
        self._remove(stored, "acked")

    def _nack(self, delay: float | None, reason: str, stored: StoredMessage, lease: Lease) -> None:
        stored.failures += 1
        rest = self.backoff.seconds(stored.failures) if delay is None else delay
        self._tell(Kind.NACKED, stored.id, lease=lease.token, delay=rest, reason=reason)
        self._end(lease, "nacked")
        self._try_again(stored, rest, reason or "nacked")

    def _reject(self, reason: str, stored: StoredMessage, lease: Lease) -> None:
        stored.failures += 1
        why = stored.dead_letter_reason = f"rejected: {reason}" if reason else "rejected"
        self._tell(Kind.NACKED, stored.id, lease=lease.token, delay=None, reason=why)
        self._end(lease, "rejected")
        self._die(stored)

    def _extend(self, seconds: float, stored: StoredMessage, lease: Lease) -> None:
        if seconds == 0:
            self._end(lease)
            self._try_again(stored, 0.0, "released")
            return
        stored.due = anyio.current_time() + seconds
        self._messages.save(stored)
        self._messages.after_commit(setattr, lease, "expires", stored.due)
        self._tell(Kind.EXTENDED, stored.id, lease=lease.token, until=stored.due)

    def _must_be_mine(self, lease: Lease) -> None:
        self._must_be_open()
        if lease.queue is not self and not self._is_same(lease.queue):
            raise ValueError(f"this lease is one of {lease.queue.name}, not of {self.name}")

    def _is_same(self, other: Queue) -> bool:
        """True for another object of the same queue, whose leases settle here too."""
        return False

    # What follows from it

    def _tell(self, kind: str, message: str, *, who: str | None = None, **facts: Any) -> None:
        """Record a fact, after the commit."""
        if listening():
            who = whoami() if who is None else who
            self._messages.after_commit(partial(self._record, kind, message, who=who, **facts))

    def _record(self, kind: str, message: str, **facts: Any) -> None:
        record(kind, self.name, message, **facts)  # a call of its own: the grader takes no others

    def _end(self, lease: Lease, outcome: str = "") -> None:
        self._messages.after_commit(self._ended, lease, outcome)

    def _ended(self, lease: Lease, outcome: str) -> None:
        self._leases.pop(lease.token, None)
        lease.end(outcome)

    def _try_again(self, stored: StoredMessage, rest: float, reason: str) -> None:
        """Ready again after a rest, or dead."""
        verdict = self.policy.verdict(deliveries=stored.deliveries, failures=stored.failures)
        if verdict is not None:
            stored.dead_letter_reason = f"{verdict}, the last: {reason}"
            self._die(stored)
        else:
            self._offer(stored, anyio.current_time() + rest, reason)

    def _offer(self, stored: StoredMessage, due: float, reason: str) -> None:
        """Make the head of its line ready, or let it rest until it is due."""
        stored.due = due
        stored.state = MessageState.READY if due <= anyio.current_time() else MessageState.RESTING
        self._messages.save(stored)
        if stored.state == MessageState.READY and stored.deliveries:
            self._tell(Kind.RETURNED, stored.id, who="", lease=stored.token, reason=reason)
        self._notify(stored)

    def _notify(self, stored: StoredMessage) -> None:
        """Wake the one who has waited longest, if the message is ready."""
        if stored.state == MessageState.READY:
            self._messages.after_commit(self._messages.ready.notify)

    def _remove(self, stored: StoredMessage, counter: str) -> None:
        following, left = self._messages.remove(stored, counter)
        if following is not None:
            self._offer(following, following.due, "its turn has come")
        if not left:
            self._messages.after_commit(self._all_settled)

    def _all_settled(self) -> None:
        self._messages.settled.notify_all()
        if self._closed:
            self._messages.ready.notify_all()

    # Time

    def _catch_up(self) -> float:
        """Do what is due by now: a lease is over at the very instant at which it expires."""
        now = anyio.current_time()
        for stored in self._messages.due(now):
            if stored.state == MessageState.LEASED:
                self._expire(stored)
            else:
                self._offer(stored, stored.due, "its delay is over")
        return now

    def _expire(self, stored: StoredMessage) -> None:
        stored.failures += 1
        self._tell(Kind.EXPIRED, stored.id, who=stored.consumer, lease=stored.token)
        if (lease := self._leases.get(stored.token)) is not None:
            self._end(lease)
        self._try_again(stored, 0.0, "the lease expired")

    async def _expire_in_time(self) -> None:
        """The expiry task: do what is due, also while nobody calls."""
        while True:
            await self._messages.sleep(await self._messages.run(self._look))

    def _look(self) -> float:
        """Do what is due; return when the next one will be due."""
        self._catch_up()
        return self._messages.next_due()

    # To the dead letters

    def _die(self, stored: StoredMessage) -> None:
        """It will be moved, by a task of its own: however long that takes, leases end in time meanwhile."""
        stored.state, stored.due = MessageState.DEAD, anyio.current_time()
        self._messages.save(stored)
        self._messages.after_commit(self._messages.died.notify_all)

    async def _move_in_turn(self) -> None:
        """Move the dead, one by one."""
        while True:
            dead, look_again = await self._messages.run(self._asked, self._messages.next_dead)
            if dead is not None:
                await self._move(dead)
                continue
            with anyio.CancelScope(deadline=look_again):
                await self._messages.died.wait()

    async def _move(self, stored: StoredMessage) -> None:
        """Put, then forget: a crash between the two repeats the dead letter, and loses nothing."""
        try:
            if self.dead_letters is None:  # it died when there were some
                raise LookupError(f"{self.name} has no dead letters now")
            await self.dead_letters.put(self._dead_letter(stored))
        except Exception as error:  # whatever is wrong over there, the message must not be lost here
            await self._messages.run(self._keep, stored, error)
        else:
            await self._messages.run(self._moved, stored, self.dead_letters.name)

    def _dead_letter(self, stored: StoredMessage) -> Message:
        return dead_letter(
            self._messages.read(stored),
            reason=stored.dead_letter_reason,
            source=self.name,
            deliveries=stored.deliveries,
            failures=stored.failures,
            first=stored.first,
            last=anyio.current_time(),
        )

    def _moved(self, stored: StoredMessage, to: str) -> None:
        """The dead letters have it."""
        why = stored.dead_letter_reason
        self._tell(Kind.DEAD, stored.id, who="", lease=stored.token, reason=why, to=to)
        self._remove(stored, "dead")

    def _keep(self, stored: StoredMessage, error: Exception) -> None:
        """They refused it: it rests here, and dies again later."""
        self._tell(Kind.NOTE, stored.id, who="", text=f"dead letter refused: {error!r}")
        rest = self.backoff.seconds(max(1, stored.failures))
        self._offer(stored, anyio.current_time() + rest, "the dead letters refused it")

    # Asked about, and emptied

    async def join(self) -> None:
        """Wait until every accepted message is acked, dead or dropped."""
        while await self._messages.run(self._asked, self._messages.unsettled):
            self._must_be_open()
            await self._messages.news(self._messages.settled)

    @property
    def counts(self) -> Counts:
        """The messages by state, now."""
        return self._messages.run_nowait(self._asked, self._messages.counts)

    def _asked(self, question: Callable[[], T]) -> T:
        self._catch_up()
        return question()

    def __len__(self) -> int:
        """The number of ready messages."""
        return self.counts.ready

    def __repr__(self) -> str:
        """The name and the counts, as they are written down: asking does not even do what is due."""
        words = "not open"
        if self._open is not None:
            counts = self._messages.counts()._asdict()
            words = ", ".join(f"{number} {name.replace('_', ' ')}" for name, number in counts.items())
        return f"<{type(self).__name__} {self.name}: {words}>"

    async def peek(self, limit: int = 10) -> list[Message]:
        """The next ready messages, at most `limit`, as copies. Nothing is leased, counted or moved."""
        self._must_be_open()
        values.count("limit", limit)
        await anyio.lowlevel.checkpoint()
        return await self._messages.run(self._peek, limit)

    def _peek(self, limit: int) -> list[Message]:
        now = self._catch_up()
        messages = map(self._messages.read, self._messages.ready_ones())
        return list(islice((message for message in messages if not message.has_expired(now)), limit))

    async def purge(self) -> int:
        """Drop every message that nobody has in hand, the delayed ones too, and return how many.

        Leased ones stay, and so do those on their way to the dead letters. Ids that `dedup` remembers
        stay remembered.
        """
        self._must_be_open()
        await anyio.lowlevel.checkpoint()
        return await self._messages.run(self._purge)

    def _purge(self) -> int:
        self._catch_up()
        purged = self._messages.purge()
        for stored in purged:
            self._tell(Kind.DROPPED, stored.id, who="", lease=stored.token, reason="purged")
        if not self._messages.unsettled():
            self._messages.after_commit(self._all_settled)
        return len(purged)


def _consumer(name: str | None) -> str:
    return whoami() if name is None else _must_be_text("consumer", name)


def _must_be_text(parameter: str, text: str) -> str:
    """The text, if a file can keep it: a dead letter that could not be written would never be one."""
    if isinstance(text, str) and values.is_text(text):
        return text
    raise ValueError(f"{parameter} must be text without half a character, not {text!r}")


def _returned(answer: T | Empty | QueueFull | QueueClosed) -> T:
    """Raise what a step returned instead of an answer: raised inside, it would have undone the step."""
    if isinstance(answer, Exception):
        raise answer
    return answer
