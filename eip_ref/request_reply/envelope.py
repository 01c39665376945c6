"""What a request and a reply look like as messages.

Each attempt is a message with an id of its own, which is its Correlation Identifier too. The
idempotency key stays the same for all attempts at one operation.
"""

from __future__ import annotations

from copy import deepcopy
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from ..message import Message
from .errors import (
    Busy,
    DeadlinePassed,
    InDoubt,
    KeyReused,
    NoResponder,
    NotDone,
    RemoteErrors,
    TransportError,
)

__all__ = ["Answer", "Outcome", "budget", "idempotency_key", "outcome", "reply_id"]

KEY = "idempotency-key"
OUTCOME = "outcome"
ERROR = "error"
TO = "to"  #: in a reply, the return address that the request gave

_REFUSALS = {kind.__name__: kind for kind in (Busy, DeadlinePassed, KeyReused, NoResponder)}


class Outcome(StrEnum):
    """What a reply says about the request."""

    ANSWER = "answer"  #: it was carried out; the body is the answer
    ERROR = "error"  #: it was carried out and failed; the body holds the error's arguments
    REFUSED = "refused"  #: it was not carried out
    IN_DOUBT = "in doubt"  #: the replier does not know


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered, to whichever attempt asks."""

    outcome: Outcome
    body: Any = None
    error: str = ""  #: the name of the error's type

    @classmethod
    def failed(cls, error: Exception, errors: RemoteErrors) -> Answer:
        """The operation ended with this error."""
        name, args = errors.pack(error)
        return cls(Outcome.ERROR, args, name)

    @classmethod
    def refused(cls, refusal: NotDone) -> Answer:
        """The operation was not begun."""
        return cls(Outcome.REFUSED, [str(refusal)], type(refusal).__name__)

    def to(self, request: Message, by: str) -> Message:
        """The reply to one attempt. Its id follows from the attempt's, so that a resend is the same."""
        headers = {OUTCOME: str(self.outcome), TO: request.reply_to}
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
        case Outcome.ANSWER:
            return reply
        case _ if not isinstance(reply.body, list):
            pass
        case Outcome.ERROR:
            return errors.unpack(name, reply.body)
        case Outcome.REFUSED if name in _REFUSALS:
            return _REFUSALS[name](*reply.body)
        case Outcome.IN_DOUBT:
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
    if reserve < 0:
        raise ValueError(f"the reserve must be at least 0 seconds, not {reserve:g}")
    if request.deadline is None:
        raise ValueError(f"request {request.id} has no deadline to pass on")
    return request.deadline - reserve
