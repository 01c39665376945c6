"""OpenTelemetry: a trace as spans of its SDK, and its context in the headers of messages (W3C Trace Context).

    tracer = TracerProvider().get_tracer("shop")
    export(simulate(both_styles, "no tea"), tracer, began=datetime(2026, 1, 1, tzinfo=UTC))

What runs on a real system makes its spans at once, and the context travels with the message:

    with tracer.start_as_current_span("place order"):
        await queue.put(carrying(Message("order 1")))
    …
    async def handle(message: Message) -> None:
        with working_on(message, tracer, "pack"):
            …

*Left out:* metrics, logs, sampling, and an exporter to a collector: whoever makes the provider adds them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from typing import Any

from opentelemetry.context import Context
from opentelemetry.propagate import extract, inject
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, Tracer, set_span_in_context

from ..message import Message
from ..trace import Event, Kind, Trace
from .spans import Work, work_in

__all__ = ["carrying", "context_of", "export", "working_on"]

# The other outcomes are neither
_GOOD = ("finished", "acked", "effect", "completed", "answered")
_BAD = ("failed", "timed out", "crashed", "nacked", "expired", "dead", "stuck", "closed", "died")
_REASONS = ("error", "reason")  #: names of the data in which a fact says why
_NANOSECONDS = 10**9


def export(trace: Trace, tracer: Tracer, *, began: datetime, messages: Iterable[Message] = ()) -> list[Work]:
    """Hand every piece of work in the trace to the tracer as a span, and return them.

    `began` is the time of the day at which the times of the trace begin. From `messages` come causes, and
    the trace that a message belongs to when its headers carry one. Raises ValueError without a time zone.
    """
    if began.tzinfo is None:
        raise ValueError("`began` has no time zone; give one, as in datetime.now(UTC)")
    start, messages = int(began.timestamp() * _NANOSECONDS), list(messages)
    carried = {message.id: message for message in messages}
    found, spans = work_in(trace, messages), dict[Work, Span]()
    for work in found:
        if work.parent is not None:
            context = set_span_in_context(spans[work.parent])
        else:
            message = carried.get(work.message)
            context = Context() if message is None else context_of(message)
        spans[work] = _started(work, tracer, context, start)
    for work, span in spans.items():
        span.end(_time(start, work.until))
    return found


def _started(work: Work, tracer: Tracer, context: Context, start: int) -> Span:
    """The span of this work with its facts and its status, not ended."""
    kind = SpanKind.CONSUMER if work.began.kind == Kind.DELIVERED else SpanKind.INTERNAL
    span = tracer.start_span(
        work.name, context, kind, _attributes(work.began), start_time=_time(start, work.began.at)
    )
    for event in work.events:
        span.add_event(str(event.kind), _attributes(event), _time(start, event.at))
    if work.outcome in _GOOD:
        span.set_status(Status(StatusCode.OK))
    elif work.outcome in _BAD:
        span.set_status(Status(StatusCode.ERROR, _why(work)))
    return span


def _why(work: Work) -> str:
    data = work.ended.data if work.ended else {}
    return next((str(data[name]) for name in _REASONS if data.get(name)), work.outcome)


def _attributes(event: Event) -> dict[str, Any]:
    """The facts as attributes; what OpenTelemetry cannot hold goes in as text."""
    facts = {"eip.where": event.where, "messaging.message.id": event.message, "eip.who": event.who}
    data = {f"eip.{name}": value for name, value in event.data.items() if value is not None}
    kept = {
        name: value if isinstance(value, str | bool | int | float) else str(value)
        for name, value in data.items()
    }
    return {name: value for name, value in facts.items() if value} | kept


def _time(start: int, seconds: float) -> int:
    return start + round(seconds * _NANOSECONDS)


# In the headers of messages


def carrying(message: Message) -> Message:
    """The message, with the trace that is going on here in its headers (`traceparent`)."""
    headers = dict(message.headers)
    inject(headers)
    return message.copy(headers=headers)


def context_of(message: Message) -> Context:
    """The trace that the headers carry; an empty one when they carry none, or none that can be read."""
    texts = {name: text for name, text in message.headers.items() if isinstance(text, str)}
    return extract(texts, Context())


@contextmanager
def working_on(message: Message, tracer: Tracer, name: str) -> Iterator[Span]:
    """A span for the work on this message, under the span whose context it carries. An exception marks it."""
    facts = {"messaging.message.id": message.id}
    with tracer.start_as_current_span(name, context_of(message), SpanKind.CONSUMER, facts) as span:
        yield span
