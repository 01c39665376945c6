"""A window for the line

Complete · easy · 2 points · 5 minutes

Answer: def window(there, work, back)
Called: Your `window(there, work, back)` for four lines between the shop and a pack room. The shop has orders
    without end.
Promised: The pack room is never idle, and no order waits there as long as it takes to pack one.
Hint: Follow one order and its credit around: how long are they under way?
Hint: While they are under way, how many orders does a busy pack room pack? So many must be under way.
Hint: The way around takes `there + work + back` seconds. Divide by `work`, and round up.
Why: Little's law: under way = rate × time. The rate of a busy pack room is 1 / work, and the time around is
    there + work + back.

no-window (ValueError): A window that cannot be granted. It is a whole number, 1 or more.
one-way-forgotten: Forgot one of the ways. An order is under way, it is packed, and then its credit is under
    way, too. Only then may the next one leave.
rounded-down: Rounded down. The pack room is idle for a moment in each round, because the last credit is still
    on its way. A part of a credit cannot be granted.
idle: The pack room waits for orders. While a credit is on its way back, nothing is on its way there.
piled-up: Orders pile up in the pack room. What is more than the line needs waits at its end, and whoever sent
    it cannot take it back.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable
from random import Random
from typing import NamedTuple

import anyio

from ...autograder import kit
from ...backpressure import Buffer, Credit
from ...message import Message
from ...trace import Kind, Trace

__all__ = ["EXERCISE", "four_lines"]

ROUNDS = 60  #: orders that are packed at the end of each line


class Line(NamedTuple):
    """A line to a pack room. Times in seconds."""

    name: str
    there: float
    work: float
    back: float

    def __str__(self) -> str:
        return f"`{self.name}`, {self.there:g} s there, {self.work:g} s of work, {self.back:g} s back"


WAYS: dict[str, tuple[Callable[[Line], float], ...]] = {  # what was divided by the work, and rounded
    "rounded-down": (lambda line: line.there + line.work + line.back,),
    "one-way-forgotten": (
        lambda line: line.there + line.work,
        lambda line: line.work + line.back,
        lambda line: line.there + line.back,
    ),
}


async def four_lines(window: kit.Answer, seed: int) -> None:
    """Play each line until 60 orders are packed, with the window of the answer."""
    far = Random(seed).choice((1.0, 2.0, 3.0))
    lines = [
        Line("next town", 0.5, 0.125, 0.5),
        Line("far away", far, 0.25, far),
        Line("slow way back", 0.25, 0.5, 2.0),
        Line("slow way there", 1.75, 0.5, 0.375),
    ]
    granted = [await _play(line, window(line.there, line.work, line.back)) for line in lines]
    kit.write_down(lines=lines, granted=granted)


async def _play(line: Line, granted: object) -> int:
    if type(granted) is not int or granted < 1:
        raise ValueError(f"`window` returned {granted!r}, and not a whole number of 1 or more")
    credit, inbox = Credit("credit", granted), Buffer(line.name, 10_000, when_full="block")

    async def travel(order: Message) -> None:
        await anyio.sleep(line.there)
        await inbox.put(order)

    async def grant() -> None:
        await anyio.sleep(line.back)
        credit.grant()

    async def send() -> None:
        for number in itertools.count(1):
            await credit.take()
            start("way there", travel, Message(f"order {number}"))

    async with kit.participants() as start:
        start("shop", send)
        for _ in range(ROUNDS):
            order = await inbox.receive()
            await anyio.sleep(line.work)
            kit.happens(order, "packed")
            start("way back", grant)
    return granted


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    lines = [Line(*each) for each in facts["lines"]]
    too_small = _too_small(lines, facts["granted"])
    for line, granted in zip(lines, facts["granted"], strict=True):
        orders = [order for order in kit.journeys(trace, where=line.name) if order.effects]
        first, last = orders[0].effects[0], orders[-1].effects[0]
        busy = (len(orders) - 1) * line.work / (last.at - first.at)
        later = orders[ROUNDS // 2 :]  # the first ones leave all at once
        waited = [_done(order) - line.work - order.all(Kind.ACCEPTED)[0].at for order in later]
        if busy < 0.999:
            words = f"{line}, window {granted}: the pack room was busy for {busy:.0%} of the time."
            events = [event for order in orders[:3] for event in order.events]
            yield kit.seen(too_small, words, events)
        elif max(waited) > line.work - 1e-6:
            worst = later[waited.index(max(waited))]
            words = f"{line}, window {granted}: {worst} waited {max(waited):g} s in the pack room."
            yield worst.seen("piled-up", words)


def _too_small(lines: list[Line], granted: list[int]) -> str:
    """The mistake that explains the windows of all lines."""
    for mistake, ways in WAYS.items():
        for way in ways:
            exact = [way(line) / line.work for line in lines]
            if all(each in (int(x), math.ceil(x)) for each, x in zip(granted, exact, strict=True)):
                return mistake
    return "idle"


def _done(order: kit.Journey) -> float:
    return order.effects[0].at


EXERCISE = kit.exercise(__name__, __doc__, kit.play(four_lines), judge)
