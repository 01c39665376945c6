"""The exercises of lesson 02: the faults really hit, and forged effects gain nothing."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest

from eip_ref.autograder.judging import judge_answer
from eip_ref.autograder.registry import find
from eip_ref.course.message_queue import Books, Conflict
from eip_ref.trace import Trace, record, whoami

from .exercise_cases import model

LESSON = "message_queue"
BOTH = {"worker", "operator"}


def _traces(slug: str) -> list[Trace]:
    exercise = find(f"{LESSON}/{slug}")
    answer = model(exercise)
    return [judge_answer(exercise, answer, [seed]).trace for seed in (*exercise.seeds, *range(50, 70))]


@pytest.mark.parametrize(
    ("slug", "happens"),
    [
        ("choose_ack_mode", lambda trace: trace.count("crashed") == 6),
        ("mend_the_worker", lambda trace: trace.count("crashed", "cancelled") == 2),
        ("mend_the_worker", lambda trace: trace.count("failed") == 2),
        ("keep_the_lease", lambda trace: trace.count("expired", "cancelled") == 2),
        ("fence_the_store", lambda trace: trace.count("refused", where="store") == 2),
        ("backoff_not_hot_loop", lambda trace: trace.count("failed") >= 6),
        ("dead_letters_and_replay", lambda trace: {e.who for e in trace.filter("crashed")} == BOTH),
        ("idempotent_receiver", lambda trace: trace.count("crashed") == 1),
        (
            "idempotent_receiver",
            lambda trace: any("Conflict" in e.data["error"] for e in trace.filter("failed")),
        ),
    ],
)
def test_the_faults_really_hit(slug: str, happens: Callable[[Trace], bool]) -> None:
    """With every seed processes die, orders fail, and attempts run side by side."""
    assert all(happens(trace) for trace in _traces(slug))


def test_each_job_that_was_chosen_badly_is_named() -> None:
    """Not only the first: a learner who is wrong about two learns of both."""
    chosen = {"charge the card": ("first", False), "show the temperature": ("last", False)}
    verdict = judge_answer(
        find("message_queue/choose_ack_mode"), lambda job: chosen.get(job, ("last", False))
    )
    assert {found.mistake.name for found in verdict.findings} == {"payment-lost", "display-went-back"}


@pytest.mark.parametrize(
    "slug",
    [
        "keep_the_lease",
        "fence_the_store",
        "backoff_not_hot_loop",
        "dead_letters_and_replay",
        "idempotent_receiver",
        "order_per_key",
    ],
)
def test_no_two_seeds_tell_the_same_story(slug: str) -> None:
    """An answer that is written for one seed fails with another."""
    traces = _traces(slug)
    assert len({trace.to_json().replace(f'"seed":{trace.seed}', "") for trace in traces}) == len(traces)


async def _forges(queue: Any, handle: Any) -> None:
    """Record the effect in place of it."""
    while True:
        lease = await queue.receive()
        record("effect", whoami(), lease.message.id, effect="packed")
        await lease.ack()


def test_recording_what_did_not_happen_does_not_help() -> None:
    """An effect counts only with the receipt of the scenario."""
    assert not judge_answer(find("message_queue/mend_the_worker"), _forges).passed
    assert not judge_answer(find("message_queue/backoff_not_hot_loop"), _forges).passed


async def _brew(books: Books, tea: int, beside: Callable[[], Awaitable[None]]) -> None:
    async with books.transaction() as transaction:
        transaction.set("tea", transaction.get("tea", 0) + tea)
        await beside()


async def _nothing() -> None:
    """Nobody else is at work."""


async def _out_of_tea() -> None:
    raise ValueError("no tea")


async def _tea(books: Books) -> object:
    async with books.transaction() as transaction:
        return transaction.get("tea")


async def test_of_two_transactions_that_read_the_same_the_slower_one_conflicts() -> None:
    """What was read must still be so at the commit; else nothing is written."""
    books = Books()
    with pytest.raises(Conflict):
        await _brew(books, 1, lambda: _brew(books, 10, _nothing))
    assert await _tea(books) == 10


async def test_a_transaction_that_fails_leaves_nothing_behind() -> None:
    """An error in the block undoes its writes."""
    books = Books()
    with pytest.raises(ValueError, match="no tea"):
        await _brew(books, 1, _out_of_tea)
    assert await _tea(books) is None


async def test_a_transaction_that_is_cancelled_leaves_nothing_behind() -> None:
    """A cancellation is no commit."""
    books = Books()
    with anyio.move_on_after(0):
        await _brew(books, 1, lambda: anyio.sleep(1))
    assert await _tea(books) is None
