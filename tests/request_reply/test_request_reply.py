"""The requestor: one test for each sentence of the contract on asking."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import anyio
import pytest

import eip_ref.request_reply
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.lab.faults import Crash, Faults, Link, Participant
from eip_ref.lab.invariants.replies import no_stray_reply
from eip_ref.message import Message
from eip_ref.message_queue import MessageQueue
from eip_ref.point_to_point import PointToPointChannel, ReceiverClosed, WhenAway, forward
from eip_ref.request_reply import (
    Busy,
    ClosedWhileWaiting,
    DeadlinePassed,
    Indefinite,
    NoResponder,
    NotDelivered,
    NotDone,
    RemoteError,
    RemoteErrors,
    Replier,
    RequestError,
    Requestor,
    RequestorClosed,
    TimedOut,
    TooManyWaiting,
    TransportError,
)
from eip_ref.request_reply.envelope import KEY, ReplyContent, ReplyStatus, outcome
from eip_ref.trace import Trace
from tests.backends import Play, everywhere, recorded, virtual_time_only
from tests.docstrings import example

TICK = 0.001
Handle = Callable[[Message], Awaitable[Any]]


class CardDeclined(Exception):
    """An error of the shop's own domain."""


async def sleeps(request: Message) -> Any:
    """A handler that takes as many seconds as the body says, and answers with it."""
    await anyio.sleep(float(request.body))
    return request.body


@asynccontextmanager
async def wired(
    handle: Handle = sleeps,
    *,
    there: dict[str, Any] | None = None,
    back: dict[str, Any] | None = None,
    make: Callable[..., Requestor] = Requestor,
    errors: RemoteErrors | None = None,
    max_waiting: int = 100,
    **replier: Any,
) -> AsyncIterator[Requestor]:
    """A shop that can ask the stock, over two links that take 0.1 seconds each."""
    chance = Faults()
    out: Link
    with make(lambda m: out.send(m), name="shop", errors=errors, max_waiting=max_waiting) as shop:
        async with (
            chance.link("back", shop.receive, **{"latency": 0.1, **(back or {})}) as home,
            Replier(handle, home.send, name="stock", errors=errors, **replier) as stock,
            chance.link("there", stock.receive, **{"latency": 0.1, **(there or {})}) as out,
        ):
            yield shop


async def fate(asking: Awaitable[Message]) -> Any:
    """What the caller learns: the body of the answer, or the type of the error."""
    try:
        return (await asking).body
    except Exception as error:
        return type(error)


def holds(trace: Trace) -> Trace:
    invariants.assert_holds(trace, invariants.conservation, no_stray_reply)
    return trace


# Identity


async def test_each_attempt_has_a_correlation_id_of_its_own_and_the_operation_keeps_its_key() -> None:
    """A correlation id per attempt, an idempotency key per operation."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    with Requestor(send, name="shop") as shop:
        for _ in range(2):
            await fate(shop.request("charge", timeout=1, idempotency_key="order 17", caused_by="m0"))
        await fate(shop.request("charge", timeout=1))
    assert len({m.correlation_id for m in sent}) == 3
    assert all(m.correlation_id == m.id and m.reply_to == "shop" for m in sent)
    assert [m.headers.get(KEY) for m in sent] == ["order 17", "order 17", None]
    assert [m.causation_id for m in sent] == ["m0", "m0", None]


@everywhere
def test_an_answer_that_comes_while_the_request_is_still_being_sent_is_not_missed(play: Play) -> None:
    """Subscribe to the reply before sending."""

    async def scenario() -> Any:
        async def send(message: Message) -> None:
            reply = await stock.answer(message)
            assert reply is not None
            await shop.receive(reply)
            await anyio.sleep(0.5)

        async with Replier(sleeps, name="stock") as stock:
            with Requestor(send, name="shop") as shop:
                return (await shop.request(0, timeout=1)).body

    assert holds(play(scenario)).result == 0


# The waiter disappears


@pytest.mark.parametrize(
    ("how", "learns"),
    [
        ("answered", 0.3),
        ("timed out", TimedOut),
        ("cancelled", None),
        ("closed", ClosedWhileWaiting),
        ("failed", TransportError),
    ],
)
async def test_the_waiter_disappears(how: str, learns: Any) -> None:
    """On reply, timeout, cancel, close and a failure to send; and the trace says how it ended."""
    learned: list[Any] = []
    async with wired() as shop:

        async def ask() -> None:
            learned.append(await fate(shop.request(0.3 if how == "answered" else 3, timeout=1)))

        async def break_down(message: Message) -> None:
            raise OSError("cable cut")

        if how == "failed":
            shop._send = break_down
        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            await anyio.sleep(0.2)
            assert shop.waiting == (how != "failed")
            if how == "cancelled":
                group.cancel_scope.cancel()
            if how == "closed":
                shop.close()
        assert shop.waiting == 0
        assert anyio.current_time() <= 1 + TICK
    trace = holds(recorded())
    assert learned == ([] if learns is None else [learns])
    assert [e.data["now"] for e in trace.filter("state")] == ["waiting", how]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_request_that_is_cancelled_before_it_began_is_not_sent(backend: str) -> None:
    """Cancellation is not failure: it comes out as itself, and not as a deadline that has passed."""
    sent: list[Message] = []

    async def scenario() -> Any:
        async def send(message: Message) -> None:
            sent.append(message)

        learned: list[Any] = []
        with Requestor(send, name="shop") as shop, anyio.CancelScope() as scope:
            scope.cancel()
            learned.append(await fate(shop.request("price", timeout=1)))
        return scope.cancelled_caught, learned, shop.waiting

    assert anyio.run(scenario, backend=backend) == (True, [], 0)
    assert sent == []


async def test_an_answer_that_is_there_is_not_lost_to_a_cancellation_at_the_same_instant() -> None:
    """It came while its request was being sent; who is cancelled hears of it at the next wait."""

    async def send(message: Message) -> None:
        shop.receive_nowait(ReplyContent(ReplyStatus.ANSWER, 7).to(message, "stock"))
        scope.cancel()

    answers: list[Any] = []
    with Requestor(send, name="shop") as shop, anyio.CancelScope() as scope:
        answers.append((await shop.request("price", timeout=1)).body)
        await anyio.sleep(0)
    assert (answers, scope.cancelled_caught) == ([7], True)


# Late and duplicate replies


async def test_a_late_reply_is_dropped_and_counted_and_never_given_to_another_caller() -> None:
    """The second caller, who waits when it comes, gets its own answer."""
    await anyio.sleep(1)
    async with wired() as shop:
        first = await fate(shop.request(1, timeout=0.5))
        second = await fate(shop.request(2, timeout=5))
        result = first, second, shop.late, shop.duplicates
    trace = holds(recorded())
    assert result == (TimedOut, 2, 1, 0)
    (dropped,) = trace.filter("dropped")
    assert (dropped.where, dropped.message, dropped.data["reason"]) == ("shop", "m1.stock", "late")
    assert trace.filter("timed out")[0].data["after"] == pytest.approx(0.5)


@everywhere
@pytest.mark.parametrize(("offset", "learns"), [(-TICK, [7]), (0, TimedOut), (TICK, TimedOut)])
def test_a_reply_at_the_very_instant_of_the_deadline_is_late(play: Play, offset: float, learns: Any) -> None:
    """The deadline is over at the instant (D1), also when the reply is quicker than the alarm."""

    async def scenario() -> Any:
        async def send(message: Message) -> None:
            assert message.deadline is not None
            with anyio.CancelScope(shield=True):  # so that the alarm cannot be first
                await anyio.sleep_until(message.deadline + offset)
                reply = ReplyContent(ReplyStatus.ANSWER, [7]).to(message, "stock")
                await shop.receive(reply)
                reply.body.append("changed afterwards")

        with Requestor(send, name="shop") as shop:
            return await fate(shop.request("price", timeout=1)), shop.late

    assert holds(play(scenario)).result == (learns, int(offset >= 0))


@everywhere
def test_a_reply_that_comes_again_is_ignored_and_counted(play: Play) -> None:
    """Also the third copy; and the next request is not disturbed."""

    async def scenario() -> Any:
        async with wired(there={"duplication": 1.0}, back={"duplication": 1.0}) as shop:
            first = await fate(shop.request(0, timeout=1))
            return first, await fate(shop.request(0.1, timeout=1)), shop

    trace = holds(play(scenario))
    first, second, shop = trace.result
    assert (first, second, shop.late) == (0, 0.1, 0)
    assert shop.duplicates == trace.count("dropped") >= 2
    assert {e.data["reason"] for e in trace.filter("dropped")} == {"duplicate"}
    assert trace.count("started") == 2
    assert {e.who for e in trace.filter("sent", where="there")} == {"shop"}
    assert {e.who for e in trace.filter("sent", where="back")} == {"stock"}


@everywhere
def test_what_the_requestor_remembers_is_bounded(play: Play) -> None:
    """A copy that comes after `remember` other answers is dropped as late instead: dropped all the same."""

    async def scenario() -> tuple[int, int]:
        replies: list[Message] = []

        async def send(message: Message) -> None:
            reply = await stock.answer(message)
            assert reply is not None
            replies.append(reply)
            await shop.receive(reply)

        async with Replier(sleeps, name="stock") as stock:
            with Requestor(send, name="shop", remember=2) as shop:
                for _ in range(3):
                    await shop.request(0, timeout=1)
                for reply in replies:
                    await shop.receive(reply)
                return shop.late, shop.duplicates

    assert holds(play(scenario)).result == (1, 2)


# What the caller may conclude


def test_every_error_is_either_definite_or_indefinite_or_the_other_sides() -> None:
    """Not done, may have happened, failed over there: three classes that share no error."""
    kinds = [NotDone, Indefinite, RemoteError]
    for name in eip_ref.request_reply.__all__:
        thing = getattr(eip_ref.request_reply, name)
        if isinstance(thing, type) and issubclass(thing, RequestError) and thing is not RequestError:
            assert sum(issubclass(thing, kind) for kind in kinds) == 1


async def test_a_timeout_is_indefinite() -> None:
    """It says so, and indeed the work was done in one of the two cases."""
    said = []
    for loss in (0.0, 1.0):
        async with wired(there={"loss": loss}) as shop:
            with pytest.raises(Indefinite, match="it may have happened, or may yet") as caught:
                await shop.request(1, timeout=0.5)
            assert type(caught.value) is TimedOut
            said.append(str(caught.value))
    trace = recorded()
    assert trace.count("finished") == 1
    assert said[0].replace("m1", "m2") == said[1]


async def test_a_remote_error_keeps_its_type_and_its_words() -> None:
    """Registered by name, it is raised here as what it was there, and is no error of the transport."""

    async def declines(request: Message) -> None:
        raise CardDeclined("card 17", 3)

    async with wired(declines, errors=RemoteErrors(CardDeclined)) as shop:
        with pytest.raises(CardDeclined) as caught:
            await shop.request("charge", timeout=1)
        assert caught.value.args == ("card 17", 3)
        assert isinstance(caught.value.__cause__, RemoteError)
    trace = holds(recorded())
    assert "CardDeclined" in trace.filter("failed")[0].data["error"]


@pytest.mark.parametrize(
    "error", [TimeoutError("db"), ConnectionRefusedError("db"), TimedOut("db"), Busy("db")]
)
async def test_a_remote_error_is_not_taken_for_one_of_this_side(error: Exception) -> None:
    """Without registration it is a RemoteError with its name and without its words, whatever it was."""

    async def fails(request: Message) -> None:
        raise error

    async with wired(fails) as shop:
        with pytest.raises(RequestError) as caught:
            await shop.request("charge", timeout=1)
        learned = caught.value
    if isinstance(error, Indefinite):
        assert isinstance(learned, Indefinite)
        assert not isinstance(learned, TimedOut)
    else:
        assert isinstance(learned, RemoteError)
        assert learned.name == type(error).__name__
        assert "db" not in str(learned)


def test_an_error_travels_as_its_nearest_registered_type_and_unknown_ones_stay_readable() -> None:
    """A subclass comes out as its base; arguments that are no plain values as their words."""

    class Expired(CardDeclined):
        pass

    class Picky(Exception):
        def __init__(self, one: str, two: str) -> None:
            super().__init__(one)

    class Formal(Exception):
        def __init__(self, cents: int) -> None:
            super().__init__(f"{cents:d} cents")

    errors = RemoteErrors(CardDeclined, Picky, Formal)
    assert errors.pack(Expired("card 17")) == ("CardDeclined", ["card 17"])
    assert errors.pack(CardDeclined({"card": 17})) == ("CardDeclined", ["{'card': 17}"])
    assert isinstance(errors.unpack(*errors.pack(Picky("a", "b"))), RemoteError)
    assert str(errors.unpack(*errors.pack(Formal(5)))) == "Formal: 5 cents"


@pytest.mark.parametrize(
    ("types", "words"), [([TimedOut], "how a request ended"), ([KeyError, KeyError], "two")]
)
def test_a_registry_with_a_name_that_could_mislead_is_refused(
    types: list[type[Exception]], words: str
) -> None:
    """An error of this package cannot be remote, and a name means one type."""
    with pytest.raises(ValueError, match=words):
        RemoteErrors(*types)


async def test_no_responder_fails_fast_and_is_no_timeout() -> None:
    """Nobody receives: known at once, and definite."""
    channel = PointToPointChannel("requests", when_away=WhenAway.FAIL)
    with Requestor(channel.send, name="shop") as shop:
        learned, at = await fate(shop.request("price", timeout=60)), anyio.current_time()
    trace = holds(recorded())
    assert learned is NoResponder
    assert not issubclass(NoResponder, Indefinite | TransportError)
    assert at < 1
    assert trace.count("timed out") == 0


@pytest.mark.parametrize(
    ("raised", "learns"),
    [
        (ConnectionRefusedError("port 80"), NoResponder),
        (ReceiverClosed("requests"), NoResponder),
        (anyio.ClosedResourceError(), NotDelivered),
        (Busy("full"), Busy),
        (anyio.BrokenResourceError(), TransportError),
        (ConnectionResetError("reset"), TransportError),
        (RuntimeError("who knows"), TransportError),
    ],
)
async def test_an_error_of_sending_is_definite_only_when_it_is_known_to_be(
    raised: Exception, learns: type[Exception]
) -> None:
    """Never a definite error for an indefinite outcome; and the cause is kept."""

    async def send(message: Message) -> None:
        raise raised

    with Requestor(send, name="shop") as shop:
        with pytest.raises(learns) as caught:
            await shop.request("price", timeout=1)
        assert raised in (caught.value, caught.value.__cause__)
    holds(recorded())


async def test_a_full_channel_or_queue_certainly_did_not_take_the_request() -> None:
    """The definite refusals of this package's own channels are known."""
    buffer = PointToPointChannel("requests", when_away=WhenAway.BUFFER, capacity=1)
    learned = []
    async with MessageQueue("queue", capacity=1) as queue:
        for send in (buffer.send, queue.put):
            with Requestor(send, name="shop") as shop:
                learned += [await fate(shop.request("price", timeout=1)) for _ in range(2)]
        queue.close()
        with Requestor(queue.put, name="shop") as shop:
            learned.append(await fate(shop.request("price", timeout=1)))
    assert learned == [TimedOut, NotDelivered, TimedOut, NotDelivered, NotDelivered]


@everywhere
def test_a_way_that_says_late_that_it_took_nothing_ends_the_request(play: Play) -> None:
    """At once, with the error that it gives, and nobody waits any more; the next one is not concerned."""

    async def scenario() -> Any:
        async def send(message: Message) -> None:
            if message.body == "price":
                group.start_soon(tell, message)

        async def tell(message: Message) -> None:
            await anyio.sleep(0.1)
            shop.refuse(message.id, NoResponder("nobody is there"))
            shop.refuse(message.id, NoResponder("nobody is there"))

        with Requestor(send, name="shop") as shop:
            async with anyio.create_task_group() as group:
                found = await fate(shop.request("price", timeout=1))
                return found, anyio.current_time(), shop.waiting, await fate(shop.request("stock", timeout=1))

    found, at, waiting, other = holds(play(scenario)).result
    assert (found, waiting, other) == (NoResponder, 0, TimedOut)
    assert at < 1


@everywhere
def test_a_failure_to_send_is_none_when_the_answer_has_come(play: Play) -> None:
    """The connection breaks after the reply: the reply counts."""

    async def scenario() -> Any:
        async def send(message: Message) -> None:
            reply = await stock.answer(message)
            assert reply is not None
            shop._pending.offer(reply)
            raise ConnectionResetError

        async with Replier(sleeps, name="stock") as stock:
            with Requestor(send, name="shop") as shop:
                return await fate(shop.request(0, timeout=1))

    assert holds(play(scenario)).result == 0


@pytest.mark.parametrize("said", ["", "error", "refused", "in doubt"])
async def test_a_message_that_is_no_reply_is_said_to_be_unreadable(said: str) -> None:
    """Somebody else answers on the way back: indefinite, and no answer, whatever it looks like."""

    async def send(message: Message) -> None:
        await shop.receive(message.reply(None).copy(headers={"outcome": said, "error": "Busy"}))

    shop = Requestor(send, name="shop")
    with pytest.raises(TransportError, match="no reply that can be read"):
        await shop.request("price", timeout=1)


# Deadlines


@virtual_time_only
async def test_a_request_without_any_end_is_refused() -> None:
    """Or else it may wait for ever."""
    async with wired() as shop:
        with pytest.raises(ValueError, match="needs a timeout or a deadline"):
            await shop.request(1)
        with pytest.raises(ValueError, match="timeout must be a number of seconds from 0 on"):
            await shop.request(1, timeout=-1)
    assert recorded().count("sent") == 0


@everywhere
def test_the_earliest_end_is_what_the_replier_is_told(play: Play) -> None:
    """Of the timeout, the deadline, and the cancel scopes around."""
    told: list[float | None] = []

    async def scenario() -> float:
        async def send(message: Message) -> None:
            told.append(message.deadline)
            raise NoResponder

        start = anyio.current_time()
        with Requestor(send, name="shop") as shop, anyio.move_on_after(5):
            await fate(shop.request(1, timeout=2, deadline=start + 3))
            await fate(shop.request(1, timeout=4, deadline=start + 3))
            await fate(shop.request(1, timeout=9))
        return start

    start = play(scenario).result
    assert told == [pytest.approx(start + n) for n in (2, 3, 5)]


async def test_a_request_whose_deadline_has_passed_is_not_sent() -> None:
    """Definite: nothing happened, and it is no timeout."""
    async with wired() as shop:
        result = await fate(shop.request(1, timeout=0))
    trace = holds(recorded())
    assert result is DeadlinePassed
    assert trace.count("sent", "timed out") == 0


@everywhere
def test_the_deadline_also_bounds_the_sending(play: Play) -> None:
    """A way there that blocks is not waited for any longer."""

    async def scenario() -> Any:
        channel = PointToPointChannel("requests", when_away=WhenAway.BLOCK)
        with Requestor(channel.send, name="shop") as shop:
            return await fate(shop.request("price", timeout=1)), len(channel)

    assert holds(play(scenario)).result == (TimedOut, 0)


# Multiplexing and the bound


@everywhere
def test_concurrent_requests_multiplex(play: Play) -> None:
    """Three requests of one second end within a second or so, each with its own answer, in any order."""

    async def scenario() -> Any:
        got: list[tuple[float, Any]] = []

        async def ask(shop: Requestor, seconds: float) -> None:
            got.append((seconds, await fate(shop.request(seconds, timeout=5))))

        async with wired() as shop, anyio.create_task_group() as group:
            for seconds in (1.0, 0.9, 0.8):
                group.start_soon(ask, shop, seconds)
        return got, anyio.current_time()

    got, _ = (trace := holds(play(scenario))).result
    assert got == [(0.8, 0.8), (0.9, 0.9), (1.0, 1.0)]
    assert trace.filter("state")[-1].at == pytest.approx(1.2)


async def test_the_table_of_waiters_is_bounded() -> None:
    """A request beyond it is not sent, and certainly not done; a place is free again after an end."""
    learned: list[Any] = []
    async with wired(max_waiting=2) as shop:

        async def ask(seconds: float) -> None:
            learned.append(await fate(shop.request(seconds, timeout=1)))

        async with anyio.create_task_group() as group:
            for seconds in (0.1, 0.2, 0.3):
                group.start_soon(ask, seconds)
        await ask(0.4)
    trace = holds(recorded())
    assert learned[0] is TooManyWaiting
    assert len(learned) == 4
    assert TooManyWaiting not in learned[1:]
    assert issubclass(TooManyWaiting, NotDone)
    assert trace.count("sent", where="there") == 3


# Close


async def test_close_ends_all_waiters_with_an_error_of_its_own() -> None:
    """Those that wait learn that it may have happened; those that ask later, that it did not. Idempotent."""
    learned: list[Any] = []
    channel = PointToPointChannel("requests", when_away=WhenAway.BLOCK)
    with Requestor(channel.send, name="shop") as shop:

        async def ask() -> None:
            learned.append(await fate(shop.request("price", timeout=60)))

        async with anyio.create_task_group() as group:
            group.start_soon(ask)
            group.start_soon(ask)
            await anyio.sleep(1)
            shop.close()
            shop.close()
        assert anyio.current_time() < 1 + 60 - TICK
        await ask()
    trace = holds(recorded())
    assert [*learned, len(channel)] == [ClosedWhileWaiting, ClosedWhileWaiting, RequestorClosed, 0]
    assert issubclass(ClosedWhileWaiting, Indefinite)
    assert issubclass(RequestorClosed, NotDone)
    assert trace.end < 2


async def test_leaving_the_block_closes() -> None:
    """A request that is made afterwards is not sent."""
    with Requestor(sleeps, name="shop") as shop:
        pass
    assert await fate(shop.request("price", timeout=1)) is RequestorClosed


# Scatter


@asynccontextmanager
async def three_suppliers(
    prices: dict[str, Any], errors: RemoteErrors | None = None, **faults: Any
) -> AsyncIterator[Requestor]:
    """A shop that asks three suppliers at once; each takes as many seconds as its number says."""
    chance = Faults()

    async def quote(name: str, request: Message) -> Any:
        await anyio.sleep(int(name[-1]))
        if isinstance(prices[name], Exception):
            raise prices[name]
        return prices[name]

    async def to_all(request: Message) -> None:
        for supplier in suppliers:
            await supplier.receive(request)

    with Requestor(to_all, name="shop", errors=errors) as shop:
        async with chance.link("back", shop.receive, **faults) as back, anyio.create_task_group() as group:
            suppliers = [
                await Replier(partial(quote, name), back.send, name=name, errors=errors).__aenter__()
                for name in prices
            ]
            yield shop
            for supplier in reversed(suppliers):
                await supplier.__aexit__(None, None, None)
            group.cancel_scope.cancel()


PRICES = {"supplier-1": 30, "supplier-2": 20, "supplier-3": 10}


@everywhere
@pytest.mark.parametrize(
    ("expected_replies", "timeout", "got", "after"),
    [(2, 60, [30, 20], 2), (3, 60, [30, 20, 10], 3), (3, 2.5, [30, 20], 2.5), (1, 0.5, [], 0.5)],
)
def test_scatter_ends_by_count_or_by_deadline(
    play: Play, expected_replies: int, timeout: float, got: list[int], after: float
) -> None:
    """D17: the first n replies, or those that are there in time; the rest is dropped as late."""

    async def scenario() -> Any:
        async with three_suppliers(PRICES) as shop:
            start = anyio.current_time()
            found = await shop.scatter("price of tea", expected_replies=expected_replies, timeout=timeout)
            return [reply.body for reply in found if isinstance(reply, Message)], anyio.current_time() - start

    trace = holds(play(scenario))
    assert trace.result == (got, pytest.approx(after))
    assert trace.count("dropped") == 3 - len(got)
    assert {e.data["reason"] for e in trace.filter("dropped")} <= {"late"}


@everywhere
def test_scatter_counts_no_reply_twice_and_a_failure_as_a_reply(play: Play) -> None:
    """Copies on the way back are dropped; a supplier that failed has answered too."""

    async def scenario() -> Any:
        prices = {**PRICES, "supplier-2": CardDeclined("no credit")}
        async with three_suppliers(prices, RemoteErrors(CardDeclined), duplication=1.0) as shop:
            return await shop.scatter("price of tea", expected_replies=3, timeout=60), shop

    first, second, third = (trace := holds(play(scenario))).result[0]
    assert (first.body, third.body) == (30, 10)
    assert isinstance(second, CardDeclined)
    assert trace.result[1].duplicates == 3


async def test_a_scattered_request_carries_what_a_single_one_does() -> None:
    """Type, key, cause and the earliest end are in the envelope that every replier gets."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    start = anyio.current_time()
    with Requestor(send, name="shop") as shop:
        told = {"type": "Quote", "key": "tea", "caused_by": "m0", "timeout": 3, "deadline": start + 2}
        assert await shop.scatter("price", expected_replies=2, **told) == []  # type: ignore[arg-type]
    deadline = start + 2
    (asked,) = sent
    assert (asked.type, asked.key, asked.causation_id) == ("Quote", "tea", "m0")
    assert asked.deadline == pytest.approx(deadline)


@virtual_time_only
async def test_scatter_wants_at_least_one_reply_and_an_end() -> None:
    """Bad input gets a clear error."""
    async with wired() as shop:
        with pytest.raises(ValueError, match="expected_replies must be a whole number from 1 on, not 0"):
            await shop.scatter(1, expected_replies=0, timeout=1)
        with pytest.raises(ValueError, match="needs a timeout"):
            await shop.scatter(1, expected_replies=1)


async def test_a_scatter_that_waits_when_the_requestor_closes_ends_with_the_same_error() -> None:
    """Not with a list that looks complete."""
    async with three_suppliers(PRICES) as shop, anyio.create_task_group() as group:

        async def ask() -> None:
            with pytest.raises(ClosedWhileWaiting):
                await shop.scatter("price of tea", expected_replies=3, timeout=60)

        group.start_soon(ask)
        await anyio.sleep(1.5)
        shop.close()
    holds(recorded())


# The rest


def test_bounds_below_one_are_refused() -> None:
    """Bad input gets a clear error."""
    for bound in ("max_waiting", "remember"):
        with pytest.raises(ValueError, match=f"{bound} must be a whole number from 1 on"):
            Requestor(sleeps, **{bound: 0})  # type: ignore[arg-type]


async def test_an_answer_is_a_copy() -> None:
    """What the caller does to its answer changes nothing for anybody else."""
    prices = {"tea": [3]}

    async def answer(request: Message) -> Any:
        return prices[request.body]

    async with wired(answer) as shop:
        for _ in range(2):
            reply = await shop.request("tea", timeout=1, idempotency_key="k")
            assert reply.body == [3]
            reply.body.append("mine")
            prices["tea"].append(4)


@virtual_time_only
async def test_forward_hands_on_until_the_sender_closes() -> None:
    """And it is the channel's one receiver meanwhile."""
    channel, got = PointToPointChannel("requests"), []

    async def take(message: Message) -> None:
        got.append(message.body)

    async with anyio.create_task_group() as group:
        group.start_soon(forward, channel, take)
        for n in range(3):
            await channel.send(Message(n))
        channel.close()
    assert got == [0, 1, 2]


def test_an_outcome_can_be_read_without_raising_it() -> None:
    """What `scatter` does for each of its replies."""
    reply = Message([], headers={"outcome": "refused", "error": "Busy"})
    assert isinstance(outcome(reply, RemoteErrors()), Busy)


def test_the_example_in_the_docstring_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """At most 30 lines, and it shows what comes out of order and what does not come."""
    code = example(eip_ref.request_reply)
    assert len(code.splitlines()) <= 30
    names: dict[str, Any] = {}
    exec(code, names)
    holds(simulate(names["main"]))
    assert capsys.readouterr().out.splitlines() == [
        "tea: 3 euros",
        "coffee: 4 euros",
        "no answer to saffron after 1 s: it may have happened, or may yet",
    ]


@pytest.mark.parametrize("body", [math.nan, {1: "one"}, (1, 2)])
async def test_a_body_that_no_wire_can_carry_is_not_sent(body: Any) -> None:
    """Definite, before anything is done, on every way the same."""
    async with wired() as shop:
        with pytest.raises(NotDelivered, match=r"the request was not sent: .*cannot be written"):
            await shop.request(body, timeout=5)
    assert recorded().count("sent") == 0


@pytest.mark.parametrize("key", ["", "a\0", "\ud800", "z" * 256, 7, True], ids=ascii)
async def test_a_key_that_no_way_can_carry_is_refused_where_it_is_given(key: Any) -> None:
    """On every way the same, before anything is sent."""
    async with wired() as shop:
        with pytest.raises(ValueError, match="idempotency_key must"):
            await shop.request(1, timeout=5, idempotency_key=key)


@everywhere
@pytest.mark.parametrize("learns", [7, NotDelivered, TransportError, DeadlinePassed, RequestorClosed])
def test_asking_again_and_again_lets_others_have_their_turn(play: Play, learns: Any) -> None:
    """Also where a request is over as soon as it was made, answered or refused."""

    async def scenario() -> bool:
        async def send(request: Message) -> None:
            if learns is TransportError:
                raise OSError("the cable is out")
            shop.receive_nowait(ReplyContent(ReplyStatus.ANSWER, 7).to(request, "stock"))

        body = math.nan if learns is NotDelivered else "price"
        timeout = 0 if learns is DeadlinePassed else 1
        others = anyio.Event()
        with Requestor(send, name="shop") as shop:
            async with anyio.create_task_group() as group:
                if learns is RequestorClosed:
                    shop.close()
                group.start_soon(_set, others)
                for _ in range(20):
                    assert await fate(shop.request(body, timeout=timeout)) == learns
                had_it = others.is_set()
        return had_it

    assert play(scenario).result


async def _set(event: anyio.Event) -> None:
    event.set()


async def test_the_longest_key_is_carried() -> None:
    """It has 255 signs."""
    async with wired() as shop:
        assert (await shop.request(1, timeout=5, idempotency_key="z" * 255)).body == 1


async def test_a_type_that_no_way_can_carry_is_not_sent() -> None:
    """As a body that is none."""
    async with wired() as shop:
        with pytest.raises(NotDelivered):
            await shop.request(1, type="\ud800", timeout=5)


@virtual_time_only
async def test_a_caller_that_died_waiting_leaves_its_place_to_others() -> None:
    """Nobody waits for the dead, and nothing is kept for them; a reply that comes is late."""
    asked = list[Message]()

    async def ann() -> None:
        await shop.request(1, timeout=1_000)

    with Requestor(asked.append, name="shop", max_waiting=1) as shop:
        await Participant("ann", ann, crashes=(Crash(at=anyio.current_time() + 1),)).run()
        assert shop.waiting == 0
        await shop.receive(asked[0].reply("too late"))
        assert shop.late == 1
    assert recorded().filter("state")[-1].data["now"] == "died"
    assert no_stray_reply(recorded()) == []
