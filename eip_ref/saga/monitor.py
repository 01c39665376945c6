"""Monitor: reconstructs from the events how each choreographed saga stands, since nobody is in charge.

It listens to everything, may hear events twice and in any order, and changes nothing. A saga of
which it has heard nothing for `patience` seconds is stuck, until it moves again. `run` records that at
the time at which it happens; to ask is only a question.

*Left out:* forgetting sagas that have ended.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import anyio
import anyio.lowlevel

from .. import values
from ..message import Message
from ..timers import Timers
from ..trace import Kind, record
from .choreography import Choreography
from .state import Phase

_OPEN = (Phase.RUNNING, Phase.COMPENSATING)


@dataclass(slots=True)
class SagaStatus:
    """The status of a saga, as far as its events tell."""

    saga: str
    phase: Phase | None = None
    events: list[str] = field(default_factory=list)  #: the types heard, in the order of their coming
    heard: float = 0.0  #: when the last news came, on anyio's clock


class Monitor:
    """Keeps one status for each correlation id."""

    def __init__(self, choreography: Choreography, *, name: str = "monitor", patience: float = 60.0) -> None:
        self.name = values.name("name", name)
        self.contradictions: list[tuple[str, str]] = []  #: sagas that ended, and the other end heard later
        self._choreography = choreography
        self._patience = values.duration("patience", patience, zero=False, infinite=True)
        self._statuses: dict[str, SagaStatus] = {}
        self._back = _only_after_a_refusal(choreography)
        self._timers = Timers[str](self._is_waited_for)

    async def run(self) -> None:
        """Record each saga that becomes stuck, when it does, until cancelled."""
        while True:
            self._record_stuck()
            await self._timers.wait()

    async def receive(self, event: Message) -> None:
        """Take note of an event."""
        await anyio.lowlevel.checkpoint()
        saga = event.correlation_id
        if saga is None:
            record(Kind.REFUSED, self.name, event.id, who=self.name, reason="no correlation id")
            return
        self._record_stuck()  # at this very instant it is over, whoever comes first
        status = self._statuses.setdefault(saga, SagaStatus(saga))
        if event.type in status.events:
            record(Kind.DUPLICATE, self.name, event.id, who=self.name)
            return
        status.events.append(event.type)
        status.heard = anyio.current_time()
        self._change(status, self._phase(status), event.type)
        if status.phase in _OPEN:
            self._timers.set(status.heard + self._patience, saga)

    def status(self, saga: str) -> SagaStatus:
        """The status of a saga. Raises LookupError for one that was never heard of."""
        if saga not in self._statuses:
            raise LookupError(f"{self.name} has heard nothing of saga {saga!r}")
        return self._now(self._statuses[saga])

    def stuck(self) -> list[SagaStatus]:
        """The sagas that do not move: somebody must look at them."""
        return [status for status in self.statuses() if status.phase is Phase.STUCK]

    def statuses(self) -> list[SagaStatus]:
        """All sagas that it has heard of."""
        return [self._now(status) for status in self._statuses.values()]

    def _now(self, status: SagaStatus) -> SagaStatus:
        """A copy, with the phase of this moment."""
        over = status.phase in _OPEN and status.heard + self._patience <= anyio.current_time()
        return replace(status, phase=Phase.STUCK if over else status.phase, events=[*status.events])

    def _phase(self, status: SagaStatus) -> Phase:
        ends = [self._choreography.ends[type_] for type_ in status.events if type_ in self._choreography.ends]
        if ends:
            return ends[0]  # what comes late does not move an ended saga
        return Phase.COMPENSATING if self._back & set(status.events) else Phase.RUNNING

    def _change(self, status: SagaStatus, now: Phase, reason: str) -> None:
        if self._choreography.ends.get(reason, now) is not now:
            self.contradictions.append((status.saga, reason))
        if status.phase is not now:
            was = status.phase or ""
            record(Kind.STATE, self.name, status.saga, who=self.name, was=was, now=now, reason=reason)
            status.phase = now

    def _is_waited_for(self, until: float, saga: str) -> bool:
        status = self._statuses[saga]
        return status.phase in _OPEN and status.heard + self._patience == until

    def _record_stuck(self) -> None:
        for saga in self._timers.due(anyio.current_time()):
            self._change(self._statuses[saga], Phase.STUCK, f"no news for {self._patience:g} s")


def _only_after_a_refusal(choreography: Choreography) -> frozenset[str]:
    """The events after which no way leads to completion: whoever hears one knows that it turns back."""
    graph = choreography.leads_to

    def may_complete(type_: str) -> bool:
        if choreography.ends.get(type_) is Phase.COMPLETED:
            return True
        return any(map(may_complete, graph.get(type_, ())))

    types = graph.keys() | choreography.ends.keys()
    return frozenset(type_ for type_ in types if not may_complete(type_))
