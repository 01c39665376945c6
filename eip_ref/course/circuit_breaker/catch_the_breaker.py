"""Catch the breaker

Write the test · hard · 4 points · 15 minutes

Answer: async def test_breaker(make)
Called: Your `test_breaker(make)` on two correct breakers and on nine broken ones. `make()` gives a new one.
Promised: The test passes for each correct breaker and raises AssertionError for each broken one.
Hint: Write four small functions to call: one that succeeds, one that fails, one with the caller's error, and
    one that takes long. Then one promise after the other, each with a new breaker from `make()`.
Hint: What is under way when something changes? Two calls at once at 11 s; a call that began before it
    opened; a call and a probe that are cancelled by `anyio.move_on_after`; a probe that fails; a caller who
    asks each second. And what breaks a row?
Hint: For the old results: start three calls that take 20 s and fail. Open it with three quick failures, sleep
    11 s, let one call succeed, and wait for the three. Then a call must be let in.
Why: Each promise is played in the moment in which it can be broken: at the third failure, with a success in
    between, with two probes at once, with a probe that fails or is cancelled, with results that are late,
    with what is the caller's, and with somebody who does not stop asking.

accuses-a-correct-breaker: Fails a breaker that keeps the promises. Look at what you assert beyond them, such
    as the words of an error, or what happens at 10 s sharp. An error of the test itself counts, too.
misses-the-late: Does not see that it opens one failure too late. After the third failure the fourth call is
    refused.
misses-the-free-for-all: Does not see that all are let in when it tries again. Two must call at the same time,
    while the first has no result yet.
misses-the-old-results: Does not see that results from before are counted. Calls that began before it opened
    must end when it is closed again.
misses-the-callers-errors: Does not see that the caller's errors open it. Three bad orders, and the service is
    well.
misses-the-sum: Does not see that all failures are counted. Two failures, a success and two more are no three
    in a row.
misses-the-cancelled: Does not see that cancelled calls open it. Three callers who leave after a second say
    nothing about the service.
misses-the-failed-probe: Does not see that it lets the next call in right after a failed probe. A failed probe
    opens it anew, for all of the 10 s.
misses-the-kept-place: Does not see that a cancelled probe keeps its place. Nobody is ever let in again.
misses-the-endless: Does not see that each call that is refused makes it stay open longer. Only a test that
    asks while it is open can see it.
"""

from __future__ import annotations

from ...autograder import kit
from ...circuit_breaker import (
    BreakerOpen,
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    HalfOpen,
    LastCalls,
    OpenDuration,
    Permit,
    Policy,
    Predicates,
    State,
    Verdict,
)

__all__ = ["EXERCISE"]

OPEN_TIME = 10.0


def made(
    breaker: type[CircuitBreaker] = CircuitBreaker,
    policy: Policy | None = None,
    neutral: tuple[type[Exception], ...] = (ValueError,),
) -> kit.Make:
    """A breaker for three failures in a row and 10 s, unless told otherwise."""
    return lambda: breaker(
        "cards",
        policy=policy or ConsecutiveFailures(3),
        open_duration=OpenDuration(OPEN_TIME),
        half_open=HalfOpen(probe_timeout=600),
        predicates=Predicates(neutral=neutral),
    )


class FreeForAll(CircuitBreaker):
    """Lets everybody in when it is half-open."""

    def _refusal(self, now: float) -> CallRejected | None:
        return None if self.state is State.HALF_OPEN else super()._refusal(now)


class CountsOldResults(CircuitBreaker):
    """Takes each result for one of now."""

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        permit.generation = self.generation
        return super().settle(permit, verdict, error)


class CountsTheSum(CircuitBreaker):
    """Counts a success as nothing while it is closed."""

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        good = verdict is Verdict.SUCCESS and self.state is State.CLOSED
        return super().settle(permit, Verdict.NEUTRAL if good else verdict, error)


class CountsCancelled(CircuitBreaker):
    """Takes each call that is cancelled while it is closed for a failure."""

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        left = error is not None and not isinstance(error, Exception) and self.state is State.CLOSED
        return super().settle(permit, Verdict.FAILURE if left else verdict, error)


class TriesAtOnce(CircuitBreaker):
    """Lets the next probe in right after one that failed."""

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        failed = verdict is Verdict.FAILURE and self.state is State.HALF_OPEN
        return super().settle(permit, Verdict.NEUTRAL if failed else verdict, error)


class KeepsThePlace(CircuitBreaker):
    """Hears nothing of a probe that is cancelled."""

    def settle(self, permit: Permit, verdict: Verdict, error: BaseException | None = None) -> bool:
        cancelled = error is not None and not isinstance(error, Exception)
        return not cancelled and super().settle(permit, verdict, error)


class Prolongs(CircuitBreaker):
    """Begins the open time anew with each call that it refuses."""

    def _refusal(self, now: float) -> CallRejected | None:
        refusal = super()._refusal(now)
        if isinstance(refusal, BreakerOpen):
            self._until = now + OPEN_TIME
        return refusal


CORRECT: dict[str, kit.Make] = {
    "a breaker that counts in a row": made(),
    "a breaker that looks at the last three calls": made(policy=FailureRate(1.0, LastCalls(3), min_calls=3)),
}
BROKEN = {
    "a breaker that opens one failure too late": (made(policy=ConsecutiveFailures(4)), "misses-the-late"),
    "a breaker that lets everybody in to try again": (made(FreeForAll), "misses-the-free-for-all"),
    "a breaker that counts old results": (made(CountsOldResults), "misses-the-old-results"),
    "a breaker that counts the caller's errors": (made(neutral=()), "misses-the-callers-errors"),
    "a breaker that counts failures that are not in a row": (made(CountsTheSum), "misses-the-sum"),
    "a breaker that counts cancelled calls": (made(CountsCancelled), "misses-the-cancelled"),
    "a breaker that does not open anew": (made(TriesAtOnce), "misses-the-failed-probe"),
    "a breaker that keeps the place of a cancelled probe": (made(KeepsThePlace), "misses-the-kept-place"),
    "a breaker that stays open while somebody asks": (made(Prolongs), "misses-the-endless"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-breaker", BROKEN),
    seeds=(1,),
)
