"""Subscribers with a handler: each subscription in a task of its own, so that none waits for another.

A handler returns: the message is done. It raises: a durable message is tried again from the committed
position, and after the last attempt, or at once where nothing can be tried again, it goes to the
dead letters. It is cancelled: nothing is settled. Whatever one handler does, the others hear nothing
of it.
"""

from __future__ import annotations

import anyio

from .. import values
from ..message import Handler, Message
from ..message_queue import Backoff, Queue, dead_letter
from ..trace import Kind, record, whoami, working
from .channel import Subscription
from .cursor import Delivery, DurableSubscriber
from .partitions import Member


async def listen(
    end: Subscription | DurableSubscriber | Member,
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
    values.count("attempts", attempts)
    pauses = backoff or Backoff()
    with end:
        async for item in end:
            started = anyio.current_time()
            if isinstance(item, Delivery):
                failure = await _failure(item.message, handle)
                await _settle(item, failure, dead_letters, attempts, pauses)
            elif (failure := await _failure(item, handle)) is not None:
                await dead_letters.put(_dead(item, failure, end.where, 1, started))
                record(Kind.DEAD, end.where, item.id, who="", reason=failure, to=dead_letters.name)


async def _settle(
    delivery: Delivery, failure: str | None, dead_letters: Queue, attempts: int, pauses: Backoff
) -> None:
    if failure is None:
        await delivery.ack()  # at once, even if cancelled meanwhile: the effect has happened
    elif delivery.deliveries < attempts:
        await anyio.sleep(pauses.seconds(delivery.deliveries))
        await delivery.nack(reason=failure)
    else:
        where, tried = delivery.cursor.name, delivery.deliveries
        await dead_letters.put(_dead(delivery.message, failure, where, tried, delivery.first))
        delivery.cursor.settle(delivery, Kind.DEAD, reason=failure, to=dead_letters.name)


async def _failure(message: Message, handle: Handler) -> str | None:
    """Run the handler: None when it returned, or why it failed, in words."""
    try:
        with working(whoami(), message.id, key=message.key):
            await values.finished(handle(message.copy()))  # a dead letter is as it came
    except Exception as error:  # it must harm nobody else; it goes to the dead letters in the end
        return f"the handler raised {values.shown(error)}"
    return None


def _dead(message: Message, reason: str, source: str, tried: int, first: float) -> Message:
    last = anyio.current_time()
    return dead_letter(
        message, reason=reason, source=source, deliveries=tried, failures=tried, first=first, last=last
    )
