"""What stands before each backend: timeout, breaker, bulkhead, hedges, retries, budget; and coalescing."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import anyio
import pytest

from eip_ref.api_gateway import (
    Backend,
    BackendFailed,
    Branch,
    Bulkhead,
    BulkheadFull,
    FanOut,
    GatewayTimeout,
    Hedging,
    NotFound,
    RetryBudget,
    hedged,
)
from eip_ref.circuit_breaker import (
    BreakerOpen,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    OpenDuration,
    Predicates,
    State,
)
from eip_ref.lab.invariants import breaker_legality, check
from eip_ref.lab.invariants.fan_out import fan_out_budget
from eip_ref.request_reply import NoResponder
from eip_ref.trace import Trace
from tests.backends import Play, Scenario, everywhere, recorded


def holds(play: Play, scenario: Scenario) -> Trace:
    trace = play(scenario)
    assert check(trace, fan_out_budget, breaker_legality) == []
    return trace


class Service:
    """Takes the next of `times` seconds for each call, and raises or returns the next of `says`."""

    def __init__(self, times: list[float], says: list[Any] | None = None) -> None:
        self.calls = 0
        self.cancelled = 0
        self._times = times
        self._says = says or ["ok"]

    async def __call__(self) -> Any:
        number = self.calls
        self.calls += 1
        try:
            await anyio.sleep(self._times[min(number, len(self._times) - 1)])
        except anyio.get_cancelled_exc_class():
            self.cancelled += 1
            raise
        said = self._says[min(number, len(self._says) - 1)]
        if isinstance(said, Exception):
            raise said
        return f"{said} {number}" if said == "ok" else said


async def fate(call: Any) -> Any:
    try:
        return await call
    except Exception as error:
        return type(error)


def quick_breaker(failures: int = 2) -> CircuitBreaker:
    return CircuitBreaker(
        "users breaker", policy=ConsecutiveFailures(failures), open_duration=OpenDuration(10)
    )


# Timeout and breaker


@everywhere
def test_a_backend_that_hangs_opens_its_breaker(play: Play) -> None:
    """The timeout is inside the breaker: hanging counts as failing, and then nobody waits any more."""
    service = Service([99])

    async def scenario() -> list[Any]:
        users = Backend("users", timeout=0.5, breaker=quick_breaker())
        return [await fate(users.call(service)) for _ in range(4)]

    trace = holds(play, scenario)
    assert trace.result == [GatewayTimeout, GatewayTimeout, BreakerOpen, BreakerOpen]
    assert (service.calls, trace.count("timed out", where="users")) == (2, 2)


async def test_a_timeout_is_told_with_the_time_that_it_took() -> None:
    """Counted from the call on."""
    await anyio.sleep(1)
    assert await fate(Backend("users", timeout=0.5).call(Service([99]))) is GatewayTimeout
    assert recorded().filter("timed out", where="users")[0].data["after"] == pytest.approx(0.5)


@everywhere
def test_a_caller_that_gives_up_says_nothing_about_the_backend(play: Play) -> None:
    """A cancelled call is neutral for the breaker, and frees its place."""

    async def scenario() -> State:
        users = Backend("users", timeout=0.5, max_concurrent=1, breaker=quick_breaker(1))
        for _ in range(3):
            with anyio.move_on_after(0.1):
                await users.call(Service([99]))
        return users.breaker.state

    trace = holds(play, scenario)
    assert trace.result is State.CLOSED
    assert trace.count("cancelled", where="users") == 3


@everywhere
def test_a_result_that_says_sick_counts_as_a_failure(play: Play) -> None:
    """The breaker's predicates judge results too."""

    async def scenario() -> State:
        breaker = CircuitBreaker(
            "users breaker",
            policy=ConsecutiveFailures(1),
            predicates=Predicates(failure=lambda said: said == "sick"),
        )
        await Backend("users", timeout=1, breaker=breaker).call(Service([0.1], ["sick"]))
        return breaker.state

    assert holds(play, scenario).result is State.OPEN


@everywhere
def test_not_found_is_an_answer_of_the_backend(play: Play) -> None:
    """The client's error is neither repeated nor a failure for the breaker."""
    service = Service([0.1], [NotFound("nobody")])

    async def scenario() -> list[Any]:
        users = Backend("users", timeout=0.5, pauses=[0.1], budget=RetryBudget())
        return [await fate(users.call(service, idempotent=True)) for _ in range(9)]

    assert holds(play, scenario).result == [NotFound] * 9
    assert service.calls == 9


@everywhere
@pytest.mark.parametrize(("seconds", "in_time"), [(0.499, True), (0.5, False)])
def test_a_call_at_its_timeout_is_over(play: Play, seconds: float, in_time: bool) -> None:
    """At the instant it is too late, for the caller and for the breaker alike."""

    async def scenario() -> State:
        users = Backend("users", timeout=0.5, breaker=quick_breaker(1))
        await fate(users.call(Service([seconds])))
        return users.breaker.state

    assert (holds(play, scenario).result is State.CLOSED) is in_time


@everywhere
def test_one_sick_backend_leaves_the_others_alone(play: Play) -> None:
    """A bulkhead and a breaker per backend."""

    async def scenario() -> list[Any]:
        sick, well = (Backend(name, timeout=0.5, max_concurrent=1) for name in ("sick", "well"))
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(fate, sick.call(Service([99])))
            await anyio.sleep(0.1)
            got = [await fate(well.call(Service([0.1]))), await fate(sick.call(Service([0.1])))]
        return got

    assert holds(play, scenario).result == ["ok 0", BulkheadFull]


# Bulkhead


@everywhere
def test_a_full_bulkhead_refuses_at_once(play: Play) -> None:
    """In-flight calls are never above the bulkhead; two run, three are refused."""
    service = Service([0.2])

    async def scenario() -> tuple[list[Any], float]:
        users = Backend("users", timeout=0.5, max_concurrent=2)
        got: list[Any] = []

        async def caller() -> None:
            got.append(await fate(users.call(service)))

        begun = anyio.current_time()
        async with anyio.create_task_group() as group:
            for _ in range(5):
                group.start_soon(caller)
        return got, anyio.current_time() - begun

    trace = holds(play, scenario)
    got, took = trace.result
    assert got[:3] == [BulkheadFull] * 3
    assert len(got[3:]) == service.calls == 2
    assert took == pytest.approx(0.2)
    assert trace.count("refused", where="users") == 3


async def test_a_caller_that_leaves_leaves_no_place_taken() -> None:
    """Cancelled inside: the next one gets in."""
    users = Bulkhead("users", max_concurrent=1)
    with anyio.move_on_after(0.1), users.place():
        await anyio.sleep(9)
    with users.place(), pytest.raises(BulkheadFull), users.place():
        pass
    assert users.under_way == 0


# Hedging


@everywhere
def test_a_slow_call_is_hedged_and_the_first_success_wins(play: Play) -> None:
    """After the delay a second call; the loser is cancelled, and awaited."""
    service = Service([0.9, 0.1])

    async def scenario() -> tuple[Any, float]:
        begun = anyio.current_time()
        users = Backend("users", timeout=1, hedging=Hedging(delay=0.2))
        return await users.call(service, idempotent=True), anyio.current_time() - begun

    trace = holds(play, scenario)
    assert trace.result == ("ok 1", pytest.approx(0.3))
    assert (service.calls, service.cancelled) == (2, 1)
    assert trace.filter("started", where="users")[1].data["extra"] == "hedge"
    assert trace.count("cancelled", where="users") == 1


@everywhere
def test_a_quick_call_is_not_hedged(play: Play) -> None:
    """Before the delay there is one call only, also when it fails."""
    quick, failing = Service([0.1]), Service([0.1], [KeyError()])

    async def scenario() -> list[Any]:
        users = Backend("users", timeout=1, hedging=Hedging(delay=0.2))
        return [await fate(users.call(s, idempotent=True)) for s in (quick, failing)]

    assert holds(play, scenario).result == ["ok 0", KeyError]
    assert quick.calls == failing.calls == 1


@everywhere
def test_what_may_not_happen_twice_is_neither_hedged_nor_repeated(play: Play) -> None:
    """Only for idempotent calls."""
    slow, failing = Service([0.9]), Service([0.1], [KeyError()])

    async def scenario() -> list[Any]:
        users = Backend("users", timeout=1, hedging=Hedging(delay=0.2), pauses=[0.1, 0.1])
        return [await fate(users.call(service)) for service in (slow, failing)]

    assert holds(play, scenario).result == ["ok 0", KeyError]
    assert slow.calls == failing.calls == 1


async def test_a_failed_call_waits_for_its_hedge() -> None:
    """The first success wins, not the first end; when all fail, the first call's error comes out."""
    rescued = Service([0.3, 0.5], [KeyError(), "saved"])
    lost = Service([0.3, 0.2], [KeyError(), ValueError()])
    result = [await fate(hedged(lambda _, s=s: s(), Hedging(delay=0.2))) for s in (rescued, lost)]  # type: ignore[misc]
    assert result == ["saved", KeyError]


@everywhere
def test_a_failure_does_not_end_the_hedging(play: Play) -> None:
    """While one call is still under way, another may be made after the next delay."""
    service = Service([0.3, 9, 0.1], [KeyError(), "never", "third"])

    async def scenario() -> tuple[Any, float]:
        begun = anyio.current_time()
        answer = await hedged(lambda _: service(), Hedging(delay=0.2, max_extra=2))
        return answer, anyio.current_time() - begun

    assert play(scenario).result == ("third", pytest.approx(0.5))


@everywhere
def test_hedges_stay_within_their_budget(play: Play) -> None:
    """20 slow calls, with 2 spare and a share of 0.1: the first two, and one more for the ten after."""
    service = Service([0.3])

    async def scenario() -> None:
        users = Backend(
            "users", timeout=1, hedging=Hedging(delay=0.1), budget=RetryBudget(share=0.1, spare=2)
        )
        for _ in range(20):
            await users.call(service, idempotent=True)

    trace = holds(play, scenario)
    hedges = trace.filter("started", where="users", test=lambda e: e.data.get("extra") == "hedge")
    assert len(hedges) == 3


@pytest.mark.parametrize(
    ("says", "budget", "fate_of_call", "calls", "took"),
    [
        ([ConnectionError(), "saved"], 2, "saved", 2, 0.2),
        ([ConnectionError(), ValueError(), "saved"], 2, "saved", 3, 0.3),
        ([ConnectionError(), ValueError()], 2, ConnectionError, 3, 0.3),
        ([ConnectionError(), "saved"], 0, ConnectionError, 1, 0.1),
        ([NotFound(), "never"], 2, NotFound, 1, 0.1),
    ],
)
async def test_a_failure_may_start_the_next_call_at_once(
    says: list[Any], budget: int, fate_of_call: Any, calls: int, took: float
) -> None:
    """Where `on_error` says so, the delay is not waited for; an answer of the backend is no failure."""
    service, begun = Service([0.1], says), anyio.current_time()
    hedging = Hedging(delay=5, max_extra=2, on_error=lambda error: True)
    users = Backend("users", timeout=1, hedging=hedging, budget=RetryBudget(share=0, spare=budget))
    assert await fate(users.call(service, idempotent=True)) == fate_of_call
    assert service.calls == calls
    assert anyio.current_time() - begun == pytest.approx(took)
    assert check(recorded(), fan_out_budget, breaker_legality) == []


async def test_what_a_rule_of_the_hedging_raises_comes_out_as_itself() -> None:
    """The calls under way are cancelled and awaited."""

    def broken(*error: Exception) -> bool:
        raise KeyError("no such budget")

    for failing, hedging, may in (
        (False, Hedging(delay=0.1), broken),
        (True, Hedging(delay=9, on_error=broken), lambda: True),
    ):
        service = Service([0.5], [ConnectionError()] if failing else None)
        with pytest.raises(KeyError, match="no such budget"):
            await hedged(lambda _, s=service: s(), hedging, may)  # type: ignore[misc]
        assert service.calls == 1


async def test_at_most_so_many_hedges_are_made_for_one_call() -> None:
    """One after each delay, up to the number given."""
    service = Service([0.95])
    await hedged(lambda _: service(), Hedging(delay=0.2, max_extra=2))
    assert service.calls == 3


def answers_that_need_closing(seconds: list[float], closed: list[int]) -> Callable[[int], Any]:
    """Calls whose answer comes even though they were cancelled."""

    async def call(number: int) -> int:
        with anyio.CancelScope(shield=True):
            await anyio.sleep(seconds[number])
        return number

    return call


async def test_an_answer_that_nobody_uses_is_disposed_of() -> None:
    """A loser that answers all the same is closed; the winner is not."""
    closed: list[int] = []

    async def close(answer: int) -> None:
        await anyio.sleep(0.01)
        closed.append(answer)

    call = answers_that_need_closing([0.5, 0.1], closed)
    assert await hedged(call, Hedging(delay=0.2, dispose=close)) == 1
    assert closed == [0]


async def test_an_answer_whose_caller_has_gone_is_disposed_of() -> None:
    """The winner too, when the caller was cancelled before it got it."""
    closed: list[int] = []

    async def close(answer: int) -> None:
        await anyio.sleep(0.01)
        closed.append(answer)

    with anyio.move_on_after(0.3) as scope:
        await hedged(answers_that_need_closing([0.5], closed), Hedging(delay=0.6, dispose=close))
    assert scope.cancelled_caught is True
    assert closed == [0]


# Retries


@everywhere
def test_a_failed_read_is_repeated_after_its_pauses(play: Play) -> None:
    """An idempotent call that failed, while there are pauses left."""
    service = Service([0.1], [KeyError(), KeyError(), "ok"])

    async def scenario() -> tuple[Any, float]:
        begun = anyio.current_time()
        users = Backend("users", timeout=1, pauses=[0.2, 0.3])
        return await users.call(service, idempotent=True), anyio.current_time() - begun

    trace = holds(play, scenario)
    assert trace.result == ("ok 2", pytest.approx(0.8))
    assert [e.data.get("extra") for e in trace.filter("started", where="users")] == [None, "retry", "retry"]


@everywhere
def test_what_certainly_was_not_done_is_repeated(play: Play) -> None:
    """A definite "not done" may be repeated even when the call is not idempotent."""
    service = Service([0.1], [NoResponder("nobody"), "ok"])

    async def scenario() -> Any:
        return await Backend("users", timeout=1, pauses=[0.2]).call(service)

    assert holds(play, scenario).result == "ok 1"


@everywhere
def test_retries_end_with_the_budget(play: Play) -> None:
    """100 calls to a backend that always fails: 3 spare, and one more for each ten."""
    service = Service([0.01], [KeyError()])

    async def scenario() -> None:
        breaker = quick_breaker(1_000)
        users = Backend("users", timeout=1, pauses=[0.01, 0.01], breaker=breaker)
        for _ in range(100):
            await fate(users.call(service, idempotent=True))

    holds(play, scenario)
    assert 110 <= service.calls <= 113


@everywhere
def test_no_retry_when_it_could_not_help(play: Play) -> None:
    """Not when the breaker is open, not when the bulkhead is full, not beyond the deadline."""
    service = Service([0.1], [KeyError()])

    async def scenario() -> list[Any]:
        users = Backend("users", timeout=1, pauses=[0.3], breaker=quick_breaker(1), max_concurrent=1)
        begun = anyio.current_time()
        with anyio.fail_after(0.4):
            got = [await fate(users.call(service, idempotent=True))]
        got.append(await fate(users.call(service, idempotent=True)))
        with users.bulkhead.place():
            got.append(await fate(users.call(service, idempotent=True)))
        return [*got, anyio.current_time() - begun]

    assert holds(play, scenario).result == [KeyError, BreakerOpen, BulkheadFull, pytest.approx(0.1)]
    assert service.calls == 1


@pytest.mark.parametrize("by", ["bulkhead", "breaker"])
async def test_a_call_that_was_turned_away_pays_for_no_retry(by: str) -> None:
    """It would be of no use to a service that has too much to do already."""
    budget = RetryBudget(share=0.5, spare=1)
    users = Backend("users", timeout=1, max_concurrent=1, pauses=[0.1], budget=budget)
    assert budget.spend()
    with users.bulkhead.place() if by == "bulkhead" else nullcontext():
        if by == "breaker":
            users.breaker.force_open()
        for _ in range(4):
            with pytest.raises((BulkheadFull, CallRejected)):
                await users.call(print)
    assert not budget.spend()


def test_a_budget_does_not_pile_up() -> None:
    """What is not used is lost beyond the spare: a quiet day does not pay for a storm."""
    budget = RetryBudget(share=0.1, spare=2)
    for _ in range(1_000):
        budget.earn()
    assert [budget.spend() for _ in range(3)] == [True, True, False]
    for _ in range(10):
        budget.earn()
    assert [budget.spend() for _ in range(2)] == [True, False]
    assert not RetryBudget(share=0, spare=0).spend()


@pytest.mark.parametrize(
    "make",
    [
        lambda: Backend("a", timeout=0),
        lambda: Backend("a", timeout=1, max_concurrent=0),
        lambda: Backend("a", timeout=1, breaker=CircuitBreaker("a")),
        lambda: Backend("a", timeout=1, budget=RetryBudget()),
        lambda: RetryBudget(share=1.1),
        lambda: RetryBudget(share=-0.1),
        lambda: RetryBudget(spare=0),
        lambda: RetryBudget(share=0, spare=-1),
        lambda: Hedging(delay=0),
        lambda: Hedging(delay=1, max_extra=0),
    ],
)
def test_what_cannot_work_is_refused_when_it_is_made(make: Callable[[], object]) -> None:
    """Bounds that are no bounds."""
    with pytest.raises(ValueError):  # noqa: PT011 - each says what to do
        make()


# Any callable: it works, or it is refused when it is handed over


async def test_a_call_may_be_a_plain_function() -> None:
    """A backend calls it, hedged or not, and the breaker counts no failure."""
    users = Backend("users", timeout=1, hedging=Hedging(delay=0.1))
    assert [await users.call(str, 5, idempotent=again) for again in (False, True)] == ["5", "5"]
    assert await hedged(lambda number: number, Hedging(delay=0.1)) == 0
    assert users.breaker.health()["failures"] == 0


async def test_an_async_rule_of_the_hedging_is_refused() -> None:
    """Its coroutine would say yes."""

    async def may(*error: Exception) -> bool:
        return False

    with pytest.raises(TypeError, match=r"on_error .*plain function"):
        Hedging(delay=0.1, on_error=may)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match=r"may .*plain function"):
        await hedged(str, Hedging(delay=0.1), may)  # type: ignore[arg-type]


def test_a_failure_of_the_backend_is_no_answer() -> None:
    """What the breaker counts: failures and timeouts, not what the client did wrong."""
    from eip_ref.api_gateway.backend import is_answer

    assert [is_answer(e) for e in (NotFound(), BackendFailed(), GatewayTimeout(), KeyError())] == [
        True, False, False, False,
    ]  # fmt: skip


# Side work does not replace an outcome


async def test_a_loser_that_cannot_be_disposed_of_does_not_spoil_the_race() -> None:
    """The first success wins; the trace tells of the other."""
    tried: list[int] = []

    async def dispose(answer: int) -> None:
        tried.append(answer)
        raise OSError("already closed")

    call = answers_that_need_closing([0.5, 0.1], tried)
    assert await hedged(call, Hedging(delay=0.2, dispose=dispose)) == 1
    assert tried == [0]
    (note,) = recorded().filter("note")
    assert "could not be disposed of: OSError('already closed')" in note.data["text"]


async def test_a_fan_out_in_a_cancelled_scope_is_cancelled_and_not_too_late() -> None:
    """Cancellation is no timeout, and the trace tells of none."""
    view = FanOut(Branch("a", lambda part: 1), timeout=1)
    with anyio.CancelScope() as scope:
        scope.cancel()
        await view()
    assert scope.cancelled_caught
    assert recorded().count("timed out") == 0
