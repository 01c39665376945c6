"""Dead letters: when to stop trying, what a message that nobody could handle keeps, and the way back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import anyio

from .. import values
from ..message import Message
from ..trace import Kind, record
from .protocol import Empty, Queue, QueueClosed

_PREFIX = "dead-letter-"
_ROUNDING = 1e-6  # seconds; times in a file are rounded


@dataclass(frozen=True, slots=True)
class DeadLetterPolicy:
    """The counter that decides, and the count at which a message is moved to the dead letters.

    *Failures* are nacks and expired leases; *deliveries* are leases granted, for whatever reason
    they ended. The move happens when a lease ends, never at the next receive. None means never.
    """

    max_failures: int | None = 5
    max_deliveries: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_failures", "max_deliveries"):
            if (value := getattr(self, name)) is not None:
                values.count(name, value)

    def verdict(self, *, deliveries: int, failures: int) -> str | None:
        """The reason why the message is dead, in words, or None while it should be tried again."""
        if self.max_failures is not None and failures >= self.max_failures:
            return f"{failures} failures"
        if self.max_deliveries is not None and deliveries >= self.max_deliveries:
            return f"{deliveries} deliveries"
        return None


NEVER = DeadLetterPolicy(max_failures=None)
"""Try for ever. A queue with this policy has no dead letters; the dead letters themselves have it."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """The rest of a message that failed: `initial` seconds, and `factor` times as long after each failure.

    It is never longer than `max_delay` seconds.
    """

    initial: float = 1.0
    factor: float = 2.0
    max_delay: float = 60.0

    def __post_init__(self) -> None:
        values.duration("initial", self.initial)
        if values.amount("factor", self.factor) > 100:  # its 60th power must be a number
            raise ValueError(f"factor must be at most 100, not {self.factor}")
        values.duration("max_delay", self.max_delay)

    def seconds(self, failures: int) -> float:
        """The rest after the given number of failures, which is at least 1."""
        return min(self.max_delay, self.initial * self.factor ** min(failures - 1, 60))


def dead_letter(
    message: Message, *, reason: str, source: str, deliveries: int, failures: int, first: float, last: float
) -> Message:
    """The message as a dead letter: the same id, body and headers, and why, how often and when.

    A dead letter does not expire. The deadline that the message had is one of the facts.
    """
    facts: dict[str, Any] = {
        "reason": reason,
        "source": source,
        "deliveries": deliveries,
        "failures": failures,
        "first": first,
        "last": last,
    }
    if message.deadline is not None:
        facts["deadline"] = message.deadline
    added = {_PREFIX + name: fact for name, fact in facts.items()}
    return message.copy(headers={**message.headers, **added}, deadline=None)


def original(message: Message) -> Message:
    """A dead letter as it was before it died, with the deadline that it had."""
    headers = {name: value for name, value in message.headers.items() if not name.startswith(_PREFIX)}
    return message.copy(headers=headers, deadline=message.headers.get(_PREFIX + "deadline", message.deadline))


async def replay(dead: Queue, to: Queue, *, limit: int | None = None) -> int:
    """Put dead letters back into a queue, oldest first, and return how many.

    Only those that were dead when it started; a message that dies again meanwhile waits for the next
    replay. Each is put before it is acked, so a crash between the two repeats it and loses nothing.
    What `to.put` raises comes out; that one is still dead, and ready again when its lease ends.
    """
    if limit is not None:
        values.count("limit", limit, minimum=0)
    started = anyio.current_time()
    count, replayed = 0, set[str]()
    while limit is None or count < limit:
        try:
            lease = await dead.receive(timeout=0)
        except (Empty, QueueClosed):
            break
        message = lease.message
        died = message.headers.get(_PREFIX + "last", 0.0)  # on the clock of a broker far in the future
        again = message.id in replayed and died >= started
        if again or started + _ROUNDING < died <= anyio.current_time():
            await lease.extend(0)
            break
        record(Kind.REPLAYED, dead.name, message.id, to=to.name, lease=lease.token)
        await to.put(original(message))
        await lease.ack()
        replayed.add(message.id)
        count += 1
    return count
