"""The envelope: what a request and a reply look like as messages.

Each attempt is a message with an id of its own, which is its Correlation Identifier too. The
idempotency key stays the same for all attempts at one operation.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

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
    RemoteErrors,
    TransportError,
    UnwritableAnswer,
)

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


class ReplyContent(NamedTuple):
    """The content of the answer, to whichever attempt asks."""

    status: ReplyStatus
    body: Any = None
    error: str = ""  #: the name of the error's type

    def to(self, request: Message, by: str) -> Message:
        """The reply to one attempt. Its id follows from the attempt's, so that a resend is the same."""
        headers = {OUTCOME: str(self.status), TO: request.reply_to}
        if self.error:
            headers[ERROR] = self.error
        return Message(
            values.copied(self.body),
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
    status = reply.headers.get(OUTCOME)
    if status == ReplyStatus.ANSWER:
        return reply
    name = str(reply.headers.get(ERROR, ""))
    match status:
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
    return TransportError(f"this is no reply that can be read: {status!r} {name}".rstrip())


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


# As JSON, for the ways that are no channels

MAX_BYTES = 1024 * 1024  #: of a request and of a reply on a wire; whoever reads one stops there
CORRELATION = "correlation-id"
TIMEOUT = "request-timeout"  #: in seconds: two machines have no clock in common


def write_request(attempt: Message) -> tuple[bytes, dict[str, str]]:
    """The body of an attempt and its headers. Raises NotDelivered when no replier would read it."""
    content = values.encode({"type": attempt.type, "key": attempt.key, "body": attempt.body}).encode()
    if len(content) > MAX_BYTES:
        raise NotDelivered(f"the request has {len(content):,} bytes, and a wire carries {MAX_BYTES:,}")
    assert attempt.deadline is not None
    headers = {CORRELATION: attempt.id, TIMEOUT: f"{attempt.deadline - anyio.current_time():.6f}"}
    if KEY in attempt.headers:  # a header cannot hold every sign
        headers[KEY] = quote(attempt.headers[KEY])
    return content, headers


def read_request(content: bytes, headers: Mapping[str, str], *, left: float = math.inf) -> Message:
    """The attempt again, which has at most `left` seconds. Raises ValueError, KeyError or TypeError."""
    asked = _read("a request", content)
    if not isinstance(asked["type"], str):
        raise TypeError(f"the type of a request must be text, not {asked['type']!r}")
    left = min(float(headers.get(TIMEOUT, "inf")), left)
    if not math.isfinite(left):
        raise ValueError(f"the time that is left must be a number of seconds, not {left}")
    correlation, key = headers[CORRELATION], headers.get(KEY)
    return Message(
        asked["body"],
        type=asked["type"],
        key=asked["key"],
        id=correlation,  # the attempt's own, so that a copy of it is known as one
        correlation_id=correlation,
        reply_to="the response",
        deadline=anyio.current_time() + left,
        headers={} if key is None else {KEY: unquote(key, errors="strict")},
    )


def write_reply(reply: Message) -> tuple[Message, bytes]:
    """The reply and its body. One that is too long for a wire becomes the error that says so."""
    content = _content(reply)
    if len(content) > MAX_BYTES:
        words = f"the answer has {len(content):,} bytes, and a wire carries {MAX_BYTES:,}"
        facts = {OUTCOME: str(ReplyStatus.ERROR), ERROR: UnwritableAnswer.__name__}
        reply = reply.copy(body=[words], headers={**reply.headers, **facts})
        content = _content(reply)
    return reply, content


def _content(reply: Message) -> bytes:
    how = {OUTCOME: reply.headers[OUTCOME], ERROR: reply.headers.get(ERROR, "")}
    return values.encode({"to": reply.correlation_id, "id": reply.id, "body": reply.body, **how}).encode()


def read_reply(attempt: Message, content: bytes) -> Message:
    """The reply again. Raises TransportError when it is none, or one to another attempt."""
    try:
        answer = _read("a reply", content)
        if answer["to"] != attempt.id:
            raise TransportError(f"the answer is to another request: {answer['to']!r}")
        return Message(
            answer["body"],
            key=attempt.key,
            id=answer["id"],
            correlation_id=attempt.id,
            causation_id=attempt.id,
            headers={OUTCOME: answer[OUTCOME], ERROR: answer[ERROR]},
        )
    except (KeyError, TypeError, ValueError) as error:
        raise TransportError(f"what came back is no reply: {error!r}") from error


def _read(what: str, content: bytes) -> Any:
    if len(content) > MAX_BYTES:
        raise ValueError(f"{what} has at most {MAX_BYTES:,} bytes, not {len(content):,}")
    return values.from_json(what, content)
