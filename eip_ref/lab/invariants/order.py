"""Order: what was accepted first comes first, in a channel or within each key."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Callable, Hashable

from ...trace import Event, Kind, Trace
from ..wording import Names, happened, seconds
from .finding import Finding, Invariant

_AT_RECEIVERS = frozenset({Kind.STARTED, Kind.EFFECT, Kind.FINISHED, Kind.FAILED})


@Invariant
def order_per_key(
    trace: Trace, *, kind: str = Kind.EFFECT, where: str | None = None, first_only: bool = False
) -> list[Finding]:
    """Messages with the same key have their events of `kind` in the order in which they were accepted.

    `where` names the channel whose acceptance counts, if there are several. The same message may
    come again, but not after a later one; with `first_only` only its first time counts. Messages
    without a key are in no order.
    """
    keys = keys_of(trace)
    order = _Order(trace, "order per key", Kind.ACCEPTED, lambda event: ("", event.message))
    if where is not None:
        order.counts = lambda event: event.where == where
    return order.judge(kind, lambda event: keys.get(event.message), first_only)


@Invariant
def fifo(
    trace: Trace,
    *,
    kind: str = Kind.DELIVERED,
    where: str | None = None,
    first_only: bool = False,
    per_sender: bool = False,
) -> list[Finding]:
    """First in, first out: a channel's events of `kind` come in the order of acceptance.

    Events inside receivers, such as "effect", are put in one line, whichever receiver they happen to.
    With `first_only` redeliveries do not count; with `per_sender` only the order in which each
    sender sent its messages matters.
    """
    here = (
        trace if where is None else trace.filter(test=lambda e: e.where == where or e.kind in _AT_RECEIVERS)
    )
    senders = {e.message: e.who for e in here if e.kind == Kind.SENT} if per_sender else {}
    since = Kind.SENT if per_sender else Kind.ACCEPTED

    def channel(event: Event) -> str:
        return "" if kind in _AT_RECEIVERS else event.where

    order = _Order(here, "fifo", since, lambda event: (channel(event), event.message))
    return order.judge(kind, lambda event: (channel(event), senders.get(event.message)), first_only)


def keys_of(trace: Trace) -> dict[str, str]:
    """The ordering key of each message that has one."""
    named = (e for e in trace if e.kind in (Kind.SENT, Kind.ACCEPTED))
    return {e.message: str(e.data["key"]) for e in named if e.data.get("key") is not None}


class _Order:
    """Each message's place in the order of its `since` events, found while the trace is read."""

    def __init__(
        self, trace: Trace, name: str, since: Kind, identity: Callable[[Event], tuple[str, str]]
    ) -> None:
        self.trace, self.name, self.since, self.identity = trace, name, since, identity
        self.counts: Callable[[Event], bool] = lambda event: True
        # A message that is accepted again, as a replay or a duplicate, has one more place.
        self.places: dict[tuple[str, str], list[int]] = defaultdict(list)
        self.begun: list[Event] = []

    def judge(self, kind: str, group: Callable[[Event], Hashable], first_only: bool) -> list[Finding]:
        """A finding for each event of `kind` that comes after one with a later place in its group."""
        names, found = Names(self.trace), []
        latest: dict[Hashable, tuple[int, Event]] = {}
        seen: set[tuple[str, str]] = set()
        for event in self.trace:
            me = self.identity(event)
            if event.kind == self.since and self.counts(event):
                self.places[me].append(len(self.begun))
                self.begun.append(event)
            if event.kind != kind or me not in self.places or (first_only and me in seen):
                continue
            seen.add(me)
            mine = group(event)
            if mine is None:
                continue
            place, last = self._place(me, latest.get(mine)), latest.get(mine)
            if last is not None and place < last[0]:
                found.append(
                    self._finding(event, last[1], self.begun[place], self.begun[last[0]], mine, names)
                )
            else:
                latest[mine] = place, event
        return found

    def _place(self, me: tuple[str, str], last: tuple[int, Event] | None) -> int:
        """The first place of the message that is not before `last`, else its last place."""
        places = self.places[me]
        return places[min(bisect_left(places, last[0] if last else 0), len(places) - 1)]

    def _finding(
        self, event: Event, last: Event, mine: Event, other: Event, group: Hashable, names: Names
    ) -> Finding:
        key = f"key {group}: " if isinstance(group, str) else ""
        words = (
            f"{key}{names.message(event.message)} was {happened(event)}, after "
            f"{names.message(last.message)} at {seconds(last.at)}; "
            f"but it was {happened(mine)}, before {names.message(other.message)} at {seconds(other.at)}"
        )
        return Finding(self.name, words, (mine, other, last, event))
