"""The circuit breaker: its states, who is let in, what counts, and the three ways to use it."""

from __future__ import annotations

from typing import Any

import anyio
import anyio.lowlevel
import pytest

import eip_ref.circuit_breaker
from eip_ref.circuit_breaker import (
    BreakerOpen,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    HalfOpen,
    HalfOpenFull,
    OpenDuration,
    Permit,
    Predicates,
    State,
    Transition,
)
from eip_ref.lab.faults import Crash, Participant
from eip_ref.lab.invariants.breaker import breaker_legality
from eip_ref.trace import Trace
from tests.backends import recorded, virtual_time_only
from tests.docstrings import example

TICK = 0.001
AWAY = ConnectionError("nobody answers")


def breaker(*, probes: int = 1, successes: int = 1, **settings: Any) -> CircuitBreaker:
    """Opens at the third failure in a row, for 5 seconds."""
    settings.setdefault("policy", ConsecutiveFailures(3))
    settings.setdefault("open_duration", OpenDuration(5))
    settings.setdefault("half_open", HalfOpen(probes, probe_timeout=10, needed=successes))
    return CircuitBreaker("payments", **settings)


def opened(**settings: Any) -> CircuitBreaker:
    """The same, after three failures."""
    made = breaker(**settings)
    for _ in range(3):
        made.admit().failure()
    return made


async def half_opened(**settings: Any) -> tuple[CircuitBreaker, Permit]:
    """The same, after the open time, and with a first probe on its way."""
    made = opened(**settings)
    await anyio.sleep(5 + TICK)
    return made, made.admit()


async def charge(order: str = "order 1") -> str:
    await anyio.sleep(1)
    return f"charged {order}"


async def fail() -> None:
    raise AWAY


def states(trace: Trace) -> list[tuple[str, str]]:
    return [(e.data["was"], e.data["now"]) for e in trace.filter("state")]


# Closed, open, half-open


async def test_closed_lets_calls_pass_until_the_threshold_is_reached() -> None:
    """A threshold means at least: the third failure in a row opens, not the fourth."""
    payments = breaker()
    for _ in range(2):
        assert payments.admit().failure()
    assert payments.state == "closed"
    payments.admit().failure()
    assert payments.state == "open"
    assert states(recorded()) == [("closed", "open")]


async def test_open_rejects_at_once_and_calls_nobody() -> None:
    """The error says that the dependency was not called, which breaker it was, and when to come back."""
    payments = opened()
    await anyio.sleep(2)
    with pytest.raises(BreakerOpen, match=r"payments is open \(3 failures in a row\); try again in 3"):
        await payments.call(charge)
    assert payments.retry_after == pytest.approx(3 + TICK)
    trace = recorded()
    assert [e.data["reason"] for e in trace.filter("refused")] == ["open"]
    assert trace.count("started") == 3


@pytest.mark.parametrize(("after", "let_in"), [(5 - TICK, False), (5, False), (5 + TICK, True)])
async def test_the_breaker_opens_up_strictly_after_the_open_time(after: float, let_in: bool) -> None:
    """At the very instant it is still open; one tick later a call finds it half-open."""
    payments = opened()
    with anyio.CancelScope(deadline=anyio.current_time() + after):
        await anyio.sleep_forever()
    if let_in:
        payments.admit()
        assert payments.state == "half-open"
    else:
        with pytest.raises(BreakerOpen):
            payments.admit()


async def test_who_waits_as_long_as_told_is_let_in() -> None:
    """retry_after is long enough, from any instant: nobody comes back at the one that is still closed."""
    for waited in (0.0, 2.5, 5.0):
        payments = opened()
        with anyio.CancelScope(deadline=anyio.current_time() + waited):
            await anyio.sleep_forever()
        with pytest.raises(BreakerOpen) as refusal:
            payments.admit()
        assert refusal.value.retry_after is not None
        await anyio.sleep(refusal.value.retry_after)
        assert payments.retry_after == pytest.approx(0, abs=2 * TICK)
        payments.admit()
        assert payments.retry_after == 0


async def test_half_open_closes_when_its_probes_succeed() -> None:
    """With two successes asked for, the first leaves it half-open and the second closes it."""
    payments, probe = await half_opened(successes=2)
    probe.success()
    assert payments.state == "half-open"
    payments.admit().success()
    assert payments.state == "closed"
    assert states(recorded()) == [("closed", "open"), ("open", "half-open"), ("half-open", "closed")]


async def test_half_open_opens_at_the_first_failure_for_a_full_open_time() -> None:
    """Strict by default: one bad probe among good ones is enough."""
    payments, probe = await half_opened(successes=3)
    probe.success()
    payments.admit().failure()
    assert payments.state == "open"
    assert payments.retry_after == pytest.approx(5 + TICK)
    assert recorded().filter("state")[-1].data["by"] == "payments#5"


async def test_half_open_admits_at_most_its_limit_of_twenty_that_come_together() -> None:
    """The excess is rejected with an error that differs from "open"."""
    payments, came = opened(probes=2, successes=2), {"in": 0, "full": 0, "open": 0}

    async def call() -> None:
        try:
            await payments.call(charge)
            came["in"] += 1
        except BreakerOpen:
            came["open"] += 1
        except HalfOpenFull:
            came["full"] += 1

    await anyio.sleep(5 + TICK)
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(call)
    assert payments.state == "closed"
    assert came == {"in": 2, "full": 18, "open": 0}


async def test_a_settled_probe_frees_its_slot() -> None:
    """The limit is on unsettled probes, not on all of them."""
    payments, probe = await half_opened(successes=3)
    with pytest.raises(HalfOpenFull, match="1 of 1 probes") as refusal:
        payments.admit()
    assert refusal.value.retry_after is None
    probe.success()
    payments.admit().success()
    payments.admit()


@pytest.mark.parametrize(("after", "state"), [(10 - TICK, "full"), (10, "full"), (10 + TICK, "open")])
async def test_half_open_has_a_deadline(after: float, state: str) -> None:
    """A probe that is never settled opens the breaker again, strictly after its time."""
    payments, probe = await half_opened()
    with anyio.CancelScope(deadline=probe.admitted + after):
        await anyio.sleep_forever()
    with pytest.raises(BreakerOpen if state == "open" else HalfOpenFull):
        payments.admit()
    assert probe.success() is (state == "full")


async def test_a_probe_that_settles_after_the_deadline_is_stale() -> None:
    """Its verdict comes too late, even when nobody asked meanwhile: the breaker is open."""
    payments, probe = await half_opened()
    await anyio.sleep(11)
    assert not probe.success()
    assert payments.state == "open"


async def test_the_open_time_after_a_lost_probe_counts_from_its_deadline() -> None:
    """Whoever comes long after it need not wait again: a new probe is let in at once."""
    payments, _ = await half_opened()
    await anyio.sleep(12)
    with pytest.raises(BreakerOpen) as refusal:
        payments.admit()
    assert refusal.value.retry_after == pytest.approx(3 + TICK)
    await anyio.sleep(100)
    payments.admit().success()
    assert payments.state == "closed"


async def test_slow_traffic_in_half_open_is_no_lost_probe() -> None:
    """The deadline is that of a probe: hours between good probes do not open the breaker."""
    payments, probe = await half_opened(successes=3)
    probe.success()
    for _ in range(2):
        await anyio.sleep(3600)
        assert payments.state == "half-open"
        payments.admit().success()
    assert payments.state == "closed"


@virtual_time_only
async def test_a_probe_whose_caller_dies_does_not_keep_its_slot_for_ever() -> None:
    """A crash settles nothing; the deadline does."""
    payments = opened()
    await anyio.sleep(5 + TICK)

    async def shop() -> None:
        await payments.call(anyio.sleep_forever)

    await Participant("shop", shop, crashes=(Crash(at=7),)).run()
    with pytest.raises(HalfOpenFull):
        payments.admit()
    await anyio.sleep(14)
    payments.admit().success()
    assert payments.state == "closed"


# Generations


@pytest.mark.parametrize("verdict", ["success", "failure", "neutral"])
async def test_a_result_counts_only_in_the_generation_that_admitted_it(verdict: str) -> None:
    """Calls from before the outage neither close nor re-open anything when they settle later."""
    payments = breaker()
    old = [payments.admit() for _ in range(9)]
    for _ in range(3):
        payments.admit().failure()
    assert not getattr(old[0], verdict)()
    assert payments.state == "open"
    await anyio.sleep(5 + TICK)
    probe = payments.admit()
    assert not any(getattr(permit, verdict)() for permit in old[1:5])
    assert payments.state == "half-open"
    with pytest.raises(HalfOpenFull):
        payments.admit()
    assert probe.success()
    assert not any(getattr(permit, verdict)() for permit in old[5:])
    assert payments.state == "closed"
    trace = recorded()
    assert breaker_legality(trace) == []
    assert sum(e.data.get("stale", False) for e in trace) == 9


async def test_a_probe_of_an_earlier_half_open_does_not_count_in_a_later_one() -> None:
    """Half-open, open and half-open again: three generations, and the first probe is of the first."""
    payments, early = await half_opened(probes=2)
    payments.admit().failure()
    await anyio.sleep(5 + TICK)
    payments.admit()
    assert not early.success()
    assert payments.state == "half-open"


async def test_counts_are_reset_at_each_transition() -> None:
    """After closing, two failures are two again, whatever there was before."""
    payments, probe = await half_opened()
    probe.success()
    for _ in range(2):
        payments.admit().failure()
    assert payments.state == "closed"
    payments.admit().failure()
    assert payments.state == "open"
    assert payments.generation == 5


async def test_the_verdict_of_one_half_open_does_not_count_in_the_next() -> None:
    """Two successes asked for: one of them before and one after an opening are not two."""
    payments, probe = await half_opened(successes=2)
    probe.success()
    payments.admit().failure()
    await anyio.sleep(5 + TICK)
    payments.admit().success()
    assert payments.state == "half-open"


async def test_a_permit_settles_once() -> None:
    """Settling is idempotent: the first way counts, the others are refused."""
    payments = breaker()
    permit = payments.admit()
    assert permit.success()
    assert not any(permit.failure() for _ in range(9))
    assert payments.state == "closed"
    assert recorded().count("failed") == 0


async def test_a_rejected_call_is_never_recorded() -> None:
    """A thousand rejections change neither the open time nor what opens the breaker next."""
    payments = opened()
    until = payments.retry_after
    for _ in range(1_000):
        with pytest.raises(BreakerOpen):
            payments.admit()
    assert payments.retry_after == until
    await anyio.sleep(5 + TICK)
    probe = payments.admit()
    for _ in range(1_000):
        with pytest.raises(HalfOpenFull):
            payments.admit()
    assert probe.success()
    for _ in range(2):
        payments.admit().failure()
    assert payments.state == "closed"


# What a result says


class Invalid(ValueError):
    """The caller's own error."""


class NotFound(LookupError):
    """The dependency answered: there is no such thing."""


OUTCOMES = Predicates(
    neutral=Invalid,
    success=(NotFound, KeyError),
    failure=lambda outcome: outcome == "503" or isinstance(outcome, TimeoutError),
)


@pytest.mark.parametrize(
    ("outcome", "counts_as"),
    [
        (Invalid("no such order"), "neutral"),
        (NotFound("no such customer"), "success"),
        (KeyError("sku"), "success"),
        (TimeoutError(), "failure"),
        (RuntimeError("anything else that is raised"), "failure"),
        ("503", "failure"),
        ("anything else that is returned", "success"),
    ],
)
async def test_three_predicates_judge_exceptions_and_results(outcome: Any, counts_as: str) -> None:
    """Neutral leaves a run of failures as it is, a success ends it, a failure goes on with it."""

    async def call() -> Any:
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    payments, seen = breaker(predicates=OUTCOMES), list[State]()
    payments.admit().failure()
    payments.admit().failure()
    if isinstance(outcome, Exception):
        with pytest.raises(type(outcome)) as raised:
            await payments.call(call)
        assert raised.value is outcome
    else:
        assert await payments.call(call) == outcome
    seen.append(payments.state)
    if payments.state is State.CLOSED:
        payments.admit().failure()
        seen.append(payments.state)
    expected = {"failure": ["open"], "success": ["closed"] * 2, "neutral": ["closed", "open"]}
    assert seen == expected[counts_as]
    assert counts_as in {e.data.get("verdict") for e in recorded()}


async def test_neutral_frees_the_slot_and_decides_nothing() -> None:
    """A probe with the caller's own error leaves the breaker half-open, with room for another."""
    payments, probe = await half_opened(predicates=OUTCOMES)
    probe.judged(error=Invalid("no such order"))
    assert payments.state == "half-open"
    payments.admit().success()
    assert payments.state == "closed"


async def test_cancellation_is_neutral_frees_its_slot_and_goes_on() -> None:
    """The caller gave up; that says nothing about the dependency."""
    payments = breaker()
    for _ in range(5):
        with anyio.move_on_after(0.5) as limit:
            await payments.call(charge)
        assert limit.cancelled_caught
    assert payments.state == "closed"
    for _ in range(3):
        payments.admit().failure()
    await anyio.sleep(5 + TICK)
    with anyio.move_on_after(0.5) as limit:
        await payments.call(charge)
    assert limit.cancelled_caught
    assert payments.state == "half-open"
    assert await payments.call(charge) == "charged order 1"
    assert payments.state == "closed"
    trace = recorded()
    assert trace.count("cancelled") == 6
    assert trace.count("failed") == 3


async def test_a_predicate_that_raises_keeps_no_slot() -> None:
    """What it raises comes out; the call is neutral."""
    payments, probe = await half_opened(predicates=Predicates(failure=lambda result: result.status > 499))
    with pytest.raises(AttributeError):
        probe.judged("no status")
    assert payments.state == "half-open"
    payments.admit().success()


async def test_what_is_settled_is_judged_no_more() -> None:
    """The predicates are not asked again, so that the error of the block comes out and not one of theirs."""
    payments = breaker(predicates=Predicates(failure=lambda result: result.status > 499))
    permit = payments.admit()
    permit.failure()
    with pytest.raises(ConnectionError), permit:
        raise AWAY
    assert not permit.judged("no status")


# Three ways to use it


async def test_as_a_decorator_the_function_stays_itself() -> None:
    """Name, arguments and result are those of the function; failures are counted."""
    payments = breaker()

    @payments
    async def refund(order: str, *, by: str) -> str:
        """Give the money back."""
        if by == "nobody":
            raise AWAY
        return f"{order} by {by}"

    assert (refund.__name__, refund.__doc__) == ("refund", "Give the money back.")
    assert await refund("order 1", by="shop") == "order 1 by shop"
    for _ in range(3):
        with pytest.raises(ConnectionError):
            await refund("order 1", by="nobody")
    with pytest.raises(BreakerOpen):
        await refund("order 1", by="shop")


def test_a_function_that_is_not_async_cannot_be_decorated() -> None:
    """Its call would be over before anything happened."""
    with pytest.raises(TypeError, match="async"):
        breaker()(lambda: None)  # type: ignore[arg-type, return-value]


async def test_as_a_context_manager_the_block_is_the_call() -> None:
    """Exceptions are judged, a quiet end is a success, and a result can be judged inside."""
    payments = breaker(predicates=OUTCOMES)
    payments.admit().failure()
    with pytest.raises(ConnectionError), payments.admit():
        await fail()
    with payments.admit("order 17") as permit:
        permit.judged("503")
    assert payments.state == "open"
    with pytest.raises(BreakerOpen), payments.admit():
        raise AssertionError("the block must not run")
    await anyio.sleep(5 + TICK)
    with payments.admit():
        await charge()
    assert payments.state == "closed"
    assert [e.kind for e in recorded().filter(message="order 17")] == ["started", "failed"]


async def test_a_rejected_caller_who_tries_again_in_a_loop_stops_nobody() -> None:
    """A rejection too lets others have their turn."""
    payments = opened()

    async def insist() -> None:
        while True:
            try:
                await payments.call(charge)
            except CallRejected:
                continue

    async with anyio.create_task_group() as group:
        group.start_soon(insist)
        for _ in range(10):
            await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()


# The callback


async def test_the_callback_runs_once_per_transition_when_that_is_complete() -> None:
    """It finds the new state, and may use the breaker itself."""
    heard: list[Transition] = []

    def hear(change: Transition) -> None:
        heard.append(change)
        assert (payments.state, payments.generation) == (change.now, change.generation)
        if change.now is State.HALF_OPEN:
            payments.force_open("not during the sale")

    payments = opened(on_change=hear)
    await anyio.sleep(5 + TICK)
    with pytest.raises(BreakerOpen, match="not during the sale"):
        payments.admit()
    assert [(c.was, c.now, c.generation) for c in heard] == [
        ("closed", "open", 2),
        ("open", "half-open", 3),
        ("half-open", "forced open", 4),
    ]
    assert [c.reason for c in heard] == [
        "3 failures in a row",
        "the open time is over",
        "not during the sale",
    ]
    assert heard[1].at - heard[0].at == pytest.approx(5 + TICK)
    assert heard[0].breaker == "payments"


async def test_what_the_callback_raises_goes_no_further(caplog: pytest.LogCaptureFixture) -> None:
    """The call of somebody else does not fail for it, and the log and the trace tell."""

    def hear(change: Transition) -> None:
        raise RuntimeError("the pager is broken")

    payments = opened(on_change=hear)
    assert payments.state == "open"
    await anyio.sleep(5 + TICK)
    assert await payments.call(charge) == "charged order 1"
    assert recorded().count("note") == 3
    assert "RuntimeError: the pager is broken" in caplog.text  # with its traceback


# By hand


async def test_forced_open_rejects_until_it_is_reset() -> None:
    """No time opens it up, and nobody can say when to come back."""
    payments = breaker()
    payments.force_open("maintenance")
    payments.force_open("again")
    await anyio.sleep(1_000)
    with pytest.raises(BreakerOpen, match="maintenance") as refusal:
        payments.admit()
    assert refusal.value.retry_after is payments.retry_after is None
    payments.reset()
    assert await payments.call(charge)
    assert states(recorded()) == [("closed", "forced open"), ("forced open", "closed")]
    assert all(change.data["manual"] for change in recorded().filter("state"))


async def test_disabled_lets_all_pass_and_counts_nothing() -> None:
    """Until the reset, which starts with nothing counted."""
    payments = opened()
    payments.disable()
    assert not any(payments.admit().failure() for _ in range(9))
    assert payments.state == "disabled"
    payments.reset()
    payments.admit().failure()
    assert payments.state == "closed"


async def test_observing_counts_and_tells_but_rejects_nobody(caplog: pytest.LogCaptureFixture) -> None:
    """It says each time that it would have opened: what a threshold would do can be seen before it does."""
    payments = breaker()
    payments.observe()
    for _ in range(7):
        assert payments.admit().failure()
    assert payments.state == "observing"
    notes = [e.data["text"] for e in recorded().filter("note")]
    assert notes == ["payments would have opened: 3 failures in a row"] * 2
    assert "would have opened" in caplog.text


async def test_reset_closes_whatever_it_was_and_old_results_are_stale() -> None:
    """An operator who knows better need not wait; closed already is no transition."""
    payments = breaker()
    payments.reset()
    assert payments.generation == 1
    payments, probe = await half_opened()
    payments.reset()
    assert not probe.failure()
    assert payments.state == "closed"
    trace = recorded()
    assert states(trace)[-1] == ("half-open", "closed")
    assert breaker_legality(trace) == []


# The trace


async def test_the_trace_tells_each_call_and_each_state() -> None:
    """Started, then finished, failed or cancelled; refused; and each state with its reason."""
    await anyio.sleep(1)
    payments = opened()
    with pytest.raises(BreakerOpen):
        payments.admit("order 4")
    await anyio.sleep(5 + TICK)
    await payments.call(charge)
    trace = recorded()
    assert {e.where for e in trace} == {"payments"}
    assert [(e.kind, e.message) for e in trace][-6:] == [
        ("state", ""),
        ("refused", "order 4"),
        ("state", ""),
        ("started", "payments#5"),
        ("finished", "payments#5"),
        ("state", ""),
    ]
    opening, trying, closing = (e.data for e in trace.filter("state"))
    assert (opening["by"], opening["reason"], opening["open_for"]) == ("payments#3", "3 failures in a row", 5)
    assert (trying["by"], trying["limit"], trying["generation"]) == ("", 1, 3)
    assert (closing["by"], closing["manual"]) == ("payments#5", False)
    assert Trace.from_json(trace.to_json()) == trace


async def test_the_trace_tells_how_a_call_ended_for_its_caller() -> None:
    """With its error where there is one, whatever that says about the dependency."""
    payments = breaker()
    payments.admit().failure(AWAY)
    payments.admit().neutral(AWAY)
    payments.admit().neutral()
    payments.admit().success()
    ended = [(e.kind, e.data.get("error")) for e in recorded().filter("failed", "finished")]
    assert ended == [("failed", repr(AWAY))] * 2 + [("finished", None)] * 2


def test_the_example_of_the_package_runs(capsys: pytest.CaptureFixture[str]) -> None:
    """At most 30 lines, and its output shows the three states at work."""
    code = example(eip_ref.circuit_breaker)
    assert len([line for line in code.splitlines() if line]) <= 30
    exec(code, {})
    said = capsys.readouterr().out
    assert said.count("ConnectionError") == 4
    assert said.count("BreakerOpen") == 6
    assert said.splitlines()[-1].endswith("closed  charged order 12")
