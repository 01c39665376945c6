"""Read eight old facts

Predict · medium · 3 points · 10 minutes

Answer: def what_becomes()
Called: Eight programs, each of which reads one old fact. Each of your eight predictions is compared with
    what really comes of it.
Promised: Each prediction is what the program says: "read" or the name of the error.
Hint: Which version has the fact, and up to which one does the program know? Then: is there a step for each
    version between?
Hint: A newer fact is an error, unless the program tolerates it. A name that nobody has registered is one
    before any version is looked at.
Hint: A snapshot is a cache. What does a repository do with one that it cannot read?
Why: A fact is found by its name, then climbs step by step. A step that is missing is missed only by facts
    below it. A snapshot that cannot be read is left aside, and the state is folded from the events.

no-prediction: A prediction is missing or cannot be read. Each is "read", "UnknownType", "NoUpcaster" or
    "FutureVersion".
believes-in-jumps: A step that is missing matters otherwise than you say. A fact climbs one version at a
    time, and only from where it stands.
believes-in-the-future: A newer fact is read otherwise than you say. It is the policy of the reader that
    decides.
believes-in-names: The name of a fact is looked up otherwise than you say. A class may be renamed; what
    stands in the store is what it was.
believes-in-snapshots: A snapshot is treated otherwise than you say. It can be thrown away at any time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ...autograder import kit
from ...event_sourcing import (
    EventTypes,
    Fold,
    FutureVersion,
    Loaded,
    MemoryEventStore,
    NoUpcaster,
    Repository,
    Snapshots,
    UnknownType,
)
from ...message import Message
from ...storage import MemoryStore
from ...trace import Kind, Trace, record

__all__ = ["EXERCISE"]

READ, UNKNOWN, NO_STEP, FUTURE = "read", "UnknownType", "NoUpcaster", "FutureVersion"
JUMPS, FUTURES, NAMES, SNAPSHOTS = (
    "believes-in-jumps",
    "believes-in-the-future",
    "believes-in-names",
    "believes-in-snapshots",
)
BODIES = {1: {"euros": 9.5}, 2: {"cents": 950}, 3: {"cents": 950, "currency": "EUR"}}


def _in_cents(body: dict[str, Any]) -> dict[str, Any]:
    return {"cents": round(body["euros"] * 100)}


def _in_a_currency(body: dict[str, Any]) -> dict[str, Any]:
    return {**body, "currency": "EUR"}


STEPS = {1: _in_cents, 2: _in_a_currency}


@dataclass
class Old:
    cents: int


@dataclass
class Today:
    cents: int
    currency: str


async def read_it(
    fact: int, knows: int = 3, steps: Sequence[int] = (1, 2), newer: str = "refuse", name: str = "TeaSold"
) -> None:
    """Read a fact of this version, named TeaSold, and write down what comes of it."""
    types = EventTypes(newer=newer)
    now, _, former = name.partition(", once ")
    types.register(now, knows, formerly=(former,) if former else ())(Old if knows == 2 else Today)
    for step in steps:
        types.upcaster(now, step)(STEPS[step])
    try:
        types.decode(Message(BODIES[fact], "TeaSold", version=fact))
        end = READ
    except (UnknownType, NoUpcaster, FutureVersion) as error:
        end = type(error).__name__
    record(Kind.NOTE, "program", text=end, end=end)


async def load_it() -> None:
    """Load a state of version 2 whose snapshot is of version 1, without an upcaster for it."""
    types, store, snapshots = EventTypes(), MemoryEventStore("cards"), Snapshots(MemoryStore())
    types.register("TeaSold", 3)(Today)
    types.register("Sold", 2)(Old)
    await store.append("card 7", [Message(BODIES[3], "TeaSold", version=3)])
    snapshots.put("card 7", Loaded(Message({"euros": 9.5}, "Sold", version=1), 1))
    fold = Fold(Old(0), lambda state, event: Old(state.cents + event.cents))
    try:
        loaded = await Repository(store, types, fold, snapshots=snapshots).load("card 7")
        end = READ if loaded.state.cents == 950 else "wrong"
    except NoUpcaster as error:
        end = type(error).__name__
    record(Kind.NOTE, "program", text=end, end=end)


def _end(trace: Trace) -> str:
    return str(trace.filter(Kind.NOTE, where="program")[0].data["end"])


RUNS: dict[str, tuple[str, object, tuple[object, ...]]] = {
    "a": (JUMPS, read_it, (1,)),
    "b": (JUMPS, read_it, (1, 3, (2,))),
    "c": (JUMPS, read_it, (2, 3, (2,))),
    "d": (FUTURES, read_it, (3, 2, (1,))),
    "e": (FUTURES, read_it, (3, 2, (1,), "tolerate")),
    "f": (NAMES, read_it, (3, 3, (), "refuse", "TeaBought")),
    "g": (NAMES, read_it, (1, 3, (1, 2), "refuse", "TeaBought, once TeaSold")),
    "h": (SNAPSHOTS, load_it, ()),
}
QUESTIONS = {
    name: kit.measured(scenario, *arguments, reading=_end)  # type: ignore[arg-type]
    for name, (_, scenario, arguments) in RUNS.items()
}


def readable(question: str, said: object) -> str | None:
    return said if isinstance(said, str) and said in (READ, UNKNOWN, NO_STEP, FUTURE) else None


def judge(trace: Trace) -> kit.Symptoms:
    yield from kit.unreadable(trace, "no-prediction")
    for question, said, really in kit.answers(trace):
        if said != really:
            mistake = RUNS[question][0]
            yield kit.seen(mistake, f"Of program {question} you said {said!r}, and it is not so.", trace)


EXERCISE = kit.exercise(__name__, __doc__, kit.ask(QUESTIONS, readable), judge, seeds=(1,))
