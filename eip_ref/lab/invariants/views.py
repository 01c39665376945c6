"""Views: each change of the write side is on the view once, in order; and a read says when it is old."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import seconds
from .finding import Finding, Invariant

__all__ = ["effect_once_on_view", "read_your_writes"]

_ONCE = "effect once on the view"
_READS = "read your writes"


@dataclass(slots=True)
class _Table:
    """One generation of a view: the last event of each stream that was projected there."""

    last: dict[str, Event] = field(default_factory=dict)

    def version(self, stream: str) -> int:
        return _version(self.last[stream]) if stream in self.last else 0


class _Views:
    """Follows the generations of the views of a trace."""

    def __init__(self) -> None:
        self.tables: dict[str, _Table] = {}
        self.live: dict[str, str] = {}  # view -> its live generation

    def follow(self, event: Event) -> None:
        """Take notice of a swap."""
        if event.kind == Kind.STATE and event.data.get("reason") == "swapped":
            self.live[event.where] = str(event.data["now"])

    def table(self, event: Event) -> _Table:
        """The generation that this effect belongs to; the first that is seen of a view is live."""
        self.live.setdefault(str(event.data.get("view", event.where)), event.where)
        return self.tables.setdefault(event.where, _Table())

    def live_table(self, view: str) -> _Table:
        return self.tables.get(self.live.get(view, view), _Table())


@Invariant
def effect_once_on_view(trace: Trace, *, open_ok: bool = False) -> list[Finding]:
    """Everything that the write side committed is projected on each view once, in the order of its stream.

    Nothing else is: an event that tells of no commit is a phantom. Commits and projections are the
    effects "committed" and "projected" with a stream and a version. With `open_ok` some may still
    be on their way at the end of the trace.
    """
    return list(_once(trace, open_ok))


def _once(trace: Trace, open_ok: bool) -> Iterator[Finding]:
    views, committed = _Views(), dict[tuple[str, int], Event]()
    phantoms: dict[tuple[str, str, int], Event] = {}
    for event in trace:
        views.follow(event)
        if event.kind != Kind.EFFECT or not {"stream", "version"} <= event.data.keys():
            continue
        stream, version = str(event.data["stream"]), _version(event)
        if event.data.get("effect") == "committed":
            for made in range(int(event.data.get("was", version - 1)) + 1, version + 1):
                committed[stream, made] = event
        elif event.data.get("effect") == "projected":
            table = views.table(event)
            yield from _out_of_turn(event, table.last.get(stream))
            if (stream, version) not in committed:
                phantoms[event.where, stream, version] = event
            if version > table.version(stream):
                table.last[stream] = event
    yield from _phantoms(phantoms, committed)
    if not open_ok:
        yield from _missing(views, committed, trace.end)


def _out_of_turn(event: Event, last: Event | None) -> Iterator[Finding]:
    version, before = _version(event), _version(last) if last else 0
    if version == before + 1:
        return
    what = (
        f"version {version} of {event.data['stream']} was projected on {event.where} at {seconds(event.at)}"
    )
    if version > before + 1:
        words = f"{what}, and version {before + 1} was not before it"
    else:
        words = f"{what}, although version {before} had been at {seconds(last.at if last else 0)}"
    yield Finding(_ONCE, words, (last, event) if last else (event,))


def _phantoms(
    phantoms: Mapping[tuple[str, str, int], Event], committed: Mapping[tuple[str, int], Event]
) -> Iterator[Finding]:
    for (where, stream, version), event in phantoms.items():
        change = committed.get((stream, version))
        never = "before it was committed" if change else "and nobody ever committed it: a phantom"
        words = f"version {version} of {stream} was projected on {where} at {seconds(event.at)}, {never}"
        yield Finding(_ONCE, words, (event, change) if change else (event,))


def _missing(views: _Views, committed: Mapping[tuple[str, int], Event], end: float) -> Iterator[Finding]:
    for view in sorted(views.live) or ["any view"]:
        table = views.live_table(view)
        for (stream, version), event in committed.items():
            if version > table.version(stream):
                change = f"version {version} of {stream} was committed at {seconds(event.at)}"
                words = f"{change}, and by {seconds(end)} it was not projected on {view}"
                yield Finding(_ONCE, words, (event,))


@Invariant
def read_your_writes(trace: Trace) -> list[Finding]:
    """A read that names a version is never answered with an older one without the mark that it is stale.

    A read ends with "finished", whose data say which versions were `wanted`, which `versions` the
    view is said to have had, and whether it is `stale`. The view must have had what is said.
    """
    return list(_reads(trace))


def _reads(trace: Trace) -> Iterator[Finding]:
    views = _Views()
    for event in trace:
        views.follow(event)
        if event.data.get("effect") == "projected" and {"stream", "version"} <= event.data.keys():
            table = views.table(event)
            stream = str(event.data["stream"])
            if _version(event) > table.version(stream):
                table.last[stream] = event
        elif event.kind == Kind.FINISHED and "wanted" in event.data:
            yield from _judge(event, views.live_table(event.where))


def _judge(event: Event, table: _Table) -> Iterator[Finding]:
    for stream, wanted in event.data["wanted"].items():
        had, said = table.version(stream), int(event.data["versions"][stream])
        read = f"{event.who or 'somebody'} asked {event.where} for version {wanted} of {stream} or later"
        if min(had, said) < wanted and not event.data.get("stale"):
            words = f"{read}, and got version {min(had, said)} at {seconds(event.at)} without a word"
            yield Finding(_READS, words, (event,))
        elif said > had:
            words = (
                f"{read}, and was told of version {said} at {seconds(event.at)}; the view had version {had}"
            )
            yield Finding(_READS, words, (event,))


def _version(event: Event) -> int:
    return int(event.data["version"])
