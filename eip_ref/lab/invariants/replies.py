"""Replies: each reached the caller that asked for it or was dropped, and each request ended once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from ...trace import Event, Kind, Trace
from ..wording import Names, plural, seconds, short
from .finding import Finding, Invariant

_NAME = "no stray reply"
_MAKES_REPLIES = frozenset({Kind.FINISHED, Kind.FAILED, Kind.REFUSED, Kind.DUPLICATE})


@dataclass(slots=True)
class _Call:
    """One request, from the moment at which its caller waits to its end."""

    begun: Event
    ended: Event | None = None
    replies: dict[str, Event] = field(default_factory=dict)  #: those that its caller got, by their id

    @property
    def who(self) -> str:
        return self.begun.where


@Invariant
def no_stray_reply(trace: Trace, *, open_ok: bool = False) -> list[Finding]:
    """Every reply reached the caller that asked or was dropped, and each request ended exactly once.

    A request begins and ends with its requestor's "state" events, and a crash of the requestor ends
    it too. With `open_ok` it may still wait at the end of the trace.
    """
    return list(_Reader(trace).findings(open_ok))


class _Reader:
    """Reads the trace once and keeps what each requestor waits for."""

    def __init__(self, trace: Trace) -> None:
        self.trace, self.names = trace, Names(trace)
        self.calls: dict[tuple[str, str], _Call] = {}  # by requestor and request
        self.asked: dict[str, str] = {}  # reply -> the request that its replier made it for
        self.arrived: dict[tuple[str, str], list[Event]] = defaultdict(list)  # and not yet given or dropped

    def findings(self, open_ok: bool) -> Iterator[Finding]:
        for event in self.trace:
            here = event.where, event.message
            if event.kind in _MAKES_REPLIES and event.data.get("reply"):
                self.asked[str(event.data["reply"])] = event.message
            elif event.kind == Kind.ACCEPTED and "correlation" in event.data:
                self.arrived[here].append(event)
            elif event.kind == Kind.DROPPED and self.arrived.get(here):
                self.arrived[here].pop()
            elif event.kind == Kind.DELIVERED and "request" in event.data:
                yield from self._delivered(event)
            elif event.kind == Kind.STATE and event.message:
                yield from self._changed(event)
            elif event.kind == Kind.CRASHED:
                self._crashed(event)
        yield from self._left_over(open_ok)

    def _changed(self, event: Event) -> Iterator[Finding]:
        here = event.where, event.message
        call = self.calls.get(here)
        if event.data.get("now") == "waiting":
            self.calls[here] = _Call(event)
        elif call is not None and event.data.get("was") == "waiting":
            if call.ended is not None:
                yield self._finding(
                    f"{self._request(event.message)} of {call.who} ended twice: "
                    f"{_how(call.ended)}, and then {_how(event)}",
                    call.begun, call.ended, event,
                )  # fmt: skip
            call.ended = call.ended or event

    def _crashed(self, event: Event) -> None:
        for call in self.calls.values():
            if call.who == (event.who or event.where) and call.ended is None:
                call.ended = event

    def _delivered(self, event: Event) -> Iterator[Finding]:
        if self.arrived.get((event.where, event.message)):
            self.arrived[event.where, event.message].pop()
        request = str(event.data["request"])
        said = (
            f"the reply {short(event.message)} was given to {self._request(request)} at {seconds(event.at)}"
        )
        meant = self.asked.get(event.message, request)
        call = self.calls.get((event.where, request))
        if meant != request:
            yield self._finding(f"{said}, but it answers {self._request(meant)}", event)
        elif call is None:
            yield self._finding(f"{said}, for which {event.where} did not wait", event)
        elif call.ended is not None:
            yield self._finding(f"{said}, which was over: {_how(call.ended)}", call.begun, call.ended, event)
        elif event.message in call.replies:
            yield self._finding(f"{said} for the second time", call.replies[event.message], event)
        elif len(call.replies) >= (expected := int(call.begun.data.get("expected_replies", 1))):
            more = f"which wanted {plural(expected, 'reply', 'replies')} and had them"
            yield self._finding(f"{said}, {more}", call.begun, *call.replies.values(), event)
        else:
            call.replies[event.message] = event

    def _left_over(self, open_ok: bool) -> Iterator[Finding]:
        for events in self.arrived.values():
            for event in events:
                came = f"the reply {short(event.message)} came to {event.where} at {seconds(event.at)}"
                yield self._finding(f"{came} and was neither given to a caller nor dropped", event)
        for call in self.calls.values():
            if call.ended is None and not open_ok:
                since = f"since {seconds(call.begun.at)}, and still did at {seconds(self.trace.end)}"
                request = self._request(call.begun.message)
                yield self._finding(f"{call.who} waited for the answer to {request} {since}", call.begun)

    def _request(self, identity: str) -> str:
        label = self.names.labels.get(identity)
        return f"request {short(identity)}" + (f" ({label})" if label and label != identity else "")

    def _finding(self, words: str, *events: Event) -> Finding:
        return Finding(_NAME, words, events)


def _how(end: Event) -> str:
    how = "its requestor crashed" if end.kind == Kind.CRASHED else str(end.data.get("now"))
    return f"{how} at {seconds(end.at)}"
