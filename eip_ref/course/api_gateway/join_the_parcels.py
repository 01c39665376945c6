"""Join the parcels

Complete · hard · 5 points · 20 minutes

Answer: class Desk(emit, late) with async receive, async run
Called: One `Desk(emit, late)`. `run()` runs beside, and `await desk.receive(message)` is called for each
    parcel of six orders. Some parcels come twice, and some too late or never.
Promised: Each order is handed out once: when all of its parcels are there, or 15 s after its first one, as
    far as it has come. Parcels are in the order of their numbers. The same message again changes nothing. A
    parcel whose order is out goes to `late`.
Hint: Which three things must the desk remember of an order, so that a copy is known, the end is known, and
    nobody hands it out twice?
Hint: A set of ids tells a copy, also when the order is out. When `receive` opens an order, its time begins;
    who waits for that time, when no message comes?
Hint: In `run`, loop: hand out all open orders whose time is over, then sleep a little, such as 0.1 s. In
    `receive`: a known id returns; an order that is out goes to `late`; else put it in, and hand out when
    the number of parcels is `of`.
Why: Ids tell copies, and the orders that are out are remembered. The time of an order is kept by `run`,
    since an order to which nothing comes has no message that could look at the clock.

copy-counted: A copy was counted as a parcel. An order went out before all of it was there, or with one
    parcel twice.
handed-out-twice: An order was handed out twice: for a parcel that is late, for a copy, or since its time was
    over while it was being handed out. The van comes a second time.
not-handed-out: An order was never handed out. Its parcels lie in the desk.
too-long: An order was handed out too late. It goes as soon as all of it is there, as many parcels as its
    header `of` says, and else when its time is over: somebody must look at the clock, and often, for nothing
    else may come. What comes in between does not make it younger.
gave-up-early: An order went out before its time, and before all of it was there. The parcels that were on
    their way come too late now.
other-things: The desk handed out something else than the bodies of the parcels. The van takes a list such as
    `["parcel 1", "parcel 2"]`.
out-of-order: The parcels are not in the order of their numbers. Which came first is chance.
copy-is-late: A copy was handed to `late`. It is no parcel that missed the van: the van has it.
late-lost: A parcel that came too late is nowhere. The van has gone, and nobody was told.
"""

from __future__ import annotations

from random import Random
from typing import Any

import anyio

from ...autograder import kit
from ...message import Message
from ...trace import Kind, Trace, acting

__all__ = ["EXERCISE", "six_orders"]

PATIENCE = 15.0
END = 80.0
LOADED_SLOWLY = "order 5"


def _timetable(seed: int) -> list[tuple[float, int, int, int]]:
    """The parcels: time, order, number, and how many the order has."""
    chance = Random(seed)
    first, second, third = chance.sample((1, 2, 3), 3)
    return sorted(
        [
            *((0.5 + 1.1 * n, 1, number, 3) for n, number in enumerate((3, 1, 2))),
            *((1.2 + 1.3 * n, 2, number, 3) for n, number in enumerate((first, second, second, third))),
            (9.3, 2, first, 3),  # a copy, when the order is out
            (2.1, 3, second, 3),
            (4.3, 3, first, 3),
            (27.7, 3, third, 3),  # too late
            (29.2, 4, 1, 1),
            (32.6, 4, 1, 1),
            (34.4, 5, third, 3),
            (46.9, 5, first, 3),
            (47.8, 5, first, 3),
            (48.2, 5, second, 3),  # in time
            (52.6, 6, 2, 2),  # its other parcel never comes
            (62.1, 6, 2, 2),
        ]
    )


async def six_orders(desk_class: kit.Answer, seed: int) -> None:
    """Let the parcels of six orders come, and wait for a while."""
    out, late = list[list[Any]](), list[str]()

    async def emit(order: str, parcels: list[str]) -> None:
        out.append([anyio.current_time(), order, [str(parcel) for parcel in parcels]])
        kit.happens(Message(order, id=order), "handed out")
        if order == LOADED_SLOWLY:
            await anyio.sleep(1.5)  # in this time its clock runs out

    async def too_late(message: Message) -> None:
        late.append(message.id)
        kit.happens(message, "late")

    desk, came = desk_class(emit, too_late), list[list[Any]]()
    async with kit.participants() as start:
        start("clock of the desk", desk.run)
        with acting("pack room"):
            for at, order, number, of in _timetable(seed):
                await anyio.sleep_until(at)
                message = _parcel(order, number, of)
                came.append([at, message.correlation_id, message.id, number, of])
                await desk.receive(message)
        await anyio.sleep_until(END)
    kit.write_down(came=came, out=out, late=late)


def _parcel(order: int, number: int, of: int) -> Message:
    headers = {"number": number, "of": of}
    identity, group = f"{order}/{number}", f"order {order}"
    return Message(f"parcel {number}", id=identity, correlation_id=group, headers=headers)


class Expected:
    """The fate of one order, by what came and when."""

    def __init__(self, came: list[list[Any]]) -> None:
        first, _, _, _, of = came[0]
        in_time = {number: at for at, _, _, number, _ in reversed(came) if at < first + PATIENCE}
        self.complete = len(in_time) == of
        self.at = max(in_time.values()) if self.complete else first + PATIENCE
        self.parcels = [f"parcel {number}" for number in sorted(in_time)]
        self.late = {message for at, _, message, number, _ in came if number not in in_time}
        self.copies = {message for _, _, message, number, _ in came} - self.late


def judge(trace: Trace) -> kit.Symptoms:
    facts = kit.facts(trace)
    for order in dict.fromkeys(came[1] for came in facts["came"]):
        expected = Expected([came for came in facts["came"] if came[1] == order])
        out = [each for each in facts["out"] if each[1] == order]
        events = [e for e in trace.filter(Kind.EFFECT) if e.message == order or e.message in expected.late]
        for mistake, words in (*_handing_out(order, expected, out), *_late(expected, facts["late"])):
            yield kit.seen(mistake, f"{words}.", events)


def _handing_out(order: str, expected: Expected, out: list[list[Any]]) -> list[tuple[str, str]]:
    if not out:
        return [("not-handed-out", f"{order} was not handed out by {END:g} s")]
    at, _, parcels = out[0]
    found, told = [], f"{order} went out at {at:.1f} s with {', '.join(parcels)}"
    if len(out) > 1:
        found.append(("handed-out-twice", f"{order} was handed out at {at:.1f} s and at {out[1][0]:.1f} s"))
    if len(set(parcels)) < len(parcels):
        found.append(("copy-counted", told))
    elif at < expected.at - 0.01:
        found.append(("gave-up-early", f"{told}; {_to_come(expected, parcels)}"))
    elif at > expected.at + 0.5:
        due = "all of it was there" if expected.complete else "its time was over"
        found.append(("too-long", f"{told}; {due} at {expected.at:.1f} s"))
    elif parcels != expected.parcels:
        others = not {*parcels} <= {*expected.parcels}
        lacking = "other-things" if others else "not-handed-out"
        mixed = sorted(parcels) == expected.parcels
        found.append(("out-of-order" if mixed else lacking, f"{told}, and not {expected.parcels}"))
    return found


def _to_come(expected: Expected, parcels: list[str]) -> str:
    left = [parcel for parcel in expected.parcels if parcel not in parcels]
    return f"{', '.join(left)} would have come in time" if left else f"it had time until {expected.at:.1f} s"


def _late(expected: Expected, late: list[str]) -> list[tuple[str, str]]:
    copies = [
        ("copy-is-late", f"{each}, a copy, was handed to `late`") for each in late if each in expected.copies
    ]
    lost = [
        ("late-lost", f"{each} came too late, and `late` did not get it") for each in expected.late - {*late}
    ]
    return copies + lost


EXERCISE = kit.exercise(__name__, __doc__, kit.play(six_orders), judge)
