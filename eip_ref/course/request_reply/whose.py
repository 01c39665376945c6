"""Many callers over one line, and two shops behind one reply queue, of lesson 06a."""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import anyio

from ...lab import Faults, Uniform
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import Figure, bars
from ...message import Message
from ...request_reply import Replier, RequestError, Requestor
from ...trace import Kind, Trace, acting, record

__all__ = ["a_thousand", "told", "two_shops", "whose_demo"]

RIGHT, ANOTHERS, NONE = "its own answer", "another's answer", "no answer"
QUICK, SENDING, SLOW = 0.1, 0.01, 3.0  # a share; and seconds to send, and for what stock must search for


async def a_thousand(make: Callable[..., Any], callers: int = 10, slow: float = 0.02) -> None:
    """Ask for 1,000 prices over one line that `make(send)` makes, `callers` at a time, a second for each.

    One price in ten stock knows by heart: its answer is there before `send` has returned. For a share
    `slow` it searches for 3 s.
    """
    chance = Faults().random("stock")

    async def send(question: Message) -> None:
        group.start_soon(stock, question)
        await anyio.sleep(SENDING)

    async def stock(question: Message) -> None:
        luck, seconds = chance.random(), chance.uniform(0.1, 0.6)
        await anyio.sleep(0.0 if luck < QUICK else SLOW if luck > 1 - slow else seconds)
        await line.hear(Message(f"price of {question.body}", correlation_id=question.id))

    async def caller(numbers: Iterable[int]) -> None:
        for number in numbers:
            question = Message(f"tea {number}")
            reply = await line.ask(question, timeout=1)
            got = NONE if reply is None else RIGHT if reply.body == f"price of tea {number}" else ANOTHERS
            record(Kind.EFFECT, "shop", question.id, effect=got)

    line = make(send)
    async with anyio.create_task_group() as group:
        with acting("shop"):
            numbers = iter(range(1, 1001))  # whoever is free takes the next one
            async with anyio.create_task_group() as all_callers:
                for _ in range(callers):
                    all_callers.start_soon(caller, numbers)
        await anyio.sleep(SLOW)
        text = f"still in the table: {len(line.waiting)}"
        record(Kind.NOTE, "shop", who="shop", text=text, left=len(line.waiting))


def told(trace: Trace) -> str:
    """The answers of a run of `a_thousand`, in words."""
    got = Counter(event.data["effect"] for event in trace.filter(Kind.EFFECT))
    (note,) = trace.filter(Kind.NOTE)
    counts = ", ".join(f"{name} {got[name]:,}" for name in (RIGHT, ANOTHERS, NONE))
    return f"{counts}; left in the table {note.data['left']}"


def _answers(trace: Trace) -> Figure:
    got = Counter(event.data["effect"] for event in trace.filter(Kind.EFFECT))
    counts = {name: float(got[name]) for name in (RIGHT, ANOTHERS, NONE)}
    return bars(counts, unit="questions", title="What 1,000 questions got", highlight=[ANOTHERS])


def whose_demo(lines: Mapping[str, Callable[..., Any]]) -> Demo:
    """A thousand questions, over each of the lines that the lesson has built: in turn, too late, by id."""

    async def scenario(line: str, callers: int, slow: int) -> None:
        await a_thousand(lines[line], callers, slow / 100)

    turn, late, by_id = lines
    return demo(
        scenario,
        {
            "line": choice(*lines, value=turn, label="Who gets a reply"),
            "callers": slider(1, 20, value=10, label="Callers at a time"),
            "slow": slider(0, 20, value=2, label="Answers after 3 s (%)"),
        },
        presets={
            "One caller, none slow": {"callers": 1, "slow": 0},
            "One caller": {"callers": 1},
            "Ten callers": {},
            "The table, too late": {"line": late},
            "By id": {"line": by_id},
        },
        summary=lambda trace: f"Of 1,000 questions: {told(trace)}.",
        figures=[_answers],
        player=False,
        seed=1,
        title="A thousand questions over one line",
    )


async def two_shops(own_queues: bool) -> None:
    """Let two shops ask one stock for 50 prices each, and wait a second for each answer.

    The replies lie in one queue from which the shops read in turns, or in a queue for each shop.
    """
    chance = Faults()

    async def price(request: Message) -> str:
        await chance.sleep("stock", Uniform(0.1, 0.5))
        return f"price of {request.body}"

    async def ask(shop: Requestor, tea: str) -> None:
        try:
            await shop.request(tea, timeout=1)
        except RequestError as error:
            record(Kind.EFFECT, shop.name, tea, effect=type(error).__name__)

    async def send(attempt: Message) -> None:
        await stock.receive(attempt)

    async def whose_turn_it_is(reply: Message) -> None:
        await next(turn).receive(reply)

    with Requestor(send, name="shop 1") as first, Requestor(send, name="shop 2") as second:
        turn = itertools.cycle((first, second))
        queues = {"shop 1": first.receive, "shop 2": second.receive}
        stock = Replier(price, queues if own_queues else whose_turn_it_is, name="stock")
        async with stock, anyio.create_task_group() as group:
            for number in range(1, 51):
                for shop in (first, second):
                    group.start_soon(ask, shop, f"tea {number} of {shop.name}")
                await anyio.sleep(0.3)
