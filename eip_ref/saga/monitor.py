"""Monitor: reconstructs from the events how each choreographed saga stands, since nobody is in charge.

It listens to everything, may hear events twice and in any order, and changes nothing. A saga of
which it has heard nothing for `patience` seconds is stuck, until it moves again.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import anyio
import anyio.lowlevel

from ..message import Message
from ..trace import Kind, record
from .choreography import Choreography
from .entries import Phase

__all__ = ["Monitor", "Status"]


@dataclass(slots=True)
class Status:
    """How a saga stands, as far as its events tell."""

    saga: str
    phase: Phase | None = None
    events: list[str] = field(default_factory=list)  #: the types heard, in the order of their coming
    heard: float = 0.0  #: when the last news came, on anyio's clock


class Monitor:
    """One status per correlation id."""

    def __init__(self, choreography: Choreography, *, name: str = "monitor", patience: float = 60.0) -> None:
        if not patience > 0:
            raise ValueError(f"patience must be above 0 seconds, not {patience:g}")
        self.name = name
        self.contradictions: list[tuple[str, str]] = []  #: sagas that ended, and the other end heard later
        self._choreography = choreography
        self._patience = patience
        self._statuses: dict[str, Status] = {}
        self._back = _only_after_a_refusal(choreography)

    async def receive(self, event: Message) -> None:
        """Take note of an event."""
        await anyio.lowlevel.checkpoint()
        saga = event.correlation_id
        if saga is None:
            record(Kind.REFUSED, self.name, event.id, who=self.name, reason="no correlation id")
            return
        status = self._statuses.setdefault(saga, Status(saga))
        if event.type in status.events:
            record(Kind.DUPLICATE, self.name, event.id, who=self.name)
            return
        status.events.append(event.type)
        status.heard = anyio.current_time()
        self._change(status, self._phase(status), event.type)

    def status(self, saga: str) -> Status:
        """How a saga stands. Raises LookupError for one that was never heard of."""
        self._look_for_stuck()
        if saga not in self._statuses:
            raise LookupError(f"{self.name} has heard nothing of saga {saga!r}")
        return self._statuses[saga]

    def stuck(self) -> list[Status]:
        """The sagas that do not move: somebody must look at them."""
        self._look_for_stuck()
        return [status for status in self._statuses.values() if status.phase is Phase.STUCK]

    def statuses(self) -> list[Status]:
        """All sagas that it has heard of."""
        self._look_for_stuck()
        return list(self._statuses.values())

    def _phase(self, status: Status) -> Phase:
        ends = [self._choreography.ends[type_] for type_ in status.events if type_ in self._choreography.ends]
        if ends:
            return ends[0]  # what comes late does not move an ended saga
        return Phase.COMPENSATING if self._back & set(status.events) else Phase.RUNNING

    def _change(self, status: Status, now: Phase, reason: str) -> None:
        if self._choreography.ends.get(reason, now) is not now:
            self.contradictions.append((status.saga, reason))
        if status.phase is not now:
            was = status.phase or ""
            record(Kind.STATE, self.name, status.saga, who=self.name, was=was, now=now, reason=reason)
            status.phase = now

    def _look_for_stuck(self) -> None:
        now = anyio.current_time()
        for status in self._statuses.values():
            if status.phase in (Phase.RUNNING, Phase.COMPENSATING) and status.heard + self._patience <= now:
                self._change(status, Phase.STUCK, f"no news for {self._patience:g} s")


def _only_after_a_refusal(choreography: Choreography) -> frozenset[str]:
    """The events after which no way leads to completion: whoever hears one knows that it turns back."""
    graph = choreography.leads_to

    def may_complete(type_: str) -> bool:
        if choreography.ends.get(type_) is Phase.COMPLETED:
            return True
        return any(map(may_complete, graph.get(type_, ())))

    types = graph.keys() | choreography.ends.keys()
    return frozenset(type_ for type_ in types if not may_complete(type_))
