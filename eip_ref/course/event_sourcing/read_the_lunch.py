"""Read the trace of a lunch

Read the trace · medium · 3 points · 8 minutes

Answer: def read_the_lunch()
Called: The lunch that you can play: `simulate(a_lunch)`. Seven tills sell from card 7, over a network that
    loses some requests and some confirms.
Promised: Your four lists are those of the trace.
Hint: Follow one sale at a time: `lunch.filter(message="sale 3")`. A sale is in the stream when the store has
    `accepted` it, with its version.
Hint: `refused` has two numbers, `expected` and `actual`: a conflict. `duplicate` is the store that knows the
    sale already. `timed out` is a till that got no confirm.
Hint: A till is left without knowing when its last event is `timed out`. Look what comes after it, for each
    of them.
Why: The versions tell the order, and they are not in the order of sending: a sale that was refused once came
    later. Of the tills whose last word is a timeout one has sold and one has not, and neither can know.
Part: The stream · 1 point · order-of-sending, wrong-stream
Part: Conflicts and repetitions · 1 point · wrong-conflicts, wrong-repetition
Part: Who is left without knowing · 1 point · wrong-silence

no-prediction: A list is missing or cannot be read. Return a dictionary with the four names of the task, and
    under each a list of numbers of sales, such as [1, 4].
order-of-sending: The sales are those of the stream, in another order. The order of a stream is that of its
    versions.
wrong-stream: Other sales are in the stream. What was sent may be refused or lost, and what got no confirm may
    be kept. What the store knows already it does not keep twice.
wrong-conflicts: Other sales met a conflict. A conflict is a refusal with another version than expected, also
    when the sale was kept later.
wrong-repetition: Another sale was repeated and known. The store says `duplicate` of it.
wrong-silence: Other tills are left without knowing. One that asks again and is told `confirm` knows, and so
    does one that is refused.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from ...autograder import kit
from ...event_sourcing import MemoryEventStore, WrongExpectedVersion
from ...message import Message
from ...trace import Kind, Trace, acting, record, whoami

__all__ = ["EXERCISE", "a_lunch"]

IN_ORDER, CONFLICTS, KNOWN, SILENCE = (
    "in the stream",
    "conflicts",
    "repeated and known",
    "left without knowing",
)
FINE, REQUEST, CONFIRM = "fine", "request lost", "confirm lost"

# For each till: when it reads, how long it thinks, what becomes of its attempts; it stops when they are over.
TILLS: Sequence[tuple[float, float, Sequence[str]]] = (
    (0.0, 0.5, (FINE,)),
    (1.0, 1.0, (FINE,)),
    (1.0, 1.5, (FINE, FINE, FINE)),
    (2.6, 0.2, (CONFIRM, FINE)),
    (5.0, 1.0, (FINE,)),
    (5.0, 0.3, (REQUEST,)),
    (5.6, 0.7, (CONFIRM,)),
)


async def a_lunch() -> None:
    """Play seven sales from card 7."""
    store = MemoryEventStore("cards")

    async def attempt(sale: Message, fate: str, expected: int) -> bool:
        """True when a confirm came. Raises `WrongExpectedVersion`."""
        if fate == REQUEST:
            record(Kind.LOST, "network", sale.id)
        else:
            await store.append("card 7", [sale], expected=expected)
        if fate != FINE:
            await anyio.sleep(0.5)
            record(Kind.TIMED_OUT, whoami(), sale.id, after=0.5)
        return fate == FINE

    async def till(number: int, begins: float, thinks: float, fates: Sequence[str]) -> None:
        sale, expected = Message({"euros": -5}, "TeaSold", id=f"sale {number}"), -1
        await anyio.sleep(begins)
        for fate in fates:
            if expected < 0:
                expected = len(await store.read("card 7"))
                await anyio.sleep(thinks)
            try:
                if await attempt(sale, fate, expected):
                    break
            except WrongExpectedVersion:
                expected = -1  # read again

    with acting("office"):
        await store.append("card 7", [Message({"euros": 100}, "CardLoaded")])
    async with anyio.create_task_group() as group:
        for number, (begins, thinks, fates) in enumerate(TILLS, 1):
            with acting(f"till {number}"):
                group.start_soon(till, number, begins, thinks, fates)


def _number(message: str) -> int:
    return int(message.removeprefix("sale "))


def in_the_stream(trace: Trace) -> list[int]:
    kept = trace.filter(Kind.ACCEPTED, test=lambda event: event.message.startswith("sale"))
    return [_number(event.message) for event in sorted(kept, key=lambda event: event.data["version"])]


def left_without_knowing(trace: Trace) -> list[int]:
    """The tills whose last event is a timeout."""
    last = {event.who: event for event in trace if event.who.startswith("till")}
    return sorted(_number(event.message) for event in last.values() if event.kind == Kind.TIMED_OUT)


def _all(kind: Kind) -> kit.Answer:
    return lambda trace: sorted({_number(event.message) for event in trace.filter(kind)})


READINGS = {
    IN_ORDER: in_the_stream,
    CONFLICTS: _all(Kind.REFUSED),
    KNOWN: _all(Kind.DUPLICATE),
    SILENCE: left_without_knowing,
}
MISTAKES = {CONFLICTS: "wrong-conflicts", KNOWN: "wrong-repetition", SILENCE: "wrong-silence"}


def numbers(question: str, said: object) -> list[int] | None:
    kinds = (list, tuple) if question == IN_ORDER else (list, tuple, set)
    if not isinstance(said, kinds) or not all(type(number) is int for number in said):
        return None
    return list(said) if question == IN_ORDER else sorted(set(said))


def mistake(answered: kit.Answered) -> str:
    question, said, really = answered
    stream = "order-of-sending" if sorted(said) == sorted(really) else "wrong-stream"
    return MISTAKES.get(question, stream)


RUN = kit.ask(kit.readings(a_lunch, READINGS), numbers)
EXERCISE = kit.exercise(__name__, __doc__, RUN, kit.misread(mistake), seeds=(1,))
