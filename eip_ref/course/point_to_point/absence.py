"""Choose: what each of three channels does while its receiver is away."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import anyio

from ...autograder.exercise import Diagnosis, Exercise, Mistake, play
from ...autograder.forms import function
from ...lab.faults import Faults
from ...message import Message
from ...point_to_point import NotSent, PointToPointChannel, WhenAway
from ...trace import Event, Kind, Trace, acting
from . import mistakes

__all__ = ["CHOOSE_FOR_ABSENCE", "NEEDS", "three_outages"]

POLICIES = tuple(str(policy) for policy in WhenAway)


@dataclass(frozen=True)
class Need:
    """What is known of a channel, and what it must and must not do. Times in seconds."""

    channel: str
    sender: str
    receiver: str
    item: str  #: what one message is
    count: int
    every: float  #: from one message to the next; 0: as fast as the channel takes them
    work: float  #: the receiver's time for one message
    longest_outage: float
    may_miss: bool
    longest_wait: float | None  #: of the sender, for one message; None: no matter
    oldest: float | None  #: age of a message when it is received; None: no matter
    most_kept: int  #: messages that there is memory for


NEEDS = (
    Need("invoices", "night job", "billing", "invoice", 16, 0.0, 2.0, 60.0, False, None, None, 5),
    Need("readings", "sensor", "display", "reading", 40, 1.0, 0.1, 20.0, True, 1.0, 2.0, 1),
    Need("orders", "till", "stock", "order", 30, 4.0, 1.0, 60.0, False, 1.0, None, 40),
)


async def three_outages(when_away: Callable[[str], object], seed: int) -> None:
    """Each channel, made as chosen, through an outage of its receiver, all at the same time."""
    chance = Faults(seed).random("outages")
    async with anyio.create_task_group() as receivers:
        async with anyio.create_task_group() as senders:
            for need in NEEDS:
                policy, capacity = _choice(need.channel, when_away(need.channel))
                channel = PointToPointChannel(need.channel, when_away=policy, capacity=capacity)
                # Half a second before a message, and long enough for as many as ever meet an outage.
                begins = 4.0 * chance.randint(1, 3) - 0.5
                outage = need.longest_outage - round(chance.uniform(0.2, 2.8), 1)
                with acting(need.receiver):
                    receivers.start_soon(_receive, need, channel, begins, outage)
                with acting(need.sender):
                    senders.start_soon(_send, need, channel)
        await anyio.sleep(60)  # whatever is kept has been taken by then
        receivers.cancel_scope.cancel()


def _choice(channel: str, chosen: object) -> tuple[str, int]:
    match chosen:
        case (str(policy), int(capacity)) if policy in POLICIES:
            if (policy == WhenAway.BUFFER) == (capacity > 0):
                return policy, capacity
    raise ValueError(
        f"for {channel!r} you return {chosen!r}. Return one of ('block', 0), ('fail', 0) and "
        "('buffer', n) with n from 1 up."
    )


async def _send(need: Need, channel: PointToPointChannel) -> None:
    for number in range(1, need.count + 1):
        await anyio.sleep_until(number * need.every)
        message = Message(f"{need.item} {number}")
        try:
            await channel.send(message)
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


def _judge(trace: Trace) -> list[Diagnosis]:
    return [finding for need in NEEDS for finding in _measure(need, trace.filter(where=need.channel))]


def _measure(need: Need, trace: Trace) -> list[Diagnosis]:
    """What this channel did that it must not do, the worst first."""
    found = [
        _refused(need, trace),
        _too_slow(need, trace, Kind.ACCEPTED, need.longest_wait, mistakes.SENDER_STANDS_STILL),
        _too_slow(need, trace, Kind.DELIVERED, need.oldest, mistakes.TOO_OLD),
        _too_large(need, trace),
    ]
    return [finding for finding in found if finding is not None]


def _refused(need: Need, trace: Trace) -> Diagnosis | None:
    refused = trace.filter(Kind.REFUSED).events
    if need.may_miss or not refused:
        return None
    mistake = mistakes.BUFFER_TOO_SMALL if _capacity(trace) else mistakes.LOSES_WHAT_MUST_ARRIVE
    many, first = f"{len(refused)} of {need.count} {need.item}s", refused[0]
    when = f"the first at {first.at:.1f} s: {first.data['reason']}"
    words = f"`{need.channel}`: {many} refused and gone, {when}."
    return Diagnosis(mistake, words, _journey(trace, first.message))


def _too_slow(need: Need, trace: Trace, end: str, limit: float | None, mistake: Mistake) -> Diagnosis | None:
    sent = {e.message: e.at for e in trace.filter(Kind.SENT)}
    took = {e.message: e.at - sent[e.message] for e in trace.filter(end) if e.message in sent}
    slowest = max(took, key=lambda message: took[message], default="")
    if limit is None or not slowest or took[slowest] <= limit:
        return None
    did = (
        f"the {need.sender} stood still for" if end == Kind.ACCEPTED else f"the {need.receiver} got it after"
    )
    number = next(e.data["label"] for e in trace.filter(Kind.SENT, message=slowest))
    words = f"`{need.channel}`: with {number} {did} {took[slowest]:.1f} s; the limit is {limit:g} s."
    return Diagnosis(mistake, words, _journey(trace, slowest))


def _too_large(need: Need, trace: Trace) -> Diagnosis | None:
    capacity = _capacity(trace)
    if capacity <= need.most_kept:
        return None
    words = (
        f"`{need.channel}` may keep up to {capacity} {need.item}s, and there is room for {need.most_kept}."
    )
    last = trace.filter(Kind.SENT)[-1].message
    return Diagnosis(mistakes.KEEPS_TOO_MUCH, words, _journey(trace, last))


def _capacity(trace: Trace) -> int:
    return max(int(event.data.get("capacity") or 0) for event in trace.filter(Kind.OPENED))


def _journey(trace: Trace, message: str) -> tuple[Event, ...]:
    return trace.filter(message=message).events


CHOOSE_FOR_ABSENCE = Exercise(
    name="point_to_point/choose_for_absence",
    title="Choose for the absence",
    points=3,
    minutes=5,
    difficulty=1,
    kind="choose",
    answer="when_away",
    form=function("channel"),
    called="Your `when_away(channel)` for 'invoices', 'readings' and 'orders'. Each channel is made as you "
    "chose, and its receiver goes away for nearly as long as it ever does.",
    promised="Each channel keeps what its line in the table asks for: what may be missed, how long the "
    "sender may stand still, how old a message may get, how many may be kept.",
    hints=(
        "Take one line at a time, and ask what each of the three policies costs there: time of the sender, "
        "messages, or memory.",
        "Each policy is right exactly once. Who has all night? For whom is an old message worse than none?",
        "Nobody waits for the night job, so it may stand still. A reading is soon followed by a better one. "
        "For the orders, count how many customers come in the longest outage.",
    ),
    explanation="The night job has time and no memory, so it waits. An old reading is worth nothing, so it "
    "is refused at once. Customers must not wait and no order may be lost, so orders are kept: one every "
    "4 s for up to 60 s are 15.",
    run=play(three_outages),
    judge=_judge,
    endings={"ValueError": mistakes.NO_SUCH_CHOICE},
)
