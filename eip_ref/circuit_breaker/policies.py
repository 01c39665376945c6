"""Policies: when a closed breaker opens. Every threshold means *at least*, and every result is looked at.

A policy is a recipe without state. The breaker starts new counts from it at each transition, and
any number of breakers can share it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

from .windows import Window

__all__ = ["AnyOf", "Call", "ConsecutiveFailures", "FailureRate", "Policy", "SlowCallRate"]


class Call(NamedTuple):
    """A settled call that was not neutral."""

    failed: bool
    seconds: float  #: how long it took
    at: float  #: when it settled, on anyio's clock


class Counts(Protocol):
    """What a breaker remembers of the calls since its last transition."""

    def add(self, call: Call) -> str | None:
        """Count one more call; say in words why the breaker must open, or None."""
        ...


class Policy(Protocol):
    """When to open. `slow_after` is how many seconds a call may take; inf where nobody asks."""

    @property
    def slow_after(self) -> float: ...

    def start(self) -> Counts: ...


@dataclass(frozen=True, slots=True)
class ConsecutiveFailures:
    """Open at the `threshold`-th failure in a row: 5 means the fifth, not the sixth."""

    threshold: int = 5

    def __post_init__(self) -> None:
        if self.threshold < 1:
            raise ValueError(f"the threshold must be at least 1 failure, not {self.threshold}")

    @property
    def slow_after(self) -> float:
        return math.inf

    def start(self) -> Counts:
        return _InARow(self.threshold)


@dataclass(frozen=True, slots=True)
class FailureRate:
    """Open when at least this share of the calls in the window failed.

    `at_least` is a share between 0 and 1. With fewer calls than `minimum` in the window there is no
    verdict: one failure of one call is not an outage.
    """

    at_least: float
    window: Window
    minimum: int = 10

    def __post_init__(self) -> None:
        _check_rate(self.at_least, self.window, self.minimum)

    @property
    def slow_after(self) -> float:
        return math.inf

    def start(self) -> Counts:
        return _Rate(self, lambda call: call.failed, "failed")


@dataclass(frozen=True, slots=True)
class SlowCallRate:
    """Open when at least this share of the calls in the window took more than `slow_after` seconds.

    Whether they failed does not matter here. A slow probe keeps a half-open breaker from closing.
    """

    at_least: float
    slow_after: float
    window: Window
    minimum: int = 10

    def __post_init__(self) -> None:
        _check_rate(self.at_least, self.window, self.minimum)
        if self.slow_after <= 0:
            raise ValueError(f"slow_after must be more than 0 seconds, not {self.slow_after:g}")

    def start(self) -> Counts:
        return _Rate(self, lambda call: call.seconds > self.slow_after, f"took over {self.slow_after:g} s")


class AnyOf:
    """Open as soon as one of several policies says so."""

    def __init__(self, *policies: Policy) -> None:
        if not policies:
            raise ValueError("AnyOf needs at least one policy")
        self.policies = policies
        self.slow_after = min(policy.slow_after for policy in policies)

    def start(self) -> Counts:
        return _All([policy.start() for policy in self.policies])


class _InARow:
    def __init__(self, threshold: int) -> None:
        self._threshold = threshold
        self._failures = 0

    def add(self, call: Call) -> str | None:
        self._failures = self._failures + 1 if call.failed else 0
        if self._failures < self._threshold:
            return None
        return f"{self._failures} failure{'s' if self._failures > 1 else ''} in a row"


class _Rate:
    def __init__(self, rate: FailureRate | SlowCallRate, is_bad: Callable[[Call], bool], did: str) -> None:
        self._rate = rate
        self._is_bad = is_bad
        self._did = did
        self._window = rate.window.start()

    def add(self, call: Call) -> str | None:
        calls, bad = self._window.add(call.at, self._is_bad(call))
        if calls < self._rate.minimum or bad / calls < self._rate.at_least:
            return None
        return f"{bad} of {calls} calls {self._did}"


class _All:
    def __init__(self, counts: list[Counts]) -> None:
        self._counts = counts

    def add(self, call: Call) -> str | None:
        return next((reason for counts in self._counts if (reason := counts.add(call))), None)


def _check_rate(at_least: float, window: Window, minimum: int) -> None:
    if not 0 < at_least <= 1:
        raise ValueError(f"a rate is a share above 0 and at most 1, not {at_least:g}; 50 % is 0.5")
    if minimum < 1:
        raise ValueError(f"the minimum must be at least 1 call, not {minimum}")
    size = getattr(window, "size", math.inf)
    if minimum > size:
        raise ValueError(
            f"a window of {size} calls never holds the minimum of {minimum}: it would never open"
        )
