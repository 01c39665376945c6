"""Packers who share a partitioned topic, of lesson 05b."""

from __future__ import annotations

import anyio

from ...lab import Crash, Faults, Participant, figures
from ...lab.demo import Demo, demo, slider
from ...lab.wording import plural
from ...message import Message
from ...publish_subscribe import PartitionedTopic
from ...trace import Kind, Trace, acting, record, whoami

__all__ = ["a_pack_room", "packed", "the_packers_demo"]

MOST = 600.0  #: seconds after which the lights go out
CUSTOMERS = ("Ada", "Ben", "Cem", "Dina", "Emil", "Finn", "Gül", "Hans", "Ida", "Jan", "Kim", "Lea")


async def a_pack_room(
    partitions: int = 12,
    packers: int = 3,
    seconds: float = 1.0,
    session: float = 10.0,
    joins_at: float = 0.0,
    dies_at: float = 0.0,
    hot: float = 0.0,
    orders: int = 60,
) -> None:
    """Play orders of twelve customers, packed in groups.

    One packer more joins at `joins_at`, packer-1 dies at `dies_at`; 0 means never. `hot` is the share of
    orders that come from one customer.
    """
    chance = Faults().random("customers")
    topic = PartitionedTopic("orders", partitions=partitions, retain=1000)

    async def pack() -> None:
        with topic.join("packing", when_full="block", start="earliest", session=session) as member:
            async for delivery in member:
                await anyio.sleep(seconds)
                record(Kind.EFFECT, whoami(), delivery.message.id, effect="packed")
                await delivery.ack()

    async with anyio.create_task_group() as group:
        with acting("shop"):
            for number in range(1, orders + 1):
                who = "Ada" if chance.random() < hot else CUSTOMERS[number % len(CUSTOMERS)]
                await topic.publish(Message(f"order {number} of {who}", key=who))
        for number in range(1, packers + 1):
            crashes = (Crash(at=dies_at),) if dies_at and number == 1 else ()
            group.start_soon(Participant(f"packer-{number}", pack, (), crashes).run)
        await anyio.sleep(joins_at or 0.1)  # until the first have joined: nobody can join what is over
        topic.close()
        if joins_at:
            group.start_soon(Participant(f"packer-{packers + 1}", pack).run)
        group.cancel_scope.deadline = MOST


def packed(trace: Trace) -> dict[str, int]:
    """The number of times that each order was packed, by its id."""
    times = dict.fromkeys(trace.messages(Kind.ACCEPTED), 0)
    for message in trace.messages(Kind.EFFECT):
        times[message] += 1
    return times


def in_words(trace: Trace) -> str:
    times = packed(trace)
    ends = trace.filter(Kind.ACKED)
    done = f"{len({e.message for e in ends})} of {plural(len(times), 'order is', 'orders are')} done"
    at = f"the last at {ends[-1].at:.0f} s" if ends else "and none ever will be"
    twice = sum(number > 1 for number in times.values())
    names = sorted({event.who for event in trace.filter(Kind.EFFECT)})
    shares = ", ".join(str(trace.count(Kind.EFFECT, who=name)) for name in names)
    again = f"{plural(twice, 'was', 'were')} packed more than once"
    return f"{done}, {at}. {again}. Packed by each packer: {shares}."


def _shares(trace: Trace) -> figures.Figure:
    names = sorted({event.who for event in trace.filter(Kind.EFFECT)})
    counts = {name: float(trace.count(Kind.EFFECT, who=name)) for name in names}
    return figures.bars(counts, unit="packed", title="How often each packer packed an order")


def the_packers_demo() -> Demo:
    """The pack room with its controls."""
    return demo(
        a_pack_room,
        {
            "partitions": slider(1, 12, value=12, label="Partitions"),
            "packers": slider(1, 6, value=3, label="Packers"),
            "seconds": slider(0.5, 16.0, 0.5, value=1.0, label="Seconds for an order"),
            "session": slider(5.0, 30.0, 1.0, value=10.0, label="Dead after silence of (s)"),
            "joins_at": slider(0.0, 20.0, 0.5, value=0.0, label="One more joins (s, 0: never)"),
            "dies_at": slider(0.0, 20.0, 0.5, value=0.0, label="packer-1 dies (s, 0: never)"),
            "hot": slider(0.0, 1.0, 0.1, value=0.0, label="Share of Ada's orders"),
            "orders": slider(1, 100, value=60, label="Orders"),
        },
        presets={
            "Three share": {},
            "More packers than partitions": {"partitions": 2, "packers": 4},
            "One customer is hot": {"hot": 0.6},
            "A helper joins": {"joins_at": 5.5},
            "A packer dies": {"dies_at": 2.5},
            "Too slow for the session": {"partitions": 4, "packers": 2, "seconds": 14.0, "orders": 8},
        },
        summary=in_words,
        figures=[_shares, figures.offsets],
        player=False,
        seed=1,
        title="Packers",
        max_events=200_000,
    )
