"""Choose for the absence

Choose · easy · 3 points · 5 minutes

Answer: def when_away(channel)
Called: Your `when_away(channel)` for 'invoices', 'readings' and 'orders'. Each channel is made as you chose,
    and its receiver goes away for nearly as long as it ever does.
Promised: Each channel keeps what its line in the table asks for: what may be missed, how long the sender may
    stand still, how old a message may get, how many may be kept.
Hint: Take one line at a time, and ask what each of the three policies costs there: time of the sender,
    messages, or memory.
Hint: Each policy is right exactly once. Who has all night? For whom is an old message worse than none?
Hint: Nobody waits for the night job, so it may stand still. A reading is soon followed by a better one. For
    the orders, count how many customers come in the longest outage.
Why: The night job has time and no memory, so it waits. An old reading is worth nothing, so it is refused at
    once. Customers must not wait and no order may be lost, so orders are kept: one every 4 s for up to 60 s
    are 15.

no-such-choice (ValueError): A choice that no channel has. A channel blocks, fails or buffers. Only a channel
    that buffers has a capacity, and it needs one.
loses-what-must-arrive: Loses what must arrive. The sender of this channel has no other place for a message
    that is refused, and none may be missed.
buffer-too-small: The buffer was full before the receiver came back. A buffer hides an outage only as long as
    it has room. Count what is sent in the longest outage. Where that is more than may be kept, a buffer is
    not the way.
sender-stands-still: The sender stands still. A `send` that waits for an absent receiver holds up whoever
    stands behind it, here for longer than the table allows.
keeps-too-much: Keeps more than there is memory for. The capacity is what the channel may use on a bad day.
    The table says how much there is.
too-old: Delivers what nobody needs any more. A message that waited through the outage is delivered before all
    that came after it. Here an old value does harm, and a missing one does not.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

import anyio

from ...autograder import kit
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import NotSent, PointToPointChannel, WhenAway
from ...trace import Kind, Trace

__all__ = ["EXERCISE", "three_outages"]

POLICIES = tuple(map(str, WhenAway))


@dataclass(frozen=True)
class Need:
    """A channel, and what it must and must not do. Times in seconds."""

    channel: str
    sender: str
    receiver: str
    item: str  #: what one message is
    count: int
    interval: float  #: from one message to the next; 0: as fast as the channel takes them
    work: float  #: the receiver's time for one message
    longest_outage: float
    may_miss: bool
    longest_wait: float  #: of the sender, for one message
    oldest: float  #: age of a message when it is received
    capacity: int  #: messages that there is memory for


NEEDS = (
    Need("invoices", "night job", "billing", "invoice", 16, 0.0, 2.0, 60.0, False, inf, inf, 5),
    Need("readings", "sensor", "display", "reading", 40, 1.0, 0.1, 20.0, True, 1.0, 2.0, 1),
    Need("orders", "till", "stock", "order", 30, 4.0, 1.0, 60.0, False, 1.0, inf, 40),
)


async def three_outages(when_away: kit.Answer, seed: int) -> None:
    """Play each channel, made as chosen, through an outage of its receiver, all at the same time."""
    chance = Faults(seed).random("outages")
    async with kit.participants() as start_receiver:
        async with kit.participants(wait=True) as start_sender:
            for need in NEEDS:
                policy, capacity = _choice(need.channel, when_away(need.channel))
                channel = PointToPointChannel(need.channel, when_away=policy, capacity=capacity)
                # Half a second before a message, and long enough for as many as ever meet an outage.
                begins = 4.0 * chance.randint(1, 3) - 0.5
                outage = need.longest_outage - round(chance.uniform(0.2, 2.8), 1)
                start_receiver(need.receiver, _receive, need, channel, begins, outage)
                start_sender(need.sender, _send, need, channel)
        await anyio.sleep(60)  # whatever is kept has been taken by then


def _choice(channel: str, chosen: object) -> tuple[str, int]:
    match chosen:
        case (str(policy), int(capacity)) if policy in POLICIES:
            if (policy == WhenAway.BUFFER) == (capacity > 0):
                return policy, capacity
    known = "('block', 0), ('fail', 0) and ('buffer', n) with n from 1 up"
    raise ValueError(f"for {channel!r} you return {chosen!r}. Return one of {known}.")


async def _send(need: Need, channel: PointToPointChannel) -> None:
    for number in range(1, need.count + 1):
        await anyio.sleep_until(number * need.interval)
        try:
            await channel.send(Message(f"{need.item} {number}"))
        except NotSent:
            continue  # there is nowhere else to keep it, so it is gone


async def _receive(need: Need, channel: PointToPointChannel, begins: float, outage: float) -> None:
    with channel.receiver() as inbox, anyio.CancelScope(deadline=begins):
        async for _ in inbox:
            await anyio.sleep(need.work)
    await anyio.sleep(outage)
    with channel.receiver() as inbox:
        async for _ in inbox:
            await anyio.sleep(need.work)


def judge(trace: Trace) -> kit.Symptoms:
    for need in NEEDS:
        opened = trace.filter(Kind.OPENED, where=need.channel)
        capacity = max(int(event.data.get("capacity") or 0) for event in opened)
        yield from _refused(need, trace, capacity)
        yield from _slow(need, trace, Kind.ACCEPTED, need.longest_wait)
        yield from _slow(need, trace, Kind.DELIVERED, need.oldest)
        if capacity > need.capacity:
            room = f"may keep up to {capacity} {need.item}s, and there is room for {need.capacity}"
            last = kit.journeys(trace, where=need.channel)[-1]
            yield last.seen("keeps-too-much", f"`{need.channel}` {room}.", last.events)


def _refused(need: Need, trace: Trace, capacity: int) -> kit.Symptoms:
    refused = trace.filter(Kind.REFUSED, where=need.channel)
    if refused and not need.may_miss:
        many, first = f"{len(refused)} of {need.count} {need.item}s", kit.Journey(trace, refused[0].message)
        when = f"the first at {refused[0].at:.1f} s: {refused[0].data['reason']}"
        mistake = "buffer-too-small" if capacity else "loses-what-must-arrive"
        yield first.seen(mistake, f"`{need.channel}`: {many} refused and gone, {when}.", first.events)


def _slow(need: Need, trace: Trace, end: str, limit: float) -> kit.Symptoms:
    """The message that took longest from being sent to this end, if that was too long."""

    def took(message: kit.Journey) -> float:
        return max([e.at - message.events[0].at for e in message.all(end)], default=0.0)

    slowest = max(kit.journeys(trace, where=need.channel), key=took, default=None)
    if slowest and took(slowest) > limit:
        mistake, did = (
            ("sender-stands-still", f"the {need.sender} stood still for")
            if end == Kind.ACCEPTED
            else ("too-old", f"the {need.receiver} got it after")
        )
        words = f"`{need.channel}`: with {slowest} {did} {took(slowest):.1f} s; the limit is {limit:g} s."
        yield slowest.seen(mistake, words, slowest.events)


EXERCISE = kit.exercise(__name__, __doc__, kit.play(three_outages), judge)
