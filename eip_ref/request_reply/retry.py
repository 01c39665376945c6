"""Asking again: after a definite "not done" always, after an indefinite outcome only when it is safe."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import anyio

from .. import values
from ..message import Message
from .errors import ClosedWhileWaiting, Indefinite, KeyReused, NotDone, RequestorClosed
from .requestor import Requestor


async def request_again(
    requestor: Requestor,
    body: Any = None,
    *,
    type: str = "",
    key: str | None = None,
    timeout: float,
    deadline: float = math.inf,
    idempotency_key: str | None = None,
    reads_only: bool = False,
    pauses: Sequence[float] = (0.1, 0.2, 0.4),
) -> Message:
    """Ask once, and once more after each of the `pauses` (seconds), with `timeout` for each attempt.

    An attempt that certainly was not carried out is repeated. One that may have been is repeated
    only with an idempotency key, or when the request `reads_only`; else its error comes out at once.
    What the replier itself raised is an answer and comes out too.

    When some attempt was indefinite and no later one brought an answer, the error that comes out is
    indefinite, whatever the last attempt said.
    """
    for pause in pauses:
        values.duration("a pause", pause)
    safe = reads_only or idempotency_key is not None
    end = min(deadline, anyio.current_effective_deadline())
    doubt: Indefinite | None = None
    for pause in (*pauses, math.inf):
        try:
            return await requestor.request(
                body, type=type, key=key, timeout=timeout, deadline=deadline, idempotency_key=idempotency_key
            )
        except Indefinite as error:
            doubt = error
            if not safe or isinstance(error, ClosedWhileWaiting) or _pointless(pause, end):
                raise
        except NotDone as error:
            if isinstance(error, RequestorClosed | KeyReused) or _pointless(pause, end):
                if doubt is None:
                    raise
                raise doubt from error
        await anyio.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _pointless(pause: float, end: float) -> bool:
    """True when there is no later attempt, or it could not begin before the end."""
    return pause == math.inf or anyio.current_time() + pause >= end
