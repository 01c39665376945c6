"""The same twenty facts twice, of lesson 07b: published to whoever is there, and appended to a stream."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import anyio

from ...event_sourcing import MemoryEventStore, Recorded
from ...lab import Faults, Uniform
from ...lab.demo import Demo, demo, slider
from ...lab.figures import Figure, lines
from ...message import Message
from ...publish_subscribe import PublishSubscribeChannel
from ...trace import Kind, Trace, acting, record

__all__ = ["five_rows", "news_demo", "twenty_facts"]

FACTS = 20
EUROS = tuple(40 if number % 5 == 0 else -(number % 4 + 5) for number in range(FACTS))
THERE, AWAY, LATE, VIEW = "there", "away", "late", "a late view"
Heard = list[tuple[float, int]]  # when, and the number of the fact


async def twenty_facts(joins: float = 12, leaves: float = 5, returns: float = 9) -> None:
    """Publish and append one fact each second, for 20 s.

    One subscriber is there all the time, one is away from `leaves` to `returns`, one joins late; and a view
    begins to read the stream as late. The way to a subscriber takes 0.05 to 3 s for each message.
    """
    channel, store = PublishSubscribeChannel("news"), MemoryEventStore("cards")
    chance, heard = Faults(), {name: Heard() for name in (THERE, AWAY, LATE, VIEW)}

    async def listen(name: str, *stays: tuple[float, float]) -> None:
        for begins, ends in stays:
            await anyio.sleep_until(begins)
            await hear(name, ends)

    async def hear(name: str, ends: float) -> None:
        with (
            anyio.move_on_after(ends - anyio.current_time()),
            channel.subscribe("sales", name=name, when_full="drop oldest") as inbox,
        ):
            async for fact in inbox:
                group.start_soon(arrives, name, fact.body)

    async def arrives(name: str, number: int) -> None:
        await chance.sleep(f"way to {name}", Uniform(0.05, 3.0))
        heard[name].append((anyio.current_time(), number))

    async def late_view() -> None:
        await anyio.sleep_until(joins)
        position = 0
        while True:
            for event in await store.read_all(after=position):
                heard[VIEW].append((anyio.current_time(), event.message.body["number"]))
                position = event.position
            await store.wait(after=position)

    async with anyio.create_task_group() as group:
        away = [(0.0, leaves), (returns, 30.0)] if leaves < returns else [(0.0, 30.0)]
        for name, stays in {THERE: [(0.0, 30.0)], AWAY: away, LATE: [(joins, 30.0)]}.items():
            with acting(name):
                group.start_soon(listen, name, *stays)
        with acting(VIEW):
            group.start_soon(late_view)
        await anyio.sleep(0.5)
        with acting("till"):
            for number, euros in enumerate(EUROS):
                fact = Message(number, "CardChanged", id=f"fact {number + 1}")
                await channel.publish("sales", fact)
                await store.append("card 7", [fact.copy(body={"number": number, "euros": euros})])
                await anyio.sleep(1)
        await anyio.sleep(5)
        group.cancel_scope.cancel()
    await _write_down(await store.read("card 7"), heard)


async def _write_down(log: list[Recorded], heard: dict[str, Heard]) -> None:
    at_ten = sum(event.message.body["euros"] for event in log if event.at <= 10)
    facts: dict[str, Any] = {"heard": heard, "kept": len(log), "at_ten": at_ten}
    record(Kind.NOTE, "the day", who="", text="the day is over", **facts)


def _day(trace: Trace) -> dict[str, Any]:
    (note,) = trace.filter(Kind.NOTE, where="the day")
    return dict(note.data)


def five_rows(trace: Trace) -> dict[str, tuple[str, str]]:
    """Print for each aspect what publish–subscribe did with the facts, and what event sourcing did."""
    day = _day(trace)
    heard = {name: [number for _, number in facts] for name, facts in day["heard"].items()}
    back = {name: sum(after < before for before, after in pairwise(facts)) for name, facts in heard.items()}
    copies = sum(len(heard[name]) for name in (THERE, AWAY, LATE))
    rows = {
        "what it is": ("the channel keeps 0 facts", f"the stream keeps {day['kept']} facts"),
        "focus": (f"{copies} copies to 3 subscribers", f"1 state: {sum(EUROS)} euros on card 7"),
        "ordering": (f"{back[THERE]} steps back on the way", f"{back[VIEW]} steps back in the stream"),
        "persistence": (f"who is late sees {len(heard[LATE])} of {FACTS}", f"sees {len(heard[VIEW])}"),
        "use": (
            f"who is there hears all {len(heard[THERE])}",
            f"also an answer: at 10 s the card held {day['at_ten']}",
        ),
    }
    print(f"{'':12} {'publish–subscribe':28} event sourcing")
    for aspect, (left, right) in rows.items():
        print(f"{aspect:12} {left:28} {right}")
    return rows


# Playing


def _in_words(trace: Trace) -> str:
    heard = {name: len(facts) for name, facts in _day(trace)["heard"].items()}
    return (
        f"Of {FACTS} facts, who was there heard {heard[THERE]}, who was away {heard[AWAY]}, who came late "
        f"{heard[LATE]}. The late view shows {heard[VIEW]}."
    )


def _known(trace: Trace) -> Figure:
    series: dict[str, list[tuple[float, float]]] = {}
    for name, facts in _day(trace)["heard"].items():
        steps = [(0.0, 0.0)]
        for count, (at, _) in enumerate(facts, 1):
            steps += [(at, count - 1.0), (at, float(count))]
        series[name] = [*steps, (25.0, steps[-1][1])]
    return lines(series, x="seconds", y="facts", title="Facts that each knows")


def news_demo() -> Demo:
    """Subscribers that are there, away or late, a late view, and the facts that each of them knows."""
    return demo(
        twenty_facts,
        {
            "joins": slider(0.0, 22.0, 0.5, value=12.0, label="Late ones come at (s)"),
            "leaves": slider(0.0, 20.0, 0.5, value=5.0, label="Away from (s)"),
            "returns": slider(0.0, 22.0, 0.5, value=9.0, label="Away until (s)"),
        },
        presets={
            "A short absence": {},
            "A long absence": {"leaves": 3.0, "returns": 18.0},
            "At the last moment": {"joins": 19.0},
            "After the last fact": {"joins": 22.0},
            "From the beginning": {"joins": 0.0, "leaves": 20.0, "returns": 20.0},
        },
        summary=_in_words,
        figures=[_known],
        player=False,
        seed=1,
        title="Late for the news",
    )
