"""Backpressure: nothing holds, delivers, drops or changes more than was agreed."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from ...trace import Event, Kind, Trace
from ..wording import Names, plural, seconds
from .finding import Finding, Invariant
from .journeys import STEPS, Journeys

_ROUNDING = 1e-6  # of tokens


@Invariant
def demand_never_exceeded(trace: Trace, *, where: str | None = None) -> list[Finding]:
    """Never more was delivered than was requested before, and nothing after the end.

    A request is a "state" event with `requested`, and the end is "closed"; both at the place of
    delivery. Places at which nothing is ever requested are not judged, unless `where` names one.
    """
    asked = {e.where for e in trace.filter(Kind.STATE) if "requested" in e.data}
    outstanding: Counter[str] = Counter()
    ended: dict[str, Event] = {}
    found, names, name = [], Names(trace), "demand never exceeded"
    for event in trace:
        if event.where != where if where is not None else event.where not in asked:
            continue
        if event.kind == Kind.STATE:
            outstanding[event.where] += event.data.get("requested", 0)
        elif event.kind == Kind.CLOSED:
            ended.setdefault(event.where, event)
        elif event.kind == Kind.DELIVERED:
            outstanding[event.where] -= 1
            what = names.message(event.message) if event.message else "something"
            said = f"{event.where} delivered {what} at {seconds(event.at)}"
            if outstanding[event.where] < 0:
                more = plural(-outstanding[event.where], "message")
                found.append(Finding(name, f"{said}, {more} more than was requested", (event,)))
            if (end := ended.get(event.where)) is not None:
                found.append(Finding(name, f"{said}, after its end at {seconds(end.at)}", (end, event)))
    return found


@dataclass(slots=True)
class _Level:
    """The number of messages that one channel holds, and the step after which it was too large."""

    capacity: int | None
    held: int = 0
    over: Event | None = None
    told: bool = False

    def step(self, event: Event, change: int) -> Finding | None:
        """Follow one step; only a drop may follow the one that came too many."""
        finding = None if event.kind == Kind.DROPPED else self.finding()
        self.held += change
        if self.capacity is None or self.held <= self.capacity:
            self.over, self.told = None, False
        elif not self.told:
            self.over = event
        return finding

    def finding(self) -> Finding | None:
        if self.over is None:
            return None
        event, self.over, self.told = self.over, None, True
        said = f"{event.where} held {plural(self.held, 'message')} at {seconds(event.at)}"
        return Finding("depth never exceeded", f"{said}, and has room for {self.capacity}", (event,))


@Invariant
def depth_never_exceeded(
    trace: Trace, *, limit: int | None = None, where: str | None = None
) -> list[Finding]:
    """No channel ever held more messages than its capacity, or than `limit`.

    When one comes too many, one must be dropped in the next step. Channels that declare no capacity
    are not judged, unless a limit is given.
    """
    declared = {e.where: e.data.get("capacity") for e in trace if e.kind == Kind.OPENED}
    journeys, levels, found = Journeys(), dict[str, _Level](), list[Finding | None]()
    for event in trace:
        if event.kind in STEPS and event.message and where in (None, event.where):
            capacity = declared.get(event.where) if limit is None else limit
            level = levels.setdefault(event.where, _Level(capacity))
            copies = journeys.of(event)
            before = copies.waiting + len(copies.held)
            journeys.follow(event)
            found.append(level.step(event, copies.waiting + len(copies.held) - before))
    found += [level.finding() for level in levels.values()]
    return [finding for finding in found if finding is not None]


@Invariant
def drops_counted(trace: Trace, *, where: str | None = None) -> list[Finding]:
    """Every message handed over was taken or refused, and every drop is counted, explained and signalled.

    A channel signals an episode of drops once, with a "state" event that says "dropping", before the
    first; when the episode is over it says "flowing" and how many were `dropped`. Judged are the
    channels that promise it, with `low_water` in their "opened", or the one that `where` names.
    """
    promise = {e.where for e in trace.filter(Kind.OPENED) if "low_water" in e.data}
    judges = {name: _Drops(name, Names(trace)) for name in (promise if where is None else {where})}
    found = [f for e in trace if e.where in judges for f in judges[e.where].step(e)]
    return found + [f for name in sorted(judges) for f in judges[name].left_over()]


class _Drops:
    """The drops of one channel: what it did with what was handed to it, and what it said."""

    def __init__(self, where: str, names: Names) -> None:
        self.where, self.names = where, names
        self.sent: dict[str, Event] = {}  # and neither taken nor refused nor kept waiting yet
        self.begun: Event | None = None  # the signal of the episode that lasts
        self.dropped = 0  # in it

    def step(self, event: Event) -> Iterator[Finding]:
        match event.kind:
            case Kind.SENT:
                self.sent[event.message] = event
            case Kind.ACCEPTED | Kind.REFUSED | Kind.BLOCKED:
                self.sent.pop(event.message, None)
            case Kind.STATE:
                yield from self._signalled(event)
            case Kind.DROPPED:
                yield from self._drop(event)

    def left_over(self) -> Iterator[Finding]:
        for event in self.sent.values():
            said = f"{self.names.message(event.message)} was handed to {self.where} at {seconds(event.at)}"
            yield self._finding(f"{said}, which neither took nor refused it", event)
        if self.begun is not None and not self.dropped:
            yield self._nothing(self.begun)

    def _drop(self, event: Event) -> Iterator[Finding]:
        said = f"{self.where} dropped {self.names.message(event.message)} at {seconds(event.at)}"
        self.dropped += 1
        if not event.data.get("reason"):
            yield self._finding(f"{said} and did not say why", event)
        if self.begun is None:
            yield self._finding(f"{said} and had not signalled that it drops", event)

    def _signalled(self, event: Event) -> Iterator[Finding]:
        if event.data.get("now") == "dropping":
            if self.begun is not None:
                times = f"at {seconds(self.begun.at)} and again at {seconds(event.at)}"
                yield self._finding(f"{self.where} signalled one episode of drops {times}", self.begun, event)
            else:
                self.begun, self.dropped = event, 0
        elif event.data.get("was") == "dropping" and self.begun is not None:
            if not self.dropped:
                yield self._nothing(self.begun)
            elif (said := event.data.get("dropped")) != self.dropped:
                counted = f"counted {said} drops until {seconds(event.at)}, and there were {self.dropped}"
                yield self._finding(f"{self.where} {counted}", self.begun, event)
            self.begun = None

    def _nothing(self, begun: Event) -> Finding:
        said = f"{self.where} signalled at {seconds(begun.at)} that it drops"
        return self._finding(f"{said}, and dropped nothing", begun)

    def _finding(self, words: str, *events: Event) -> Finding:
        return Finding("drops counted", words, events)


@Invariant
def rate_never_exceeded(
    trace: Trace, *, rate: float, burst: float, kind: str = Kind.DELIVERED, where: str | None = None
) -> list[Finding]:
    """In any stretch of t seconds at most burst + rate × t events of `kind` happened, in each place.

    An event with `tokens` counts for so many. The rate is a second's.
    """
    found = []
    levels: dict[str, float] = defaultdict(lambda: burst)  # of a bucket that nobody may overdraw
    last: dict[str, Event] = {}
    for event in trace.filter(kind, where=where):
        place, tokens = event.where, float(event.data.get("tokens", 1))
        before = last.get(place, event)
        last[place] = event
        level = min(burst, levels[place] + (event.at - before.at) * rate)
        levels[place] = max(0.0, level - tokens)
        if level - tokens < -_ROUNDING:
            said = f"{place} let {tokens:g} more go at {seconds(event.at)}, when it had {level:.3g} left"
            agreed = f"of {rate:g} a second and {burst:g} at once"
            found.append(Finding("rate never exceeded", f"{said} {agreed}", (before, event)))
    return found


@Invariant
def no_flapping(trace: Trace, *, cooldown: float, where: str | None = None) -> list[Finding]:
    """No pool of consumers grew and shrank, or shrank and grew, less than `cooldown` seconds apart.

    A pool is whatever says in "state" events how many `consumers` it has.
    """
    found = []
    last: dict[str, tuple[Event, int]] = {}  # the last change of each pool, and its size from then on
    direction: dict[str, int] = {}
    for event in trace.filter(Kind.STATE, where=where, test=lambda e: "consumers" in e.data):
        now = int(event.data["consumers"])
        before, was = last.setdefault(event.where, (event, now))
        turned = (now - was) * direction.get(event.where, 0) < 0
        if turned and event.at - before.at < cooldown:
            words = (
                f"{event.where} {_went(direction[event.where])} to {was} at {seconds(before.at)} and "
                f"{_went(now - was)} to {now} at {seconds(event.at)}, {seconds(event.at - before.at)} later"
            )
            found.append(Finding("no flapping", words, (before, event)))
        if now != was:
            direction[event.where] = now - was
            last[event.where] = event, now
    return found


def _went(change: int) -> str:
    return "grew" if change > 0 else "shrank"
