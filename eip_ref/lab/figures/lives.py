"""What each participant of a trace did: its work, its leases, its down time, and moments to mark."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import plural, seconds
from .ink import BLUE, GREEN, PURPLE, RED

_MOST_LANES = 4

MARKED = {
    Kind.SENT: ("triangle", BLUE),
    Kind.EFFECT: ("diamond", GREEN),
    Kind.FAILED: ("cross", RED),
    Kind.CRASHED: ("cross", RED),
    Kind.STALE: ("ring", PURPLE),
    Kind.DUPLICATE: ("ring", PURPLE),
}


@dataclass(slots=True)
class Span:
    """Something that took time: from `start` to `end`, drawn in one of the row's lanes."""

    start: float
    end: float
    message: str = ""
    lane: int = 0
    ended: str = ""  #: how work ended, as the kind of the last event


@dataclass(slots=True)
class Life:
    """All that is drawn of one participant."""

    name: str
    work: list[Span] = field(default_factory=list)
    leases: list[Span] = field(default_factory=list)
    down: list[Span] = field(default_factory=list)
    signs: list[Event] = field(default_factory=list)  # effects, sends, failures and the like
    open_work: dict[str, Span] = field(default_factory=dict)

    @property
    def lanes(self) -> tuple[int, int]:
        """How many lanes the work needs, and how many the leases."""
        return tuple(max((s.lane + 1 for s in spans), default=0) for spans in (self.work, self.leases))  # type: ignore[return-value]

    @property
    def height(self) -> float:
        work, leases = self.lanes
        return max(24.0, 8 + 14.0 * max(1, work) + 4.0 * leases)


def lives_of(trace: Trace) -> dict[str, Life]:
    lives: dict[str, Life] = {}
    leases: dict[object, tuple[Life, Span]] = {}
    for event in trace:
        name = event.who
        if name and event.kind not in (Kind.OPENED, Kind.ACCEPTED, Kind.EXPIRED):
            _live(lives.setdefault(name, Life(name)), event, trace.end)
        if event.kind == Kind.DELIVERED and name and event.data.get("lease") is not None:
            span = Span(event.at, trace.end, event.message)
            lives[name].leases.append(span)
            leases[event.where, event.data["lease"]] = lives[name], span
        elif event.kind in (Kind.ACKED, Kind.NACKED, Kind.EXPIRED):
            held = leases.pop((event.where, event.data.get("lease")), None)
            if held:
                held[1].end = event.at
    for life in lives.values():
        _into_lanes(life.work)
        _into_lanes(life.leases)
    return lives


def _live(life: Life, event: Event, end: float) -> None:
    match event.kind:
        case Kind.STARTED:
            span = life.open_work[event.message] = Span(event.at, end, event.message)
            life.work.append(span)
        case Kind.FINISHED | Kind.FAILED | Kind.CANCELLED:
            span_ = life.open_work.pop(event.message, None)
            if span_:
                span_.end, span_.ended = event.at, event.kind
        case Kind.CRASHED:
            for span in life.open_work.values():
                span.end, span.ended = event.at, event.kind
            life.open_work.clear()
            life.down.append(Span(event.at, end))
        case Kind.RESTARTED if life.down:
            life.down[-1].end = event.at
    if event.kind in MARKED:
        life.signs.append(event)


def _into_lanes(spans: list[Span]) -> None:
    """Give spans that overlap different lanes, as far as there are any."""
    free: list[float] = []
    for span in spans:
        lane = next((i for i, end in enumerate(free) if end <= span.start), len(free))
        lane = min(lane, _MOST_LANES - 1)
        if lane == len(free):
            free.append(span.end)
        free[lane] = max(free[lane], span.end)
        span.lane = lane


def said_of(life: Life, end: float) -> str:
    """One participant in words."""
    count = {kind: sum(e.kind == kind for e in life.signs) for kind in MARKED}
    parts = [f"sent {plural(count[Kind.SENT], 'message')}"] if count[Kind.SENT] else []
    if life.work:
        busy = _covered(life.work)
        share = f" ({100 * busy / end:.0f} % of the time)" if end else ""
        parts.append(f"worked on {plural(len(life.work), 'message')} for {seconds(busy)}{share}")
    for kind, word in ((Kind.EFFECT, "effect"), (Kind.FAILED, "failure"), (Kind.STALE, "stale attempt")):
        if count[kind]:
            parts.append(plural(count[kind], word))
    parts += [f"down from {seconds(s.start)} to {seconds(s.end)}" for s in life.down]
    if not parts:
        parts = [f"held {plural(len(life.leases), 'lease')}"] if life.leases else ["took part"]
    return f"{life.name}: {', '.join(parts)}."


def _covered(spans: list[Span]) -> float:
    """The seconds in which at least one of the spans, sorted by start, went on."""
    total, until = 0.0, 0.0
    for span in spans:
        total += max(0.0, span.end - max(span.start, until))
        until = max(until, span.end)
    return total
