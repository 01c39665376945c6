"""Policies, windows and recovery: when a breaker opens, for how long, and what closes it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from random import Random

import anyio
import pytest

from eip_ref.circuit_breaker import (
    AnyOf,
    Breakers,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    HalfOpen,
    LastCalls,
    LastSeconds,
    OpenDuration,
    Policy,
    SlowCallRate,
    State,
)
from tests.backends import recorded, virtual_time_only

TICK = 0.001


Call = tuple[bool, float, float]
"""Failed or not, how many seconds it took, and when it settled."""


def opens_after(policy: Policy, calls: Iterable[Call]) -> int | None:
    """The number of calls that it takes until the policy says open; None when it never does."""
    counted = policy.fresh()
    return next((n for n, call in enumerate(calls, start=1) if counted.add(*call)), None)


def results(text: str, *, every: float = 1.0, seconds: float = 0.1) -> list[Call]:
    """Calls from text: x failed, anything else succeeded."""
    return [(letter == "x", seconds, n * every) for n, letter in enumerate(text)]


# When to open


def test_consecutive_failures_opens_at_the_threshold() -> None:
    """Five means the fifth, not the sixth: the article's loop of five failures opens the breaker."""
    assert opens_after(ConsecutiveFailures(5), results("xxxxxx")) == 5
    assert opens_after(ConsecutiveFailures(1), results("x")) == 1


def test_a_success_ends_the_run() -> None:
    """Failures that are not in a row do not add up."""
    assert opens_after(ConsecutiveFailures(3), results("xx.xx.xx")) is None


def test_the_rate_opens_at_least_at_its_threshold() -> None:
    """Exactly half is enough for 0.5, and a share that no binary fraction can write is met exactly."""
    assert opens_after(FailureRate(0.5, LastCalls(10), min_calls=4), results("x.x.")) == 4
    assert opens_after(FailureRate(0.5, LastCalls(10), min_calls=4), results("x..." + "." * 50)) is None
    assert opens_after(FailureRate(0.1, LastCalls(30), min_calls=30), results("xxx" + "." * 27)) == 30


def test_below_the_minimum_volume_there_is_no_verdict() -> None:
    """One failure of one call is not an outage."""
    assert opens_after(FailureRate(0.5, LastCalls(20), min_calls=10), results("x" * 9)) is None
    assert opens_after(FailureRate(0.5, LastCalls(20), min_calls=10), results("x" * 10)) == 10


def test_a_success_can_be_the_result_that_opens() -> None:
    """Every result is looked at: the tenth call completes the volume, whatever it was."""
    assert opens_after(FailureRate(0.5, LastCalls(20), min_calls=10), results("xxxxxxxxx.")) == 10


def test_a_count_window_forgets_the_call_before_its_last_ones() -> None:
    """A ring of four: what comes fifth pushes the first out."""
    policy = FailureRate(0.75, LastCalls(4), min_calls=4)
    assert opens_after(policy, results("xx...xx.")) is None
    assert opens_after(policy, results("xx....xxx")) == 9


@pytest.mark.parametrize(("age", "opens"), [(60 - TICK, 2), (60, 2), (60 + TICK, None)])
def test_a_call_leaves_a_time_window_strictly_after_its_time(age: float, opens: int | None) -> None:
    """At the very instant it still counts, one tick later no more."""
    policy = FailureRate(1.0, LastSeconds(60), min_calls=2)
    assert opens_after(policy, [(True, 0.1, 0.0), (True, 0.1, age)]) == opens


def test_a_time_window_rolls() -> None:
    """It moves with each call, and does not start anew at full minutes."""
    policy = FailureRate(1.0, LastSeconds(10), min_calls=3)
    assert opens_after(policy, [(True, 0.1, at) for at in (0, 6, 12, 18, 24)]) is None
    assert opens_after(policy, [(True, 0.1, at) for at in (0, 6, 12, 15)]) == 4


def test_windows_have_a_bound_on_memory() -> None:
    """A million calls a minute take no more room than a thousand entries."""
    ring, rolling = LastCalls(100), LastSeconds(60)
    for n in range(100_000):
        ring.add(False, n * 0.0001)
        rolling.add(n % 2 == 0, n * 0.001)
    assert len(ring._calls) == 100
    assert len(rolling._slices) <= 1_002
    assert rolling.total == pytest.approx(60_000, rel=0.002)
    assert rolling.bad == pytest.approx(30_000, rel=0.002)


@pytest.mark.parametrize(("seconds", "opens"), [(2 - TICK, None), (2, None), (2 + TICK, 2)])
def test_slow_means_above_the_threshold(seconds: float, opens: int | None) -> None:
    """A call that takes exactly as long as it may is not slow."""
    policy = SlowCallRate(0.5, slow_after=2, window=LastCalls(10), min_calls=2)
    assert opens_after(policy, results("..", seconds=seconds)) == opens


def test_a_fast_failure_is_not_slow_and_a_slow_success_is() -> None:
    """The rate of slow calls looks at durations only."""
    policy = SlowCallRate(1.0, slow_after=2, window=LastCalls(3), min_calls=3)
    assert opens_after(policy, results("xxxxx")) is None


def test_any_of_several_policies_opens() -> None:
    """Each counts every call; the first with a reason decides."""
    failing = FailureRate(0.6, LastCalls(5), min_calls=5)
    slow = SlowCallRate(0.6, slow_after=2, window=LastCalls(5), min_calls=5)
    policy = AnyOf(failing, slow)
    assert policy.slow_after == 2
    assert opens_after(policy, results(".....", seconds=3)) == 5
    assert opens_after(policy, results("xxx..")) == 5
    assert opens_after(policy, results("xx...")) is None


def test_a_policy_holds_no_counts_so_breakers_can_share_it() -> None:
    """Two breakers with one policy object do not add up their failures."""
    for policy in (ConsecutiveFailures(3), FailureRate(1.0, LastCalls(3), min_calls=3)):
        first, second = policy.fresh(), policy.fresh()
        for _ in range(2):
            assert first.add(True, 0.1, 0) is second.add(True, 0.1, 0) is None


async def test_a_breaker_measures_how_long_calls_take() -> None:
    """From the permit to the result, on anyio's clock; half of the calls slow is an outage."""
    policy = SlowCallRate(0.5, slow_after=2, window=LastCalls(4), min_calls=4)
    stock = CircuitBreaker("stock", policy=policy)
    for seconds in (1, 3, 1, 3):
        assert stock.state == "closed"
        await stock.call(anyio.sleep, seconds)
    assert stock.state == "open"
    assert recorded().filter("state")[0].data["reason"] == "2 of 4 calls took over 2 s"


async def test_any_of_several_policies_gets_the_times_that_it_asks_for() -> None:
    """Also when the others ask for none."""
    policy = AnyOf(ConsecutiveFailures(5), SlowCallRate(0.5, LastCalls(4), slow_after=2, min_calls=2))
    stock = CircuitBreaker("stock", policy=policy)
    for _ in range(2):
        await stock.call(anyio.sleep, 3)
    assert stock.state == "open"
    assert recorded().filter("state")[0].data["reason"] == "2 of 2 calls took over 2 s"


def test_a_closed_breaker_looks_at_no_clock_when_its_policy_asks_for_no_time() -> None:
    """A look costs as much as the call. Here there is no event loop, so that a look would be an error."""
    for policy in (ConsecutiveFailures(3), FailureRate(0.5, LastCalls(10)), AnyOf(ConsecutiveFailures(3))):
        stock = CircuitBreaker("stock", policy=policy)
        assert stock.admit().success()
        assert stock.admit().failure()
    with pytest.raises(RuntimeError):
        CircuitBreaker("stock", policy=FailureRate(0.5, LastSeconds(10))).admit()


@pytest.mark.parametrize(("seconds", "state"), [(2, State.CLOSED), (3, State.OPEN)])
async def test_a_slow_probe_does_not_close_a_breaker_that_minds_slowness(
    seconds: float, state: State
) -> None:
    """It answered, but no better than when the breaker opened."""
    policy = SlowCallRate(1.0, slow_after=2, window=LastCalls(1), min_calls=1)
    stock = CircuitBreaker("stock", policy=policy, open_duration=OpenDuration(5))
    await stock.call(anyio.sleep, 3)
    await anyio.sleep(6)
    await stock.call(anyio.sleep, seconds)
    assert stock.state is state


# How long, and what closes it


async def test_the_open_time_grows_with_each_opening_until_it_closes() -> None:
    """5, 10, 20, then the bound of 30; after a close it starts at 5 again."""
    stock = CircuitBreaker("stock", policy=ConsecutiveFailures(1), open_duration=GROWING)
    times: list[float] = []

    async def again(failed: bool) -> None:
        await anyio.sleep(stock.retry_after or 0)
        permit = stock.admit()
        if not failed:
            permit.success()
            return
        permit.failure()
        times.append(round(stock.retry_after or 0))

    for failed in (True, True, True, True, True, False, True):
        await again(failed)
    assert times == [5, 10, 20, 30, 30, 5]


GROWING = OpenDuration(5, factor=2, max_duration=30)


async def test_manual_reset_starts_the_open_time_anew() -> None:
    """As closing does."""
    stock = CircuitBreaker("stock", policy=ConsecutiveFailures(1), open_duration=GROWING)
    for _ in range(3):
        stock.admit().failure()
        stock.reset()
    stock.admit().failure()
    assert round(stock.retry_after or 0) == 5


def test_jitter_spreads_the_open_time_and_comes_from_the_generator_handed_in() -> None:
    """The same seed gives the same times, all within the share and never above the bound."""
    time = OpenDuration(10, jitter=0.2, max_duration=11)
    drawn = [time.seconds(1, Random(seed)) for seed in range(200)]
    assert drawn == [time.seconds(1, Random(seed)) for seed in range(200)]
    assert 8 <= min(drawn) < 8.2
    assert max(drawn) == 11
    assert len(set(drawn)) > 100
    with pytest.raises(ValueError, match=r"random=Random\(seed\)"):
        CircuitBreaker("stock", open_duration=time)


async def test_a_breaker_opens_for_a_time_with_jitter() -> None:
    """Two callers with generators of their own do not come back at the same instant."""
    times = set()
    for seed in range(5):
        stock = CircuitBreaker(
            "stock",
            policy=ConsecutiveFailures(1),
            open_duration=OpenDuration(10, jitter=0.5),
            random=Random(seed),
        )
        stock.admit().failure()
        times.add(stock.retry_after or 0)
    assert len(times) == 5
    assert all(5 <= time <= 15 + TICK for time in times)


def test_a_very_long_outage_does_not_overflow() -> None:
    """After a hundred thousand openings the time is still the bound."""
    assert OpenDuration(5, factor=100, max_duration=60).seconds(100_000, None) == 60


def test_no_probe_counts_twice_in_a_rate_of_probes() -> None:
    """Lenient: of four probes one may fail; at half of them it opens, and not before all have settled."""

    def verdicts(probes: str) -> list[tuple[str, str]]:
        rule = HalfOpen(4, needed=4, threshold=0.5)
        return [rule.verdict(n, probes[:n].count("x")) for n in range(1, len(probes) + 1)]

    assert [verdict for verdict, _ in verdicts("x...")] == ["neutral", "neutral", "neutral", "success"]
    assert verdicts("x...")[-1] == ("success", "1 of 4 probes failed")
    assert [verdict for verdict, _ in verdicts("xx..")] == ["neutral", "neutral", "neutral", "failure"]
    assert verdicts("xx..")[-1] == ("failure", "2 of 4 probes failed")


@pytest.mark.parametrize(("failures", "state"), [(1, State.CLOSED), (2, State.OPEN)])
async def test_the_verdict_of_half_open_can_be_a_rate(failures: int, state: State) -> None:
    """As an option; without it the first failure opens."""
    half_open = HalfOpen(4, needed=4, threshold=0.5)
    stock = CircuitBreaker(
        "stock", policy=ConsecutiveFailures(1), open_duration=OpenDuration(5), half_open=half_open
    )
    stock.admit().failure()
    await anyio.sleep(6)
    probes = [stock.admit() for _ in range(4)]
    for number, probe in enumerate(probes):
        assert stock.state == "half-open"
        if number < failures:
            probe.failure()
        else:
            probe.success()
    assert stock.state is state


# One per dependency


@virtual_time_only
async def test_the_registry_gives_each_dependency_its_own_and_always_the_same() -> None:
    """A sick payment service does not cut off the stock."""
    breakers = Breakers(lambda name: CircuitBreaker(name, policy=ConsecutiveFailures(1)))
    assert breakers["payments"] is breakers["payments"]
    breakers["payments"].admit().failure()
    assert breakers["payments"].state == "open"
    assert breakers["stock"].state == "closed"
    assert [breaker.name for breaker in breakers.values()] == ["payments", "stock"]
    assert len(breakers) == 2


def test_the_registry_is_bounded_and_checks_names() -> None:
    """A breaker per request is a leak, and one breaker under two names is no breaker per dependency."""
    breakers = Breakers(CircuitBreaker, capacity=2)
    for name in ("payments", "stock", "payments"):
        assert breakers[name].name == name
    with pytest.raises(ValueError, match="not after requests"):
        breakers["order 17"]
    with pytest.raises(ValueError, match="must have that name"):
        Breakers(lambda _: CircuitBreaker("all"))["payments"]


# Bad input


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: ConsecutiveFailures(0), "threshold must be a whole number from 1 on"),
        (lambda: ConsecutiveFailures(2.5), "threshold must be a whole number"),  # type: ignore[arg-type]
        (lambda: FailureRate(50, LastCalls(10)), "50 % is 0.5"),
        (lambda: FailureRate(0, LastCalls(10)), "a share above 0"),
        (lambda: FailureRate(0.5, LastCalls(5), min_calls=6), "would never open"),
        (lambda: FailureRate(0.5, LastSeconds(5), min_calls=0), "min_calls must be a whole number from 1 on"),
        (lambda: SlowCallRate(0.5, LastCalls(10), slow_after=0), "slow_after must be .* seconds above 0"),
        (lambda: FailureRate(math.nan, LastCalls(10)), "a share above 0"),
        (lambda: SlowCallRate(0.5, LastCalls(10), slow_after=math.nan), "slow_after must be"),
        (lambda: SlowCallRate(1.5, LastCalls(10), slow_after=1), "up to 1"),
        (lambda: LastCalls(0), "size must be a whole number from 1 on"),
        (lambda: LastSeconds(0), "seconds must be .* above 0"),
        (lambda: LastSeconds(math.nan), "seconds must be"),
        (AnyOf, "at least one policy"),
        (lambda: OpenDuration(0), "first must be .* above 0"),
        (lambda: OpenDuration(math.nan), "first must be"),
        (lambda: OpenDuration(5, factor=math.nan), "factor must be"),
        (lambda: OpenDuration(5, factor=101), "at most 100"),
        (lambda: OpenDuration(5, jitter=math.nan), "jitter must be"),
        (lambda: OpenDuration(10, max_duration=5), "at most max_duration, 5"),
        (lambda: OpenDuration(5, factor=0.5), "at least 1"),
        (lambda: OpenDuration(5, jitter=1), "below 1"),
        (lambda: HalfOpen(0), "max_probes must be a whole number from 1 on"),
        (lambda: HalfOpen(probe_timeout=0), "probe_timeout must be .* above 0"),
        (lambda: HalfOpen(probe_timeout=math.nan), "probe_timeout must be"),
        (lambda: Breakers(CircuitBreaker, capacity=-1), "capacity must be"),
        (lambda: CircuitBreaker(""), "name must be text"),
        (lambda: HalfOpen(needed=0), "needed must be a whole number from 1 on"),
        (lambda: HalfOpen(threshold=2), "up to 1"),
    ],
)
def test_settings_that_make_no_sense_are_refused_in_words(make: Callable[[], object], words: str) -> None:
    """Each error says what would be right."""
    with pytest.raises(ValueError, match=words):
        make()


def test_without_a_policy_nobody_is_slow() -> None:
    """Only a policy that asks for it makes a probe too slow."""
    assert ConsecutiveFailures().slow_after == FailureRate(0.5, LastCalls(10)).slow_after == math.inf
