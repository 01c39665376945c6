"""The ways in which a request can end without its answer, as a status and a code that a client may see.

Statuses and headers are those of HTTP, since everybody in the field knows them.
The words of an exception are for the log and the trace. They may hold what is nobody else's business,
so a client gets the code alone.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence

from ..circuit_breaker import CallRejected

_log = logging.getLogger(__name__)
_log.addHandler(logging.NullHandler())  # backends fail every day: nothing is printed until somebody asks


class GatewayError(Exception):
    """Something that the client is told: a status, a code, and seconds until it may come again, if known."""

    status = 500
    code = "internal error"
    headers: Sequence[tuple[str, str]] = ()
    because: str | None = None  #: the branch without which another could not be asked

    def __init__(self, words: str = "", *, retry_after: float | None = None) -> None:
        super().__init__(words)
        self.retry_after = retry_after


class RequestRefused(GatewayError):
    """The gateway itself does not take the request, and has begun nothing."""

    def __init__(
        self,
        status: int,
        code: str,
        words: str,
        *,
        retry_after: float | None = None,
        headers: Sequence[tuple[str, str]] = (),
    ) -> None:
        super().__init__(words, retry_after=retry_after)
        self.status, self.code, self.headers = status, code, headers


class BadRequest(GatewayError):
    """The request can have more than one meaning, or none."""

    status, code = 400, "bad request"


class Unauthenticated(GatewayError):
    """Nobody knows who asks."""

    status, code = 401, "unauthenticated"
    headers = (("www-authenticate", "Bearer"),)


class Forbidden(GatewayError):
    """It is known who asks, and they may not."""

    status, code = 403, "forbidden"


class NotFound(GatewayError):
    """There is no such thing, or the backend says so. An answer of the backend, and no failure of it."""

    status, code = 404, "not found"


class BulkheadFull(GatewayError):
    """The backend has as many of our calls as it may have; it was certainly not called."""

    status, code = 503, "unavailable"


class BackendFailed(GatewayError):
    """The backend answered that it failed, or what it answered makes no sense."""

    status, code = 502, "failed"


class GatewayTimeout(GatewayError):
    """No answer came in time. Indefinite: it may have happened, or may yet."""

    status, code = 504, "timed out"


class NeedFailed(GatewayError):
    """A branch was not asked, since one that it needs has no value, and this counts as its failure."""

    status, code = 502, "need failed"

    def __init__(self, branch: str, need: str) -> None:
        super().__init__(f"{branch} was not asked: it needs {need}, which has no value")
        self.because = need


class Skipped(NeedFailed):
    """A branch was not asked, since one that it needs has no value; that one's error says why."""

    code = "skipped"


def public_error(error: Exception) -> GatewayError:
    """An error, in a backend or before it, as the client is told of it: none of its words are."""
    if isinstance(error, GatewayError):
        return error
    if isinstance(error, CallRejected):
        return BulkheadFull(retry_after=error.retry_after)
    return GatewayTimeout() if isinstance(error, TimeoutError) else BackendFailed()


def log_failure(what: str, error: Exception) -> None:
    """Log the error with its traceback, unless nothing was begun, or it is the client's own."""
    refused = isinstance(error, CallRejected | BulkheadFull | RequestRefused | NeedFailed)
    if not refused and public_error(error).status >= 500:
        _log.warning("%s failed", what, exc_info=error)


class RequiredFailed(GatewayError):
    """A required branch has no value, so there is no answer."""

    def __init__(self, field: str, cause: Exception) -> None:
        told = public_error(cause)
        super().__init__(f"the required branch {field} failed: {cause!r}", retry_after=told.retry_after)
        self.field = field
        self.status, self.code = told.status, told.code


class AllFailed(GatewayError):
    """No branch has a value: an error, never an empty answer."""

    code = "all failed"

    def __init__(self, errors: Mapping[str, Exception]) -> None:
        super().__init__("; ".join(f"{field}: {error!r}" for field, error in errors.items()))
        self.errors = dict(errors)
        statuses = {public_error(error).status for error in errors.values() if not isinstance(error, Skipped)}
        self.status = statuses.pop() if len(statuses) == 1 else BackendFailed.status
