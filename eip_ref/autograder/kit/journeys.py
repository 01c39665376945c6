"""The judge's side of an exercise: the trace of a run, message by message, and what it shows.

A judge is a generator: it yields a `Symptom` for each place where the trace shows a mistake, with the words
for the learner and the events that prove it. It rests on facts that only the scenario can write: the ones
that the library recorded, the effects of `happens`, and what `write_down` left at the end.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import cached_property
from random import Random
from typing import Any, NamedTuple

from ...trace import Event, Kind, Trace
from ..exercise import Vacuous

__all__ = [
    "FACTS",
    "Journey",
    "Symptom",
    "Symptoms",
    "effects",
    "facts",
    "journeys",
    "receipt",
    "require",
    "seen",
    "story",
    "when",
]

FACTS = "the books"  #: the `where` of the note that a scenario writes at its end

TOLD = frozenset(
    {
        Kind.DELIVERED,
        Kind.ACKED,
        Kind.NACKED,
        Kind.EXPIRED,
        Kind.STALE,
        Kind.REFUSED,
        Kind.EFFECT,
        Kind.FAILED,
        Kind.CANCELLED,
    }
)


class Symptom(NamedTuple):
    """A place where a trace shows a mistake."""

    mistake: str  #: its name, as in the texts of the exercise
    words: str  #: what was seen, for the learner: who, what, when
    events: tuple[Event, ...]  #: what proves it


Symptoms = Iterator[Symptom]  #: what a judge yields


def seen(mistake: str, words: str, events: Iterable[Event] = ()) -> Symptom:
    """A symptom whose words begin with a capital letter, unless it is the name of a participant."""
    named = "-" in words.split()[0]
    return Symptom(mistake, words if named else words[:1].upper() + words[1:], tuple(events))


def require(trace: Trace, kind: str, because: str, *, where: str | None = None, at_least: int = 1) -> None:
    """Raise `Vacuous` unless `kind` happened `at_least` times: the fault of the scenario really hit.

    `because` ends the sentence "This run proves nothing: ". What the judge has yielded before stands.
    """
    if trace.count(kind, where=where) < at_least:
        raise Vacuous(because)


class Journey:
    """All that a trace tells of one message. As text it is what the learner knows it by: "order 2 (m2)"."""

    def __init__(self, trace: Trace, message: str) -> None:
        self.id = message
        self._trace = trace

    def __str__(self) -> str:
        return f"{self.label} ({self.id})" if self.label not in ("", self.id) else self.id

    @cached_property
    def events(self) -> list[Event]:
        """The events of its journey; of effects only those that really happened."""
        mine = self._trace.filter(message=self.id)
        return [event for event in mine if event.kind != Kind.EFFECT or _real(self._trace, event)]

    @cached_property
    def label(self) -> str:
        """The name that its sender gave it: "order 2"."""
        return next((str(event.data.get("label") or "") for event in self.all(Kind.SENT)), "")

    def all(self, *kinds: str, where: str | None = None) -> list[Event]:
        """Its events of these kinds, in this place if one is given."""
        return [event for event in self.events if event.kind in kinds and where in (None, event.where)]

    def before(self, event: Event, *kinds: str, where: str | None = None) -> list[Event]:
        """Those of these kinds that came before this event of its own."""
        place = next(place for place, other in enumerate(self.events) if other is event)
        return [e for e in self.events[:place] if e.kind in kinds and where in (None, e.where)]

    @property
    def effects(self) -> list[Event]:
        """The effects that it brought about in the world."""
        return self.all(Kind.EFFECT)

    def seen(self, mistake: str, words: str, events: Iterable[Event] | None = None) -> Symptom:
        """A symptom that these events prove, or its story."""
        return seen(mistake, words, story(self._trace, self.id) if events is None else events)


def journeys(trace: Trace, *, where: str | None = None) -> list[Journey]:
    """The journeys of all messages that were accepted, in this place if one is given, in their order."""
    return [Journey(trace, message) for message in dict.fromkeys(trace.messages(Kind.ACCEPTED, where=where))]


def effects(trace: Trace, message: str | None = None) -> list[Event]:
    """The effects that really happened, in their order, of one message or of all."""
    return [event for event in trace.filter(Kind.EFFECT, message=message) if _real(trace, event)]


def receipt(seed: int | None, message: str, effect: str) -> int:
    """A number that proves an effect: who does not know the seed of the run cannot make it."""
    return Random(f"{seed}/{message}/{effect}").randrange(1_000_000)


def _real(trace: Trace, event: Event) -> bool:
    effect = str(event.data.get("effect"))
    return bool(event.data.get("receipt") == receipt(trace.seed, event.message, effect))


def facts(trace: Trace) -> dict[str, Any]:
    """The facts that the scenario wrote down at its end. Raises `Vacuous` when it did not get that far."""
    if not trace or trace[-1].where != FACTS:
        raise Vacuous("the day did not come to its end.")
    return dict(trace[-1].data)


def story(trace: Trace, *messages: str) -> tuple[Event, ...]:
    """The events that matter of these messages, and the deaths of those who had one of them in hand."""
    told: list[Event] = []
    for event in trace:
        mine = event.kind in TOLD and event.message in messages
        died = event.kind == Kind.CRASHED and _had_it_in_hand([e for e in told if e.who == event.who])
        told += [event] if mine or died else []
    return tuple(told)


def _had_it_in_hand(did: list[Event]) -> bool:
    if not did:
        return False
    acked_too_early = did[-1].kind == Kind.ACKED and not any(e.kind == Kind.EFFECT for e in did)
    return acked_too_early or did[-1].kind in (Kind.DELIVERED, Kind.EFFECT, Kind.FAILED)


def when(event: Event) -> str:
    """The time of an event in words: "2.5 s"."""
    return f"{event.at:.4g} s"
