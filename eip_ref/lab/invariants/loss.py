"""Loss, duplication and the number of receivers: what became of each message."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Hashable
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import Names, happened, plural, seconds
from .finding import Finding, Invariant
from .journeys import Copies, Journeys, dead_letter_channels

KEPT = ("ready", "in flight", "dead")  #: fates that are no loss: somebody still has the message


@dataclass(slots=True)
class _Story:
    """All that happened to one message, in all channels, links and receivers."""

    events: list[Event] = field(default_factory=list)
    where: dict[str, Copies] = field(default_factory=dict)


@Invariant
def nothing_acked_lost(
    trace: Trace,
    *,
    effect: str | None = None,
    done: str = Kind.EFFECT,
    promised: str = Kind.ACCEPTED,
    kept: Collection[str] = KEPT,
) -> list[Finding]:
    """Everything that a channel has acknowledged to its sender is done, or somebody still has it.

    A message is promised by its event `promised` (accepted; or sent, to count losses on a link; or
    acked) and done by its event `done`, if given with the data `effect`. `kept` names the fates
    that are no loss: of "ready", "in flight", "dead"; others are "acked", "received", "dropped",
    "refused" and "lost". With `kept=()` everything must be done by the end of the trace.
    """
    names, dead_letters = Names(trace), dead_letter_channels(trace.events)
    crashes = trace.filter(Kind.CRASHED).events
    found = []
    for identity, story in _stories(trace).items():
        if not any(e.kind == promised for e in story.events) or _is_done(story, done, effect):
            continue
        fate = _fate(story, dead_letters)
        if fate not in kept:
            missing = f"'{effect}' never happened" if effect else "it was never handled"
            words = f"{names.message(identity)} {_path(story)}: {fate}, and {missing}{_cause(story, crashes)}"
            found.append(Finding("nothing acked lost", words, tuple(story.events)))
    return found


def _stories(trace: Trace) -> dict[str, _Story]:
    journeys = Journeys()
    stories: dict[str, _Story] = defaultdict(_Story)
    for event in trace:
        if event.message:
            journeys.follow(event)
            stories[event.message].events.append(event)
    for (where, identity), copies in journeys.copies.items():
        stories[identity].where[where] = copies
    return stories


def _is_done(story: _Story, done: str, effect: str | None) -> bool:
    return any(e.kind == done and effect in (None, e.data.get("effect")) for e in story.events)


def _fate(story: _Story, dead_letters: set[str]) -> str:
    kinds = {e.kind for e in story.events}
    for where, copies in story.where.items():
        if copies.waiting or copies.held:
            if where in dead_letters:
                return "dead"
            return "in flight" if copies.held else "ready"
    for kind in (Kind.ACKED, Kind.DEAD, Kind.DROPPED, Kind.LOST, Kind.REFUSED):
        if kind in kinds and not (kind == Kind.ACKED and _only_replayed(story)):
            return str(kind)
    return "received" if any(c.received for c in story.where.values()) else "gone"


def _only_replayed(story: _Story) -> bool:
    """True when every ack was one of a dead letter that went back to its queue."""
    replayed = {e.where for e in story.events if e.kind == Kind.REPLAYED}
    return all(e.where in replayed for e in story.events if e.kind == Kind.ACKED)


def _path(story: _Story) -> str:
    kinds = (Kind.ACCEPTED, Kind.LOST, Kind.DELIVERED, Kind.ACKED, Kind.DROPPED, Kind.DEAD, Kind.REFUSED)
    steps = [happened(e) for e in story.events if e.kind in kinds]
    if len(steps) > 4:
        steps = [*steps[:2], f"({plural(len(steps) - 4, 'more step')})", *steps[-2:]]
    return "was " + ", ".join(steps) if steps else f"was {happened(story.events[0])}"


def _cause(story: _Story, crashes: tuple[Event, ...]) -> str:
    """The last misfortune of the receiver that had the message last."""
    last = next((e for e in reversed(story.events) if e.kind == Kind.DELIVERED), None)
    if last is None:
        return ""
    crash = next((c for c in crashes if c.who == last.who and c.at >= last.at), None)
    if crash is not None:
        return f"; {crash.who} crashed at {seconds(crash.at)}"
    for event in reversed(story.events):
        if event.kind == Kind.FAILED:
            return f"; {event.who} failed at {seconds(event.at)}: {event.data.get('error', 'an error')}"
        if event.kind == Kind.CANCELLED:
            return f"; {event.who} was cancelled at {seconds(event.at)}"
    return ""


@Invariant
def no_duplicate_effect(
    trace: Trace, *, effect: str | None = None, by: str | Callable[[Event], Hashable] = "message"
) -> list[Finding]:
    """An effect happens at most once per message, or per whatever `by` says.

    `by` is "message", the name of a value in the effect's data ("order"), or a function of the event.
    """
    names, first, found = Names(trace), dict[Hashable, Event](), []
    troubles: dict[str, Event] = {}  # message -> the latest reason for which it came again
    for event in trace:
        if event.kind in _TROUBLES:
            troubles[event.message] = event
        if event.kind != Kind.EFFECT or effect not in (None, event.data.get("effect")):
            continue
        same = _identity(event, by), event.data.get("effect")
        earlier = first.setdefault(same, event)
        if earlier is not event:
            found.append(_twice(earlier, event, names, by, troubles.get(event.message)))
    return found


_TROUBLES = {
    Kind.DUPLICATED: "the link duplicated it",
    Kind.NACKED: "it was handed back",
    Kind.EXPIRED: "its lease expired",
    Kind.REPLAYED: "it was replayed",
}


def _identity(event: Event, by: str | Callable[[Event], Hashable]) -> Hashable:
    if callable(by):
        return by(event)
    return event.message if by == "message" else event.data.get(by)


def _twice(
    earlier: Event, event: Event, names: Names, by: str | Callable[[Event], Hashable], trouble: Event | None
) -> Finding:
    what = f"'{event.data.get('effect', 'the effect')}' happened twice for {names.message(event.message)}"
    if event.message != earlier.message:
        same = f"{by} {_identity(event, by)}" if isinstance(by, str) else str(_identity(event, by))
        both = f"{names.message(earlier.message)} and {names.message(event.message)}"
        what = f"'{event.data.get('effect', 'the effect')}' happened twice for {same}, by {both}"
    times = f"at {seconds(earlier.at)} by {earlier.who} and at {seconds(event.at)} by {event.who}"
    why = f"; {_TROUBLES[Kind(trouble.kind)]} at {seconds(trouble.at)}" if trouble else ""
    proof = (earlier, trouble, event) if trouble else (earlier, event)
    return Finding("no duplicate effect", f"{what}: {times}{why}", proof)


@Invariant
def exactly_one_receiver(trace: Trace, *, where: str | None = None, waiting_ok: bool = True) -> list[Finding]:
    """Nobody gets a message that another receiver has; it may come again once that one gave it back.

    With `waiting_ok=False` a message that nobody has received by the end of the trace is a finding too.
    """
    names, found = Names(trace), list[Finding]()
    available: dict[tuple[str, str], int] = defaultdict(int)
    last: dict[tuple[str, str], Event] = {}
    for event in trace:
        here = event.where, event.message
        if where not in (None, event.where):
            continue
        if event.kind in (Kind.ACCEPTED, Kind.RETURNED):
            available[here] += 1
        elif event.kind == Kind.DELIVERED:
            available[here] -= 1
            if available[here] < 0 and here in last:
                message = f"{names.message(event.message)} of {event.where}"
                words = f"{message} was {happened(last[here])}, and then {happened(event)}"
                found.append(Finding("exactly one receiver", words, (last[here], event)))
            available[here] = max(0, available[here])
            last[here] = event
    if not waiting_ok:
        found += _unreceived(trace, available, last, names)
    return found


def _unreceived(
    trace: Trace, available: dict[tuple[str, str], int], got: dict[tuple[str, str], Event], names: Names
) -> list[Finding]:
    still = f"and nobody had received it by {seconds(trace.end)}"
    return [
        Finding("exactly one receiver", f"{names.message(e.message)} was {happened(e)}, {still}", (e,))
        for e in trace
        if e.kind == Kind.ACCEPTED and available.get((e.where, e.message)) and (e.where, e.message) not in got
    ]
