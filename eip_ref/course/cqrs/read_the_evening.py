"""Read the evening

Read the trace · medium · 3 points · 10 minutes

Answer: def read_the_evening()
Called: The evening that you can play: `simulate(a_bad_evening)`. Five services change a row and tell of it.
    Each of them dies once.
Promised: For each service your two words are those of the trace: its design, and the ending.
Hint: Take one service at a time: `evening.filter(who="tea")`. What did it write first, and what after it was
    back?
Hint: `accepted` at the database or the broker is what counts; `sent` may have been on its way when the
    service died. A write to `tea + outbox` is one commit of two tables.
Hint: Two `delivered` are not two mails. Look whether mail did something (`effect`) or knew the event
    (`duplicate`).
Why: What was accepted first tells the design, and what is missing at the end tells the ending. The one
    that looks first differs from the one that writes twice by what it does when it is back: it answers and
    writes nothing.

no-answer: An answer is missing or cannot be read. Each service needs a pair of texts of the two tables.
wrong-design: That service has another design. Its first write, and what it does when it is back, tell it.
counts-copies: A second delivery is not a second mail. Mail does nothing at an event that it knows.
sent-is-not-there: What was sent has not always come. Only what was accepted is in the database or at the
    broker.
wrong-ending: That service ended otherwise. Look at all that was accepted, before the death and after it, and
    at what mail did.
"""

from __future__ import annotations

from typing import Any

import anyio

from ...autograder import kit
from ...lab import Crash, Participant
from ...trace import Kind, Trace, record
from .crash_points import DOUBLED, LOST, PHANTOM, RIGHT, Broker, Database

__all__ = ["EXERCISE", "a_bad_evening"]

FIRST, BROKER, LOOKS, OUTBOX = "database first", "broker first", "looks first", "outbox"
DESIGNS = (FIRST, BROKER, LOOKS, OUTBOX)
ENDINGS = (RIGHT, LOST, PHANTOM, DOUBLED)


class Service:
    """A service with one of the designs."""

    def __init__(self, name: str, design: str, database: Database, broker: Broker) -> None:
        self.name, self.design = name, design
        self._database, self._broker = database, broker
        self._event = {"type": f"{name} changed", "id": f"{name}/1"}

    async def handle(self) -> None:
        row = (self.name, "ann", {"name": "Ann"})
        known = await self._database.get(self.name, "ann") is not None
        if self.design == OUTBOX:
            if not known:
                await self._database.commit([row, ("outbox", self.name, self._event)])
        elif self.design == BROKER:
            await self._broker.publish({"type": self._event["type"]})
            await self._database.commit([row])
        elif self.design == FIRST or not known:
            await self._database.commit([row])
            await self._broker.publish({"type": self._event["type"]})
        record(Kind.NOTE, self.name, text="201")
        while await self._database.scan("outbox"):
            await self._broker.publish(self._event)
            await self._database.commit([("outbox", self.name, None)])


EVENING = (
    ("tea", LOOKS, 3),
    ("cups", FIRST, 5),
    ("bills", BROKER, 4),
    ("stock", OUTBOX, 6),
    ("mugs", FIRST, 3),
)


async def a_bad_evening() -> None:
    """Play five services, one after the other. Each dies once; all but `bills` are back and asked again."""
    for number, (name, design, step) in enumerate(EVENING):
        await anyio.sleep_until(10.0 * number)
        database, broker = Database(), Broker(knows_ids=True)
        service = Service(name, design, database, broker)
        crash = Crash(step=step, restart_after=None if design == BROKER else 1.0)
        await Participant(name, service.handle, (), (crash,)).run()


def _ending(trace: Trace, service: str) -> str:
    """The ending, from what was accepted and what mail did."""
    labels = {event.message: event.data["label"] for event in trace.filter(Kind.SENT, who=service)}
    written = [e for e in trace.filter(Kind.ACCEPTED, where="database", who=service) if labels[e.message]]
    rows = any(labels[event.message].startswith(service) for event in written)
    mails = sum(event.message in labels for event in trace.filter(Kind.EFFECT, where="mail"))
    if rows and mails == 1:
        return RIGHT
    return LOST if not mails else PHANTOM if not rows else DOUBLED


def _reading(service: str, design: str) -> Any:
    return lambda trace: [design, _ending(trace, service)]


QUESTIONS = {name: kit.measured(a_bad_evening, reading=_reading(name, design)) for name, design, _ in EVENING}


def a_pair(question: str, said: Any) -> list[str] | None:
    if not isinstance(said, list | tuple) or len(said) != 2:
        return None
    design, ending = said
    return [design, ending] if design in DESIGNS and ending in ENDINGS else None


def judge(trace: Trace) -> kit.Symptoms:
    yield from kit.unreadable(trace, "no-answer")
    for service, (design, ending), (really, ended) in kit.answers(trace):
        shown = [event for event in trace if event.who in (service, "mail") and _near(event.at, service)]
        words = f"of `{service}` you said {design!r} and {ending!r}."
        if design != really:
            yield kit.seen("wrong-design", words, shown)
        elif ending == ended:
            continue
        elif DOUBLED in (ending, ended) and RIGHT in (ending, ended):
            yield kit.seen("counts-copies", words, shown)
        elif PHANTOM in (ending, ended) and RIGHT in (ending, ended):
            yield kit.seen("sent-is-not-there", words, shown)
        else:
            yield kit.seen("wrong-ending", words, shown)


def _near(at: float, service: str) -> bool:
    start = 10.0 * [name for name, _, _ in EVENING].index(service)
    return start <= at < start + 10.0


EXERCISE = kit.exercise(__name__, __doc__, kit.ask(QUESTIONS, a_pair), judge, seeds=(1,))
