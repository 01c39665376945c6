"""Expectations of those who use a breaker: any callable, outcomes that stand, a cause, counts, any clock."""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from typing import Any

import anyio
import pytest

from eip_ref.circuit_breaker import (
    AnyOf,
    BreakerOpen,
    Breakers,
    Cached,
    CircuitBreaker,
    ConsecutiveFailures,
    Degraded,
    FailureRate,
    FallbackFailed,
    HalfOpen,
    HalfOpenFull,
    LastCalls,
    LastSeconds,
    OpenDuration,
    Policy,
    Predicates,
    QueueForLater,
    SlowCallRate,
    Source,
    if_error,
    if_result,
    with_fallback,
)
from eip_ref.message_queue import MessageQueue
from tests.backends import in_two_runs, recorded

TICK = 0.001


def breaker(**settings: Any) -> CircuitBreaker:
    """Opens at the second failure in a row, for 5 seconds."""
    settings = {"policy": ConsecutiveFailures(2), "open_duration": OpenDuration(5), **settings}
    return CircuitBreaker("payments", **settings)


async def away(*order: str) -> None:
    raise ConnectionError("nobody answers")


# Any callable: it works, or it is refused when it is handed over


class Client:
    def charge(self, order: str) -> str:
        return f"charged {order}"

    async def __call__(self, order: str) -> str:
        return self.charge(order)


@pytest.mark.parametrize(
    "function",
    [
        Client().charge,
        Client(),
        lambda order: Client()(order),
        functools.partial(Client().__call__),
        lambda order: f"charged {order}",
    ],
)
async def test_a_call_takes_any_function_plain_or_async(function: Callable[[str], Any]) -> None:
    """A plain function is called, and what it returns is the result; nothing counts as a failure."""
    payments = breaker()
    for _ in range(3):
        assert await payments.call(function, "order 1") == "charged order 1"
    assert payments.state == "closed"
    assert recorded().count("failed") == 0


async def test_a_plain_function_that_raises_is_a_failure() -> None:
    """As an async one is."""

    def charge() -> None:
        raise ConnectionError("nobody answers")

    payments = breaker()
    for _ in range(2):
        with pytest.raises(ConnectionError):
            await payments.call(charge)
    assert payments.state == "open"


async def test_a_call_with_fallback_takes_plain_functions_too() -> None:
    """Both the call itself and the degraded answer."""

    def price(item: str) -> int:
        if item != "tea":
            raise ConnectionError("nobody answers")
        return 4

    ask = with_fallback(breaker(), price, Degraded(lambda item: 5))
    assert (await ask("tea")).value == 4
    answer = await ask("milk")
    assert (answer.value, answer.source) == (5, Source.DEGRADED)


async def is_bad(outcome: object) -> bool:
    return False


class Page:
    async def __call__(self, change: object) -> None: ...


@pytest.mark.parametrize(
    ("hand_over", "parameter"),
    [
        (lambda: CircuitBreaker("payments", on_change=is_bad), "on_change"),
        (lambda: CircuitBreaker("payments", on_change=Page()), "on_change"),
        (lambda: CircuitBreaker("payments", on_change=functools.partial(is_bad)), "on_change"),
        (lambda: Predicates(neutral=is_bad), "neutral"),  # type: ignore[arg-type]
        (lambda: Predicates(failure=is_bad), "failure"),  # type: ignore[arg-type]
        (lambda: Predicates(success=(KeyError, is_bad)), "success"),  # type: ignore[arg-type]
        (lambda: if_result(is_bad), "predicate"),  # type: ignore[arg-type]
        (lambda: if_error(is_bad), "predicate"),  # type: ignore[arg-type]
        (lambda: Breakers(is_bad), "make"),  # type: ignore[arg-type]
        (lambda: Cached(max_age=1, key=is_bad), "key"),  # type: ignore[arg-type]
        (lambda: QueueForLater(MessageQueue("q"), key=is_bad), "key"),  # type: ignore[arg-type]
        (lambda: QueueForLater(MessageQueue("q"), key=str, body=is_bad), "body"),
    ],
)
def test_an_async_function_where_nobody_can_wait_is_refused(
    hand_over: Callable[[], object], parameter: str
) -> None:
    """When it is handed over, by name: its coroutine would count as true, or never run."""
    with pytest.raises(TypeError, match=f"{parameter} .*plain function"):
        hand_over()


@pytest.mark.parametrize("wrong", [[KeyError], None, KeyError(), "KeyError"])
def test_a_predicate_that_is_none_is_refused_when_it_is_handed_over(wrong: Any) -> None:
    """And not at the first failure, whose place its own error would take."""
    with pytest.raises(TypeError, match="neutral must be a type, a function or a tuple"):
        Predicates(neutral=wrong)


# The outcome stands


def unhashable(*args: str) -> Any:
    return list(args)


async def open_file(item: str) -> Any:
    return (piece for piece in item)  # a generator cannot be copied


@pytest.mark.parametrize(
    "cache",
    [Cached(max_age=9), Cached(max_age=9, key=unhashable), Cached(max_age=9, key=len, capacity=1)],
)
async def test_an_answer_that_the_cache_cannot_keep_is_given_all_the_same(
    cache: Cached, caplog: pytest.LogCaptureFixture
) -> None:
    """Side work after a success never replaces the outcome; what went wrong with it is told."""
    answer = await with_fallback(breaker(), open_file, cache)("tea")
    assert "".join(answer.value) == "tea"
    assert answer.source is Source.LIVE
    assert len(cache) == 0
    (note,) = recorded().filter("note", where="payments")
    assert "Cached did not learn" in note.data["text"]
    assert note.data["text"] in caplog.text


async def test_a_cache_that_cannot_learn_keeps_the_next_fallback_from_nothing() -> None:
    """Each fallback learns by itself."""

    async def price(item: str) -> int:
        return 4

    cache, payments = Cached(max_age=9), breaker()
    ask = with_fallback(payments, price, Cached(max_age=9, key=unhashable), cache)
    await ask("tea")
    assert len(cache) == 1


# Why it is open


async def test_a_rejection_carries_the_last_error_as_its_cause() -> None:
    """The traceback says why the breaker is open; once it has closed, old errors are forgotten."""
    payments, last = breaker(half_open=HalfOpen(1)), ConnectionError("the last one")
    payments.admit().failure(ConnectionError("the first one"))
    payments.admit().failure(last)
    assert payments.last_error is last
    with pytest.raises(BreakerOpen) as refusal:
        payments.admit()
    assert refusal.value.__cause__ is last
    await anyio.sleep(5 + TICK)
    probe = payments.admit()
    with pytest.raises(HalfOpenFull) as full:
        payments.admit()
    assert full.value.__cause__ is last
    probe.success()
    assert payments.last_error is None
    payments.force_open()
    with pytest.raises(BreakerOpen) as refusal:
        payments.admit()
    assert refusal.value.__cause__ is None


async def test_a_success_that_opens_the_breaker_leaves_the_last_failure_as_the_cause() -> None:
    """Where a success completes the volume of a rate."""
    payments = breaker(policy=FailureRate(0.5, LastCalls(2), min_calls=2))
    payments.admit().failure(error := ConnectionError("nobody answers"))
    payments.admit().success()
    with pytest.raises(BreakerOpen) as refusal:
        payments.admit()
    assert refusal.value.__cause__ is error


# Counts and rates for a health page


async def test_a_health_page_can_be_written_as_json() -> None:
    """State, reason, counts since the last transition, what the policy has seen, when to try again."""
    payments = breaker(policy=FailureRate(0.5, LastCalls(10), min_calls=4))
    for _ in range(2):
        payments.admit().success()
    assert payments.health()["last_error"] is None
    payments.admit().failure(ConnectionError("nobody answers"))
    payments.admit().neutral()
    health = payments.health()
    assert (health["state"], health["calls"], health["failures"], health["rejected"]) == ("closed", 3, 1, 0)
    assert health["failure_rate"] == pytest.approx(1 / 3)
    assert health["measured"] == "1 of 3 calls failed"
    assert health["retry_after"] == 0
    assert health["last_error"] == "ConnectionError('nobody answers')"
    payments.admit().failure(TimeoutError())
    for _ in range(3):
        with pytest.raises(BreakerOpen):
            payments.admit()
    health = json.loads(json.dumps(payments.health()))
    assert (health["state"], health["reason"]) == ("open", "2 of 4 calls failed")
    assert (health["calls"], health["failures"], health["failure_rate"], health["rejected"]) == (0, 0, 0, 3)
    assert health["retry_after"] == pytest.approx(5 + TICK)
    assert health["last_error"] == "TimeoutError()"


async def test_a_health_page_says_since_when() -> None:
    """Seconds since the last transition; None for a breaker that had none."""
    payments = breaker()
    assert payments.health()["seconds"] is None
    payments.force_open()
    await anyio.sleep(3)
    assert payments.health()["seconds"] == pytest.approx(3)
    payments.reset()
    assert payments.health()["seconds"] == 0


def test_a_health_page_in_another_run_knows_of_no_time_before() -> None:
    """The clock there is another one."""
    payments = breaker()

    async def first() -> None:
        payments.force_open()

    async def second() -> None:
        assert payments.health()["seconds"] == 0

    in_two_runs(first, second)


@pytest.mark.parametrize(
    ("policy", "measured"),
    [
        (ConsecutiveFailures(9), None),
        (FailureRate(0.9, LastCalls(2), min_calls=2), 0.5),
        (SlowCallRate(0.9, LastSeconds(60), slow_after=1), 0.0),
        (
            AnyOf(
                ConsecutiveFailures(9),
                FailureRate(0.9, LastCalls(2), 2),
                FailureRate(0.9, LastCalls(9), 9),
            ),
            0.5,
        ),
    ],
    ids=lambda value: type(value).__name__,
)
async def test_a_health_page_has_the_rate_of_the_window(policy: Policy, measured: float | None) -> None:
    """As the policy measures it; of several, the worst; an empty window has none."""
    payments = breaker(policy=policy)
    assert payments.health()["measured_rate"] in (None, 0)
    for verdict in (True, False, True):
        payments.admit().success() if verdict else payments.admit().failure()
    assert payments.health()["measured_rate"] == measured
    assert payments.health()["failure_rate"] == pytest.approx(1 / 3)


async def test_health_of_a_time_window_forgets_with_the_time() -> None:
    """An hour later nothing is measured, although no call came to move the window; asking moves nothing."""
    payments = breaker(policy=FailureRate(0.5, LastSeconds(60), min_calls=4))
    payments.admit().failure()
    assert payments.health()["measured"] == "1 of 1 calls failed"
    await anyio.sleep(3600)
    assert payments.health()["measured"] == "0 of 0 calls failed"
    assert payments.health()["failures"] == 1


async def test_health_of_failures_in_a_row() -> None:
    """Is told in the words of the policy; of several, in those of each."""
    policy = ConsecutiveFailures(5)
    payments = breaker(policy=policy)
    assert payments.health()["measured"] == "0 failures in a row"
    payments.admit().failure()
    assert payments.health()["measured"] == "1 failure in a row"
    payments = breaker(policy=AnyOf(policy, FailureRate(0.5, LastCalls(10))))
    assert payments.health()["measured"] == "0 failures in a row; 0 of 0 calls failed"


async def test_asking_for_the_health_changes_nothing() -> None:
    """After the open time it is still open, until a call asks."""
    payments = breaker(policy=ConsecutiveFailures(1))
    payments.admit().failure()
    await anyio.sleep(6)
    assert (payments.health()["state"], payments.health()["retry_after"]) == ("open", 0)


# Predicates that look at one kind of outcome


class Response:
    def __init__(self, status: int) -> None:
        self.status = status


class Refusal(Exception):
    def __init__(self, status: int) -> None:
        super().__init__(status)
        self.status = status


@pytest.mark.parametrize(
    ("outcome", "fails"),
    [
        (Response(200), False),
        (Response(503), True),
        (Refusal(404), False),
        (Refusal(500), True),
        (ConnectionError("no status to be found here"), True),
    ],
)
async def test_a_predicate_may_look_at_results_or_errors_alone(outcome: Any, fails: bool) -> None:
    """It is not asked about the other kind, so that it cannot fail there and hide the outcome."""
    predicates = Predicates(
        success=if_error(lambda error: error.args[0] == 404),
        failure=(TimeoutError, if_result(lambda response: response.status >= 500)),
    )
    payments = breaker(policy=ConsecutiveFailures(1), predicates=predicates)

    async def call() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    if isinstance(outcome, Exception):
        with pytest.raises(type(outcome)) as raised:
            await payments.call(call)
        assert raised.value is outcome
    else:
        assert await payments.call(call) is outcome
    assert payments.state == ("open" if fails else "closed")


# A clock of another run


def test_an_open_breaker_stays_open_for_one_open_time_at_most_in_another_run() -> None:
    """Its open time starts anew there, and does not wait until the other clock comes to where it was."""
    payments = breaker(policy=ConsecutiveFailures(1))

    async def first() -> None:
        payments.admit().failure()

    async def second() -> None:
        assert payments.retry_after == pytest.approx(5 + TICK)
        await anyio.sleep(1)
        with pytest.raises(BreakerOpen, match="try again in 5"):
            payments.admit()
        await anyio.sleep(5 + TICK)
        payments.admit().success()
        assert payments.state == "closed"

    in_two_runs(first, second)


def test_a_probe_that_another_run_left_behind_is_given_up_on() -> None:
    """Its deadline counts anew, too."""
    payments = breaker(policy=ConsecutiveFailures(1), half_open=HalfOpen(1, probe_timeout=10))

    async def first() -> None:
        payments.admit().failure()
        await anyio.sleep(6)
        payments.admit()

    async def second() -> None:
        with pytest.raises(HalfOpenFull):
            payments.admit()
        await anyio.sleep(10 + TICK)
        with pytest.raises(BreakerOpen):
            payments.admit()
        await anyio.sleep(5 + TICK)
        payments.admit().success()
        assert payments.state == "closed"

    in_two_runs(first, second)


def test_a_time_window_forgets_the_calls_of_another_run() -> None:
    """They are not within the last seconds of this clock."""
    payments = breaker(policy=FailureRate(0.5, LastSeconds(60), min_calls=3))

    async def first() -> None:
        for _ in range(2):
            payments.admit().failure()

    async def second() -> None:
        for _ in range(2):
            payments.admit().failure()
        assert payments.state == "closed"
        assert payments.health()["measured"] == "2 of 2 calls failed"

    in_two_runs(first, second)


def test_an_answer_cached_in_another_run_is_of_no_known_age() -> None:
    """So it is not served."""
    sick = False

    async def price(item: str) -> int:
        if sick:
            raise ConnectionError("nobody answers")
        return 4

    ask = with_fallback(breaker(), price, Cached(max_age=600))

    async def first() -> None:
        await ask("tea")

    async def second() -> None:
        nonlocal sick
        sick = True
        with pytest.raises(ConnectionError):
            await ask("tea")

    in_two_runs(first, second)


async def test_a_key_that_fails_while_falling_back_tells_both() -> None:
    """The first cause, and what the fallback raised."""
    ask = with_fallback(breaker(), away, Cached(max_age=9, key=lambda item: item.id))
    with pytest.raises(FallbackFailed, match=r"AttributeError.*nobody answers"):
        await ask("tea")
