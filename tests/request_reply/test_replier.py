"""The replier: one test for each sentence of the contract on answering, and on deadlines down the line."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from eip_ref.lab.invariants import no_duplicate_effect
from eip_ref.message import Message
from eip_ref.point_to_point import PointToPointChannel, WhenAway
from eip_ref.request_reply import (
    Busy,
    DeadlinePassed,
    InDoubt,
    KeyReused,
    NoResponder,
    RemoteError,
    RemoteErrors,
    Replier,
    Requestor,
    TimedOut,
    budget,
)
from eip_ref.request_reply.envelope import KEY
from eip_ref.trace import Trace, record
from tests.backends import Play, everywhere, recorded
from tests.request_reply.test_request_reply import TICK, CardDeclined, fate, holds, sleeps, wired


def asks(body: Any = 0, *, id: str, operation: str | None = None, within: float = math.inf) -> Message:
    """A request as it arrives."""
    deadline = None if within == math.inf else anyio.current_time() + within
    headers = {} if operation is None else {KEY: operation}
    return Message(body, id=id, correlation_id=id, reply_to="shop", deadline=deadline, headers=headers)


async def charge(request: Message) -> str:
    """A handler whose effect must not happen twice."""
    await anyio.sleep(1)
    record("effect", "stock", request.id, who="stock", effect="charged", order=request.body)
    return f"receipt for {request.id}"


def outcomes(replies: list[Message]) -> list[tuple[str, str]]:
    return [(str(r.correlation_id), str(r.headers.get("error") or r.body)) for r in replies]


class Box(list[Message]):
    """A way back that keeps what it is given."""

    async def send(self, reply: Message) -> None:
        self.append(reply)


# How many at a time


@pytest.mark.parametrize("concurrency", [1, 3])
async def test_handlers_run_at_the_same_time_but_never_more_than_the_bound(concurrency: int) -> None:
    """Six requests of one second take six seconds one by one, and two with three at a time."""
    running: list[int] = [0]
    seen: list[int] = []

    async def work(request: Message) -> None:
        running[0] += 1
        seen.append(running[0])
        await anyio.sleep(1)
        running[0] -= 1

    start = anyio.current_time()
    async with Replier(work, Box().send, name="stock", concurrency=concurrency, grace=math.inf) as stock:
        for n in range(6):
            await stock.receive(asks(id=f"m{n}"))
        await anyio.sleep(6 / concurrency)
    assert anyio.current_time() - start == pytest.approx(6 / concurrency)
    assert max(seen) == concurrency
    assert len(seen) == 6


@everywhere
def test_more_than_may_run_and_wait_are_refused_as_busy(play: Play) -> None:
    """Definite, at once, and only those."""

    async def scenario() -> Any:
        box = Box()
        async with Replier(sleeps, box.send, name="stock", concurrency=1, backlog=1) as stock:
            for n in range(3):
                await stock.receive(asks(1, id=f"m{n}"))
            await anyio.sleep(TICK)
            at_once = outcomes(box)
            await anyio.sleep(3)
        return at_once, outcomes(box)

    at_once, all_of_them = play(scenario).result
    assert [error for _, error in at_once] == ["Busy"]
    assert sorted(error for _, error in all_of_them) == ["1", "1", "Busy"]


async def test_repetitions_that_wait_for_the_answer_count_too() -> None:
    """Whoever asks again and again for the same cannot have the replier hold more than its bound."""
    box = Box()
    async with Replier(charge, box.send, name="stock", concurrency=1, backlog=1) as stock:
        for attempt in ("m1", "m2", "m3"):
            await stock.receive(asks("tea", id=attempt, operation="op"))
            await anyio.sleep(TICK)
        await anyio.sleep(3)
    assert outcomes(box) == [("m3", "Busy"), ("m1", "receipt for m1"), ("m2", "receipt for m1")]


async def test_an_attempt_that_was_refused_stays_refused_when_a_copy_of_it_comes() -> None:
    """Who was told "not done" relies on it, also when there is room by then."""
    box = Box()
    async with Replier(sleeps, box.send, name="stock", concurrency=1, backlog=0) as stock:
        await stock.receive(asks(1, id="m1"))
        await anyio.sleep(TICK)
        await stock.receive(asks(1, id="m2"))
        await anyio.sleep(2)
        await stock.receive(asks(1, id="m2"))
        await anyio.sleep(2)
    trace = recorded()
    assert outcomes(box) == [("m2", "Busy"), ("m1", "1"), ("m2", "Busy")]
    assert trace.messages("started") == ["m1"]


async def test_with_all_hands_full_the_way_there_feels_it() -> None:
    """A way back that does not move holds up concurrency + backlog + 1 replies, and then `receive`."""
    back = PointToPointChannel("back", when_away=WhenAway.BLOCK)
    taken = 0
    async with Replier(sleeps, back.send, name="stock", concurrency=1, backlog=2, grace=0) as stock:
        with anyio.move_on_after(5):
            for n in range(10):
                await stock.receive(asks(id=f"m{n}"))
                await anyio.sleep(0.1)
                taken += 1
    assert taken == 4


# Deadlines

LATE_AND_IN_TIME = [(-TICK, "DeadlinePassed"), (0, "DeadlinePassed"), (TICK, "0")]


@pytest.mark.parametrize(
    ("within", "learns"), [(-TICK, "DeadlinePassed"), (0, "DeadlinePassed"), (TICK, "0")]
)
async def test_work_whose_deadline_has_passed_is_refused(within: float, learns: str) -> None:
    """It is over at the very instant; nothing of it is begun."""
    box = Box()
    async with Replier(sleeps, box.send, name="stock") as stock:
        await stock.receive(asks(id="m1", within=within))
        await anyio.sleep(1)
    trace = recorded()
    assert outcomes(box) == [("m1", learns)]
    assert trace.count("started") == (learns == "0")
    assert trace.count("refused") == (learns != "0")


async def test_a_deadline_that_passes_in_the_backlog_is_refused_at_that_time() -> None:
    """Not only when a handler is free; and its place in the backlog is free again."""
    box = Box()
    async with Replier(sleeps, box.send, name="stock", concurrency=1, backlog=1) as stock:
        await stock.receive(asks(10, id="m1"))
        await anyio.sleep(TICK)
        await stock.receive(asks(0, id="m2", within=1))
        await anyio.sleep(2)
        early = outcomes(box)
        await stock.receive(asks(0, id="m3"))
        await anyio.sleep(10)
    result = early, outcomes(box)
    trace = recorded()
    assert result[0] == [("m2", "DeadlinePassed")]
    assert result[1][1:] == [("m1", "10"), ("m3", "0")]
    assert trace.messages("started") == ["m1", "m3"]


async def test_a_handler_that_is_free_at_the_very_instant_of_the_deadline_stays_free_for_others() -> None:
    """The request is refused, and the next one is carried out."""
    box = Box()
    async with Replier(sleeps, box.send, name="stock", concurrency=1) as stock:
        await stock.receive(asks(1, id="m1"))
        await anyio.sleep(0)
        await stock.receive(asks(0, id="m2", within=1))
        await anyio.sleep(2)
        await stock.receive(asks(0, id="m3"))
        await anyio.sleep(1)
    assert sorted(outcomes(box))[1:] == [("m2", "DeadlinePassed"), ("m3", "0")]


async def test_work_that_has_begun_is_finished_so_that_a_later_attempt_gets_its_answer() -> None:
    """The first attempt times out; the second, with the same key, is answered with what the first did."""
    async with wired(charge) as shop:
        result = [await fate(shop.request("order 17", timeout=t, idempotency_key="op")) for t in (0.5, 2.0)]
    trace = holds(recorded())
    assert result == [TimedOut, "receipt for m1"]
    assert trace.count("effect") == 1


def test_a_budget_is_the_deadline_less_a_reserve() -> None:
    """Bad input gets a clear error."""
    request = Message(deadline=10.0)
    assert budget(request, reserve=0.25) == 9.75
    with pytest.raises(ValueError, match="reserve must be a finite number of seconds from 0 on"):
        budget(request, reserve=-1)
    with pytest.raises(ValueError, match="no deadline"):
        budget(Message(id="m1"), reserve=1)


@everywhere
@pytest.mark.parametrize(("timeout", "reached"), [(5.0, 3), (1.1, 2), (0.55, 1)])
def test_deadlines_are_passed_on_and_shrink_hop_by_hop(play: Play, timeout: float, reached: int) -> None:
    """Each hop leaves half a second to answer in; where nothing is left, the next hop is not asked.

    Whoever stands further up hears of that before it gives up itself.
    """
    told: list[float | None] = []

    async def scenario() -> Any:
        start = anyio.current_time()

        def hop(next_one: Requestor | None) -> Callable[[Message], Any]:
            async def handle(request: Message) -> Any:
                assert request.deadline is not None
                told.append(request.deadline - start)
                if next_one is None:
                    return "reached the end"
                return (await next_one.request("on", deadline=budget(request, reserve=0.5))).body

            return handle

        async with (
            wired(hop(None)) as to_warehouse,
            wired(hop(to_warehouse)) as to_stock,
            wired(hop(to_stock)) as to_shop,
        ):
            learned = await fate(to_shop.request("order 17", timeout=timeout))
            return learned, anyio.current_time() - start

    learned, after = play(scenario).result
    assert told == [pytest.approx(timeout - 0.5 * n) for n in range(reached)]
    assert after < timeout
    assert (learned == "reached the end") == (reached == 3)


# One answer to each operation


async def test_an_answer_that_is_given_again_is_a_copy_of_the_first() -> None:
    """Whoever got it may change it; the next attempt gets what was answered first."""

    async def prices(request: Message) -> list[int]:
        return [3]

    bodies = []
    async with Replier(prices, name="stock") as stock:
        for attempt in ("m1", "m2"):
            reply = await stock.answer(asks("tea", id=attempt, operation="op"))
            assert reply is not None
            bodies.append(list(reply.body))
            reply.body.append("mine")
    assert bodies == [[3], [3]]


async def test_what_a_handler_does_to_its_request_does_not_make_the_next_attempt_another_one() -> None:
    """An operation is known by what was asked for, not by what the handler left of it."""

    async def sell(request: Message) -> str:
        return f"sold {request.body.pop()}"

    replies = []
    async with Replier(sell, Box().send, name="stock") as stock:
        for attempt in ("m1", "m2"):
            replies.append(await stock.answer(asks(["tea"], id=attempt, operation="op")))
    assert [reply and reply.body for reply in replies] == ["sold tea", "sold tea"]


async def test_a_repeated_operation_is_answered_with_the_first_answer() -> None:
    """Whichever attempt asks: one effect, one answer; and without a key each attempt is one of its own."""
    async with wired(charge) as shop:
        keys = ["op", "op", None, None]
        result = [await fate(shop.request("tea", timeout=5, idempotency_key=key)) for key in keys]
    trace = holds(recorded())
    assert result == ["receipt for m1", "receipt for m1", "receipt for m3", "receipt for m4"]
    assert trace.messages("effect") == ["m1", "m3", "m4"]
    assert trace.messages("duplicate") == ["m2"]


@everywhere
def test_an_error_is_an_answer_too(play: Play) -> None:
    """The card stays declined for this operation, though a new one would be accepted."""
    answers = iter([CardDeclined("card 17"), None])

    async def decide(request: Message) -> str:
        if (error := next(answers)) is not None:
            raise error
        return "accepted"

    async def scenario() -> list[Any]:
        async with wired(decide, errors=RemoteErrors(CardDeclined)) as shop:
            keys = ["op", "op", "another"]
            return [await fate(shop.request("pay", timeout=5, idempotency_key=key)) for key in keys]

    assert holds(play(scenario)).result == [CardDeclined, CardDeclined, "accepted"]


async def test_a_repetition_that_comes_while_the_first_attempt_runs_waits_for_its_answer() -> None:
    """Both get it, each under its own correlation id; a copy of the same attempt needs no second reply."""
    box = Box()
    async with Replier(charge, box.send, name="stock") as stock:
        for attempt in ("m1", "m2", "m3", "m1", "m2"):
            await stock.receive(asks("tea", id=attempt, operation="op"))
            await anyio.sleep(0.1)
        await anyio.sleep(5)
    trace = recorded()
    assert sorted(outcomes(box)) == [(m, "receipt for m1") for m in ("m1", "m2", "m3")]
    assert trace.count("effect") == 1
    assert sorted(trace.messages("duplicate")) == ["m1", "m2", "m2", "m3"]


async def test_whoever_asks_under_a_known_key_asks_for_that_operation() -> None:
    """A client that was restarted is another one, with another address for its answers."""
    box = Box()
    async with Replier(charge, box.send, name="stock") as stock:
        for attempt, client in (("m1", "shop"), ("m2", "shop, restarted")):
            await stock.receive(asks("tea", id=attempt, operation="op").copy(reply_to=client))
            await anyio.sleep(0.1)
        await anyio.sleep(5)
    assert outcomes(box) == [("m1", "receipt for m1"), ("m2", "receipt for m1")]


async def test_with_a_budget_work_that_others_join_does_not_end_with_the_first_of_them() -> None:
    """Its handler passes on a deadline of its own, and not that of an attempt that gives up soon."""
    left = list[float]()

    async def handle(request: Message) -> str:
        assert request.deadline is not None
        left.append(request.deadline - anyio.current_time())
        await anyio.sleep(1)
        return "done"

    async with Replier(handle, name="stock", budget=5) as stock, anyio.create_task_group() as group:
        first = asks("tea", id="m1", operation="op").copy(deadline=anyio.current_time() + 0.3)
        group.start_soon(stock.answer, first)
        await anyio.sleep(0.1)
        second = await stock.answer(asks("tea", id="m2", operation="op"))
    assert left == [pytest.approx(5)]
    assert second is not None
    assert second.body == "done"


async def test_the_work_is_told_as_that_of_the_replier() -> None:
    """Also when it is asked directly, as behind a web server."""
    async with Replier(lambda request: record("note", "stock", text="counted"), name="stock") as stock:
        await stock.answer(asks(id="m1"))
    assert [fact.who for fact in recorded().filter("note")] == ["stock"]


async def test_one_that_waited_for_an_answer_leaves_its_place_to_others() -> None:
    """Two may be in hand; after a repetition got its answer two may be again, and no more."""
    receipts = {"m1": "m1", "m2": "m1", "m3": "m3", "m4": "m4"}
    box = Box()
    async with Replier(charge, box.send, name="stock", concurrency=1, backlog=1) as stock:
        for attempt in ("m1", "m2"):
            await stock.receive(asks("tea", id=attempt, operation="op"))
            await anyio.sleep(0.1)
        await anyio.sleep(2)
        for attempt in ("m3", "m4", "m5"):
            await stock.receive(asks(attempt, id=attempt))
            await anyio.sleep(0.1)
        await anyio.sleep(5)
    answers = [(m, f"receipt for {of}") for m, of in receipts.items()]
    assert sorted(outcomes(box)) == [*answers, ("m5", "Busy")]


async def test_a_repetition_that_was_cancelled_may_come_again() -> None:
    """Nobody waits under its id any more, so it is no copy of one that does."""
    async with Replier(charge, name="stock") as stock, anyio.create_task_group() as group:
        group.start_soon(stock.answer, asks("tea", id="m1", operation="op"))
        await anyio.sleep(0.1)
        with anyio.move_on_after(0.1):
            await stock.answer(asks("tea", id="m2", operation="op"))
        reply = await stock.answer(asks("tea", id="m2", operation="op"))
        result = reply and reply.body
    assert result == "receipt for m1"


async def test_a_first_attempt_that_was_cancelled_does_not_make_the_next_look_like_a_duplicate() -> None:
    """Nothing is remembered of it, and one that waited for it takes over."""
    async with Replier(charge, name="stock") as stock, anyio.create_task_group() as group:
        taken_over: list[Message | None] = []

        async def second() -> None:
            taken_over.append(await stock.answer(asks("tea", id="m2", operation="op")))

        with anyio.CancelScope() as first:
            group.start_soon(second)
            group.start_soon(_cancel_after, 0.5, first)
            await stock.answer(asks("tea", id="m1", operation="op"))
        await anyio.sleep(2)
        result = [reply and reply.body for reply in taken_over]
    trace = recorded()
    assert trace.count("effect") == 1
    assert result[0] in ("receipt for m1", "receipt for m2")


async def _cancel_after(seconds: float, scope: anyio.CancelScope) -> None:
    await anyio.sleep(seconds)
    scope.cancel()


async def test_a_cancelled_handler_is_neither_finished_nor_failed() -> None:
    """Cancellation is not failure: no answer is remembered, and the next attempt is carried out."""
    async with Replier(charge, name="stock") as stock:
        with anyio.move_on_after(0.5):
            await stock.answer(asks("tea", id="m1", operation="op"))
        reply = await stock.answer(asks("tea", id="m2", operation="op"))
        assert reply is not None
        result = reply.body
    trace = recorded()
    assert result == "receipt for m2"
    assert trace.count("cancelled") == 1
    assert trace.count("failed") == 0


async def test_a_copy_of_an_attempt_does_its_work_once_also_without_a_key() -> None:
    """The network doubles every request; each has one effect."""
    async with wired(charge, there={"duplication": 1.0}) as shop:
        result = [await fate(shop.request(n, timeout=5)) for n in range(3)]
    trace = holds(recorded())
    assert result == [f"receipt for m{n}" for n in (1, 2, 3)]
    assert not no_duplicate_effect(trace, by="order")


async def test_what_the_replier_remembers_is_bounded() -> None:
    """An operation older than the last `remember` is carried out again; newer ones are not."""
    async with wired(charge, remember=2) as shop:
        for operation in ("a", "b", "c", "c", "b", "a"):
            await shop.request(operation, timeout=5, idempotency_key=operation)
        for operation in ("a", "c", "b"):
            await shop.request(operation, timeout=5, idempotency_key=operation)
    trace = holds(recorded())
    assert [e.data["order"] for e in trace.filter("effect")] == ["a", "b", "c", "a", "b"]


async def test_refusals_are_remembered_within_the_same_bound() -> None:
    """Memory does not grow with those who are sent away."""
    async with Replier(sleeps, name="stock", remember=3) as stock:
        for n in range(10):
            await stock.answer(asks(id=f"m{n}", within=-1))
        result = len(stock._operations._refused), len(stock._operations)
    assert result == (3, 0)


@everywhere
def test_a_key_that_belongs_to_another_operation_is_refused(play: Play) -> None:
    """Another body under the same key is a mistake of the caller, never answered with the wrong receipt."""

    async def scenario() -> list[Any]:
        async with wired(charge) as shop:
            asked = [("tea", "buy"), ("coffee", "buy"), ("tea", "sell"), ("tea", "buy")]
            return [
                await fate(shop.request(body, type=type, timeout=5, idempotency_key="op"))
                for body, type in asked
            ]

    assert holds(play(scenario)).result == ["receipt for m1", KeyReused, KeyReused, "receipt for m1"]


async def test_a_replier_that_does_not_know_says_so_and_remembers_nothing() -> None:
    """Its own request timed out: an indefinite outcome stays one further up, and asking again may tell."""
    tries: list[str] = []

    async def handle(request: Message) -> str:
        tries.append(request.id)
        if len(tries) == 1:
            raise TimedOut("the bank did not answer")
        return "charged"

    async with wired(handle) as shop:
        result = [await fate(shop.request("pay", timeout=5, idempotency_key="op")) for _ in range(2)]
    holds(recorded())
    assert result == [InDoubt, "charged"]


# Ends


@everywhere
def test_leaving_refuses_what_has_not_begun_and_lets_the_rest_finish(play: Play) -> None:
    """Shutdown stops intake and drains what is in flight."""

    async def scenario() -> Any:
        box = Box()
        async with Replier(sleeps, box.send, name="stock", concurrency=1) as stock:
            await stock.receive(asks(3, id="m1"))
            await anyio.sleep(TICK)
            await stock.receive(asks(3, id="m2"))
            await anyio.sleep(1)
            stock.close()
            stock.close()
            await anyio.sleep(TICK)
            at_once = outcomes(box)
            for _ in range(200):  # more than it has hands: none of them is kept
                with pytest.raises(NoResponder):
                    await stock.receive(asks(3, id="m3"))
            refused = await stock.answer(asks(3, id="m4"))
            assert refused is not None
        return at_once, outcomes(box), outcomes([refused])

    trace = play(scenario)
    at_once, in_the_end, afterwards = trace.result
    assert at_once == [("m2", "NoResponder")]
    assert in_the_end == [("m2", "NoResponder"), ("m1", "3")]
    assert afterwards == [("m4", "NoResponder")]
    assert trace.messages("started") == ["m1"]


async def test_leaving_takes_no_longer_than_the_grace() -> None:
    """What is not done by then is cancelled, and says so."""
    start = anyio.current_time()
    async with Replier(sleeps, Box().send, name="stock", grace=2) as stock:
        await stock.receive(asks(60, id="m1"))
        await anyio.sleep(1)
    trace = recorded()
    assert anyio.current_time() - start == pytest.approx(3)
    assert trace.messages("cancelled") == ["m1"]


async def test_a_way_back_that_fails_does_not_stop_the_replier() -> None:
    """The reply is dropped and counted, the answer is kept for the next attempt, others are served."""
    fails = [ConnectionResetError("cable cut")]
    box = Box()

    async def back(reply: Message) -> None:
        if fails:
            raise fails.pop()
        await box.send(reply)

    async with Replier(charge, back, name="stock") as stock:
        for attempt in ("m1", "m2"):
            await stock.receive(asks("tea", id=attempt, operation="op"))
            await anyio.sleep(2)
    trace = recorded()
    assert (outcomes(box), stock.unsent) == ([("m2", "receipt for m1")], 1)
    assert "cable cut" in trace.filter("dropped")[0].data["reason"]


async def test_a_request_without_a_return_address_is_refused() -> None:
    """It is a one-way message, and nobody could be told."""
    async with Replier(sleeps, Box().send, name="stock") as stock:
        await stock.receive(Message(0, correlation_id="m1"))
        await stock.receive(Message(0, reply_to="shop"))
        await anyio.sleep(1)
    trace: Trace = recorded()
    assert [e.data["reason"] for e in trace.filter("refused")] == ["no return address"] * 2
    assert trace.count("started") == 0


@everywhere
def test_a_reply_names_whom_it_is_for_and_what_led_to_it(play: Play) -> None:
    """Correlation, causation, key and return address; the same id whenever the same attempt is answered."""

    async def scenario() -> list[Message | None]:
        async with Replier(sleeps, name="stock") as stock:
            return [await stock.answer(asks(0, id="m1").copy(key="order 17")) for _ in range(2)]

    for reply in play(scenario).result:
        assert (reply.id, reply.correlation_id, reply.causation_id) == ("m1.stock", "m1", "m1")
        assert (reply.key, reply.headers["to"]) == ("order 17", "shop")


def test_bounds_that_make_no_sense_are_refused() -> None:
    """Bad input gets a clear error."""
    for bad in ({"concurrency": 0}, {"backlog": -1}, {"remember": 0}):
        with pytest.raises(ValueError, match="must be a whole number from"):
            Replier(sleeps, **bad)  # type: ignore[arg-type]


def test_refusals_come_out_as_the_errors_that_they_are() -> None:
    """Both are definite, and differ."""
    assert not issubclass(Busy, DeadlinePassed)
    assert not issubclass(DeadlinePassed, Busy)


# Ways back


async def test_each_return_address_has_a_way_back_of_its_own() -> None:
    """Two shops ask one replier, and neither hears what the other asked for."""
    ada, ben = Box(), Box()
    async with Replier(sleeps, {"ada": ada.send, "ben": ben.send}, name="stock") as stock:
        for name in ("ada", "ben", "ada"):
            await stock.receive(asks(0, id=f"{name}-{anyio.current_time():g}").copy(reply_to=name))
            await anyio.sleep(1)
        await stock.receive(asks(0, id="m9").copy(reply_to="nobody"))
    assert [reply.headers["to"] for reply in ada] == ["ada", "ada"]
    assert [reply.headers["to"] for reply in ben] == ["ben"]
    assert stock.unsent == 1
    assert "nobody" in recorded().filter("dropped", message="m9.stock")[0].data["reason"]


@pytest.mark.parametrize("answer", [math.nan, {1: "one"}, (1, 2), {"when": object()}])
async def test_an_answer_that_no_wire_can_carry_is_a_failure_and_no_doubt(answer: Any) -> None:
    """On every way the same, and definite: it was carried out, and its answer cannot be told."""

    async def handle(request: Message) -> Any:
        return answer

    async with wired(handle) as shop:
        with pytest.raises(
            RemoteError, match=r"UnwritableAnswer: the answer to .* cannot be written"
        ) as error:
            await shop.request("price", timeout=5)
    assert error.value.name == "UnwritableAnswer"
    assert recorded().count("failed") == 1


async def test_a_plain_function_handles_requests_too() -> None:
    """Whoever has nothing to wait for need not pretend."""
    async with wired(lambda request: request.body * 2) as shop:
        assert (await shop.request(21, timeout=5)).body == 42


async def test_an_error_of_the_block_comes_out_as_itself() -> None:
    """And not in a group of the tasks that answer."""

    async def block() -> None:
        async with Replier(sleeps, name="stock"):
            raise CardDeclined("card-1")

    with pytest.raises(CardDeclined):
        await block()


async def test_a_replier_is_entered_once_at_a_time() -> None:
    """Said in words, and the one that is open goes on; later it may be opened again."""
    stock = Replier(lambda request: request.body, name="stock")
    for _ in range(2):
        async with stock:
            with pytest.raises(RuntimeError, match="stock is open already"):
                async with stock:
                    pass
            answer = await stock.answer(Message(1))
            assert answer is not None
            assert answer.body == 1
