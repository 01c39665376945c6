"""ActiveMQ Classic: its queues behind the queue protocol, over STOMP, by stomp.py.

Each lease is a subscription of its own, whose prefetch is 1. The broker has no leases: a timer of this
process ends the subscription when the lease is over, and its message is handed out again in its old place.
A failed message is replaced by a copy that counts its failures and may rest at the broker; the copy and
the ack are one transaction. The broker's own way, a NACK, would move it to the dead letters at once.

*Left out:* delivery counts. The broker says *redelivered* and no more, and says it also of a message that
it had sent to a subscription in the instant in which that ended.
"""

from __future__ import annotations

import asyncio
import itertools
import math
import re
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, suppress
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import anyio
import stomp
from stomp.exception import StompException

from .. import values
from ..message import Message
from ..message_queue import Backoff
from .queue import BrokerQueue, Delivery, Unsupported
from .wire import hashed

__all__ = ["ActiveMQQueue"]

GROUP = "JMSXGroupID"  #: the header with the key of a message, as a hash
EMPTY = 0.1  #: seconds after which a queue counts as empty: the broker does not say so

Headers = dict[str, str]


class Handle(NamedTuple):
    """With what a message is settled."""

    subscription: str
    ack: str
    failures: int
    group: str | None


class Frame(NamedTuple):
    """A command to the broker, with its headers and its body."""

    command: str
    headers: Headers
    body: bytes | None = None


class ActiveMQQueue(BrokerQueue):
    """A queue of ActiveMQ. Dead letters are put into a second one, "<name>.dead".

    `persistent` messages are written to the disk before they are confirmed. A connection that is silent
    for longer than its `heartbeat`, in seconds, is ended; 0 stands for never.
    """

    _lost = (StompException, OSError)

    def __init__(
        self,
        url: str,
        name: str,
        *,
        lease: float = 30.0,
        backoff: Backoff | None = None,
        capacity: int | None = None,
        max_failures: int | None = 5,
        persistent: bool = True,
        heartbeat: float = 60.0,
        dead_letters: bool = True,
    ) -> None:
        super().__init__(
            name, lease=lease, backoff=backoff, max_failures=max_failures, dead_letters=dead_letters
        )
        if capacity is not None:
            raise Unsupported("a queue of ActiveMQ is bounded by the memory of all messages, not by a count")
        if dead_letters:
            self.dead_letters = ActiveMQQueue(
                url, f"{name}.dead", lease=lease, max_failures=None, heartbeat=heartbeat, dead_letters=False
            )
        self._address = urlsplit(url)
        self._heartbeat = math.ceil(values.duration("heartbeat", heartbeat) * 1000)
        self._persistent = str(persistent).lower()
        self._numbers = itertools.count(1)
        self._receipts: dict[str, asyncio.Future[None]] = {}
        self._arrivals: dict[str, asyncio.Future[Any]] = {}  # by subscription

    async def _connect(self, parts: AsyncExitStack) -> None:
        where = (self._address.hostname or "", self._address.port or 61613)
        self._client = stomp.Connection12(
            [where], heartbeats=(self._heartbeat, 0), auto_decode=False, reconnect_attempts_max=1
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=self.name)  # keeps the frames in their order
        parts.callback(self._thread.shutdown, wait=False)
        self._client.set_listener("queue", Bridge(self, self._loop))
        user, password = self._address.username, self._address.password
        parts.push_async_callback(self._disconnect)
        await asyncio.wrap_future(self._thread.submit(self._client.connect, user, password, wait=True))

    async def _disconnect(self) -> None:
        with suppress(StompException, OSError):
            await asyncio.wrap_future(self._thread.submit(self._client.disconnect, self._number()))

    def _number(self) -> str:
        return str(next(self._numbers))

    # Frames

    def _send(self, *frames: Frame, awaited: asyncio.Future[Any] | None = None) -> None:
        """Let them go, also when the caller is cancelled; what cannot be sent ends what is awaited."""

        def send() -> None:
            try:
                for frame in frames:
                    self._client.send_frame(*frame)
            except Exception as error:  # of whatever kind: somebody waits
                self._loop.call_soon_threadsafe(_settle, awaited, error)

        self._thread.submit(send)

    async def _carry_out(self, *frames: Frame) -> None:
        """Send, and return when the broker has done what the last of them says."""
        receipt = self._number()
        heard = self._receipts[receipt] = self._loop.create_future()
        frames[-1].headers["receipt"] = receipt
        try:
            self._send(*frames, awaited=heard)
            await heard
        finally:
            del self._receipts[receipt]

    def arrived(self, kind: str, headers: Headers, body: Any) -> None:
        """Called by the loop for each frame of the broker."""
        if kind == "MESSAGE":
            _settle(self._arrivals.get(headers["subscription"]), (headers, body))
        elif kind == "RECEIPT":
            _settle(self._receipts.get(headers["receipt-id"]), None)
        else:
            waiting = self._receipts.get(headers.get("receipt-id", ""))
            _settle(waiting, RuntimeError(f"{self.name}: {headers.get('message')}"))

    def closed(self) -> None:
        """Called by the loop when the connection has ended: nothing more comes, and no lease is left."""
        for waiting in (*self._receipts.values(), *self._arrivals.values()):
            _settle(waiting, ConnectionError("the connection was lost"))
        self._end_all()

    # In

    async def _put(self, content: bytes, message: Message, delay: float) -> None:
        group = None if message.key is None else hashed(message.key)
        await self._carry_out(self._message(content, group, delay))

    def _message(self, content: bytes, group: str | None, delay: float, **more: str) -> Frame:
        headers = {
            "destination": f"/queue/{self.name}",
            "content-length": str(len(content)),
            "persistent": self._persistent,
            **more,
        }
        if delay:
            headers["AMQ_SCHEDULED_DELAY"] = str(math.ceil(delay * 1000))
        if group is not None:
            headers[GROUP] = group
        return Frame("SEND", headers, content)

    # Out

    async def _take(self, seconds: float, timeout: float) -> Delivery | None:
        subscription = self._number()
        arrival = self._arrivals[subscription] = self._loop.create_future()
        try:
            if timeout == math.inf:
                self._send(self._subscribe(subscription), awaited=arrival)
                return self._delivery(*await arrival)
            await self._carry_out(self._subscribe(subscription))
            await asyncio.wait([arrival], timeout=max(timeout, EMPTY))
            if arrival.done():
                return self._delivery(*arrival.result())
            await self._carry_out(_unsubscribe(subscription))
            return None
        except asyncio.CancelledError:
            with anyio.CancelScope(shield=True), suppress(*self._lost):
                await self._carry_out(_unsubscribe(subscription))
            raise
        finally:
            del self._arrivals[subscription]
            arrival.cancel()

    def _subscribe(self, subscription: str) -> Frame:
        headers = {"destination": f"/queue/{self.name}", "id": subscription, "ack": "client-individual"}
        return Frame("SUBSCRIBE", {**headers, "activemq.prefetchSize": "1"})

    def _delivery(self, headers: Headers, body: Any) -> Delivery:
        counted = headers.get("failures", "")
        failures = int(counted) if re.fullmatch("[0-9]{1,9}", counted) else 0  # others write there too
        before = failures or int(headers.get("redelivered") == "true")
        number = int(self._number())
        return Delivery(
            content=body if isinstance(body, bytes) else body.encode(),
            handle=Handle(headers["subscription"], headers["ack"], failures, headers.get(GROUP)),
            token=number,
            sequence=number,
            deliveries=before + 1,
            failures=failures,
        )

    # Settled

    async def _ack(self, delivery: Delivery) -> bool:
        handle: Handle = delivery.handle
        await self._carry_out(Frame("ACK", {"id": handle.ack}), _unsubscribe(handle.subscription))
        return True

    async def _nack(self, delivery: Delivery, delay: float, *, failed: bool) -> bool:
        handle: Handle = delivery.handle
        end = _unsubscribe(handle.subscription)
        await self._carry_out(*(self._replace(delivery, delay) if failed else ()), end)
        return True

    def _replace(self, delivery: Delivery, delay: float) -> tuple[Frame, ...]:
        """One transaction: the copy, which counts one failure more, and the ack."""
        handle: Handle = delivery.handle
        one = {"transaction": handle.ack}
        count = {"failures": str(handle.failures + 1)}
        copy = self._message(delivery.content, handle.group, delay, **count, **one)
        ack = Frame("ACK", {"id": handle.ack, **one})
        return Frame("BEGIN", {**one}), copy, ack, Frame("COMMIT", {**one})

    async def _extend(self, delivery: Delivery, seconds: float) -> bool:
        return True  # the timer of this process is all there is

    def _expired(self, delivery: Delivery) -> None:
        self._send(_unsubscribe(delivery.handle.subscription))


def _unsubscribe(subscription: str) -> Frame:
    """End a subscription; what it has and did not ack is handed out again."""
    return Frame("UNSUBSCRIBE", {"id": subscription})


def _settle(future: asyncio.Future[Any] | None, answer: Any) -> None:
    if future is None or future.done():
        return
    if isinstance(answer, Exception):
        future.set_exception(answer)
        future.exception()  # it may be that nobody asks
    else:
        future.set_result(answer)


class Bridge:
    """A listener of stomp.py: what its thread hears is said to the queue by the loop of the queue."""

    def __init__(self, queue: ActiveMQQueue, loop: asyncio.AbstractEventLoop) -> None:
        self._queue, self._loop = queue, loop

    def _say(self, what: Callable[..., None], *facts: Any) -> None:
        with suppress(RuntimeError):  # the loop has ended before the connection
            self._loop.call_soon_threadsafe(what, *facts)

    def on_message(self, frame: Any) -> None:
        self._say(self._queue.arrived, frame.cmd, frame.headers, frame.body)

    on_receipt = on_error = on_message

    def on_disconnected(self) -> None:
        self._say(self._queue.closed)
