"""What a store says of its events in the trace; `__init__.py` lists the facts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..message import Message
from ..trace import Kind, record
from .protocol import Appended, Conflict

__all__ = ["say_accepted", "say_refused", "say_repeated", "say_sent"]


def say_sent(store: str, stream: str, event: Message, **facts: Any) -> None:
    """Somebody hands an event over to be appended."""
    record(Kind.SENT, store, event.id, label=event.type, key=stream, **facts)


def say_accepted(store: str, stream: str, event: str, version: int, position: int) -> None:
    """The event is kept."""
    record(Kind.ACCEPTED, store, event, key=stream, stream=stream, version=version, position=position)


def say_repeated(store: str, events: Sequence[Message], stream: str, appended: Appended) -> None:
    """These events were kept before."""
    for version, event in enumerate(events, appended.version - len(events) + 1):
        record(Kind.DUPLICATE, store, event.id, stream=stream, version=version)


def say_refused(store: str, events: Sequence[Message], conflict: Conflict) -> None:
    """None of these events is kept."""
    facts: dict[str, Any] = {
        "stream": conflict.stream,
        "expected": conflict.expected,
        "actual": conflict.actual,
    }
    for event in events:
        record(Kind.REFUSED, store, event.id, reason=str(conflict), **facts)
