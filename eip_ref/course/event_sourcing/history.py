"""A long history and the programs that read it, of lesson 07c."""

from __future__ import annotations

import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...event_sourcing import (
    EventTypes,
    Fold,
    FutureVersion,
    MemoryEventStore,
    NoUpcaster,
    Repository,
    Snapshots,
    SQLiteEventStore,
    UnknownType,
)
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import Figure, bars
from ...message import Message
from ...storage import MemoryStore
from ...trace import Kind, Trace, record

__all__ = ["OLD_SALES", "a_file", "snapshots_of_a_wrong_fold", "stored", "the_history_demo"]

OLD_SALES: tuple[tuple[str, int, dict[str, Any]], ...] = (
    ("TeaSold", 1, {"euros": 19.99}),
    ("TeaSold", 2, {"cents": 1250}),
    ("TeaSold", 3, {"cents": 900, "currency": "EUR"}),
)
"""A sale as each version of the program has written it: type, version of the schema, body."""


@asynccontextmanager
async def a_file() -> AsyncIterator[SQLiteEventStore]:
    """A store in a file of its own, with one sale of each version."""
    with tempfile.TemporaryDirectory() as folder:
        async with SQLiteEventStore(Path(folder) / "cards.db") as store:
            for type_, version, body in OLD_SALES:
                await store.append("card 7", [Message(body, type_, version=version)])
            yield store


def stored(store: SQLiteEventStore) -> list[str]:
    """The rows of the file, as they are."""
    rows = store.database.execute("SELECT position, type, schema, body FROM events ORDER BY position")
    return [" | ".join(map(str, row)) for row in rows]


# Snapshots


@dataclass
class Balance:
    euros: int


@dataclass
class Changed:
    euros: int


async def snapshots_of_a_wrong_fold(version: int) -> dict[str, int]:
    """Load three cards with a wrong fold, which leaves snapshots, and then with the right one.

    A card with n sales of 2 euros has been loaded with 5 n. The wrong fold forgets to subtract. The right
    one says that its state has this `version` of the schema.
    """
    store, snapshots = MemoryEventStore("cards"), Snapshots(MemoryStore(), interval=5)
    wrong, right = EventTypes(), EventTypes()
    for types, of_state in ((wrong, 1), (right, version)):
        types.register("Changed")(Changed)
        types.register("Balance", of_state)(Balance)

    def forgets(state: Balance, event: Changed) -> Balance:
        return Balance(state.euros + max(0, event.euros))

    def subtracts(state: Balance, event: Changed) -> Balance:
        return Balance(state.euros + event.euros)

    def cards(types: EventTypes, apply: Any) -> Repository[Balance]:
        return Repository(store, types, Fold(Balance(0), apply), snapshots=snapshots)

    for events in (2, 6, 12):
        for number in range(events):
            change = Changed(5) if number % 2 == 0 else Changed(-2)
            await store.append(f"card with {events}", [right.encode(change)])
    for events in (2, 6, 12):
        await cards(wrong, forgets).load(f"card with {events}")
    mended = cards(right, subtracts)
    return {f"{n} events": (await mended.load(f"card with {n}")).state.euros for n in (2, 6, 12)}


# Playing

UPCASTERS = {"1 to 2 and 2 to 3": (1, 2), "only 2 to 3": (2,), "none": ()}
NAMES = {"TeaSold": (), "TeaBought, once TeaSold": ("TeaSold",), "TeaBought": ()}


async def _read_all(knows: int, steps: str, newer: str, name: str) -> None:
    """Read twelve old sales, four of each version, with a program that knows versions up to `knows`."""
    types = EventTypes(newer=newer)
    stands, former = name.split(",")[0], NAMES[name]
    fields = {1: ("euros",), 2: ("cents",), 3: ("cents", "currency")}[knows]
    cls: type = dataclass(type("Sale", (), {"__annotations__": dict.fromkeys(fields, object)}))
    types.register(stands, knows, formerly=former)(cls)
    for step, upcast in {1: _in_cents, 2: _in_euros}.items():
        if step in UPCASTERS[steps]:
            types.upcaster(stands, step)(upcast)
    ends: Counter[str] = Counter()
    for type_, version, body in OLD_SALES * 4:
        message = Message(body, type_, version=version)
        try:
            types.decode(message)
            end = "read, a field passed over" if version > knows else "read"
        except (UnknownType, NoUpcaster, FutureVersion, TypeError) as error:
            end = type(error).__name__
        ends[f"version {version}: {end}"] += 1
    record(Kind.NOTE, "program", who="", text="the history is read", ends=dict(ends))


def _in_cents(body: Mapping[str, Any]) -> dict[str, Any]:
    return {"cents": round(body["euros"] * 100)}


def _in_euros(body: Mapping[str, Any]) -> dict[str, Any]:
    return {**body, "currency": "EUR"}


def _ends(trace: Trace) -> dict[str, int]:
    (note,) = trace.filter(Kind.NOTE)
    return dict(note.data["ends"])


def _in_words(trace: Trace) -> str:
    lost = sum(count for end, count in _ends(trace).items() if ": read" not in end)
    return f"{12 - lost} of 12 old sales are read ({'; '.join(sorted(_ends(trace)))})."


def _drawn(trace: Trace) -> Figure:
    ends = {end: float(count) for end, count in sorted(_ends(trace).items())}
    errors = [end for end in ends if ": read" not in end]
    return bars(ends, unit="sales", title="What becomes of twelve old sales", highlight=errors)


def the_history_demo() -> Demo:
    """Programs of several ages read one history: four sales of each version, all named TeaSold."""
    return demo(
        _read_all,
        {
            "knows": slider(1, 3, value=2, label="Knows versions up to"),
            "steps": choice(*UPCASTERS, label="Upcasters"),
            "newer": choice("refuse", "tolerate", label="Newer versions"),
            "name": choice(*NAMES, label="Name of the type"),
        },
        presets={
            "Today": {"knows": 3},
            "A step is missing": {"knows": 3, "steps": "only 2 to 3"},
            "The program of yesterday": {},
            "Yesterday's, tolerant": {"newer": "tolerate"},
            "Renamed": {"knows": 3, "name": "TeaBought"},
        },
        summary=_in_words,
        figures=[_drawn],
        player=False,
        seed=None,
        title="Twelve old sales, and the program that reads them",
    )
