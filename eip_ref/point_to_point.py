"""Point-to-point: one message, one way, one receiver.

The promise: `send` returns when the channel has *accepted* the message, which says nothing about
whether it was processed. At most one receiver is connected at a time. Messages of one sender arrive
in the order in which it sent them. What happens while the receiver is away is chosen by name:
wait for it (`BLOCK`), say so at once (`FAIL`), or keep a bounded number of messages for it
(`BUFFER`). Closing either end reaches the other end as an error of its own.

*Left out:* surviving a crash of the channel itself (that is a durable queue), acknowledgements and
retries (that is a message queue), and answers (that is request–reply).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from enum import StrEnum
from typing import Self

import anyio
import anyio.lowlevel

from . import values
from .message import EXPIRED, Handler, Message
from .trace import Kind, record, whoami

__all__ = [
    "ChannelFull",
    "NotSent",
    "PointToPointChannel",
    "Receiver",
    "ReceiverAway",
    "ReceiverClosed",
    "SecondReceiver",
    "SenderClosed",
    "WhenAway",
    "direct_links",
    "forward",
    "hub_links",
]


class WhenAway(StrEnum):
    """The policy of `send` while no receiver is connected."""

    BLOCK = "block"  #: wait until a receiver takes the message
    FAIL = "fail"  #: raise `ReceiverAway` at once
    BUFFER = "buffer"  #: accept up to `capacity` messages and keep them for the receiver


class NotSent(Exception):
    """The channel did not accept the message: it certainly will not be delivered."""


class ReceiverAway(NotSent):
    """No receiver is connected, and this channel does not wait."""


class ChannelFull(NotSent):
    """The buffer holds as many messages as it may."""


class ReceiverClosed(NotSent):
    """The receiving end is closed for good."""


class SenderClosed(Exception):
    """The sending end is closed and everything that it sent has been received."""


class SecondReceiver(Exception):
    """Somebody else receives from this channel: a second receiver would take half of the messages."""


class PointToPointChannel:
    """A one-way channel from its senders to at most one receiver."""

    def __init__(self, name: str, *, when_away: WhenAway | str = WhenAway.BLOCK, capacity: int = 0) -> None:
        """`capacity` is the number of messages that the policy `BUFFER` keeps; the others keep none."""
        self.name = name
        self.when_away = WhenAway(when_away)
        self.capacity = values.count("capacity", capacity, minimum=0)
        if (self.when_away is WhenAway.BUFFER) != (capacity > 0):
            raise ValueError(
                "when_away='buffer' needs a capacity of at least 1, and only that policy has one"
            )
        self.undelivered: list[Message] = []  #: accepted, but the receiver closed before taking them
        self.dropped: Counter[str] = Counter()  #: accepted and not delivered, by reason
        self._waiting: deque[Message] = deque()  # accepted (BUFFER) or offered by a waiting sender
        self._receiver: Receiver | None = None
        self._sender_closed = False
        self._receiver_closed = False
        self._changed = anyio.Event()
        record(Kind.OPENED, name, who="", role="channel", capacity=capacity or None)

    def __len__(self) -> int:
        """The number of messages that wait: kept in the buffer, or held by a sender that waits."""
        return len(self._waiting)

    @property
    def receiver_is_here(self) -> bool:
        """True while a receiver is connected."""
        return self._receiver is not None

    async def send(self, message: Message) -> None:
        """Return when the message is accepted: taken by the receiver, or kept in the buffer.

        Raises a `NotSent` when it certainly was not accepted: `ReceiverAway` (policy FAIL),
        `ChannelFull` (policy BUFFER), `ReceiverClosed`. Cancelling a waiting `send` takes the
        message back, unless the receiver has it already. Raises `anyio.ClosedResourceError` after
        `close`.
        """
        if self._sender_closed:
            raise anyio.ClosedResourceError(f"{self.name} was closed by its sender")
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        reason = self._refusal()
        if reason is not None:
            record(Kind.REFUSED, self.name, message.id, reason=str(reason))
            raise reason
        # Always a new object: the same message may be offered twice at once.
        mine = replace(message.copy())
        self._waiting.append(mine)
        if self.when_away is WhenAway.BUFFER:
            record(Kind.ACCEPTED, self.name, message.id)
        self._wake()
        if self.when_away is not WhenAway.BUFFER:
            await self._taken(mine)

    def _refusal(self) -> NotSent | None:
        if self._receiver_closed:
            return ReceiverClosed(f"the receiver of {self.name} is gone for good")
        if self.when_away is WhenAway.FAIL and self._receiver is None:
            return ReceiverAway(f"nobody receives from {self.name} now")
        if self.when_away is WhenAway.BUFFER and len(self._waiting) >= self.capacity:
            return ChannelFull(f"{self.name} holds {self.capacity} messages and can keep no more")
        return None

    async def _taken(self, mine: Message) -> None:
        record(Kind.BLOCKED, self.name, mine.id)
        try:
            while any(offered is mine for offered in self._waiting):
                reason = self._refusal()
                if reason is not None:
                    raise reason
                await self._changed.wait()
        except BaseException as error:
            if self._take_back(mine):
                reason_in_words = str(error) if isinstance(error, NotSent) else "the sender gave up"
                record(Kind.REFUSED, self.name, mine.id, reason=reason_in_words)
            raise

    def _take_back(self, mine: Message) -> bool:
        before = len(self._waiting)
        self._waiting = deque(offered for offered in self._waiting if offered is not mine)
        return len(self._waiting) < before

    @contextmanager
    def receiver(self) -> Iterator[Receiver]:
        """Connect as the receiver; leaving the block means being away, not closed.

        Raises `SecondReceiver` while another receiver is connected.
        """
        if self._receiver is not None:
            raise SecondReceiver(f"{self.name} has a receiver already: {self._receiver.name or 'unnamed'}")
        receiver = self._receiver = Receiver(self, whoami())
        self._wake()
        try:
            yield receiver
        finally:
            self._receiver = None
            self._wake()

    def close(self) -> None:
        """The sender is done: the receiver gets what is kept, and then `SenderClosed`. Idempotent."""
        if not self._sender_closed:
            self._sender_closed = True
            record(Kind.CLOSED, self.name, end="sender")
            self._wake()

    def close_receiver(self) -> None:
        """The receiver is done for good: every `send`, waiting ones too, raises `ReceiverClosed`.

        What the buffer had accepted is dropped, counted, and handed back in `undelivered`. Idempotent.
        """
        if self._receiver_closed:
            return
        self._receiver_closed = True
        record(Kind.CLOSED, self.name, end="receiver")
        if self.when_away is WhenAway.BUFFER:
            while self._waiting:
                message = self._waiting.popleft()
                self.undelivered.append(message)
                self._drop(message, "the receiver closed")
        self._wake()

    def _drop(self, message: Message, reason: str) -> None:
        self.dropped[reason] += 1
        record(Kind.DROPPED, self.name, message.id, reason=reason)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


class Receiver:
    """The receiving end of a channel, while it is connected. Iterate over it, or call `receive`."""

    def __init__(self, channel: PointToPointChannel, name: str) -> None:
        self.name = name
        self._channel = channel

    def receive_nowait(self) -> Message:
        """Take the next message that has not expired. Raises `anyio.WouldBlock` when none is there.

        Raises `SenderClosed` when none will come, and `anyio.ClosedResourceError` when this
        receiver has left or its end is closed.
        """
        channel = self._channel
        if channel._receiver is not self or channel._receiver_closed:
            raise anyio.ClosedResourceError(f"this receiver no longer receives from {channel.name}")
        while channel._waiting:
            message = channel._waiting.popleft()
            if channel.when_away is not WhenAway.BUFFER:
                record(Kind.ACCEPTED, channel.name, message.id, who="")
            channel._wake()
            if not message.has_expired(anyio.current_time()):
                record(Kind.DELIVERED, channel.name, message.id, who=self.name, lease=None)
                return message
            channel._drop(message, EXPIRED)
        if channel._sender_closed:
            raise SenderClosed(f"the sender of {channel.name} has closed it")
        raise anyio.WouldBlock

    async def receive(self) -> Message:
        """Wait for the next message and take it. Raises what `receive_nowait` raises but WouldBlock."""
        await anyio.lowlevel.checkpoint()
        while True:
            try:
                return self.receive_nowait()
            except anyio.WouldBlock:
                await self._channel._changed.wait()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        try:
            return await self.receive()
        except SenderClosed:
            raise StopAsyncIteration from None


def direct_links(systems: int) -> int:
    """The number of one-way links that systems need when each talks to each: n(n−1)."""
    values.count("systems", systems)
    return systems * (systems - 1)


def hub_links(systems: int) -> int:
    """The number of one-way links that they need through a hub, one to it and one from it each: 2n."""
    values.count("systems", systems)
    return 2 * systems


async def forward(channel: PointToPointChannel, deliver: Handler) -> None:
    """Receive from the channel, as its one receiver, and hand each message on until the sender closes it."""
    with channel.receiver() as inbox:
        async for message in inbox:
            await values.finished(deliver(message))
