"""How many consumers: from the lag and the rates, between two bounds, and without flapping.

Two things keep the number steady. *Hysteresis*: the crew grows when the work needs more consumers
than there are, but shrinks only so far that a share of what is left stays free; between the two
nothing changes. *Cooldown*: after a change the next one waits until the first can be seen.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import NamedTuple

__all__ = ["Load", "Scaler", "Scaling"]


class Load(NamedTuple):
    """What was measured. Rates are in messages a second."""

    lag: int  #: messages that wait
    arrivals: float
    service: float  #: what one consumer handles when it always has work


@dataclass(frozen=True, slots=True)
class Scaling:
    """The rule. It has no memory, so one can be shared.

    `catch_up` is in how many seconds a lag must be worked off, `spare` the share of its capacity
    that must be free after the crew has shrunk, `cooldown` the seconds from one change to the next.
    """

    least: int = 1
    most: int = 10
    catch_up: float = 30.0
    spare: float = 0.2
    cooldown: float = 30.0

    def __post_init__(self) -> None:
        if not 1 <= self.least <= self.most:
            raise ValueError(f"least must be from 1 to most, not {self.least} with most={self.most}")
        if self.catch_up <= 0 or self.cooldown < 0:
            raise ValueError("catch_up must be more than 0 seconds, and cooldown not less than 0")
        if not 0 <= self.spare < 1:
            raise ValueError(f"spare is a share from 0 to below 1, not {self.spare:g}; 20 % is 0.2")

    def need(self, load: Load) -> float:
        """How many consumers, not rounded, keep up with the arrivals and work off the lag in time."""
        return (load.arrivals + load.lag / self.catch_up) / load.service

    def target(self, load: Load, consumers: int) -> int:
        """How many consumers there should be, where there are `consumers` now."""
        need = self.need(load)
        if need > consumers:
            consumers = math.ceil(need)
        else:
            consumers = min(consumers, math.ceil(need / (1 - self.spare)))
        return min(self.most, max(self.least, consumers))


class Scaler:
    """Applies the rule over time."""

    def __init__(self, scaling: Scaling) -> None:
        self.scaling = scaling
        self._changed_at = -math.inf

    def decide(self, load: Load, consumers: int, now: float) -> int:
        """The number of consumers from `now` on, in seconds; the same as before during a cooldown."""
        if now < self._changed_at + self.scaling.cooldown:
            return consumers
        target = self.scaling.target(load, consumers)
        if target != consumers:
            self._changed_at = now
        return target
