"""Recovery: how long a breaker stays open, and how it finds out that the dependency is well again."""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Protocol

from .states import State

__all__ = ["FirstFailure", "HalfOpen", "OpenTime", "ProbeRate"]


@dataclass(frozen=True, slots=True)
class OpenTime:
    """How long to stay open: `first` seconds, then `factor` times longer each time that it opens again.

    Closing starts anew. `most` seconds is the bound, jitter included. A jitter of 0.2 draws between
    80 % and 120 %, so that many callers do not come back at the same instant.
    """

    first: float = 30.0
    factor: float = 1.0
    most: float = 600.0
    jitter: float = 0.0

    def __post_init__(self) -> None:
        if not 0 < self.first <= self.most:
            raise ValueError(f"the open time must be above 0 and at most {self.most:g} s, not {self.first:g}")
        if self.factor < 1:
            raise ValueError(f"the factor must be at least 1, not {self.factor:g}: it may not shrink")
        if not 0 <= self.jitter < 1:
            raise ValueError(f"jitter is a share of at least 0 and below 1, not {self.jitter:g}")

    def seconds(self, openings: int, random: Random | None) -> float:
        """The open time after so many openings without a close, this one included."""
        spread = 1.0 if random is None else random.uniform(1 - self.jitter, 1 + self.jitter)
        return min(self.most, self.first * self.factor ** min(openings - 1, 60) * spread)


class Trial(Protocol):
    """What the probes have said so far."""

    def add(self, bad: bool) -> tuple[State, str] | None:
        """Count one more probe; the state to go to and why, or None while it is undecided."""
        ...


class TrialRule(Protocol):
    """A recipe for a trial. It holds no state."""

    def start(self) -> Trial: ...


@dataclass(frozen=True, slots=True)
class FirstFailure:
    """Strict: the first failed probe opens; `successes` good ones close."""

    successes: int = 1

    def __post_init__(self) -> None:
        if self.successes < 1:
            raise ValueError(f"at least 1 success must close the breaker, not {self.successes}")

    def start(self) -> Trial:
        return _Strict(self.successes)


@dataclass(frozen=True, slots=True)
class ProbeRate:
    """Lenient: after `of` probes, open when at least this share of them was bad, else close."""

    at_least: float
    of: int

    def __post_init__(self) -> None:
        if not 0 < self.at_least <= 1 or self.of < 1:
            raise ValueError(f"give a share above 0 and at most 1, and at least 1 probe, not {self}")

    def start(self) -> Trial:
        return _ByRate(self.at_least, self.of)


@dataclass(frozen=True, slots=True)
class HalfOpen:
    """How the dependency is tried again.

    At most `limit` probes are unsettled at a time. A probe that is not settled `within` seconds
    counts as a bad sign: the breaker opens again, so a lost probe cannot hold its slot for ever.
    """

    limit: int = 1
    within: float = 30.0
    verdict: TrialRule = field(default_factory=FirstFailure)

    def __post_init__(self) -> None:
        if self.limit < 1:
            raise ValueError(f"at least 1 probe must be let in, not {self.limit}")
        if self.within <= 0:
            raise ValueError(f"a probe must have more than 0 seconds, not {self.within:g}")


class _Strict:
    def __init__(self, successes: int) -> None:
        self._left = successes

    def add(self, bad: bool) -> tuple[State, str] | None:
        if bad:
            return State.OPEN, "a probe failed"
        self._left -= 1
        return None if self._left else (State.CLOSED, "the probes succeeded")


class _ByRate:
    def __init__(self, at_least: float, of: int) -> None:
        self._at_least, self._of = at_least, of
        self._probes = self._bad = 0

    def add(self, bad: bool) -> tuple[State, str] | None:
        self._probes += 1
        self._bad += bad
        if self._probes < self._of:
            return None
        to = State.OPEN if self._bad / self._probes >= self._at_least else State.CLOSED
        return to, f"{self._bad} of {self._probes} probes failed"
