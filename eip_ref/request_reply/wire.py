"""Requests and replies as JSON, for the ways that are no channels. What else they need travels beside it."""

from __future__ import annotations

import json
import math
from typing import Any

import anyio

from ..message import Message
from .envelope import ERROR, KEY, OUTCOME
from .errors import NotDelivered, TransportError

__all__ = ["read_reply", "read_request", "time_left", "write_reply", "write_request"]


def write_request(attempt: Message) -> bytes:
    """The body of an attempt. Raises NotDelivered when it cannot be written."""
    asked = {"type": attempt.type, "key": attempt.key, "body": attempt.body}
    try:
        return json.dumps(asked).encode()
    except (TypeError, ValueError) as error:
        raise NotDelivered(f"the request cannot be written as JSON: {error}") from error


def read_request(content: bytes, *, correlation: str, idempotency: str | None, left: float) -> Message:
    """The attempt again, with `left` seconds from now on. Raises ValueError, KeyError or TypeError."""
    asked: dict[str, Any] = json.loads(content)
    if not math.isfinite(left):
        raise ValueError(f"the time that is left must be a number of seconds, not {left}")
    return Message(
        asked["body"],
        type=asked["type"],
        key=asked["key"],
        id=correlation,  # the attempt's own, so that a copy of it is known as one
        correlation_id=correlation,
        reply_to="the response",
        deadline=anyio.current_time() + left,
        headers={} if idempotency is None else {KEY: idempotency},
    )


def write_reply(reply: Message) -> dict[str, Any]:
    """The body of a reply, to be written as JSON."""
    name = reply.headers.get(ERROR, "")
    return {"id": reply.id, "body": reply.body, OUTCOME: reply.headers[OUTCOME], ERROR: name}


def read_reply(attempt: Message, answer: dict[str, Any]) -> Message:
    """The reply again. Raises TransportError when it is none."""
    try:
        return Message(
            answer["body"],
            key=attempt.key,
            id=answer["id"],
            correlation_id=attempt.id,
            causation_id=attempt.id,
            headers={OUTCOME: answer[OUTCOME], ERROR: answer[ERROR]},
        )
    except (KeyError, TypeError) as error:
        raise TransportError(f"what came back is no reply: {error!r}") from error


def time_left(attempt: Message) -> float:
    """The seconds until the attempt's deadline: two machines have no clock in common."""
    assert attempt.deadline is not None
    return attempt.deadline - anyio.current_time()
