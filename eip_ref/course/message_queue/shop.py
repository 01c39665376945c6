"""What the scenarios of this lesson share: processes that die on cue, and effects with receipts.

An effect counts only with its receipt, a number made from the seed of the run. So an answer that
records effects of its own, instead of handling the message, gains nothing by it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from random import Random
from typing import Any

import anyio
import anyio.lowlevel

from ...autograder.exercise import Diagnosis, Mistake
from ...lab.clock import current_seed
from ...lab.crash import Life
from ...lab.faults import Crash, Participant
from ...message import Message
from ...message_queue import DeadLetterPolicy
from ...trace import Event, Kind, Trace, record, whoami

__all__ = [
    "PATIENT",
    "Handler",
    "before",
    "die",
    "die_soon",
    "effects",
    "happens",
    "mortal",
    "name_of",
    "ranked",
    "seen",
    "story",
    "when",
]

Handler = Callable[[Message], Awaitable[None]]

PATIENT = DeadLetterPolicy(max_failures=1_000)
"""For queues whose messages shall not become dead letters by themselves."""

_NOT_BY_ITSELF = 10**9  # a step that no life reaches: it ends only when `die` is called
_RESTART = 1.0  # seconds


def mortal(name: str, main: Callable[..., Awaitable[object]], *args: Any, deaths: int = 4) -> Participant:
    """A participant that dies where the scenario calls `die`, and starts again a second later."""
    crashes = tuple(Crash(step=_NOT_BY_ITSELF, restart_after=_RESTART) for _ in range(deaths))
    return Participant(name, main, args, crashes)


async def die() -> None:
    """The process that runs this dies here and now: nothing of it runs on."""
    die_soon()
    await anyio.lowlevel.checkpoint()


def die_soon() -> None:
    """The process that runs this dies at its next await."""
    life = Life.current()
    if life is None:
        raise RuntimeError("only a participant that was made by mortal() can die")
    life.end()


def happens(message: Message, effect: str) -> None:
    """The message has its effect in the world, now, by the participant that acts here."""
    receipt = _receipt(current_seed(), message.id, effect)
    record(Kind.EFFECT, whoami(), message.id, effect=effect, receipt=receipt)


def effects(trace: Trace, message: str | None = None) -> list[Event]:
    """The effects that really happened, in their order, of one message or of all."""
    return [
        event
        for event in trace.filter(Kind.EFFECT, message=message)
        if event.data.get("receipt") == _receipt(trace.seed, event.message, str(event.data.get("effect")))
    ]


def _receipt(seed: int | None, message: str, effect: str) -> int:
    return Random(f"{seed}/{message}/{effect}").randrange(1_000_000)


_TOLD = frozenset(
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


def story(trace: Trace, *messages: str) -> tuple[Event, ...]:
    """What matters of these messages, and the deaths of those who had one of them in hand."""
    told: list[Event] = []
    for event in trace:
        mine = event.kind in _TOLD and event.message in messages
        died = event.kind == Kind.CRASHED and _had_it_in_hand([e for e in told if e.who == event.who])
        told += [event] if mine or died else []
    return tuple(told)


def _had_it_in_hand(did: list[Event]) -> bool:
    if not did:
        return False
    acked_too_early = did[-1].kind == Kind.ACKED and not any(e.kind == Kind.EFFECT for e in did)
    return acked_too_early or did[-1].kind in (Kind.DELIVERED, Kind.EFFECT, Kind.FAILED)


def name_of(trace: Trace, message: str) -> str:
    """What the learner knows the message by: "order 2 (m2)"."""
    label = next((e.data.get("label") for e in trace.filter(Kind.SENT, message=message)), None)
    return f"{label} ({message})" if label and label != message else message


def when(event: Event) -> str:
    """The time of an event in words: "2.5 s"."""
    return f"{event.at:.4g} s"


def before(trace: Trace, event: Event, kind: str) -> list[Event]:
    """The events of `kind` of the same message that came before this one; effects with their receipts."""
    earlier = trace[: next(place for place, other in enumerate(trace) if other is event)]
    if kind == Kind.EFFECT:
        return effects(earlier, event.message)
    return list(earlier.filter(kind, message=event.message))


def seen(mistake: Mistake, words: str, events: Iterable[Event] = ()) -> Diagnosis:
    """A diagnosis whose words begin with a capital letter, unless it is the name of a participant."""
    named = "-" in words.split()[0]
    return Diagnosis(mistake, words if named else words[:1].upper() + words[1:], tuple(events))


def ranked(found: Iterable[Diagnosis], order: Sequence[Mistake]) -> list[Diagnosis]:
    """The diagnoses, those of the first mistake first: the verdict names that one."""
    return sorted(found, key=lambda diagnosis: order.index(diagnosis.mistake))
