"""Events: what a service publishes about one of its aggregates, and the place that each has there.

An event is a `Message` whose key is its *stream* ("users/ann"), the place at which its order counts,
and whose header says which version of the aggregate it made: 1, 2, 3 and so on without a gap. A
reader that knows the last version it has seen needs nothing else to tell a duplicate and a gap.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

from ..event_sourcing import STREAM_VERSION, stream_version
from ..message import Message

__all__ = ["DomainEvent", "event", "stream_version"]


class DomainEvent(NamedTuple):
    """What a decision says has happened: the type of an event and its body, which is a contract.

    The body is made for those who read it. It is never the row of a database, whose columns are
    private to the service and change with it.
    """

    type: str
    body: Mapping[str, Any]
    schema: int = 1  #: the version of the body's schema


def event(fact: DomainEvent, stream: str, version: int, *, id: str, causation_id: str) -> Message:
    """The event that makes version `version` of this stream. The body is written as JSON by the store."""
    return Message(
        dict(fact.body),
        type=fact.type,
        key=stream,
        id=id,
        causation_id=causation_id,
        correlation_id=causation_id,
        version=fact.schema,
        headers={STREAM_VERSION: version},
    )
