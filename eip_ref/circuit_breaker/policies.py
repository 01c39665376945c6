"""Policies: which calls count as failures, when a breaker opens, for how long, and how it closes again.

Breakers can share a policy: each counts in a fresh copy of it, with nothing counted, from each of its
transitions on. Every threshold means *at least*, and every result is looked at: the success that
completes a volume can be the one that opens.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from enum import StrEnum
from random import Random
from typing import Any, Self

from .. import values


class Verdict(StrEnum):
    """A finding about the dependency, from a call or from a round of probes."""

    SUCCESS = "success"
    FAILURE = "failure"
    NEUTRAL = "neutral"  #: nothing: the call is not counted, and its slot is free again


SUCCESS, FAILURE, NEUTRAL = Verdict  # names of their own: to look into an Enum costs as much as a call


# Which calls count as failures

Sign = type[Exception] | Callable[[Any], bool]
"""An exception type, or a function that is given the exception or the result and says if it fits."""

Predicate = Sign | tuple[Sign, ...]
"""One sign, or several of which any may fit."""


class Predicates:
    """Judge what came of a call: the first predicate that fits decides, in the order of the arguments.

    Where none fits, an exception is a failure and a result is a success. The caller's own errors,
    such as an order that is not valid, belong to `neutral`: they say nothing about the dependency.
    """

    def __init__(self, neutral: Predicate = (), failure: Predicate = (), success: Predicate = ()) -> None:
        self._signs: list[tuple[Verdict, Sign]] = []
        for verdict, predicate in ((NEUTRAL, neutral), (FAILURE, failure), (SUCCESS, success)):
            for sign in predicate if isinstance(predicate, tuple) else (predicate,):
                values.must_not_be_async(verdict, sign)
                if not callable(sign):
                    raise TypeError(f"{verdict} must be a type, a function or a tuple of these, not {sign!r}")
                self._signs.append((verdict, sign))

    def judge(self, result: object, error: BaseException | None = None) -> Verdict:
        """The verdict on a call that returned `result`, or raised `error`. A cancellation is neutral."""
        if error is not None and not isinstance(error, Exception):
            return NEUTRAL
        outcome = result if error is None else error
        for verdict, sign in self._signs:
            if isinstance(outcome, sign) if isinstance(sign, type) else sign(outcome):
                return verdict
        return SUCCESS if error is None else FAILURE


def if_result(predicate: Callable[[Any], bool]) -> Sign:
    """A sign in results alone: `failure=if_result(lambda response: response.status >= 500)`."""
    values.must_not_be_async("predicate", predicate)
    return lambda outcome: not isinstance(outcome, BaseException) and predicate(outcome)


def if_error(predicate: Callable[[Any], bool]) -> Sign:
    """A sign in exceptions alone: `success=if_error(lambda error: "not found" in str(error))`."""
    values.must_not_be_async("predicate", predicate)
    return lambda outcome: isinstance(outcome, BaseException) and predicate(outcome)


# When there are enough of them


class Policy(ABC):
    """A rule for when to open, and the calls that it has counted. A breaker counts in fresh copies."""

    slow_after: float = math.inf  #: seconds that a call may take, a probe too; inf where nobody minds
    timed: bool = False  #: False where `add` looks at neither `seconds` nor `at`, so no clock is looked at

    @abstractmethod
    def fresh(self) -> Self:
        """The same rule, with nothing counted."""

    @abstractmethod
    def add(self, failed: bool, seconds: float, at: float) -> str | None:
        """Count a call that took `seconds` and settled `at`; the reason to open the breaker, or None."""

    @abstractmethod
    def words(self, at: float) -> str:
        """The count as it stands, for a reader."""

    def rate(self, at: float) -> float | None:
        """The share of bad calls as it stands, or None where none is measured."""
        return None


def check_threshold(share: float) -> None:
    """Raise ValueError unless it is a share above 0."""
    if isinstance(share, bool | str | None) or not 0 < share <= 1:
        raise ValueError(f"threshold must be a share above 0, up to 1, not {share!r}; 50 % is 0.5")


@dataclass
class ConsecutiveFailures(Policy):
    """Open at the `threshold`-th failure in a row: 5 means the fifth, not the sixth."""

    threshold: int = 5

    def __post_init__(self) -> None:
        values.count("threshold", self.threshold)
        self._failures = 0

    def fresh(self) -> Self:
        return replace(self)

    def add(self, failed: bool, seconds: float, at: float) -> str | None:
        self._failures = self._failures + 1 if failed else 0
        return self.words(at) if self._failures >= self.threshold else None

    def words(self, at: float) -> str:
        return f"{self._failures} failure{'' if self._failures == 1 else 's'} in a row"


@dataclass
class FailureRate(Policy):
    """Open when at least the share `threshold` of the calls in the window failed.

    With fewer than `min_calls` in the window there is no verdict: one failure of one call is no outage.
    """

    threshold: float
    window: Window
    min_calls: int = 10
    _did = "failed"

    def __post_init__(self) -> None:
        values.count("min_calls", self.min_calls)
        check_threshold(self.threshold)
        if isinstance(self.window, LastCalls) and self.min_calls > self.window.size:
            words = f"a window of {self.window.size} calls never holds min_calls={self.min_calls}"
            raise ValueError(f"{words}: it would never open")
        self.timed = isinstance(self.window, LastSeconds)
        self._calls = replace(self.window)

    def fresh(self) -> Self:
        return replace(self)

    def add(self, failed: bool, seconds: float, at: float) -> str | None:
        calls = self._calls
        calls.add(failed, at)
        enough = calls.total >= self.min_calls and calls.bad / calls.total >= self.threshold
        return self.words(at) if enough else None

    def words(self, at: float) -> str:
        self._calls.expire(at)
        return f"{self._calls.bad} of {self._calls.total} calls {self._did}"

    def rate(self, at: float) -> float | None:
        self._calls.expire(at)
        return self._calls.bad / self._calls.total if self._calls.total else None


@dataclass
class SlowCallRate(FailureRate):
    """Open when at least the share `threshold` of the calls in the window took over `slow_after` seconds.

    Failed or not does not matter here. A slow probe keeps a half-open breaker from closing.
    """

    slow_after: float = field(kw_only=True)

    def __post_init__(self) -> None:
        super().__post_init__()
        values.duration("slow_after", self.slow_after, zero=False)
        self.timed = True
        self._did = f"took over {self.slow_after:g} s"

    def add(self, failed: bool, seconds: float, at: float) -> str | None:
        return super().add(seconds > self.slow_after, seconds, at)


class AnyOf(Policy):
    """Open as soon as one of several policies says so."""

    def __init__(self, *policies: Policy) -> None:
        if not policies:
            raise ValueError("AnyOf needs at least one policy")
        self._policies = policies
        self.slow_after = min(policy.slow_after for policy in policies)
        self.timed = any(policy.timed for policy in policies)

    def fresh(self) -> Self:
        return type(self)(*(policy.fresh() for policy in self._policies))

    def add(self, failed: bool, seconds: float, at: float) -> str | None:
        reasons = [policy.add(failed, seconds, at) for policy in self._policies]
        return next((reason for reason in reasons if reason), None)

    def words(self, at: float) -> str:
        return "; ".join(policy.words(at) for policy in self._policies)

    def rate(self, at: float) -> float | None:
        rates = [rate for policy in self._policies if (rate := policy.rate(at)) is not None]
        return max(rates, default=None)


# Windows: over which calls a rate is taken


@dataclass
class LastCalls:
    """The last `size` calls, however long ago they were."""

    size: int

    def __post_init__(self) -> None:
        values.count("size", self.size)
        self.total = self.bad = 0
        self._calls: deque[bool] = deque()

    def add(self, bad: bool, at: float) -> None:
        self._calls.append(bad)
        self.bad += bad
        if len(self._calls) > self.size:
            self.bad -= self._calls.popleft()
        self.total = len(self._calls)

    def expire(self, at: float) -> None:
        """Nothing: here only a later call makes a call leave."""


@dataclass
class LastSeconds:
    """The calls that settled at most `seconds` ago; a call leaves the window strictly after that.

    Calls within a thousandth of the window share a slice, so memory has a bound at any rate, and
    a call may leave early by that much.
    """

    seconds: float

    def __post_init__(self) -> None:
        values.duration("seconds", self.seconds, zero=False)
        self.total = self.bad = 0
        self._slices: deque[_Slice] = deque()

    def add(self, bad: bool, at: float) -> None:
        self.expire(at)
        if not self._slices or at - self._slices[-1].at >= self.seconds / 1_000:
            self._slices.append(_Slice(at))
        youngest = self._slices[-1]
        youngest.total, youngest.bad = youngest.total + 1, youngest.bad + bad
        self.total, self.bad = self.total + 1, self.bad + bad

    def expire(self, at: float) -> None:
        """Forget what is too old, and what lies ahead: that was on the clock of another event loop."""
        while self._slices and not 0 <= at - self._slices[0].at <= self.seconds:
            old = self._slices.popleft()
            self.total, self.bad = self.total - old.total, self.bad - old.bad


@dataclass(slots=True)
class _Slice:
    at: float
    total: int = 0
    bad: int = 0


Window = LastCalls | LastSeconds
"""A choice of the calls over which a rate is taken, and how many of them there are and were bad."""


# How long it stays open, and how it learns that the dependency is well


@dataclass(frozen=True, slots=True)
class OpenDuration:
    """Seconds to stay open: `first`, then `factor` times longer each time that the breaker opens again.

    Closing starts anew. `max_duration` is the bound, jitter included. A jitter of 0.2 draws between
    80 % and 120 %, so that many callers do not come back at the same instant.
    """

    first: float = 30.0
    factor: float = 1.0
    max_duration: float = 600.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        values.duration("first", self.first, zero=False)
        values.duration("max_duration", self.max_duration)
        if self.first > self.max_duration:
            raise ValueError(
                f"first must be at most max_duration, {self.max_duration:g} s, not {self.first:g}"
            )
        if not 1 <= values.number("factor", self.factor) <= 100:
            raise ValueError(
                f"factor must be at least 1, for no duration may shrink, and at most 100, not {self.factor}"
            )
        if not values.share("jitter", self.jitter) < 1:
            raise ValueError(f"jitter must be below 1, not {self.jitter:g}")

    def seconds(self, openings: int, random: Random | None) -> float:
        """The open duration after so many openings without a close, this one included."""
        spread = 1.0 if random is None else random.uniform(1 - self.jitter, 1 + self.jitter)
        return min(self.max_duration, self.first * self.factor ** min(openings - 1, 60) * spread)


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """The way in which the dependency is tried again.

    At most `max_probes` are unsettled at a time. `needed` good probes close the breaker, and the first
    bad one opens it again. With a `threshold` it waits for as many, and opens when at least this share of
    them was bad. A probe that is not settled within `probe_timeout` seconds opens it too: so a lost
    probe cannot hold its slot for ever.
    """

    max_probes: int = 1
    probe_timeout: float = 30.0
    needed: int = 1
    threshold: float | None = None

    def __post_init__(self) -> None:
        values.count("max_probes", self.max_probes)
        values.duration("probe_timeout", self.probe_timeout, zero=False)
        values.count("needed", self.needed)
        if self.threshold is not None:
            check_threshold(self.threshold)

    def verdict(self, probes: int, bad: int) -> tuple[Verdict, str]:
        """The verdict when `bad` of `probes` went wrong, and the reason. Neutral: not decided yet."""
        if bad and self.threshold is None:
            return FAILURE, "a probe failed"
        if probes < self.needed:
            return NEUTRAL, ""
        if self.threshold is None:
            return SUCCESS, "the probes succeeded"
        return FAILURE if bad / probes >= self.threshold else SUCCESS, f"{bad} of {probes} probes failed"
