"""Choose who pays

Choose · medium · 3 points · 8 minutes

Answer: def who_pays(stream)
Called: Your `who_pays(stream)` for 'payments', 'prices', 'clicks', 'alarms' and 'radar'. Each stream sends
    a burst while its reader is busy, through a buffer with the policy of your choice.
Promised: Each stream keeps what its line in the table asks for.
Hint: Take one line at a time. Which messages of the burst must the reader find when it comes back?
Hint: All of them, the newest of each product, the first ones, the last ones, or a bit of everything.
Hint: Only one policy drops nothing, and only one looks at keys. The other three differ in what they keep of
    a burst: its beginning, its end, or some of all of it.
Why: A payment has no substitute, and the till can wait. Of a price only the newest counts. A share of
    clicks is right when every click had the same chance. An alarm list is read from its beginning, a radar
    screen from its end.

no-such-policy (ValueError): A policy that no buffer has. There are "block", "drop newest", "drop oldest",
    "latest per key" and "sample".
payment-lost: A payment was dropped. The customer has paid, and nobody has the money.
sender-stands-still: The sender stands still. It measures something that goes on, and while it waits it
    measures nothing.
old-price: The screen shows an old price. A newer one of the same product was dropped, or never kept.
skewed-share: The share of clicks is wrong. What was kept is mostly from one part of the burst, so it says
    nothing about the rest.
beginning-lost: The first alarms are gone. What came later are consequences; the cause is among the first.
end-lost: The radar shows the past. Where things are now is in the newest messages.
"""

from __future__ import annotations

from random import Random

import anyio

from ...autograder import kit
from ...backpressure import Buffer, WhenFull
from ...message import Message
from ...trace import Kind, Trace

__all__ = ["EXERCISE", "five_bursts"]

CAPACITY = 12
COUNT = 240  #: messages in a burst, one every 0.1 s
POLICIES = tuple(str(policy) for policy in WhenFull if policy is not WhenFull.DISCONNECT)
STREAMS = ("payments", "prices", "clicks", "alarms", "radar")


async def five_bursts(who_pays: kit.Answer, seed: int) -> None:
    """Play a burst of each stream, whose reader is busy until shortly before its end."""
    async with kit.participants(wait=True) as start:
        for stream in STREAMS:
            policy = who_pays(stream)
            if policy not in POLICIES:
                raise ValueError(f"for {stream!r} you return {policy!r}; there are {', '.join(POLICIES)}")
            buffer = Buffer(stream, CAPACITY, when_full=policy, random=Random(f"{seed}/{stream}"))
            start(f"{stream} sender", _send, buffer, Random(seed))
            start(f"{stream} reader", _read, buffer)


async def _send(buffer: Buffer, chance: Random) -> None:
    with buffer:
        for number in range(1, COUNT + 1):
            product = 8 if number == 20 else chance.randint(1, 7)  # one of them is rarely new
            key = f"product {product}" if buffer.name == "prices" else buffer.name
            await buffer.put(Message(number, id=f"{buffer.name} {number}", key=key))
            await anyio.sleep(0.1)


async def _read(buffer: Buffer) -> None:
    await anyio.sleep(COUNT * 0.1 - 1)
    async for _ in buffer:
        await anyio.sleep(0.02)


def judge(trace: Trace) -> kit.Symptoms:
    read = {stream: _numbers(trace, Kind.DELIVERED, stream) for stream in STREAMS}
    for number in sorted(_numbers(trace, Kind.DROPPED, "payments"))[:1]:
        lost = kit.Journey(trace, f"payments {number}")
        yield lost.seen("payment-lost", f"payment {number} was dropped.", lost.events)
    for stream in STREAMS[1:]:
        blocked = trace.filter(Kind.BLOCKED, where=stream)
        if blocked:
            yield kit.seen(
                "sender-stands-still", f"`{stream}`: its sender waited for the reader.", blocked[:3]
            )
    yield from _prices(trace)
    thirds = [sum(third * 80 < n <= third * 80 + 80 for n in read["clicks"]) for third in range(3)]
    if min(thirds) == 0 and not trace.filter(Kind.BLOCKED, where="clicks"):
        words = f"of the clicks that were read, {_and(thirds)} are from the first, second and last third."
        yield kit.seen("skewed-share", words, trace.filter(Kind.DELIVERED, where="clicks"))
    if not {1, 2, 3, 4, 5} <= read["alarms"]:
        words = f"the first alarm that was read is number {min(read['alarms'])}."
        yield kit.seen("beginning-lost", words, trace.filter(Kind.DELIVERED, where="alarms"))
    if not set(range(COUNT - 15, COUNT - 9)) <= read["radar"]:
        words = f"the reader came at {COUNT * 0.1 - 1:g} s and found blip {min(read['radar'])} first."
        yield kit.seen("end-lost", words, trace.filter(Kind.DELIVERED, where="radar"))


def _prices(trace: Trace) -> kit.Symptoms:
    """The newest price of each product, as sent before the reader came, must be read."""
    sent, shown = dict[str, str](), dict[str, str]()
    product_of = dict[str, str]()
    for event in trace.filter(Kind.ACCEPTED, Kind.DELIVERED, where="prices"):
        if event.kind == Kind.ACCEPTED:
            product_of[event.message] = event.data["key"]
        (sent if event.kind == Kind.ACCEPTED else shown)[product_of[event.message]] = event.message
    for product, newest in sent.items():
        if shown.get(product) != newest:
            on_screen = shown.get(product, "none")
            words = f"the last price of {product} was {newest}, and the screen shows {on_screen}."
            yield kit.Journey(trace, newest).seen("old-price", words)
            return


def _numbers(trace: Trace, kind: str, stream: str) -> set[int]:
    return {int(message.rpartition(" ")[2]) for message in trace.messages(kind, where=stream)}


def _and(numbers: list[int]) -> str:
    return f"{numbers[0]}, {numbers[1]} and {numbers[2]}"


EXERCISE = kit.exercise(__name__, __doc__, kit.play(five_bursts), judge)
