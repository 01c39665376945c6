"""Little's law: the mean number inside is the arrival rate times the mean time inside, L = λ × W.

So a longer buffer in front of the same consumer buys nothing but a longer wait: the rate is the
consumer's, and W grows with L. (J. D. C. Little, *A Proof for the Queuing Formula L = λW*, 1961.)
"""

from __future__ import annotations

import math
from collections import defaultdict, deque
from dataclasses import dataclass

from ..trace import Event, Kind, Trace

__all__ = ["LittlesLaw", "littles_law"]

_LEAVES = frozenset({Kind.ACKED, Kind.DEAD, Kind.DROPPED})


@dataclass(frozen=True, slots=True)
class LittlesLaw:
    """The measurements in one channel, each number by itself."""

    seconds: float  #: from the start of the trace to its end
    arrivals: int  #: messages that the channel accepted, also those that it dropped later
    number: float  #: L: the messages inside, on average over time
    rate: float  #: λ: arrivals a second
    time: float  #: W: seconds inside, on average over messages
    inside: int  #: still there at the end: their time counts up to then

    @property
    def holds(self) -> bool:
        """True if L = λ × W, but for rounding. Where it is not, the trace does not add up."""
        return math.isclose(self.number, self.rate * self.time, rel_tol=1e-9, abs_tol=1e-9)

    def __str__(self) -> str:
        product = self.rate * self.time
        sign = "=" if self.holds else "≠"
        return (
            f"L {self.number:.3g} {sign} λ {self.rate:.3g}/s × W {self.time:.3g} s"
            + ("" if self.holds else f" = {product:.3g}")
            + (f" ({self.inside} still inside)" if self.inside else "")
        )


def littles_law(trace: Trace, where: str) -> LittlesLaw:
    """Measure L, λ and W of one channel, from acceptance to the end of each journey.

    A journey ends with the ack, the drop or the dead letter, and a delivery without a lease. Raises
    ValueError when the channel accepted nothing, or the trace takes no time.
    """
    area, level, since = 0.0, 0, 0.0  # how many were inside, added up over time
    came: dict[str, deque[float]] = defaultdict(deque)
    total, arrivals = 0.0, 0
    for event in trace:
        step = _step(event) if event.where == where else 0
        if not step:
            continue
        area, level, since = area + level * (event.at - since), level + step, event.at
        if step > 0:
            arrivals += 1
            came[event.message].append(event.at)
        elif came[event.message]:
            total += event.at - came[event.message].popleft()
    end = trace.end
    if not arrivals or not end:
        raise ValueError(f"{where} accepted no message in this trace, or all of it took no time")
    area += level * (end - since)
    total += sum(end - at for waiting in came.values() for at in waiting)
    inside = sum(map(len, came.values()))
    return LittlesLaw(end, arrivals, area / end, arrivals / end, total / arrivals, inside)


def _step(event: Event) -> int:
    if event.kind == Kind.ACCEPTED:
        return 1
    received = event.kind == Kind.DELIVERED and event.data.get("lease") is None
    return -1 if received or event.kind in _LEAVES else 0
