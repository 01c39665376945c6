"""Sagas: one outcome each, compensation of what may have happened and of nothing else, and no trace left."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import listing, seconds, short
from .finding import Finding, Invariant

_NAME = "saga outcome"
_PHASES = frozenset({"running", "compensating", "completed", "compensated", "stuck"})
_FOR_GOOD = frozenset({"completed", "compensated"})
_NEVER = frozenset({("compensating", "completed"), ("compensating", "running")})
_ENDS = frozenset({Kind.FINISHED, Kind.FAILED, Kind.TIMED_OUT, Kind.CANCELLED})
_REFUSED = frozenset({"refused", "revoked"})


@Invariant
def saga_outcome(trace: Trace, *, open_ok: bool = False, order: str = "reverse") -> list[Finding]:
    """Each saga has one outcome, and what happened in the world agrees with it.

    Completed: every step that was begun is done, and nothing was taken back. Compensated: everything
    that may have happened was taken back, in reverse and one after the other (`order="any"` for
    sagas that compensate in parallel), and all amounts add up to nothing. Always: no compensation of a
    step that certainly did not happen, no effect twice, and nothing after the end. With `open_ok` a
    saga may still run at the end of the trace.
    """
    if order not in ("reverse", "any"):
        raise ValueError(f"order must be 'reverse' or 'any', not {order!r}")
    sagas: dict[str, _Saga] = {}
    found: list[Finding] = []
    for event in trace:
        if event.kind == Kind.CRASHED:
            for saga in sagas.values():
                saga.crashed(event.who)
        elif (identity := _saga_of(event)) is not None:
            found += sagas.setdefault(identity, _Saga(identity, order)).read(event)
    for saga in sagas.values():
        found += saga.at_the_end(open_ok)
    return found


def _saga_of(event: Event) -> str | None:
    if event.kind == Kind.STATE and event.message and event.data.get("now") in _PHASES:
        return event.message
    return event.data.get("saga") if "role" in event.data else None


@dataclass(slots=True)
class _Step:
    """One step: its attempts and its effects."""

    name: str
    begun: Event
    began: int  #: the number of the saga's event with which it began, and ended for the last time
    ended: int = 0
    doubt: bool = False  #: some attempt has ended without a definite no
    running: int = 0
    done: bool = False
    refused: Event | None = None
    effects: Counter[str] = field(default_factory=Counter)  #: by role

    @property
    def may_have_happened(self) -> bool:
        known = self.done or self.effects["action"] > 0
        return known or (self.refused is None and (self.doubt or self.running > 0))


@dataclass(slots=True)
class _Saga:
    """One saga, followed event by event."""

    name: str
    order: str
    states: dict[str, Event] = field(default_factory=dict)  # by who tells them
    end: Event | None = None  # completed or compensated, as first told
    steps: dict[str, _Step] = field(default_factory=dict)
    undone: dict[str, Event] = field(default_factory=dict)  # the first compensation of each step
    undoing: dict[str, Event] = field(default_factory=dict)  # compensations that run now
    amounts: Counter[str] = field(default_factory=Counter)
    effects: dict[tuple[str, str, str], Event] = field(default_factory=dict)
    last: Event | None = None
    number: int = 0  # of the last event

    def read(self, event: Event) -> Iterator[Finding]:
        self.last, self.number = event, self.number + 1
        if event.kind == Kind.STATE:
            yield from self._changed(event)
        elif event.kind == Kind.EFFECT:
            yield from self._happened(event)
        elif event.kind == Kind.STARTED:
            yield from self._started(event)
        elif event.kind in _ENDS:
            self._ended(event)

    def crashed(self, who: str) -> None:
        """Leave in doubt for ever what it had begun."""
        self.undoing = {name: e for name, e in self.undoing.items() if e.who != who}
        for step in self.steps.values():
            step.ended = step.ended or (self.number if step.begun.who == who else 0)

    # What the saga says of itself

    def _changed(self, event: Event) -> Iterator[Finding]:
        before, now = self.states.get(event.where), str(event.data["now"])
        was = str(before.data["now"]) if before else ""
        self.states[event.where] = event
        if was in _FOR_GOOD:
            words = f"was {was} and changed to {now} at {seconds(event.at)}: it had ended"
            yield self._finding(words, before, event)
        elif (was, now) in _NEVER:
            yield self._finding(f"went from {was} to {now} at {seconds(event.at)}", before, event)
        if now in _FOR_GOOD:
            if self.end is not None and self.end.data["now"] != now:
                words = f"is {self.end.data['now']} for {self.end.where} and {now} for {event.where}"
                yield self._finding(words, self.end, event)
            self.end = self.end or event

    # What its orchestrator does

    def _started(self, event: Event) -> Iterator[Finding]:
        name, role = str(event.data["step"]), event.data["role"]
        yield from self._after_the_end(event, f"carried a command for {name}")
        if role == "action":
            step = self.steps.setdefault(name, _Step(name, event, self.number))
            step.running += 1
        elif role == "compensation":
            yield from self._compensates(name, event)

    def _compensates(self, name: str, event: Event) -> Iterator[Finding]:
        step = self.steps.get(name)
        if name not in self.undone:
            if step is None:
                yield self._finding(f"compensated {name}, which was never begun", event)
            elif not step.may_have_happened:
                words = f"compensated {name} at {seconds(event.at)}, which certainly did not happen"
                yield self._finding(words, step.begun, step.refused, event)
            if self.order == "reverse":
                yield from self._in_reverse(name, event)
            self.undone[name] = event
        self.undoing[name] = event

    def _in_reverse(self, name: str, event: Event) -> Iterator[Finding]:
        began = self.steps[name].began if name in self.steps else 0
        before = [self.steps[other] for other in self.undone if other in self.steps]
        if wrong := [step.name for step in before if 0 < step.ended < began]:
            words = f"compensated {name} after {listing(wrong)}: not in reverse"
            yield self._finding(words, self.undone[wrong[0]], event)
        if running := [other for other in self.undoing if other != name]:
            words = f"began to compensate {name} while the compensation of {listing(running)} ran"
            yield self._finding(words, self.undoing[running[0]], event)

    def _ended(self, event: Event) -> None:
        name, role = str(event.data["step"]), event.data["role"]
        if role == "compensation":
            self.undoing.pop(name, None)
            return
        step = self.steps.setdefault(name, _Step(name, event, self.number))
        if role == "question":
            step.done = step.done or event.data.get("said") == "done"
            step.refused = event if event.data.get("said") in _REFUSED else step.refused
            return
        step.running -= 1
        step.ended = self.number
        if event.kind == Kind.FINISHED:
            step.done = True
        elif event.data.get("outcome") == "refused":
            step.refused = event
        elif event.data.get("outcome") != "not done":
            step.doubt = True

    # What happens in the world

    def _happened(self, event: Event) -> Iterator[Finding]:
        name, role, what = str(event.data["step"]), str(event.data["role"]), str(event.data["effect"])
        if (before := self.effects.get((name, role, what))) is not None:
            yield self._finding(f"had '{what}' of {name} twice", before, event)
        self.effects[name, role, what] = event
        yield from self._after_the_end(event, f"had '{what}' at {event.where}")
        step = self.steps.setdefault(name, _Step(name, event, self.number))
        step.effects[role] += 1
        if step.effects["compensation"] > step.effects["action"]:
            yield self._finding(f"had '{what}' of {name}, which had not happened", event)
        self.amounts.update(event.data.get("amounts") or {})

    def _after_the_end(self, event: Event, words: str) -> Iterator[Finding]:
        stuck = next((s for s in self.states.values() if s.data["now"] == "stuck"), None)
        if self.end is not None:
            words = f"was {self.end.data['now']} at {seconds(self.end.at)} and {words} at {seconds(event.at)}"
            yield self._finding(words, self.end, event)
        elif stuck is not None and event.kind == Kind.STARTED and event.where == stuck.where:
            yield self._finding(f"was stuck and {words} without being resumed", stuck, event)

    # How it ended

    def at_the_end(self, open_ok: bool) -> Iterator[Finding]:
        """Find what can be said only when the trace is over."""
        outcome = self.end.data["now"] if self.end else None
        told = [str(state.data["now"]) for state in self.states.values()]
        if outcome is None and "stuck" not in told and not open_ok:
            standing = f"it is {told[0]}" if told else "nobody says how it stands"
            yield self._finding(f"has no outcome at the end: {standing}", self.last)
        if outcome == "completed":
            for step in self.steps.values():
                if not step.done and not step.effects["action"]:
                    yield self._finding(f"is completed, and {step.name} is not done", step.begun, self.end)
                if step.effects["compensation"] or step.name in self.undone:
                    yield self._finding(f"is completed, and {step.name} was taken back", self.end)
        if outcome == "compensated":
            yield from self._nothing_left()

    def _nothing_left(self) -> Iterator[Finding]:
        for step in self.steps.values():
            missing = step.effects["action"] > step.effects["compensation"]
            orchestrated = step.begun.kind == Kind.STARTED
            if missing or (orchestrated and step.may_have_happened and step.name not in self.undone):
                yield self._finding(
                    f"is compensated, and {step.name} was not taken back", step.begun, self.end
                )
        if left := [f"{amount:+g} {what}" for what, amount in self.amounts.items() if abs(amount) > 1e-9]:
            yield self._finding(f"is compensated and leaves {listing(left)}", self.end)

    def _finding(self, words: str, *events: Event | None) -> Finding:
        return Finding(_NAME, f"saga {short(self.name)} {words}", tuple(e for e in events if e is not None))
