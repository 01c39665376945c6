"""Every socket

Repair · hard · 4 points · 12 minutes

Answer: async def stream(channel, sockets)
Called: Your `stream(channel, sockets)` with six sockets and twenty prices, one a second. One socket hangs
    for 20 s at each price, and one breaks at its fifth.
Promised: Each socket that works sees every price within 2 s. The hanging one sees some, none older than 45
    s. The shop never waits, and at most one `send` of a socket is under way. When the channel closes,
    `stream` returns.
Hint: Who waits for whom in your program? Draw an arrow from each waiting task to what it waits for.
Hint: A subscription and a task for each socket. Which policy lets a slow socket hurt only itself?
Hint: In a task group, for each socket: `channel.subscribe("prices", name=socket.name, when_full="drop
    oldest", capacity=2)`, and a task with `async for price in end: await socket.send(price)`. Catch
    `anyio.BrokenResourceError` in the task, around its loop.
Why: Each socket has its own subscription, its own task and its own small buffer. What is slow drops its own
    old prices, and what breaks ends its own task.

shop-waits: The shop waits for a socket. A policy of `block` lets the slowest browser stop the publisher,
    and with it everybody. So does a subscription whose reader is gone and that nobody has left.
prices-shared-out: Each socket sees a part of the prices. What reads from one subscription competes for it:
    each price goes to one of them.
quick-ones-wait: A quick socket waits for a slow one. Whatever is awaited in one loop waits for the slowest.
too-many-under-way: Several sends of one socket at a time. Each price that a hanging socket does not take
    holds memory, and they arrive in any order.
old-news: The hanging socket sees old prices. What it did not take in time is of no use to it any more.
one-breaks-all (BrokenResourceError): One broken socket ended the stream for all. Browsers are closed all
    the time.
cut-off (Disconnected): A slow socket was cut off, and nobody expected it. The policy `disconnect` tells the
    reader by raising `Disconnected`. Your code decides whether it subscribes again.
subscribes-too-late (ChannelClosed): A socket subscribed when the channel was closed already. It waited for
    other sockets, or came back too late. A closed channel has nothing more to say.
a-socket-is-left-out: A socket gets nothing, or stops getting prices. It has done nothing wrong.
never-returns (deadlock): The stream did not end. The channel is closed, and somebody still waits.
"""

from __future__ import annotations

from random import Random

import anyio

from ...autograder import kit
from ...message import Message
from ...publish_subscribe import PublishSubscribeChannel
from ...trace import Event, Kind, Trace, acting, record

__all__ = ["EXERCISE", "six_sockets"]

PRICES = 20
LATE = 2.0
OLD = 45.0
PATIENCE = 100.0  #: seconds that the shop waits for room before it gives up and closes


class Socket:
    """A browser's socket: `await socket.send(message)` takes its time."""

    def __init__(self, name: str, seconds: float, breaks_at: int = 0) -> None:
        self.name = name
        self._seconds = seconds
        self._breaks_at = breaks_at
        self._sent = 0

    async def send(self, message: Message) -> None:
        """Send it. Raises `anyio.BrokenResourceError` when the browser is gone."""
        self._sent += 1
        if self._breaks_at and self._sent >= self._breaks_at:
            raise anyio.BrokenResourceError
        record(Kind.STARTED, self.name, message.id)
        try:
            await anyio.sleep(self._seconds)
        finally:
            record(Kind.FINISHED, self.name, message.id)
        with acting(self.name):
            kit.happens(message, f"shown by {self.name}")


async def six_sockets(stream: kit.Answer, seed: int) -> None:
    """Play twenty prices, one a second, for six sockets of which one hangs and one breaks."""
    names = [f"browser {number}" for number in range(1, 7)]
    hangs, breaks = Random(seed).sample(names, 2)
    sockets = [Socket(name, 20.0 if name == hangs else 0.1, 5 if name == breaks else 0) for name in names]
    channel = PublishSubscribeChannel("shop")

    async def shop() -> None:
        await anyio.sleep(1)
        for number in range(1, PRICES + 1):
            due = anyio.current_time()
            with anyio.move_on_after(PATIENCE) as waiting:
                await channel.publish("prices", Message(number, id=f"price {number}"))
            if waiting.cancelled_caught:
                break
            await anyio.sleep_until(due + 1)
        channel.close()

    async with kit.participants(wait=True) as start:
        start("shop", shop)
        await stream(channel, sockets)
    kit.write_down(hangs=hangs, breaks=breaks, names=names)


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    sent = {event.message: event.at for event in trace.filter(Kind.SENT)}
    waits = [event for event in trace.filter(Kind.BLOCKED) if event.message in sent]
    if waits:
        yield kit.seen("shop-waits", f"the shop waited with {waits[0].message}.", waits[:3])
    effects = kit.effects(trace)
    shown = {name: [e for e in effects if e.data["effect"] == f"shown by {name}"] for name in facts["names"]}
    for name, seen in shown.items():
        under_way = most = 0
        for event in trace.filter(Kind.STARTED, Kind.FINISHED, where=name):
            under_way += 1 if event.kind == Kind.STARTED else -1
            most = max(most, under_way)
        if most > 1:
            begun = trace.filter(Kind.STARTED, where=name)
            yield kit.seen("too-many-under-way", f"{name}: {most} sends were under way at a time.", begun[:5])
        if name == facts["hangs"]:
            yield from _old(name, seen, sent)
        elif name != facts["breaks"]:
            yield from _quick(name, seen, sent, PRICES if not waits else 0)


def _quick(name: str, seen: list[Event], sent: dict[str, float], least: int) -> kit.Symptoms:
    """Each price in time; and all of them, unless the shop itself had to wait."""
    late = [event for event in seen if event.at > sent[event.message] + LATE]
    if late:
        price = late[0].message
        words = f"{name} showed {price} {late[0].at - sent[price]:.1f} s after it was published."
        yield kit.seen("quick-ones-wait", words, late[:3])
    elif len(seen) < least:
        mistake = "prices-shared-out" if 0 < len(seen) < PRICES * 0.6 else "a-socket-is-left-out"
        yield kit.seen(mistake, f"{name} works, and it showed {len(seen)} of {PRICES} prices.", seen[:5])


def _old(name: str, seen: list[Event], sent: dict[str, float]) -> kit.Symptoms:
    old = [event for event in seen if event.at > sent[event.message] + OLD]
    if old:
        price = old[0].message
        words = f"{name} hangs, and showed {price} {old[0].at - sent[price]:.0f} s after it was new."
        yield kit.seen("old-news", words, old[:3])
    elif not seen:
        yield kit.seen("a-socket-is-left-out", f"{name} hangs, and it showed nothing at all.")


EXERCISE = kit.exercise(__name__, __doc__, kit.play(six_sockets), judge)
