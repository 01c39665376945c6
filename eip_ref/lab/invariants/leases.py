"""Leases: who may work on what, how many at a time, and until when."""

from __future__ import annotations

import math
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass

from ...trace import Event, Kind, Trace
from ..wording import Names, happened, listing, plural, seconds
from .finding import Finding, Invariant
from .order import keys_of

_ENDS = frozenset({Kind.ACKED, Kind.NACKED, Kind.EXPIRED, Kind.RETURNED, Kind.DEAD, Kind.DROPPED})
_LEAVES = frozenset({Kind.ACKED, Kind.DEAD, Kind.DROPPED})
_SETTLES = frozenset({Kind.ACKED, Kind.NACKED, Kind.EXTENDED})


@dataclass(slots=True)
class _Grant:
    """One lease: the delivery that granted it, when it runs out, and the event that ended it."""

    delivery: Event
    until: float
    end: Event | None = None


class _Leases:
    """All leases of a trace, read event by event. Deliveries without a lease hold nothing."""

    def __init__(self) -> None:
        self.granted: dict[tuple[str, Hashable], _Grant] = {}  # by channel and lease
        self.newest: dict[tuple[str, str], _Grant] = {}  # by channel and message
        self.copies: Counter[tuple[str, str]] = Counter()  # unsettled, of one message id in one channel
        self.several: set[tuple[str, str]] = set()

    def granted_by(self, event: Event) -> _Grant | None:
        """The lease that a settling event speaks of: by its token, else the message's newest."""
        lease = event.data.get("lease")
        newest = self.newest.get((event.where, event.message))
        return newest if lease is None else self.granted.get((event.where, lease))

    def newer_than(self, event: Event) -> _Grant | None:
        """The newest lease of the message, unless several copies of it were in the channel at a time."""
        copy = event.where, event.message
        return None if copy in self.several else self.newest.get(copy)

    def _count(self, event: Event) -> None:
        copy = event.where, event.message
        self.copies[copy] += (event.kind == Kind.ACCEPTED) - (event.kind in _LEAVES)
        if self.copies[copy] > 1:
            self.several.add(copy)

    def read(self, event: Event) -> None:
        self._count(event)
        if event.kind == Kind.DELIVERED and event.data.get("lease") is not None:
            until = event.data.get("until")
            grant = _Grant(event, math.inf if until is None else until)
            self.granted[event.where, event.data["lease"]] = grant
            self.newest[event.where, event.message] = grant
        elif event.kind in _ENDS and (ended := self.granted_by(event)) and ended.end is None:
            ended.end = event
        elif event.kind == Kind.EXTENDED and (extended := self.granted_by(event)):
            extended.until = event.data.get("until", extended.until)


@Invariant
def lease_fencing(trace: Trace, *, where: str | None = None) -> list[Finding]:
    """Nothing is settled or extended with a lease that is over or not the message's newest one.

    A lease is over at the very instant at which it runs out. A refused attempt, recorded as
    "stale", is as it should be.
    """
    leases, names, found = _Leases(), Names(trace), []
    for event in trace:
        if event.kind in _SETTLES and where in (None, event.where):
            grant = leases.granted_by(event)
            if why := _why_over(event, grant, leases.newer_than(event)):
                lease = event.data.get("lease")
                words = f"{names.message(event.message)} was {happened(event)} with lease {lease}, {why}"
                proof = [e for e in ((grant.delivery, grant.end) if grant else ()) if e is not None]
                found.append(Finding("lease fencing", words, (*proof, event)))
        leases.read(event)
    return found


def _why_over(event: Event, grant: _Grant | None, newest: _Grant | None) -> str:
    if grant is None:
        return "which was never granted" if event.data.get("lease") is not None else ""
    why = ""
    if grant.end is not None and grant.end.kind in (Kind.ACKED, Kind.NACKED):
        why = f"with which it was already {happened(grant.end)}"
    elif grant.end is not None:
        why = f"which was over at {seconds(grant.end.at)}"
    elif event.at >= grant.until:
        why = f"which ran out at {seconds(grant.until)}"
    if newest is not None and newest is not grant:
        other = f"lease {newest.delivery.data['lease']} of {newest.delivery.who or 'a receiver'}"
        why = (
            f"{why}; " if why else "though "
        ) + f"{other} is newer, granted at {seconds(newest.delivery.at)}"
    return why


def _changes(trace: Trace, where: str | None) -> Iterator[tuple[Event, _Grant | None]]:
    """Each event that begins or ends a lease, with the lease; and each crash, with None."""
    leases = _Leases()
    for event in trace:
        leases.read(event)
        if event.kind == Kind.CRASHED:
            yield event, None
        elif event.kind == Kind.DELIVERED or event.kind in _ENDS:
            grant = leases.granted_by(event)
            changes = grant is not None and (event is grant.delivery or event is grant.end)
            if changes and where in (None, event.where):
                yield event, grant


@Invariant
def prefetch_never_exceeded(trace: Trace, *, limit: int, where: str | None = None) -> list[Finding]:
    """No consumer ever has more than `limit` unsettled messages of a channel.

    One finding for each time that a consumer goes above. A crash empties its hands, though what it
    held stays in flight until the leases run out.
    """
    names, found = Names(trace), []
    hands: dict[tuple[str, str], dict[int, Event]] = defaultdict(dict)  # by channel and consumer
    for event, grant in _changes(trace, where):
        if grant is None:
            for mine in [held for (_, who), held in hands.items() if who == event.who]:
                mine.clear()
            continue
        mine = hands[event.where, grant.delivery.who]
        if event is not grant.delivery:
            mine.pop(id(grant), None)
            continue
        mine[id(grant)] = event
        if len(mine) == limit + 1:
            found.append(_too_many(event, list(mine.values()), limit, names))
    return found


def _too_many(event: Event, held: list[Event], limit: int, names: Names) -> Finding:
    which = listing([names.message(delivery.message) for delivery in held], max_items=limit + 1)
    words = (
        f"{event.who or 'a receiver'} held {plural(len(held), 'message')} of {event.where} "
        f"at {seconds(event.at)}, and {limit} is the limit: {which}"
    )
    return Finding("prefetch never exceeded", words, tuple(held))


@Invariant
def one_in_flight_per_key(trace: Trace, *, where: str | None = None) -> list[Finding]:
    """At most one message of a channel with the same key is in flight. No key, no limit."""
    names, keys, found = Names(trace), keys_of(trace), []
    flying: dict[tuple[str, str], dict[int, Event]] = defaultdict(dict)  # by channel and key
    for event, grant in _changes(trace, where):
        key = keys.get(event.message)
        if grant is None or key is None:
            continue
        mine = flying[event.where, key]
        if event is not grant.delivery:
            mine.pop(id(grant), None)
            continue
        if mine:
            other = next(iter(mine.values()))
            words = (
                f"key {key}: {names.message(event.message)} was {happened(event)}, while "
                f"{names.message(other.message)} was in flight, {happened(other)}"
            )
            found.append(Finding("one in flight per key", words, (other, event)))
        mine[id(grant)] = event
    return found
