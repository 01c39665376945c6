"""The four fallbacks, for whom they are, and what happens when they fail themselves."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import anyio
import pytest

from eip_ref.circuit_breaker import (
    BadResult,
    BreakerOpen,
    Cached,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    Degraded,
    FailFast,
    FallbackFailed,
    OpenDuration,
    Predicates,
    QueueForLater,
    Source,
    SourcedValue,
    Unavailable,
    with_fallback,
)
from eip_ref.durable_queue import SQLiteQueue
from eip_ref.message import Message
from eip_ref.message_queue import Attempt, IdempotentReceiver, Ledger, MessageQueue, QueueFull, Worker
from eip_ref.trace import acting
from tests.backends import recorded

TICK = 0.001


class Invalid(ValueError):
    """The caller's own error."""


class Shop:
    """A price service that can be away, and a breaker before it that opens at the second failure."""

    def __init__(self) -> None:
        self.away = False
        self.calls = 0
        self.price: Any = {"tea": 4}
        self.breaker = CircuitBreaker(
            "prices",
            policy=ConsecutiveFailures(2),
            open_duration=OpenDuration(5),
            predicates=Predicates(neutral=Invalid, success=LookupError, failure=lambda price: price == "503"),
        )

    async def ask(self, *what: Any) -> Any:
        self.calls += 1
        if self.away:
            raise ConnectionError("prices is away")
        if "nonsense" in what:
            raise Invalid("no such thing can be asked")
        if "unknown" in what:
            raise LookupError("no such product")
        return self.price


async def about(*what: Any) -> str:
    return "about 5"


# Cached


async def test_the_cache_answers_with_the_last_good_answer_its_age_and_a_stale_mark() -> None:
    """Live first; then, while the service is away, what it said last, and when."""
    shop = Shop()
    await anyio.sleep(1)
    price = with_fallback(shop.breaker, shop.ask, Cached(max_age=600))
    live = await price("tea")
    assert live == SourcedValue({"tea": 4})
    assert not live.stale
    shop.away = True
    await anyio.sleep(30)
    for cause in (ConnectionError, ConnectionError, BreakerOpen):
        answer = await price("tea")
        assert (answer.value, answer.source, answer.age) == ({"tea": 4}, Source.CACHED, 30)
        assert answer.stale
        assert isinstance(answer.cause, cause)
    assert shop.calls == 3
    assert "cached, 30 s old" in recorded().filter("note")[0].data["text"]


@pytest.mark.parametrize(("age", "served"), [(600 - TICK, True), (600, True), (600 + TICK, False)])
async def test_an_answer_that_is_too_old_is_not_served(age: float, served: bool) -> None:
    """Up to its bound, that included; after it the failure comes out as it was."""
    shop = Shop()
    price = with_fallback(shop.breaker, shop.ask, Cached(max_age=600))
    await price("tea")
    shop.away = True
    with anyio.CancelScope(deadline=anyio.current_time() + age):
        await anyio.sleep_forever()
    if served:
        assert (await price("tea")).stale
    else:
        with pytest.raises(ConnectionError):
            await price("tea")


async def test_the_cache_is_bounded_and_keeps_the_latest() -> None:
    """The answer that came first goes first; an answer that came again is late again."""
    shop, cache = Shop(), Cached(max_age=600, capacity=2)
    price = with_fallback(shop.breaker, shop.ask, cache)
    for what in ("tea", "milk", "tea", "jam"):
        await price(what)
    assert len(cache) == 2
    shop.away = True
    assert (await price("tea")).stale
    with pytest.raises(ConnectionError):
        await price("milk")


async def test_nobody_changes_what_the_cache_keeps() -> None:
    """Neither who got the live answer nor who got the stale one."""
    shop = Shop()
    price = with_fallback(shop.breaker, shop.ask, Cached(max_age=600))
    (await price("tea")).value["tea"] = 1
    shop.away = True
    (await price("tea")).value["tea"] = 2
    assert (await price("tea")).value == {"tea": 4}


async def test_the_key_says_what_the_answer_depends_on() -> None:
    """Without one, on all arguments; never an answer to another question."""
    shop = Shop()
    by_all = with_fallback(shop.breaker, shop.ask, Cached(max_age=9))
    by_product = with_fallback(shop.breaker, shop.ask, Cached(max_age=9, key=lambda product, user: product))
    for price in (by_all, by_product):
        await price("tea", "ann")
    shop.away = True
    assert (await by_product("tea", "bob")).stale
    with pytest.raises(ConnectionError):
        await by_all("tea", "bob")


# Degraded, queue for later, fail fast


async def test_a_degraded_answer_says_that_it_is_one() -> None:
    """Fallbacks are asked in turn: the cache has nothing, so the estimate answers."""
    shop = Shop()
    shop.away = True
    answer = await with_fallback(shop.breaker, shop.ask, Cached(max_age=9), Degraded(about))("tea")
    assert (answer.value, answer.source, answer.stale) == ("about 5", Source.DEGRADED, False)
    assert isinstance(answer.cause, ConnectionError)


async def test_work_is_queued_for_later_under_its_own_key() -> None:
    """The key is the message id, so that work that is queued twice is done once."""
    shop, ledger = Shop(), Ledger()
    shop.away = True

    async def later(message: Message, transaction: Attempt) -> None:
        transaction.set(message.id, await shop.breaker.call(shop.ask, *message.body))
        transaction.effect("charged", order=message.id)

    async with MessageQueue("later") as queue:
        pay = with_fallback(shop.breaker, shop.ask, QueueForLater(queue, key=lambda order, sum: order))
        for order in ("order 1", "order 2", "order 1"):
            answer = await pay(order, 20)
            assert (answer.value, answer.source) == (order, Source.QUEUED)
            assert isinstance(answer.cause, ConnectionError | BreakerOpen)
        shop.away = False
        await anyio.sleep(6)
        queue.close()
        with acting("worker-1"):
            await Worker(queue, IdempotentReceiver(ledger, later)).run()
    assert set(ledger.values) == {"order 1", "order 2"}
    trace = recorded()
    assert trace.count("effect") == 2
    assert trace.count("duplicate") == 1


async def test_work_for_later_survives_a_crash_on_the_durable_queue(tmp_path: Path) -> None:
    """With the key as its id and of its type, as it was queued."""
    shop = Shop()
    shop.away = True
    async with SQLiteQueue(tmp_path / "later.db", "later") as queue:
        later = QueueForLater(queue, key=lambda order, sum: order, type="Charge")
        assert (await with_fallback(shop.breaker, shop.ask, later)("order 1", 20)).source == Source.QUEUED
    async with SQLiteQueue(tmp_path / "later.db", "later") as again:
        delivery = await again.receive()
        await delivery.ack()
        message = delivery.message
        assert (message.id, message.type, message.body) == ("order 1", "Charge", ["order 1", 20])


async def test_work_without_a_key_is_not_queued() -> None:
    """Only idempotent work may be done again: it may have been done already."""
    shop = Shop()
    shop.away = True
    async with MessageQueue("later") as queue:
        pay = with_fallback(shop.breaker, shop.ask, QueueForLater(queue, key=lambda order: None))
        with pytest.raises(ConnectionError):
            await pay("order 1")
        assert queue.counts.accepted == 0


async def test_fail_fast_tells_the_client_when_to_try_again() -> None:
    """As long as the breaker is open where it knows, and else what was agreed; with the cause."""
    shop = Shop()
    shop.away = True
    price = with_fallback(shop.breaker, shop.ask, FailFast("prices", retry_after=2))
    for retry_after, cause in ((2, ConnectionError), (2, ConnectionError), (5 + TICK, BreakerOpen)):
        with pytest.raises(Unavailable, match="prices is not available; try again in") as error:
            await price("tea")
        assert error.value.retry_after == pytest.approx(retry_after)
        assert error.value.dependency == "prices"
        assert isinstance(error.value.__cause__, cause)
    shop.breaker.force_open()
    with pytest.raises(Unavailable) as error:
        await price("tea")
    assert error.value.retry_after == 2


# For whom


async def test_a_fallback_is_not_a_success_of_the_dependency() -> None:
    """However many answers come from the cache, the breaker opens at its threshold."""
    shop = Shop()
    price = with_fallback(shop.breaker, shop.ask, Cached(max_age=600))
    await price("tea")
    shop.away = True
    for _ in range(2):
        assert (await price("tea")).stale
    assert shop.breaker.state == "open"


@pytest.mark.parametrize(("what", "error"), [("nonsense", Invalid), ("unknown", LookupError)])
async def test_the_callers_own_errors_skip_the_fallback(what: str, error: type[Exception]) -> None:
    """A neutral error, or one that counts as a success, comes out as it is."""
    shop = Shop()
    for fallback in (Degraded(about), FailFast("prices")):
        with pytest.raises(error):
            await with_fallback(shop.breaker, shop.ask, fallback)(what)


async def test_cancellation_skips_the_fallback() -> None:
    """Nobody is there to take the answer."""
    asked: list[str] = []

    async def note() -> None:
        asked.append("degraded")

    with anyio.move_on_after(1):
        await with_fallback(Shop().breaker, anyio.sleep_forever, Degraded(note))()
    assert asked == []


async def test_a_result_that_is_a_failure_falls_back_too() -> None:
    """The cause is the result; it is not learnt; and where nobody has anything it comes out as it was."""
    shop = Shop()
    price = with_fallback(shop.breaker, shop.ask, Cached(max_age=600))
    await price("tea")
    shop.price = "503"
    answer = await price("tea")
    assert (answer.value, answer.source) == ({"tea": 4}, Source.CACHED)
    assert isinstance(answer.cause, BadResult)
    assert answer.cause.result == "503"
    assert await price("milk") == SourcedValue("503")


async def test_a_rejection_by_another_breaker_is_a_failure_of_this_one() -> None:
    """prices asks stock; that stock is rejected is for prices a failure like any other."""
    shop, stock = Shop(), CircuitBreaker("stock")
    stock.force_open()

    async def ask() -> None:
        await stock.call(about)

    answer = await with_fallback(shop.breaker, ask, Degraded(about))()
    assert isinstance(answer.cause, BreakerOpen)
    assert answer.cause.breaker == "stock"
    assert (await with_fallback(shop.breaker, ask, Degraded(about))()).source is Source.DEGRADED
    assert shop.breaker.state == "open"


async def test_a_rejection_by_another_breaker_can_be_neutral_and_the_own_one_never_is() -> None:
    """The predicates judge what a call raised; a call that was not let in is nobody's error but ours."""
    prices, stock = CircuitBreaker("prices", predicates=Predicates(CallRejected)), CircuitBreaker("stock")
    stock.force_open()

    async def ask() -> None:
        await stock.call(about)

    price = with_fallback(prices, ask, Degraded(about))
    with pytest.raises(BreakerOpen, match="stock"):
        await price()
    prices.force_open()
    assert (await price()).source is Source.DEGRADED


async def test_a_neutral_result_is_given_back_and_not_learnt() -> None:
    """It says nothing, so it is nothing to remember."""
    shop = Shop()
    breaker = CircuitBreaker("prices", predicates=Predicates(neutral=lambda price: price == "ask again"))
    price = with_fallback(breaker, shop.ask, Cached(max_age=600))
    await price("tea")
    shop.price = "ask again"
    assert await price("tea") == SourcedValue("ask again")
    shop.away = True
    assert (await price("tea")).value == {"tea": 4}


# When the fallback fails


async def test_the_failure_of_a_fallback_surfaces_with_the_first_cause() -> None:
    """Neither hides the other: the queue is full, and that was asked because prices is away."""
    shop = Shop()
    shop.away = True
    async with MessageQueue("later", capacity=1) as queue:
        await queue.put(Message("order 1"))
        pay = with_fallback(shop.breaker, shop.ask, QueueForLater(queue, key=str), Degraded(about))
        with pytest.raises(FallbackFailed, match=r"QueueForLater.*QueueFull.*prices is away") as error:
            await pay("order 2")
    assert isinstance(error.value.own, QueueFull)
    assert error.value.__cause__ is error.value.own
    assert isinstance(error.value.first, ConnectionError)


async def test_without_a_fallback_the_failure_comes_out() -> None:
    """As it was."""
    shop = Shop()
    assert (await with_fallback(shop.breaker, shop.ask)("tea")).source is Source.LIVE
    shop.away = True
    for error in (ConnectionError, ConnectionError, BreakerOpen):
        with pytest.raises(error):
            await with_fallback(shop.breaker, shop.ask)("tea")


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: Cached(max_age=0), "max_age must be .* above 0"),
        (lambda: Cached(max_age=math.nan), "max_age must be"),
        (lambda: Cached(max_age=1, capacity=0), "capacity must be a whole number from 1 on"),
    ],
)
def test_a_cache_without_room_or_time_is_refused(make: Callable[[], Cached], words: str) -> None:
    """It would never answer."""
    with pytest.raises(ValueError, match=words):
        make()
