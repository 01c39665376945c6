"""Point-to-point: one message, one way, one receiver.

The promise: `send` returns when the channel has *accepted* the message, which says nothing about
whether it was processed. At most one receiver is connected at a time. Messages of one sender arrive
in the order in which it sent them. What happens while the receiver is away is chosen by name:
wait for it (`BLOCK`), say so at once (`FAIL`), or keep a bounded number of messages for it
(`BUFFER`). Closing either end reaches the other end as an error of its own.

    async def nobody_receives() -> None:
        for policy, capacity in (("block", 0), ("fail", 0), ("buffer", 2)):
            channel = PointToPointChannel("invoices", when_away=policy, capacity=capacity)
            outcome = "the sender still waits"
            with anyio.move_on_after(60):
                try:
                    await channel.send(Message("invoice 1"))
                    outcome = "accepted, which is not processed"
                except ReceiverAway as error:
                    outcome = f"not sent: {error}"
            print(f"{policy:<6}  {outcome}")

*Left out:* surviving a crash of the channel itself (that is a durable queue), acknowledgements and
retries (that is a message queue), and answers (that is request–reply).
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from functools import partial

import anyio
import anyio.lowlevel

from . import values
from .message import EXPIRED, Handler, Message
from .signal import EndOfMessages, ReceivingEnd, Signal, on_death
from .trace import Kind, record, whoami

__all__ = [
    "ChannelFull",
    "NotSent",
    "OfferedMessage",
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


class SenderClosed(EndOfMessages):
    """The sending end is closed and everything that it sent has been received."""


class SecondReceiver(Exception):
    """Somebody else receives from this channel: a second receiver would take half of the messages."""


@dataclass(eq=False, slots=True)
class OfferedMessage:
    """A message that waits for the receiver: kept in the buffer, or held by a sender that waits."""

    message: Message
    sender: str = field(default_factory=whoami)
    settled: anyio.Event = field(default_factory=anyio.Event)  #: the receiver has it, or never will
    refusal: NotSent | None = None


class PointToPointChannel:
    """A one-way channel from its senders to at most one receiver."""

    def __init__(self, name: str, *, when_away: WhenAway | str = WhenAway.BLOCK, capacity: int = 0) -> None:
        """`capacity` is the number of messages that the policy `BUFFER` keeps; the others keep none."""
        self.name = values.name("name", name)
        self.when_away = WhenAway(when_away)
        self.capacity = values.count("capacity", capacity, minimum=0)
        if (self.when_away is WhenAway.BUFFER) != (capacity > 0):
            raise ValueError(
                "when_away='buffer' needs a capacity of at least 1, and only that policy has one"
            )
        self.undelivered: list[Message] = []  #: accepted, but the receiver closed before taking them
        self.dropped: Counter[str] = Counter()  #: accepted and not delivered, by reason
        self._waiting: deque[OfferedMessage] = deque()
        self._receiver: Receiver | None = None
        self._was_away = False  # a receiver has left, and may be missed
        self._sender_closed = False
        self._receiver_closed = False
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
        message = message.copy()
        record(Kind.SENT, self.name, message.id, label=message.label, key=message.key)
        reason = self._refusal()
        if reason is not None:
            record(Kind.REFUSED, self.name, message.id, reason=str(reason))
            await anyio.lowlevel.checkpoint()  # so that one who tries again in a loop stops nobody
            raise reason
        offer = OfferedMessage(message)
        self._waiting.append(offer)
        if self._receiver is not None:
            self._receiver.signal.notify()
        if self.when_away is WhenAway.BUFFER:
            record(Kind.ACCEPTED, self.name, message.id)
        else:
            await self._taken(offer)

    def _refusal(self) -> NotSent | None:
        if self._receiver_closed:
            return ReceiverClosed(f"the receiver of {self.name} is gone for good")
        if self.when_away is WhenAway.FAIL and self._receiver is None:
            return ReceiverAway(f"nobody receives from {self.name} now")
        if self.when_away is WhenAway.BUFFER and len(self._waiting) >= self.capacity:
            return ChannelFull(f"{self.name} holds {self.capacity} messages and can keep no more")
        return None

    async def _taken(self, offer: OfferedMessage) -> None:
        """Wait until the receiver has it. Whoever gives up or dies takes it back."""
        record(Kind.BLOCKED, self.name, offer.message.id)
        with on_death(partial(self._take_back, offer, "the sender died")):
            try:
                await offer.settled.wait()
            finally:
                self._take_back(offer, "the sender gave up")
        if offer.refusal is not None:
            raise offer.refusal

    def _take_back(self, offer: OfferedMessage, reason: str) -> None:
        """Nobody will have it, unless the receiver has it already."""
        if not offer.settled.is_set():
            self._waiting.remove(offer)
            record(Kind.REFUSED, self.name, offer.message.id, who=offer.sender, reason=reason)
            offer.settled.set()

    def _refuse_all(self) -> None:
        """Tell the senders that wait that their message will not be taken, where that is so."""
        while self._waiting and (refusal := self._refusal()) is not None:
            offer = self._waiting[0]
            offer.refusal = refusal
            self._take_back(offer, str(refusal))

    @contextmanager
    def receiver(self) -> Iterator[Receiver]:
        """Connect as the receiver; leaving the block, or dying in it, means being away, not closed.

        Raises `SecondReceiver` while another receiver is connected.
        """
        if self._receiver is not None:
            raise SecondReceiver(f"{self.name} has a receiver already: {self._receiver.name or 'unnamed'}")
        receiver = self._receiver = Receiver(self, whoami())
        if self._was_away:
            self._was_away = False
            record(Kind.STATE, self.name, who=receiver.name, was="away", now="here")
        with on_death(partial(self._disconnect, receiver)):
            try:
                yield receiver
            finally:
                self._leave(receiver)

    def _leave(self, receiver: Receiver) -> None:
        more_may_come = bool(self._waiting) or not self._sender_closed
        if self._receiver is receiver and more_may_come and not self._receiver_closed:
            self._was_away = True
            record(Kind.STATE, self.name, who=receiver.name, was="here", now="away")
        self._disconnect(receiver)

    def _disconnect(self, receiver: Receiver) -> None:
        if self._receiver is not receiver:
            return
        self._receiver = None
        receiver.signal.notify_all()
        if self.when_away is WhenAway.FAIL:
            self._refuse_all()

    def close(self) -> None:
        """The sender is done: the receiver gets what is kept, and then `SenderClosed`. Idempotent."""
        if not self._sender_closed:
            self._sender_closed = True
            record(Kind.CLOSED, self.name, end="sender")
            if self._receiver is not None:
                self._receiver.signal.notify_all()

    def close_receiver(self) -> None:
        """The receiver is done for good: every `send`, waiting ones too, raises `ReceiverClosed`.

        What the buffer had accepted is dropped, counted, and handed back in `undelivered`. Idempotent.
        """
        if self._receiver_closed:
            return
        self._receiver_closed = True
        record(Kind.CLOSED, self.name, end="receiver")
        if self.when_away is WhenAway.BUFFER:
            self.undelivered += [offer.message for offer in self._waiting]
            self._waiting.clear()
            for message in self.undelivered:
                self._drop(message, "the receiver closed")
        self._refuse_all()
        if self._receiver is not None:
            self._receiver.signal.notify_all()

    def _drop(self, message: Message, reason: str) -> None:
        self.dropped[reason] += 1
        record(Kind.DROPPED, self.name, message.id, reason=reason)


class Receiver(ReceivingEnd[Message]):
    """The receiving end of a channel, while it is connected. Iterate over it, or call `receive`."""

    def __init__(self, channel: PointToPointChannel, name: str) -> None:
        self.name = name
        self.signal = Signal()
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
            offer = channel._waiting.popleft()
            offer.settled.set()
            message = offer.message
            if channel.when_away is not WhenAway.BUFFER:
                record(Kind.ACCEPTED, channel.name, message.id, who="")
            if not message.has_expired():
                record(Kind.DELIVERED, channel.name, message.id, who=self.name, lease=None)
                return message
            channel._drop(message, EXPIRED)
        if channel._sender_closed:
            raise SenderClosed(f"the sender of {channel.name} has closed it")
        raise anyio.WouldBlock


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
