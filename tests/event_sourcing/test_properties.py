"""Event sourcing against simple models, under histories that nobody has thought of."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.event_sourcing import (
    Expected,
    IdTaken,
    MemoryEventStore,
    Projection,
    Projector,
    Recorded,
    Repository,
    Snapshots,
    SQLiteEventStore,
    View,
    WrongExpectedVersion,
)
from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.storage import MemoryStore
from tests.event_sourcing.test_states import FOLD, Paid, Placed, shop_types
from tests.event_sourcing.views import live_view

STREAMS = ("one", "two")
EXPECTED = st.one_of(st.integers(0, 4), st.sampled_from(list(Expected)))
APPEND = st.tuples(
    st.sampled_from(STREAMS),
    st.lists(st.sampled_from("abcdef"), min_size=1, max_size=3, unique=True),
    EXPECTED,
)
quick = settings(max_examples=60)


@dataclass
class Model:
    """What a store does, in the plainest words: two lists of ids."""

    streams: dict[str, list[str]] = field(default_factory=lambda: {stream: [] for stream in STREAMS})
    order: list[str] = field(default_factory=list)

    def append(self, stream: str, ids: list[str], expected: int | Expected) -> str:
        here = self.streams[stream]
        if not set(ids) & set(self.order):
            if not self.fits(expected, len(here)):
                return "conflict"
            here += ids
            self.order += ids
            return "appended"
        start = here.index(ids[0]) if ids[0] in here else None
        again = start is not None and here[start : start + len(ids)] == ids and self.fits(expected, start)
        return "repeated" if again else "taken"

    @staticmethod
    def fits(expected: int | Expected, version: int) -> bool:
        match expected:
            case Expected.ANY:
                return True
            case Expected.EXISTS:
                return version > 0
            case Expected.NO_STREAM:
                return version == 0
        return version == expected


@quick
@given(st.booleans(), st.lists(APPEND, max_size=20))
def test_a_store_answers_as_its_model_does(on_disk: bool, appends: list[Any]) -> None:
    """Any appends, with any ids and expectations: the same answers, streams and order, without gaps."""

    async def scenario() -> None:
        model = Model()
        with TemporaryDirectory() as folder:
            path = Path(folder) / "events.db"
            await both(model, SQLiteEventStore(path, synchronous="OFF") if on_disk else MemoryEventStore())

    async def both(model: Model, made: MemoryEventStore | SQLiteEventStore) -> None:
        async with made as store:
            for stream, ids, expected in appends:
                try:
                    batch = [Message(None, "Said", id=identity) for identity in ids]
                    appended = await store.append(stream, batch, expected=expected)
                    answer = "repeated" if appended.repeated else "appended"
                    (last,) = await store.read_all(after=appended.position - 1, limit=1)
                    assert (last.message.id, last.version) == (ids[-1], appended.version)
                except WrongExpectedVersion as conflict:
                    answer = "taken" if isinstance(conflict, IdTaken) else "conflict"
                    if conflict.actual != len(model.streams[stream]):
                        answer = f"{answer} at {conflict.actual}"
                assert answer == model.append(stream, ids, expected)
            for stream, expected_ids in model.streams.items():
                found = await store.read(stream)
                assert [e.message.id for e in found] == expected_ids
                assert [e.version for e in found] == list(range(1, len(found) + 1))
            assert [e.message.id for e in await store.read_all()] == model.order

    simulate(scenario)


@quick
@given(st.lists(st.one_of(st.integers(1, 9), st.just(None)), max_size=30), st.integers(1, 7))
def test_fold_of_snapshot_and_tail_is_fold_of_all_whenever_it_is_loaded(
    history: list[int | None], interval: int
) -> None:
    """Payments, and loads (None) at any moment, which make snapshots: no load sees a difference."""

    async def scenario() -> None:
        store = MemoryEventStore()
        snapshots = Snapshots(MemoryStore(), interval=interval)
        cached = Repository(store, shop_types(), FOLD, snapshots=snapshots)
        plain = Repository(store, shop_types(), FOLD)
        await plain.save("order", [Placed("order", 100)], expected=0)
        for cents in history:
            if cents is None:
                assert await cached.load("order") == await plain.load("order")
            else:
                await plain.save("order", [Paid(cents)], expected=Expected.EXISTS)
        assert await cached.load("order") == await plain.load("order")

    simulate(scenario)


def collect(view: View, event: Recorded) -> None:
    if event.message.body == "poison":
        raise ZeroDivisionError
    view.put(event.stream, [*view.get(event.stream, []), event.position])


@quick
@given(
    st.lists(st.tuples(st.sampled_from(STREAMS), st.sampled_from(["good"] * 4 + ["poison"]))),
    st.integers(1, 5),
    st.integers(1, 20),
)
def test_whatever_is_poison_every_event_is_shown_or_parked_once(
    history: list[tuple[str, str]], batch: int, pause: int
) -> None:
    """A view with its parked events is the whole history, in the order of each stream."""

    async def scenario() -> None:
        store, views = MemoryEventStore(), MemoryStore()
        projector = Projector(views, Projection("all", {"Said": collect}), batch=batch, poison="park")
        for number, (stream, body) in enumerate(history):
            await store.append(stream, [Message(body, "Said")])
            if number % pause == 0:
                await projector.catch_up(store)
        await projector.catch_up(store)
        parked = live_view(views, "all").parked
        for stream in STREAMS:
            events = await store.read(stream)
            bad = next((n for n, event in enumerate(events) if event.message.body == "poison"), len(events))
            assert live_view(views, "all").get(stream, []) == [event.position for event in events[:bad]]
            assert [event.position for event, _ in parked if event.stream == stream] == [
                e.position for e in events[bad:]
            ]

    simulate(scenario)
