"""Browsers that follow one view, of lesson 08c: how its changes come to three sockets."""

from __future__ import annotations

import anyio

from ...apps.shop_dashboard.services import DASHBOARD, billing
from ...backpressure import Buffer
from ...cqrs import Command, Feed, ReadModel, Relay, RowChange, TooSlow
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import Figure, bars
from ...lab.wording import plural
from ...message import Message
from ...storage import MemoryStore
from ...trace import Kind, Trace, record

__all__ = ["heard_by", "sockets_demo", "three_browsers"]

ONE_CHANNEL, ONE_LOOP, OWN_FEED = "all read one channel", "one loop over all", "a feed for each"
SOCKETS, EVERY = 3, 0.5
SEND = 0.01  #: seconds until a socket that is not slow has a change


async def three_browsers(
    way: str, slow: float = 0.0, changes: int = 12, when_slow: str = "latest", room: int = 4
) -> None:
    """Charge Ann `changes` times, every half a second. Browser 1 needs `slow` seconds for a change.

    The way is one of "all read one channel", "one loop over all" and "a feed for each". A feed has `room`
    for so many changes; `when_slow` is "latest" or "close".
    """
    view = ReadModel(MemoryStore(), "dashboard", DASHBOARD)
    service = billing(MemoryStore())

    async def write(number: int, change: RowChange) -> None:
        await anyio.sleep(slow if number == 1 and slow else SEND)
        record(
            Kind.EFFECT,
            f"browser {number}",
            f"change {change.position}",
            effect="shown",
            last=change.row["charged"],
        )

    async def from_one_channel(number: int) -> None:
        async for message in channel:
            await write(number, RowChange(*message.body))

    async def over_all() -> None:
        async for message in channel:
            for number in range(1, SOCKETS + 1):
                await write(number, RowChange(*message.body))

    async def from_a_feed(number: int) -> None:
        try:
            with Feed(view, name=f"browser {number}", capacity=room, when_slow=when_slow) as feed:
                async for change in feed:
                    await write(number, change)
        except TooSlow:
            record(Kind.NOTE, f"browser {number}", text="1013, try again later")

    def tell(change: RowChange) -> None:
        channel.put_nowait(Message(list(change)))

    async with anyio.create_task_group() as group:
        with Buffer("changes", 1_000, when_full="block") as channel:
            if way == OWN_FEED:
                for number in range(1, SOCKETS + 1):
                    group.start_soon(from_a_feed, number)
            elif way == ONE_LOOP:
                view.listeners[tell] = None
                group.start_soon(over_all)
            else:
                view.listeners[tell] = None
                for number in range(1, SOCKETS + 1):
                    group.start_soon(from_one_channel, number)
            group.start_soon(Relay(service.outbox, view).run)
            for _ in range(changes):
                await anyio.sleep(EVERY)
                await service.handle(Command("Charge", "ann", {"cents": 100}))
            await anyio.sleep(2)
            record(Kind.NOTE, "page", text="the two seconds are over", cents=100 * changes)
            group.cancel_scope.cancel()


def heard_by(trace: Trace) -> dict[str, tuple[int, int]]:
    """For each browser: how many changes it showed, and the cents that it shows at the end."""
    found = {}
    for number in range(1, SOCKETS + 1):
        shown = trace.filter(Kind.EFFECT, where=f"browser {number}")
        found[f"browser {number}"] = len(shown), shown[-1].data["last"] if shown else 0
    return found


def _in_words(trace: Trace) -> str:
    (note,) = trace.filter(Kind.NOTE, where="page")
    shown = ", ".join(
        f"{name}: {last:,} ({plural(times, 'change')})" for name, (times, last) in heard_by(trace).items()
    )
    closed = [event.where for event in trace.filter(Kind.NOTE) if "1013" in event.data["text"]]
    more = f" Closed with 1013: {', '.join(closed)}." if closed else ""
    return f"Ann owes {note.data['cents']:,} cents. Two seconds later they show: {shown}.{more}"


def _figure(trace: Trace) -> Figure:
    cents = {name: float(last) for name, (_, last) in heard_by(trace).items()}
    (note,) = trace.filter(Kind.NOTE, where="page")
    rows = {"in the view": float(note.data["cents"]), **cents}
    wrong = [name for name, shown in cents.items() if shown != note.data["cents"]]
    return bars(rows, unit="cents", title="What each browser shows two seconds later", highlight=wrong)


def sockets_demo() -> Demo:
    """Three browsers, with the controls."""
    return demo(
        three_browsers,
        {
            "way": choice(ONE_CHANNEL, ONE_LOOP, OWN_FEED, label="The way"),
            "slow": slider(0.0, 5.0, 0.5, value=0.0, label="Browser 1 needs (s)"),
            "changes": slider(1, 40, value=12, label="Changes"),
            "when_slow": choice("latest", "close", label="Its buffer is full"),
            "room": slider(1, 20, value=4, label="Room in a feed"),
        },
        presets={
            "One channel": {},
            "One channel, one slow": {"slow": 2.0},
            "One loop, one slow": {"way": ONE_LOOP, "slow": 2.0},
            "Feeds, one slow": {"way": OWN_FEED, "slow": 1.5},
            "Feeds, slow is closed": {"way": OWN_FEED, "slow": 1.5, "when_slow": "close"},
        },
        summary=_in_words,
        figures=[_figure],
        player=False,
        seed=None,
        title="Three browsers",
    )
