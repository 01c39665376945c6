"""The orchestrated saga: the sentences of its contract, one test each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from typing import Any

import anyio
import pytest

import eip_ref.saga
from eip_ref.course.saga.order_story import OrderServices
from eip_ref.message import Message
from eip_ref.message_queue import Backoff
from eip_ref.saga import (
    LogRecord,
    Orchestrator,
    Parallel,
    Phase,
    RecordType,
    Refused,
    Retry,
    Saga,
    SagaEnded,
    SagaLog,
    SagaState,
    Step,
    TakenOver,
    pivot,
    retriable,
)
from eip_ref.storage import MemoryStore
from tests.backends import Play, everywhere, recorded
from tests.saga.stories import (
    COMPLETED,
    NO_TEA,
    ORDER,
    QUICK,
    STOLEN,
    Network,
    amounts,
    first,
    holds,
    saga,
    told,
    untouched,
)


def types(records: Sequence[LogRecord], step: str | None = None) -> list[str]:
    """What the log says, in order."""
    return [str(record.type) for record in records if step in (None, record.step)]


class Broken(SagaLog):
    """Its disk can be full: at the n-th transaction, or for some of its sagas."""

    def __init__(self, left: int = 0) -> None:
        super().__init__(MemoryStore())
        self.full: set[str] = set()
        self._left = left

    def append(self, saga: str, number: int, records: Sequence[LogRecord]) -> None:
        self._left -= 1
        if self._left == 0 or saga in self.full:
            raise OSError("disk full")
        super().append(saga, number, records)


class Story:
    """One order, o1, placed in a shop over a network."""

    def __init__(
        self,
        values: dict[str, Any] | None = None,
        faults: dict[str, list[str]] | None = None,
        group: anyio.abc.TaskGroup | None = None,
        **settings: Any,
    ) -> None:
        self.shop = OrderServices(first() if values is None else values)
        self.network = Network(self.shop, faults, group)
        self.log = Broken()
        self.definition = saga(**settings)
        self.orchestrator = Orchestrator(self.definition, self.log, self.network.execute)

    async def run(self) -> str:
        return str((await self.orchestrator.run("o1", ORDER)).phase)

    def records(self) -> list[LogRecord]:
        return self.log.read("o1")


# The story


async def test_an_order_that_nothing_hinders_is_completed() -> None:
    """Every step is done once, in order, and its answer is known."""
    story = Story()
    ended = await story.orchestrator.run("o1", ORDER)
    assert ended.phase is Phase.COMPLETED
    assert ended.answers["ship"] == "parcel o1"
    assert story.shop.business() == COMPLETED
    assert story.network.attempts == [f"o1/{step.name}" for step in story.definition]
    holds(recorded())


@pytest.mark.parametrize(
    ("values", "undone"),
    [
        (first(credit=10), ["order"]),
        (first(money=10), ["credit", "order"]),
        (NO_TEA, ["payment", "credit", "order"]),
        (STOLEN, ["stock", "payment", "credit", "order"]),
    ],
    ids=["credit", "payment", "stock", "pivot"],
)
async def test_a_business_failure_compensates_in_reverse_what_has_happened(
    values: dict[str, Any], undone: list[str]
) -> None:
    """A refusal is not retried; what was done is taken back, the last first, and the refused step not."""
    story = Story(values)
    assert await story.run() == "compensated"
    assert amounts(story.shop) == untouched(values)
    attempts = story.network.attempts
    assert len(set(attempts)) == len(attempts)
    assert [c.split("/")[1] for c in attempts if c.endswith("/undo")] == undone
    holds(recorded())


async def test_the_reason_for_turning_back_is_kept() -> None:
    """The saga says which step was refused and why."""
    story = Story(NO_TEA)
    phase, reason = told(await story.orchestrator.run("o1", ORDER))
    assert phase == "compensated"
    assert reason == "stock: stock tea is 1, which does not allow -2"


# 1. Intent before, result after, recovery


async def test_the_intent_is_in_the_log_before_the_command_leaves_and_the_result_after() -> None:
    """While a participant works the log holds the intent without a result."""
    story = Story(NO_TEA)
    seen: dict[str, list[str]] = {}

    async def execute(command: Message) -> Any:
        seen[command.id] = types(story.records(), command.headers["step"])
        return await story.network.execute(command)

    await Orchestrator(story.definition, story.log, execute).run("o1", ORDER)
    assert seen["o1/payment"] == ["intent"]
    assert seen["o1/stock"] == ["intent"]
    assert seen["o1/payment/undo"] == ["intent", "done", "undoing"]
    assert types(story.records(), "payment") == ["intent", "done", "undoing", "undone"]
    assert types(story.records(), "stock") == ["intent", "refused"]


async def interrupted(story: Story, at: float) -> None:
    """Run the order and cancel it then."""
    with anyio.move_on_after(at):
        await story.run()


async def test_a_step_without_a_result_is_repeated_with_the_same_key_and_body() -> None:
    """Recovery never skips: the command leaves again, and its participant knows it."""
    story = Story(faults={"o1/payment": ["silent after"]})
    await interrupted(story, 2)
    assert types(story.records(), "payment") == ["intent"]
    (ended,) = await story.orchestrator.recover()
    assert ended.phase is Phase.COMPLETED
    assert story.network.bodies["o1/payment"] == [ORDER, ORDER]
    assert story.network.attempts.count("o1/order") == 1
    assert story.shop.business() == COMPLETED
    holds(recorded())


def asking(name: str, steps: Sequence[Step | Parallel]) -> Saga:
    """The same saga, in which recovery asks about each step first."""
    asked = [
        Step(s.name, s.command, undo=s.undo, kind=s.kind, ask=True) for s in steps if isinstance(s, Step)
    ]
    return Saga(name, asked, retry=QUICK, undo_retry=QUICK)


@pytest.mark.parametrize(
    ("fault", "values", "phase", "repeated"),
    [
        ("silent after", first(), "completed", 0),
        ("silent before", first(), "completed", 1),
        ("silent after", NO_TEA, "compensated", 0),
    ],
    ids=["done", "unknown", "refused"],
)
async def test_recovery_asks_first_where_it_can_and_repeats_only_what_is_not_known(
    fault: str, values: dict[str, Any], phase: str, repeated: int
) -> None:
    """Done and refused are taken from the participant's word; unknown is repeated."""
    story = Story(values, {"o1/stock": [fault]})
    orchestrator = Orchestrator(
        asking("place order", story.definition.steps), story.log, story.network.execute
    )
    with anyio.move_on_after(2):
        await orchestrator.run("o1", ORDER)
    before = story.network.attempts.count("o1/stock")
    (ended,) = await orchestrator.recover()
    assert str(ended.phase) == phase
    assert story.network.attempts.count("o1/stock") - before == repeated
    assert story.network.attempts.count("o1/stock/ask") == 1
    holds(recorded())


@pytest.mark.parametrize("fault", ["down", "silent before"], ids=["not done", "outlasts its timeout"])
async def test_when_asking_fails_the_step_is_repeated(fault: str) -> None:
    """A participant that cannot be asked, or does not say, is not taken for one that did nothing."""
    story = Story(faults={"o1/stock": ["silent after"], "o1/stock/ask": [fault, "…"]})
    orchestrator = Orchestrator(
        asking("place order", story.definition.steps), story.log, story.network.execute
    )
    with anyio.move_on_after(2):
        await orchestrator.run("o1", ORDER)
    (ended,) = await orchestrator.recover()
    assert ended.phase is Phase.COMPLETED
    assert story.network.attempts.count("o1/stock") == 2
    holds(recorded())


async def test_a_saga_that_has_ended_before_its_recovery_came_to_it_is_not_moved() -> None:
    """Another orchestrator took it to its end after it was found: nothing is executed, nothing written."""
    story = Story()
    await story.run()
    records, attempts = story.records(), [*story.network.attempts]
    find = story.log.find

    def finds_old_ones(*phases: Phase, name: str | None = None) -> list[str]:
        return ["o1", *find(*phases, name=name)]

    story.log.find = finds_old_ones  # type: ignore[method-assign]
    (ended,) = await story.orchestrator.recover()
    assert ended.phase is Phase.COMPLETED
    assert (story.records(), story.network.attempts) == (records, attempts)
    holds(recorded())


async def test_a_step_begun_before_a_crash_is_in_doubt_until_it_is_answered() -> None:
    """Attempts that certainly failed now say nothing of the one before the crash: it is compensated."""
    story = Story(faults={"o1/payment": ["silent after", "down", "down", "down"]})
    await interrupted(story, 2)
    (ended,) = await story.orchestrator.recover()
    assert ended.phase is Phase.COMPENSATED
    assert "o1/payment/undo" in story.network.attempts
    assert amounts(story.shop) == untouched(first())
    holds(recorded())


async def test_recovery_takes_every_begun_saga_to_its_end_and_no_ended_one() -> None:
    """Several at a time, and only those of this definition."""
    story = Story(first(credit=1000, money=1000, tea=100))
    await story.orchestrator.run("o0", ORDER)
    async with anyio.create_task_group() as group:
        for name in ("o1", "o2", "o3"):
            group.start_soon(story.orchestrator.run, name, ORDER)
        await anyio.sleep(0.25)
        group.cancel_scope.cancel()
    other = Orchestrator(Saga("other", [Step("a", "A", undo="B")]), story.log, story.network.execute)
    assert await other.recover() == []
    assert {p.id for p in await story.orchestrator.recover()} == {"o1", "o2", "o3"}
    assert await story.orchestrator.recover() == []
    assert sorted(story.log.find(Phase.COMPLETED)) == ["o0", "o1", "o2", "o3"]
    holds(recorded())


# 2. Only what may have happened


@pytest.mark.parametrize("fault", ["silent before", "silent after", "broken before", "broken after"])
async def test_a_step_that_stays_in_doubt_is_compensated_too(fault: str) -> None:
    """Whether or not it happened: what may have happened is taken back."""
    story = Story(faults={"o1/payment": [fault, "…"]})
    assert await story.run() == "compensated"
    undone = [c for c in story.network.attempts if c.endswith("/undo")]
    assert undone == ["o1/payment/undo", "o1/credit/undo", "o1/order/undo"]
    assert amounts(story.shop) == untouched(first())
    holds(recorded())


async def test_a_step_that_definitely_failed_is_not_compensated() -> None:
    """Every attempt was certainly not carried out: there is nothing to take back."""
    story = Story(faults={"o1/payment": ["down", "…"]})
    assert await story.run() == "compensated"
    assert "o1/payment/undo" not in story.network.attempts
    assert types(story.records(), "payment") == ["intent", "not done"]
    holds(recorded())


async def test_one_attempt_in_doubt_makes_the_step_one_in_doubt() -> None:
    """Definite failures after it do not take the doubt away."""
    story = Story(faults={"o1/payment": ["broken after", "down", "down"]})
    assert await story.run() == "compensated"
    assert "o1/payment/undo" in story.network.attempts
    assert types(story.records(), "payment") == ["intent", "doubt", "undoing", "undone"]
    holds(recorded())


async def test_a_refusal_ends_the_doubt() -> None:
    """A participant gives one answer to one key, so its no holds for the earlier attempts as well."""
    story = Story(NO_TEA, {"o1/stock": ["silent before", ""]})
    assert await story.run() == "compensated"
    assert "o1/stock/undo" not in story.network.attempts
    holds(recorded())


# 3. Compensatable, pivot, retriable; infrastructure failures


A, B = Step("a", "A", undo="UndoA"), Step("b", "B", undo="UndoB")


@everywhere
@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Saga("s", [pivot("p", "P"), A]), "a is compensatable and comes after p, which is pivot"),
        (lambda: Saga("s", [retriable("r", "R"), A]), "a is compensatable and comes after r"),
        (lambda: Saga("s", [retriable("r", "R"), pivot("p", "P")]), "p is pivot and comes after r"),
        (lambda: Saga("s", [pivot("p", "P"), pivot("q", "Q")]), "two pivots, p and q"),
        (lambda: Saga("s", [A, A]), "two steps named a"),
        (lambda: Saga("s", []), "at least one step"),
        (lambda: Saga("s", [Parallel()]), "at least one step"),
        (lambda: Saga("s", [Parallel(A, pivot("p", "P"))]), "must be of one kind, and no pivot"),
        (lambda: Saga("s", [Parallel(A, retriable("r", "R"))]), "must be of one kind"),
        (lambda: Saga("s", [Parallel(pivot("p", "P"), pivot("q", "Q"))]), "of one kind, and no pivot"),
        (lambda: Saga("s", [A], timeout=0), "number of seconds above 0, not 0"),
        (lambda: Step("a", "A"), "name the command that undoes it"),
        (lambda: pivot("p", "P", undo="U"), "p is pivot: it is never undone; leave out U"),
        (lambda: retriable("r", "R", undo="U"), "r is retriable: it is never undone"),
        (lambda: Step("a/b", "A", undo="U"), "without '/'"),
        (lambda: Step("a", "A", undo="U", timeout=0), "number of seconds above 0"),
        (lambda: Retry(attempts=0), "from 1 on, not 0"),
    ],
)
def test_an_impossible_definition_is_refused_in_words(play: Play, make: Any, words: str) -> None:
    """The order of the steps is checked when the saga is defined, and the error says what to do."""
    with pytest.raises(ValueError, match=words):
        make()


@everywhere
def test_sagas_without_a_pivot_or_without_retriable_steps_are_fine(play: Play) -> None:
    """At most one pivot; each of the three kinds may be missing."""
    assert len(Saga("s", [A, Parallel(B, Step("c", "C", undo="UndoC")), retriable("r", "R")]).stages) == 3
    assert [step.name for step in Saga("s", [A, pivot("p", "P")])] == ["a", "p"]


async def test_an_infrastructure_failure_is_retried_with_growing_rests() -> None:
    """The same command after 1 and after 2 more seconds, and then it is done."""
    story = Story(faults={"o1/payment": ["down", "broken after"]})
    assert await story.run() == "completed"
    assert story.network.attempts.count("o1/payment") == 3
    trace = recorded()
    holds(trace)
    attempts = trace.filter("started", message="o1/payment")
    rests = [b.at - a.at for a, b in pairwise(attempts)]
    assert rests == pytest.approx([1.1, 2.1])
    assert [e.data["attempt"] for e in attempts] == [1, 2, 3]


async def test_in_doubt_about_the_pivot_the_saga_is_stuck_and_neither_goes_back_nor_on() -> None:
    """It may have happened: to compensate would be wrong if it did, to go on if it did not."""
    story = Story(faults={"o1/charge": ["silent after"] * 3})
    assert await story.run() == "stuck"
    assert "o1/ship" not in story.network.attempts
    assert not [c for c in story.network.attempts if c.endswith("/undo")]
    assert str((await story.orchestrator.resume("o1")).phase) == "completed"
    assert story.shop.business() == COMPLETED
    holds(recorded())


async def test_a_pivot_that_was_certainly_not_carried_out_turns_the_saga_back() -> None:
    """There is no doubt, so there is a way back."""
    story = Story(faults={"o1/charge": ["down", "…"]})
    assert await story.run() == "compensated"
    assert amounts(story.shop) == untouched(first())
    holds(recorded())


@pytest.mark.parametrize("fault", ["down", "silent before", "broken after"])
async def test_after_the_pivot_the_saga_only_goes_on(fault: str) -> None:
    """A retriable step that fails too often leaves the saga stuck, and it completes when resumed."""
    story = Story(faults={"o1/ship": [fault] * 3})
    assert await story.run() == "stuck"
    assert not [c for c in story.network.attempts if c.endswith("/undo")]
    assert str((await story.orchestrator.resume("o1")).phase) == "completed"
    assert story.shop.business() == COMPLETED
    holds(recorded())


# 4. Compensation is retried, shielded, complete; stuck is visible and resumable


async def test_a_compensation_is_retried_with_backoff() -> None:
    """A failure on the way back is no reason to stay half way, nor to do it twice."""
    story = Story(NO_TEA, {"o1/payment/undo": ["broken after", "down"]})
    assert await story.run() == "compensated"
    assert story.network.attempts.count("o1/payment/undo") == 3
    assert amounts(story.shop) == untouched(NO_TEA)
    trace = recorded()
    holds(trace)
    first_, second, third = trace.filter("started", message="o1/payment/undo")
    assert (second.at - first_.at, third.at - second.at) == pytest.approx((1.1, 2.1))


async def test_a_cancellation_does_not_stop_the_compensation() -> None:
    """It is shielded: the caller is cancelled, and everything is taken back all the same."""
    story = Story(NO_TEA, {"o1/payment/undo": ["silent before"]})
    with anyio.move_on_after(2) as scope:
        await story.run()
        await anyio.sleep(1)
    assert scope.cancelled_caught
    assert story.log.find(Phase.COMPENSATED) == ["o1"]
    assert amounts(story.shop) == untouched(NO_TEA)
    holds(recorded())


async def test_a_cancellation_on_the_way_forward_compensates_nothing() -> None:
    """Cancellation is not failure: the saga stays in the log, to be recovered."""
    story = Story(faults={"o1/payment": ["silent after"]})
    await interrupted(story, 2)
    assert story.log.find(Phase.RUNNING) == ["o1"]
    assert not [c for c in story.network.attempts if c.endswith("/undo")]
    trace = recorded()
    assert trace.messages("cancelled") == ["o1/payment"]
    holds(trace, open_ok=True)


async def test_a_cancelled_last_attempt_is_no_failure_either() -> None:
    """Even where no other attempt would follow, nothing is taken back."""
    story = Story(faults={"o1/payment": ["silent after"]}, retry=Retry(attempts=1))
    await interrupted(story, 2)
    assert story.log.find(Phase.RUNNING) == ["o1"]
    assert not [c for c in story.network.attempts if c.endswith("/undo")]


async def test_a_saga_that_was_compensating_is_recovered_on_its_way_back() -> None:
    """It does not go forward again, and what was undone is left alone."""
    story = Story()
    begun = LogRecord(RecordType.BEGUN, data={"name": "place order", "data": ORDER, "deadline": None})
    done = [LogRecord(m, n) for n in ("order", "credit") for m in (RecordType.INTENT, RecordType.DONE)]
    back = [
        LogRecord(RecordType.COMPENSATING, data="why"),
        LogRecord(RecordType.UNDOING, "credit"),
        LogRecord(RecordType.UNDONE, "credit"),
    ]
    story.log.append("o1", 0, [begun, *done, *back])
    (ended,) = await story.orchestrator.recover()
    assert told(ended) == ("compensated", "why")
    assert story.network.attempts == ["o1/order/undo"]


async def test_a_failing_compensation_does_not_stop_the_others_and_the_saga_is_stuck() -> None:
    """What can be taken back is; the rest is named in the reason."""
    story = Story(STOLEN, {"o1/payment/undo": ["down"] * 3})
    assert await story.run() == "stuck"
    assert story.network.attempts[-2:] == ["o1/credit/undo", "o1/order/undo"]
    (stuck,) = story.orchestrator.stuck()
    assert stuck.id == "o1"
    assert stuck.stuck_reason == "could not undo payment: NotDone: the service does not answer the phone"
    assert await story.orchestrator.recover() == []
    holds(recorded())


async def test_a_stuck_saga_is_resumed_and_repeats_only_what_is_missing() -> None:
    """The compensations that were done are not carried again."""
    story = Story(STOLEN, {"o1/payment/undo": ["down"] * 4})
    await story.run()
    before = len(story.network.attempts)
    assert str((await story.orchestrator.resume("o1")).phase) == "compensated"
    assert set(story.network.attempts[before:]) == {"o1/payment/undo"}
    assert amounts(story.shop) == untouched(STOLEN)
    assert story.orchestrator.stuck() == []
    with pytest.raises(ValueError, match="o1 is no stuck saga here, but compensated"):
        await story.orchestrator.resume("o1")
    holds(recorded())


async def test_a_stuck_saga_of_another_definition_is_not_this_ones() -> None:
    """It is neither told as stuck nor resumed."""
    story = Story(STOLEN, {"o1/payment/undo": ["down"] * 4})
    await story.run()
    other = Orchestrator(Saga("another", [A]), story.log, story.network.execute)
    assert other.stuck() == []
    with pytest.raises(ValueError, match="o1 is no stuck saga here, but stuck"):
        await other.resume("o1")


async def test_a_resumed_saga_can_be_stuck_again() -> None:
    """Until what it needs is there, as often as somebody tries."""
    story = Story(STOLEN, {"o1/payment/undo": ["down"] * 6})
    assert await story.run() == "stuck"
    assert str((await story.orchestrator.resume("o1")).phase) == "stuck"
    assert str((await story.orchestrator.resume("o1")).phase) == "compensated"
    holds(recorded())


# 6. Ends exclude each other


@pytest.mark.parametrize("values", [first(), NO_TEA], ids=["completed", "compensated"])
async def test_an_ended_saga_is_not_moved(values: dict[str, Any]) -> None:
    """Running it again returns its end and carries nothing; the log takes no entry."""
    story = Story(values)
    ended = await story.orchestrator.run("o1", ORDER)
    attempts, records = len(story.network.attempts), story.records()
    again = await story.orchestrator.run("o1", ORDER)
    assert told(again) == told(ended)
    assert len(story.network.attempts) == attempts
    for type_ in set(RecordType) - {RecordType.RESUMED}:
        with pytest.raises(SagaEnded):
            story.log.append("o1", ended.number, [LogRecord(type_, "ship", "late")])
    assert story.records() == records
    holds(recorded())


async def test_a_late_action_does_not_move_a_compensated_saga() -> None:
    """The command that was believed lost arrives after the end: its participant refuses it."""
    async with anyio.create_task_group() as group:
        story = Story(None, {"o1/payment": ["late"] * 3}, group)
        assert await story.run() == "compensated"
        await anyio.sleep(100)
        assert amounts(story.shop) == untouched(first())
        assert story.log.find(Phase.COMPENSATED) == ["o1"]
    trace = recorded()
    holds(trace)
    assert trace.messages("refused", where="payments") == ["o1/payment"] * 3


async def test_an_id_that_belongs_to_another_saga_is_refused() -> None:
    """An id names one saga with its data."""
    story = Story()
    await story.run()
    with pytest.raises(ValueError, match="o1 is a saga already"):
        await story.orchestrator.run("o1", {**ORDER, "quantity": 3})
    with pytest.raises(ValueError, match="without '/'"):
        await story.orchestrator.run("o/1", ORDER)
    with pytest.raises(ValueError, match="nobody is no stuck saga here, but not known"):
        await story.orchestrator.resume("nobody")


async def test_a_saga_that_has_ended_costs_its_orchestrator_no_memory() -> None:
    """Also one that two ran at once, and one that was cancelled: only the log knows of it."""
    story = Story()
    with anyio.move_on_after(0.1):
        await story.run()
    async with anyio.create_task_group() as group:
        group.start_soon(story.orchestrator.recover)
        group.start_soon(story.orchestrator.recover)
    assert story.shop.business() == COMPLETED
    assert story.orchestrator._runs == {}


async def test_two_orchestrators_on_one_saga_cannot_both_write() -> None:
    """One of them is told that it was taken over; nothing happens twice."""
    story = Story()
    outcomes: list[str] = []

    async def run() -> None:
        try:
            outcomes.append(await story.run())
        except TakenOver:
            outcomes.append("taken over")

    async with anyio.create_task_group() as group:
        group.start_soon(run)
        group.start_soon(run)
    assert sorted(outcomes) == ["completed", "taken over"]
    assert story.shop.business() == COMPLETED
    holds(recorded())


async def test_recovery_leaves_a_saga_to_the_orchestrator_that_runs_it() -> None:
    """To be overtaken is no error of a recovery."""
    story = Story()
    async with anyio.create_task_group() as group:
        outcomes: list[str] = []

        async def run() -> None:
            try:
                outcomes.append(await story.run())
            except TakenOver:
                outcomes.append("taken over")

        group.start_soon(run)
        await anyio.sleep(0.35)
        ended = await story.orchestrator.recover()
    assert (len(ended), outcomes) in [(0, ["completed"]), (1, ["taken over"])]
    assert story.shop.business() == COMPLETED
    holds(recorded())


async def test_a_definition_that_does_not_know_a_step_of_the_log_says_so() -> None:
    """A changed definition must not guess what the old one meant."""
    story = Story(faults={"o1/payment": ["silent after"]})
    await interrupted(story, 2)
    shorter = Saga("place order", [Step("order", "CreateOrder", undo="RejectOrder")])
    with pytest.raises(LookupError, match="has no step 'credit'"):
        await Orchestrator(shorter, story.log, story.network.execute).recover()


# 7. Timeouts, parallel steps


async def test_a_step_times_out_in_each_attempt() -> None:
    """An attempt without an answer ends after its timeout, and is in doubt."""
    story = Story(faults={"o1/payment": ["silent before"]})
    assert await story.run() == "completed"
    trace = recorded()
    holds(trace)
    (event,) = trace.filter("timed out")
    assert event.message == "o1/payment"
    assert event.data["after"] == pytest.approx(10)


async def test_after_the_timeout_of_the_saga_it_turns_back() -> None:
    """The attempt that runs is in doubt; none is begun any more; everything is taken back."""
    story = Story(faults={"o1/payment": ["silent after", "…"]}, timeout=15)
    assert await story.run() == "compensated"
    assert story.network.attempts.count("o1/payment") == 2
    assert amounts(story.shop) == untouched(first())
    trace = recorded()
    holds(trace)
    turned = next(e for e in trace.filter("state") if e.data["now"] == "compensating")
    assert turned.at == pytest.approx(15)


async def test_the_timeout_of_the_saga_also_bounds_the_asking() -> None:
    """It turns back at its time, though nobody has said what became of the step."""
    story = Story(faults={"o1/stock": ["silent after"], "o1/stock/ask": ["silent before", "…"]})
    definition = replace(asking("place order", story.definition.steps), timeout=15)
    orchestrator = Orchestrator(definition, story.log, story.network.execute)
    with anyio.move_on_after(2):
        await orchestrator.run("o1", ORDER)
    (ended,) = await orchestrator.recover()
    assert ended.phase is Phase.COMPENSATED
    turned = next(e for e in recorded().filter("state") if e.data["now"] == "compensating")
    assert turned.at == pytest.approx(15)


async def test_a_rest_that_would_outlast_the_saga_is_not_begun() -> None:
    """There is no use in waiting for an attempt that may not be made."""
    story = Story(faults={"o1/payment": ["broken before", "…"]}, timeout=1.3)
    assert await story.run() == "compensated"
    assert story.network.attempts.count("o1/payment") == 1
    trace = recorded()
    turned = next(e for e in trace.filter("state") if e.data["now"] == "compensating")
    assert turned.at == pytest.approx(0.3)


@pytest.mark.parametrize(("timeout", "phase"), [(0.4, "compensated"), (0.401, "completed")])
async def test_the_timeout_has_no_power_once_the_pivot_is_begun(timeout: float, phase: str) -> None:
    """At the very instant it is over; a moment later the pivot has been begun, and the saga goes on."""
    story = Story(faults={"o1/ship": ["silent before"]}, timeout=timeout)
    assert await story.run() == phase
    holds(recorded())


async def test_the_timeout_counts_while_nobody_runs_the_saga() -> None:
    """A saga that is recovered too late turns back, without another attempt."""
    story = Story(faults={"o1/payment": ["silent after"]}, timeout=60)
    await interrupted(story, 2)
    await anyio.sleep(58)  # at this very instant it is over
    (ended,) = await story.orchestrator.recover()
    assert told(ended) == ("compensated", "not done within 60 s")
    assert story.network.attempts.count("o1/payment") == 1
    assert amounts(story.shop) == untouched(first())
    holds(recorded())


async def test_the_timeout_is_kept_on_the_clock_of_the_log() -> None:
    """That goes on over restarts, and has not the time of anyio's clock, which begins anew."""

    class Elsewhere(MemoryStore):
        shift = 1e6

    story = Story(faults={"o1/payment": ["silent after", "…"]}, timeout=15)
    begun, log = anyio.current_time(), SagaLog(Elsewhere())
    assert log.now() == begun + 1e6
    ended = await Orchestrator(story.definition, log, story.network.execute).run("o1", ORDER)
    assert ended.phase is Phase.COMPENSATED
    assert anyio.current_time() - begun < 20


async def test_the_timeout_has_no_power_over_a_saga_whose_steps_are_all_done() -> None:
    """Only the word "completed" was missing in the log: there is nothing to be late with."""
    definition, log = Saga("s", [Parallel(A, B)], timeout=60), SagaLog(MemoryStore())
    begun = LogRecord(RecordType.BEGUN, data={"name": "s", "data": None, "deadline": log.now() + 60})
    intents = [LogRecord(RecordType.INTENT, n) for n in "ab"]
    done = [LogRecord(RecordType.DONE, n) for n in "ab"]
    log.append("x", 0, [begun, *intents, *done])
    await anyio.sleep(100)
    (ended,) = await Orchestrator(definition, log, Network(OrderServices()).execute).recover()
    assert ended.phase is Phase.COMPLETED


def beside(*, parallel_compensation: bool = False) -> Saga:
    """Credit, payment and stock at the same time."""
    order, credit, payment, stock, *rest = saga().stages
    return Saga(
        "place order",
        [order[0], Parallel(credit[0], payment[0], stock[0]), *(stage[0] for stage in rest)],
        retry=QUICK,
        undo_retry=QUICK,
        parallel_compensation=parallel_compensation,
    )


async def test_parallel_steps_take_as_long_as_the_slowest() -> None:
    """Three steps of 0.1 s beside each other take 0.1 s."""
    story = Story()
    await Orchestrator(beside(), story.log, story.network.execute).run("o1", ORDER)
    assert story.shop.business() == COMPLETED
    trace = recorded()
    holds(trace)
    assert trace.filter("state")[-1].at == pytest.approx(0.5)


async def test_parallel_steps_all_settle_before_compensation_begins() -> None:
    """One is refused at once; its siblings finish, and what they did is taken back."""
    story = Story(NO_TEA, {"o1/payment": ["silent after"], "o1/credit": ["broken before"]})
    ended = await Orchestrator(beside(), story.log, story.network.execute).run("o1", ORDER)
    assert ended.phase is Phase.COMPENSATED
    assert amounts(story.shop) == untouched(NO_TEA)
    trace = recorded()
    holds(trace)
    turned = next(e.at for e in trace.filter("state") if e.data["now"] == "compensating")
    actions = trace.filter("finished", "failed", "timed out", test=lambda e: e.data["role"] == "action")
    assert max(e.at for e in actions) <= turned
    undone = [m for m in trace.messages("finished") if m.endswith("/undo")]
    assert undone == ["o1/payment/undo", "o1/credit/undo", "o1/order/undo"]


async def test_a_parallel_step_without_a_result_is_recovered_with_its_siblings() -> None:
    """Those that have a result are left alone, and the refusal in the log still turns the saga back."""
    story = Story(NO_TEA, {"o1/payment": ["silent after"]})
    orchestrator = Orchestrator(beside(), story.log, story.network.execute)
    with anyio.move_on_after(2):
        await orchestrator.run("o1", ORDER)
    assert types(story.records(), "stock") == ["intent", "refused"]
    (ended,) = await orchestrator.recover()
    assert ended.phase is Phase.COMPENSATED
    assert story.network.attempts.count("o1/stock") == 1
    assert story.network.attempts.count("o1/payment") == 2
    assert amounts(story.shop) == untouched(NO_TEA)
    holds(recorded())


async def test_compensation_may_run_in_parallel_when_asked_for() -> None:
    """D16: in reverse and in sequence by default, all at once as an option."""
    story = Story(STOLEN, {"o1/payment/undo": ["broken after"]})
    ended = await Orchestrator(beside(parallel_compensation=True), story.log, story.network.execute).run(
        "o1", ORDER
    )
    assert ended.phase is Phase.COMPENSATED
    assert amounts(story.shop) == untouched(STOLEN)
    trace = recorded()
    holds(trace, order="any")
    starts = {
        e.at for e in trace.filter("started") if e.data["role"] == "compensation" and e.data["attempt"] == 1
    }
    assert len(starts) == 1


async def test_a_failing_parallel_compensation_does_not_stop_the_others() -> None:
    """They all settle, and then the saga is stuck."""
    story = Story(STOLEN, {"o1/payment/undo": ["down"] * 3})
    orchestrator = Orchestrator(beside(parallel_compensation=True), story.log, story.network.execute)
    assert (await orchestrator.run("o1", ORDER)).phase is Phase.STUCK
    assert str((await orchestrator.resume("o1")).phase) == "compensated"
    holds(recorded(), order="any")


# What else can happen


@pytest.mark.parametrize("left", range(1, 8))
async def test_what_a_log_raises_comes_out_and_the_saga_can_be_recovered(left: int) -> None:
    """As itself, also from parallel steps; what was not written is in doubt, no more."""
    story = Story()
    log = Broken(left)
    orchestrator = Orchestrator(beside(), log, story.network.execute)
    with pytest.raises(OSError, match="disk full"):
        await orchestrator.run("o1", ORDER)
    assert (await orchestrator.run("o1", ORDER)).phase is Phase.COMPLETED
    assert story.shop.business() == COMPLETED
    holds(recorded())


async def test_a_failing_recovery_does_not_stop_that_of_the_others() -> None:
    """The others end first, and then the error comes out."""
    story = Story(first(credit=1000, money=1000, tea=100))
    async with anyio.create_task_group() as group:
        for name in ("o1", "o2"):
            group.start_soon(story.orchestrator.run, name, ORDER)
        await anyio.sleep(0.15)
        group.cancel_scope.cancel()
    story.log.full.add("o1")
    with pytest.raises(OSError, match="disk full"):
        await story.orchestrator.recover()
    assert story.log.find(Phase.COMPLETED) == ["o2"]


async def test_the_body_of_a_command_is_made_from_data_and_earlier_answers() -> None:
    """Once, and written with the intent: a repetition and the compensation execute the same."""
    bodies: dict[str, Any] = {}

    async def execute(command: Message) -> Any:
        bodies[command.id] = command.body
        if command.type == "B":
            raise Refused("no")
        return {"number": 7}

    def body(data: Any, answers: Any) -> Any:
        return {"of": answers["a"]["number"], "data": data}

    definition = Saga("s", [A, Step("c", "C", undo="UndoC", body=body), B])
    await Orchestrator(definition, SagaLog(MemoryStore()), execute).run("x", 5)
    assert bodies["x/a"] == 5
    assert bodies["x/c"] == bodies["x/c/undo"] == {"of": 7, "data": 5}


async def test_a_step_with_its_own_retry_uses_it() -> None:
    """The saga's retry is only for steps that do not say otherwise."""
    calls: list[str] = []

    async def execute(command: Message) -> Any:
        calls.append(command.id)
        raise ConnectionError

    stubborn = Step("a", "A", undo="U", retry=Retry(attempts=5, backoff=Backoff(initial=0.1)))
    ended = await Orchestrator(Saga("s", [stubborn], undo_retry=QUICK), SagaLog(MemoryStore()), execute).run(
        "x"
    )
    assert ended.phase is Phase.STUCK
    assert calls.count("x/a/undo") == 3
    assert calls.count("x/a") == 5


# What goes wrong in code of our own


def with_body(step: str, body: Any) -> Saga:
    """The order story, in which one step makes its body so."""
    steps = [replace(s, body=body) if s.name == step else s for s in saga()]
    return Saga("place order", steps, retry=QUICK, undo_retry=QUICK)


def no_such_key(data: Any, answers: Any) -> Any:
    return data["colour"]


BODIES = pytest.mark.parametrize(
    ("body", "words"),
    [
        (no_such_key, "the body of its command cannot be made: KeyError: 'colour'"),
        (
            lambda data, answers: (1, 2),
            "the body of its command cannot be made: TypeError: it cannot be written",
        ),
    ],
    ids=["raises", "no JSON"],
)


@pytest.mark.parametrize("step", ["order", "stock", "charge"])
@BODIES
async def test_a_body_that_cannot_be_made_turns_the_saga_back(step: str, body: Any, words: str) -> None:
    """Up to the pivot: that step was never begun, and what was done before it is taken back."""
    story = Story()
    definition = with_body(step, body)
    ended = await Orchestrator(definition, story.log, story.network.execute).run("o1", ORDER)
    assert ended.phase is Phase.COMPENSATED
    assert ended.reason.startswith(f"{step}: {words}")
    assert not [a for a in story.network.attempts if a.startswith(f"o1/{step}")]
    assert amounts(story.shop) == untouched(first()) | ({"orders": {}} if step == "order" else {})
    holds(recorded())


@BODIES
async def test_a_body_after_the_pivot_that_cannot_be_made_leaves_the_saga_stuck(
    body: Any, words: str
) -> None:
    """Visible, and it completes when it is resumed with a definition that has been put right."""
    story = Story()
    wrong = Orchestrator(with_body("ship", body), story.log, story.network.execute)
    assert (await wrong.run("o1", ORDER)).phase is Phase.STUCK
    (stuck,) = wrong.stuck()
    assert stuck.stuck_reason.startswith(f"ship: {words}")
    assert (await wrong.recover(), str((await wrong.resume("o1")).phase)) == ([], "stuck")
    assert (await story.orchestrator.resume("o1")).phase is Phase.COMPLETED
    assert story.shop.business() == COMPLETED
    holds(recorded())


@pytest.mark.parametrize("answer", [(1, 2), {1: 2}, object()], ids=["tuple", "key", "object"])
@pytest.mark.parametrize(
    ("step", "phase"), [("stock", "compensated"), ("charge", "stuck"), ("ship", "stuck")]
)
async def test_an_answer_that_cannot_be_written_leaves_its_step_in_doubt(
    answer: Any, step: str, phase: str
) -> None:
    """It has happened, and nobody will ever know what was said: the saga ends as after any doubt."""
    story = Story()

    async def execute(command: Message) -> Any:
        said = await story.network.execute(command)
        return answer if command.id == f"o1/{step}" else said

    orchestrator = Orchestrator(story.definition, story.log, execute)
    ended = await orchestrator.run("o1", ORDER)
    assert str(ended.phase) == phase
    assert f"{step}: TypeError: the answer to o1/{step} cannot be written" in (
        ended.reason + ended.stuck_reason
    )
    assert [state.id for state in orchestrator.stuck()] == (["o1"] if phase == "stuck" else [])
    if phase == "compensated":
        assert amounts(story.shop) == untouched(first())
    else:
        assert str((await story.orchestrator.resume("o1")).phase) == "completed"
    holds(recorded())


async def test_data_that_cannot_be_written_begin_no_saga() -> None:
    """A TypeError at once, and nothing in the log."""
    story = Story()
    with pytest.raises(TypeError, match="the data of saga o1 cannot be written"):
        await story.orchestrator.run("o1", (1, 2))
    assert story.log.find(*Phase) == []


async def test_the_first_cause_is_kept_while_a_saga_is_stuck_and_after_it() -> None:
    """Why it turned back, and beside it why it could not go on, as long as that is so."""
    story = Story(NO_TEA, {"o1/payment/undo": ["down"] * 3})
    cause = "stock: stock tea is 1, which does not allow -2"
    await story.run()
    (stuck,) = story.orchestrator.stuck()
    could_not = "could not undo payment: NotDone: the service does not answer the phone"
    assert (stuck.reason, stuck.stuck_reason) == (cause, could_not)
    ended = await story.orchestrator.resume("o1")
    assert (told(ended), ended.stuck_reason) == (("compensated", cause), "")
    assert SagaState.of("o1", story.records()) == ended
    holds(recorded())


async def test_commands_may_be_executed_by_a_plain_function() -> None:
    """What it returns is the answer, and what it raises is the failure."""

    def execute(command: Message) -> str:
        if command.type == "B":
            raise Refused("no")
        return command.type.lower()

    ended = await Orchestrator(Saga("s", [A, B]), SagaLog(MemoryStore()), execute).run("x")
    assert (ended.phase, ended.answers) == (Phase.COMPENSATED, {"a": "a"})


def test_a_body_that_would_have_to_be_awaited_is_refused_when_it_is_handed_over() -> None:
    """It is made in the same breath as the intent."""

    async def body(data: Any, answers: Any) -> Any:
        raise AssertionError

    with pytest.raises(TypeError, match="the body of step a is called without waiting"):
        Step("a", "A", undo="U", body=body)


# The example


def test_the_example_of_the_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """There is tea for one order; of the other nothing is left."""
    assert eip_ref.saga.__doc__ is not None
    block = eip_ref.saga.__doc__.split("    import anyio", 1)[1].split("\nRead `definition.py`", 1)[0]
    lines = ["import anyio", *block.splitlines()[1:]]
    exec("\n".join(line.removeprefix("    ") for line in lines), {})
    printed = capsys.readouterr().out.splitlines()
    assert printed[1:3] == [" 1.0 s  order-1/tea        Take", "order-1 is completed. "]
    assert printed[-3:] == [
        " 2.5 s  order-2/money/undo Release",
        "order-2 is compensated. tea: there was tea for one",
        "{'reserved': 30} {'taken by': 'order-1'}",
    ]
    assert len(lines) <= 30
