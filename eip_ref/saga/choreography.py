"""Saga, choreographed: nobody is in charge; each service listens for events and says what it did.

The correlation id of every event is the saga's id. A service executes an operation under the key
`<saga>/<step>` and publishes what came of it under the id `<saga>/<event>`, so an event that comes
twice changes nothing and says the same again: that heals a crash between the two.

The graph of events must have no cycle, or a saga may run in it for ever; and an event that nobody
reacts to must be a declared end, or the saga is forgotten there. Both are checked when it is defined.

A timeout is an event too. Nobody in the saga says it: it is published with the first one, and a queue
keeps it for as long as the saga may take. Whoever executes the pivot reacts to it, since nobody else
can know whether it comes too late; the tombstones of the way back refuse what is still on its way.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from graphlib import CycleError, TopologicalSorter
from typing import Any

from .. import values
from ..message import Handler, Message
from ..trace import Kind, record
from .definition import key_part
from .participant import Participant, Refused, Revoked, action, compensation
from .state import Phase


class EventCycle(ValueError):
    """An event can lead to itself."""


@dataclass(frozen=True)
class Reaction:
    """On an event `who` does something, and says so: `then` when it is done, `otherwise` when refused.

    With `undoes` it takes the step back. Without `otherwise` it cannot be refused. Raises ValueError for
    names that cannot be any.
    """

    who: str
    on: str
    does: str
    step: str
    then: str
    otherwise: str | None = None
    undoes: bool = False

    def __post_init__(self) -> None:
        key_part("step of a reaction", self.step)
        for name in ("who", "on", "does", "then"):
            values.name(f"{name} of a reaction", getattr(self, name))
        if self.otherwise is not None:
            values.name("otherwise of a reaction", self.otherwise)

    @property
    def says(self) -> tuple[str, ...]:
        """The types of the events that it may publish."""
        return (self.then,) if self.otherwise is None else (self.then, self.otherwise)

    def command(self, event: Message) -> Message:
        """The command that the service gives itself."""
        make = compensation if self.undoes else action
        return make(event.correlation_id or event.id, self.step, self.does, event.copy().body)


@dataclass(frozen=True)
class Choreography:
    """All reactions, the event that begins a saga, and those that end it, each with how it then stands.

    `timeout` is the event that a clock says. Raises `EventCycle`, or ValueError for an event that leads
    nowhere or comes from nowhere.
    """

    begins: str
    reactions: Sequence[Reaction]
    ends: Mapping[str, Phase]
    timeout: str | None = None
    leads_to: Mapping[str, frozenset[str]] = field(init=False)  #: from an event to those it causes

    def __post_init__(self) -> None:
        values.name("begins", self.begins)
        graph: dict[str, frozenset[str]] = {}
        for reaction in self.reactions:
            graph[reaction.on] = graph.get(reaction.on, frozenset()) | frozenset(reaction.says)
        object.__setattr__(self, "leads_to", graph)
        _must_have_no_cycle(graph)
        said = {self.begins, *(type_ for says in graph.values() for type_ in says)}
        said |= set() if self.timeout is None else {self.timeout}
        if lost := sorted(said - graph.keys() - self.ends.keys()):
            raise ValueError(f"nobody reacts to {', '.join(lost)}: add a reaction, or declare an end")
        if never := sorted((graph.keys() | self.ends.keys()) - said):
            raise ValueError(f"nobody says {', '.join(never)}, and somebody waits for it")
        for end, phase in self.ends.items():
            if phase not in (Phase.COMPLETED, Phase.COMPENSATED):
                raise ValueError(f"{end} ends a saga as completed or compensated, not as {phase}")

    def reactions_of(self, who: str, on: str) -> Iterator[Reaction]:
        """The reactions of a service to a type of event."""
        return (reaction for reaction in self.reactions if (reaction.who, reaction.on) == (who, on))

    def listeners(self, type: str) -> list[str]:
        """The services that react to a type of event, each once."""
        return list(dict.fromkeys(reaction.who for reaction in self.reactions if reaction.on == type))


def event(saga: str, type: str, body: Any, cause: str | None = None) -> Message:
    """An event of a saga: it has the same id whenever it is said again."""
    return Message(body, type=type, id=f"{saga}/{type}", key=saga, correlation_id=saga, causation_id=cause)


class Service:
    """A participant in a choreography; `publish(event)`, plain or `async`, tells all who listen."""

    def __init__(self, participant: Participant, choreography: Choreography, publish: Handler) -> None:
        self._participant = participant
        self._choreography = choreography
        self._publish = publish

    async def receive(self, message: Message) -> None:
        """React to an event. What is raised means: not done, deliver it again.

        Raises ValueError for one that names no saga, or one that no key can hold.
        """
        saga = message.correlation_id
        if saga is None:
            raise ValueError(f"event {message.id} has no correlation id: nobody knows which saga it is of")
        key_part("a saga's id", saga)
        for reaction in self._choreography.reactions_of(self._participant.name, message.type):
            says = await self._react(reaction, message)
            if says is not None:
                await values.finished(self._publish(event(saga, says, message.body, message.id)))

    async def _react(self, reaction: Reaction, message: Message) -> str | None:
        command = reaction.command(message)
        try:
            await self._participant(command)
        except Revoked:  # an old event: what it led to is undone already, and was told
            record(Kind.DUPLICATE, self._participant.name, message.id, who=self._participant.name)
            return None
        except Refused as refusal:
            if reaction.otherwise is None:
                raise RuntimeError(
                    f"{reaction.does} was refused, and no event says so: {refusal}"
                ) from refusal
            return reaction.otherwise
        return reaction.then


def _must_have_no_cycle(graph: Mapping[str, frozenset[str]]) -> None:
    try:
        TopologicalSorter({type_: sorted(graph[type_]) for type_ in sorted(graph)}).prepare()
    except CycleError as error:
        circle: list[str] = error.args[1][:0:-1]  # it names effects before causes, and the first one twice
        at = circle.index(min(circle))
        shown = " → ".join([*circle[at:], *circle[: at + 1]])
        raise EventCycle(f"this saga may run in a circle: {shown}") from None
