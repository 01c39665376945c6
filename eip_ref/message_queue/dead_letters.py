"""Dead letters: when to stop trying, what a message that nobody could handle keeps, and the way back."""

from __future__ import annotations

from dataclasses import dataclass

import anyio

from ..message import Message
from ..trace import Kind, record
from .protocol import Empty, Queue, QueueClosed

__all__ = ["NEVER", "Backoff", "DeadLetterPolicy", "dead_letter", "original", "replay"]

_PREFIX = "dead-letter-"


@dataclass(frozen=True, slots=True)
class DeadLetterPolicy:
    """Which counter decides, and at which count, that a message is moved to the dead letters.

    *Failures* are nacks and expired leases; *deliveries* are leases granted, for whatever reason
    they ended. The move happens when a lease ends, never at the next receive. None means never.
    """

    max_failures: int | None = 5
    max_deliveries: int | None = None

    def __post_init__(self) -> None:
        for name in ("max_failures", "max_deliveries"):
            if (value := getattr(self, name)) is not None and value < 1:
                raise ValueError(f"{name} must be at least 1, or None for never, not {value}")

    def verdict(self, *, deliveries: int, failures: int) -> str | None:
        """Why the message is dead, in words, or None while it should be tried again."""
        if self.max_failures is not None and failures >= self.max_failures:
            return f"{failures} failures"
        if self.max_deliveries is not None and deliveries >= self.max_deliveries:
            return f"{deliveries} deliveries"
        return None


NEVER = DeadLetterPolicy(max_failures=None)
"""Try for ever. A queue with this policy has no dead letters; the dead letters themselves have it."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """How long a failed message rests: `first` seconds, then `factor` times longer each time."""

    first: float = 1.0
    factor: float = 2.0
    most: float = 60.0

    def seconds(self, failures: int) -> float:
        """The rest after the given number of failures, which is at least 1."""
        return min(self.most, self.first * self.factor ** min(failures - 1, 60))


def dead_letter(
    message: Message, *, reason: str, source: str, deliveries: int, failures: int, first: float, last: float
) -> Message:
    """The message as a dead letter: the same id, body and headers, and why, how often and when."""
    facts = {
        "reason": reason,
        "source": source,
        "deliveries": deliveries,
        "failures": failures,
        "first": first,
        "last": last,
    }
    return message.copy(headers={**message.headers, **{_PREFIX + name: fact for name, fact in facts.items()}})


def original(message: Message) -> Message:
    """A dead letter as it was before it died."""
    headers = {name: value for name, value in message.headers.items() if not name.startswith(_PREFIX)}
    return message.copy(headers=headers)


async def replay(dead: Queue, to: Queue, *, limit: int | None = None) -> int:
    """Put dead letters back into a queue, oldest first, and say how many.

    Only those that were dead when it started; a message that dies again meanwhile waits for the next
    replay. Each is put before it is acked, so a crash between the two repeats it and loses nothing.
    What `to.put` raises comes out; that letter is still dead, and ready again when its lease ends.
    """
    started = anyio.current_time()
    count, replayed = 0, set[str]()
    while limit is None or count < limit:
        try:
            lease = await dead.receive(timeout=0)
        except (Empty, QueueClosed):
            break
        letter = lease.message
        if letter.id in replayed and letter.headers.get(_PREFIX + "last", 0.0) >= started:
            await lease.extend(0)
            break
        record(Kind.REPLAYED, dead.name, letter.id, to=to.name, lease=lease.token)
        await to.put(original(letter))
        await lease.ack()
        replayed.add(letter.id)
        count += 1
    return count
