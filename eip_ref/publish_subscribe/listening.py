"""Listening: one handler for each subscription, in a task of its own, so that none waits for another.

A handler returns: the message is done. It raises: a durable message is tried again from the committed
position, and after the last attempt, or at once where nothing can be tried again, it goes to the
dead letters. It is cancelled: nothing is settled. Whatever one handler does, the others hear nothing
of it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import anyio

from ..message import Message
from ..message_queue import Backoff, Queue, dead_letter
from ..trace import Kind, record, whoami
from .delivery import Delivery
from .durable import DurableSubscriber
from .mailbox import Subscription, TopicMessage
from .partitions import Member

__all__ = ["Handler", "listen"]

Handler = Callable[[Message], Awaitable[object]]


async def listen(
    inbox: Subscription | DurableSubscriber | Member,
    handle: Handler,
    *,
    dead_letters: Queue,
    attempts: int = 5,
    backoff: Backoff | None = None,
) -> None:
    """Handle each message of one subscription, one after the other, until it ends; then leave it.

    `attempts` counts for durable subscriptions; live ones have one. Raises `Disconnected`, and what
    `dead_letters.put` raises: then the message is not settled.
    """
    if attempts < 1:
        raise ValueError(f"attempts must be at least 1, not {attempts}")
    rests = backoff or Backoff()
    with inbox:
        async for item in inbox:
            started = anyio.current_time()
            failure = await _failure(item.message, handle)
            if failure is None:
                await _done(item)
            elif isinstance(item, Delivery) and item.deliveries < attempts:
                await anyio.sleep(rests.seconds(item.deliveries))
                await item.nack(reason=failure)
            else:
                where = item.cursor.name if isinstance(item, Delivery) else inbox.where
                await _bury(item, failure, where, started, dead_letters)


async def _failure(message: Message, handle: Handler) -> str | None:
    """Run the handler and record how it ended: None when it returned, or why it failed, in words."""
    where = whoami()
    record(Kind.STARTED, where, message.id, key=message.key)
    try:
        await handle(message)
    except anyio.get_cancelled_exc_class():
        record(Kind.CANCELLED, where, message.id)
        raise
    except Exception as error:  # it must harm nobody else; it goes to the dead letters in the end
        record(Kind.FAILED, where, message.id, error=repr(error))
        return f"the handler raised {error!r}"
    record(Kind.FINISHED, where, message.id)
    return None


async def _done(item: TopicMessage | Delivery) -> None:
    if isinstance(item, Delivery):
        with anyio.CancelScope(shield=True):  # the effect has happened: the subscription must hear of it
            await item.ack()


async def _bury(
    item: TopicMessage | Delivery, failure: str, where: str, started: float, dead_letters: Queue
) -> None:
    tried, first = (item.deliveries, item.first) if isinstance(item, Delivery) else (1, started)
    letter = dead_letter(
        item.message,
        reason=failure,
        source=where,
        deliveries=tried,
        failures=tried,
        first=first,
        last=anyio.current_time(),
    )
    await dead_letters.put(letter)
    if isinstance(item, Delivery):
        item.cursor.settle(item, Kind.DEAD, reason=failure, to=dead_letters.name)
    else:
        record(Kind.DEAD, where, item.message.id, who="", reason=failure, to=dead_letters.name)
