"""The scenarios of lesson 07 show what they are there for with each seed."""

from __future__ import annotations

import anyio
import pytest

from eip_ref.course.event_sourcing import (
    ReadsWhatItSees,
    forty_facts,
    four_tills,
    four_users,
    rebuilt_while_open,
    snapshots_of_a_wrong_fold,
    twenty_facts,
)
from eip_ref.course.event_sourcing.news import five_rows
from eip_ref.course.event_sourcing.reading import looks
from eip_ref.event_sourcing import MemoryEventStore, Reader
from eip_ref.lab import simulate
from eip_ref.trace import acting

SEEDS = pytest.mark.parametrize("seed", [1, 2, 3])


@SEEDS
def test_what_is_sent_again_is_there_twice_unless_the_log_knows_it(seed: int) -> None:
    """Ids end the doubles; versions, or one at a time, keep the order."""
    log = simulate(forty_facts, False, 5, seed=seed).result
    assert len(log) > len(set(log))
    assert sorted(simulate(forty_facts, True, 5, seed=seed).result) == list(range(40))
    for way in ((True, 1), (True, 5, True)):
        assert simulate(forty_facts, *way, seed=seed).result == list(range(40))


def test_a_key_keeps_the_order_of_a_user_only_when_it_decides() -> None:
    """In turns nobody's facts are in order, by the key everybody's."""
    assert [simulate(four_users, by_key).result for by_key in (False, True)] == [0, 4]


async def followed(store: MemoryEventStore) -> int:
    """The sales that a reader never gets, of four tills."""
    reader, read = Reader(store, "dashboard"), 0
    with acting("dashboard"):
        async with anyio.create_task_group() as group:

            async def look() -> None:
                nonlocal read
                while True:
                    read += len(await reader.read())
                    await anyio.sleep(0.2)

            group.start_soon(look)
            await four_tills(store)
            await anyio.sleep(5)
            group.cancel_scope.cancel()
    return 100 - read


@SEEDS
def test_a_reader_of_what_it_sees_skips_sales_and_one_below_the_horizon_none(seed: int) -> None:
    """The difference is the horizon, and nothing else."""
    assert simulate(lambda: followed(ReadsWhatItSees("cards")), seed=seed).result > 10
    assert simulate(lambda: followed(MemoryEventStore("cards")), seed=seed).result == 0


def test_only_a_rebuild_beside_the_live_view_shows_never_too_little() -> None:
    """In the end all three show the same."""
    shown = {
        way: [s for _, s, _ in looks(simulate(rebuilt_while_open, way))]
        for way in ("in place", "swapped early", "beside")
    }
    assert {way: min(euros) for way, euros in shown.items()} == {
        "in place": 10,
        "swapped early": 10,
        "beside": 200,
    }
    assert len({euros[-1] for euros in shown.values()}) == 1


@SEEDS
def test_the_five_rows_are_those_of_the_same_facts(seed: int, capsys: pytest.CaptureFixture[str]) -> None:
    """Who is late sees 8 of 20 facts on the channel and 20 in the stream."""
    rows = five_rows(simulate(twenty_facts, seed=seed))
    assert rows["persistence"] == ("who is late sees 8 of 20", "sees 20")
    assert rows["what it is"] == ("the channel keeps 0 facts", "the stream keeps 20 facts")
    assert rows["ordering"][1] == "0 steps back in the stream"
    assert len(capsys.readouterr().out.splitlines()) == 6


def test_a_snapshot_of_a_wrong_fold_lies_until_the_version_of_its_state_is_raised() -> None:
    """Only a card that never had one is right before."""
    found = [list(simulate(snapshots_of_a_wrong_fold, version).result.values()) for version in (1, 2)]
    assert found == [[3, 15, 30], [3, 9, 18]]
