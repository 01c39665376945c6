"""What a request and a reply look like as messages.

Each attempt is a message with an id of its own, which is its Correlation Identifier too. The
idempotency key stays the same for all attempts at one operation.
"""

from __future__ import annotations

import json
import math
from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import anyio

from .. import values
from ..message import Message
from .errors import (
    Busy,
    DeadlinePassed,
    InDoubt,
    KeyReused,
    NoResponder,
    NotDelivered,
    NotDone,
    RemoteErrors,
    TransportError,
)

__all__ = [
    "ReplyContent",
    "ReplyStatus",
    "budget",
    "idempotency_key",
    "outcome",
    "read_reply",
    "read_request",
    "reply_id",
    "time_left",
    "write_reply",
    "write_request",
]

KEY = "idempotency-key"
OUTCOME = "outcome"
ERROR = "error"
TO = "to"  #: in a reply, the return address that the request gave

_REFUSALS = {kind.__name__: kind for kind in (Busy, DeadlinePassed, KeyReused, NoResponder)}


class ReplyStatus(StrEnum):
    """The word of a reply about its request."""

    ANSWER = "answer"  #: it was carried out; the body is the answer
    ERROR = "error"  #: it was carried out and failed; the body holds the error's arguments
    REFUSED = "refused"  #: it was not carried out
    IN_DOUBT = "in doubt"  #: the replier does not know


@dataclass(frozen=True, slots=True)
class ReplyContent:
    """The content of the answer, to whichever attempt asks."""

    status: ReplyStatus
    body: Any = None
    error: str = ""  #: the name of the error's type

    @classmethod
    def failed(cls, error: Exception, errors: RemoteErrors) -> ReplyContent:
        """The operation ended with this error."""
        name, args = errors.pack(error)
        return cls(ReplyStatus.ERROR, args, name)

    @classmethod
    def refused(cls, refusal: NotDone) -> ReplyContent:
        """The operation was not begun."""
        return cls(ReplyStatus.REFUSED, [str(refusal)], type(refusal).__name__)

    def to(self, request: Message, by: str) -> Message:
        """The reply to one attempt. Its id follows from the attempt's, so that a resend is the same."""
        headers = {OUTCOME: str(self.status), TO: request.reply_to}
        if self.error:
            headers[ERROR] = self.error
        return Message(
            deepcopy(self.body),
            key=request.key,
            id=reply_id(request, by),
            correlation_id=request.correlation_id,
            causation_id=request.id,
            headers=headers,
        )


def reply_id(request: Message, by: str) -> str:
    """The id of every reply of this replier to this attempt."""
    return f"{request.id}.{by}"


def outcome(reply: Message, errors: RemoteErrors) -> Message | Exception:
    """The reply itself when it is an answer, else the error that it stands for."""
    name = str(reply.headers.get(ERROR, ""))
    match reply.headers.get(OUTCOME):
        case ReplyStatus.ANSWER:
            return reply
        case _ if not isinstance(reply.body, list):
            pass
        case ReplyStatus.ERROR:
            return errors.unpack(name, reply.body)
        case ReplyStatus.REFUSED if name in _REFUSALS:
            return _REFUSALS[name](*reply.body)
        case ReplyStatus.IN_DOUBT:
            return InDoubt(
                f"the replier does not know whether it happened: {', '.join(map(str, reply.body))}"
            )
    return TransportError(
        f"this is no reply that can be read: {reply.headers.get(OUTCOME)!r} {name}".rstrip()
    )


def idempotency_key(request: Message) -> str:
    """The key of the operation; an attempt without one is an operation of its own."""
    return str(request.headers.get(KEY) or request.id)


def budget(request: Message, *, reserve: float) -> float:
    """The deadline for requests that this one leads to: its own, less `reserve` seconds to answer in.

    So deadlines shrink hop by hop, and who asked hears of a failure further down before it gives up.
    """
    values.duration("reserve", reserve)
    if request.deadline is None:
        raise ValueError(f"request {request.id} has no deadline to pass on")
    return request.deadline - reserve


# As JSON, for the ways that are no channels. What else they need travels beside it


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
