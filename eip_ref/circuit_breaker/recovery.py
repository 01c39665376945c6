"""Recovery: the states of a breaker, how long it stays open, how it learns that the dependency is well.

And what a caller is told who comes meanwhile.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from random import Random
from typing import NamedTuple

from .. import values
from .policies import FAILURE, NEUTRAL, SUCCESS, Verdict, check_threshold


class State(StrEnum):
    """The three states of the pattern, and three that only an operator sets."""

    CLOSED = "closed"  #: calls pass, and their results are counted
    OPEN = "open"  #: calls are rejected, until the open duration is over
    HALF_OPEN = "half-open"  #: a few calls pass as probes, and their results decide
    FORCED_OPEN = "forced open"  #: calls are rejected, until somebody resets the breaker
    DISABLED = "disabled"  #: calls pass and nothing is counted
    OBSERVING = "observing"  #: calls pass and are counted; it says when it would have opened


class Transition(NamedTuple):
    """A change of state, as the callback of a breaker hears of it."""

    breaker: str
    was: State
    now: State
    reason: str
    generation: int  #: the one that begins with this transition
    at: float  #: on anyio's clock


class CallRejected(Exception):
    """The breaker did not let the call in: the dependency was certainly not called.

    The last error of the dependency is the `__cause__`.
    """

    def __init__(self, breaker: str, words: str, retry_after: float | None = None) -> None:
        super().__init__(f"{breaker} {words}")
        self.breaker = breaker
        self.retry_after = retry_after  #: seconds until a call may be let in, or None: nobody can say


class BreakerOpen(CallRejected):
    """The breaker is open, by itself or by hand."""


class HalfOpenFull(CallRejected):
    """The breaker tries the dependency again, and as many probes as it allows are on their way."""


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
        values.duration("max_duration", self.max_duration, zero=False)
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
