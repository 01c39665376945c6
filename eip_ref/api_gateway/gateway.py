"""The gateway: one door for all clients, and every check made there, before any backend is called."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from typing import Any

import anyio
import anyio.lowlevel

from ..trace import Kind, acting, record, whoami
from .answer import Answer
from .coalescing import Coalescer
from .errors import (
    BodyTooLarge,
    Forbidden,
    GatewayError,
    Overloaded,
    RequiredFailed,
    Unauthenticated,
)
from .headers import onward
from .limits import RateLimit, Shedding
from .paths import normalise
from .request import Authenticate, Call, Identity, Request, Response
from .routing import Route, find
from .spans import in_time, span

__all__ = ["Gateway"]

_log = logging.getLogger(__name__)


class Gateway:
    """Answers every request within `timeout` seconds, and before the client's deadline.

    `authenticate` finds out who asks, `rate_limit` counts how often, at most `at_most` requests are
    under way at a time, and bodies have at most `max_body` bytes.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        authenticate: Authenticate,
        timeout: float,
        rate_limit: RateLimit | None = None,
        at_most: int = 100,
        max_body: int = 64 * 1024,
        name: str = "gateway",
    ) -> None:
        if not 0 < timeout < math.inf:
            raise ValueError(f"a gateway answers within a number of seconds above 0, not {timeout:g}")
        self.name = name
        self.max_body = max_body
        self._routes = routes
        self._authenticate = authenticate
        self._timeout = timeout
        self._rate_limit = rate_limit
        self._shedding = Shedding(at_most=at_most)
        self._coalescer = Coalescer(f"{name} coalescer")

    @property
    def under_way(self) -> int:
        """How many requests are being answered now."""
        return self._shedding.under_way

    async def handle(self, request: Request) -> Response:
        """The response to a request, whatever happens: errors become a status and a code.

        Only cancellation comes out of here, as cancellation.
        """
        await anyio.lowlevel.checkpoint()
        until = min(anyio.current_time() + self._timeout, request.deadline)
        try:
            with acting(whoami() or self.name), self._shedding.admitted():
                return await self._in_time(request, until)
        except GatewayError as error:
            if error.status < 500 or isinstance(error, Overloaded):
                who = whoami() or self.name
                record(Kind.REFUSED, self.name, request.id, who=who, reason=error.code, status=error.status)
            return _refusal(error, request)
        except Exception:  # the edge: nobody further out could do more than this
            _log.exception("request %s failed", request.id)
            return _refusal(GatewayError(), request)

    async def _in_time(self, request: Request, until: float) -> Response:
        label = f"{request.method} {request.path}"
        with (
            span(self.name, request.id, label=label, until=until),
            in_time(until, f"{label} was not answered in time"),
        ):
            return _response(await self._answer(request))

    async def _answer(self, request: Request) -> Any:
        """The checks, in their order: what is cheap and needs no trust comes first."""
        path = normalise(request.path)
        if len(request.body) > self.max_body:
            raise BodyTooLarge(f"the body has {len(request.body)} bytes, and {self.max_body} are allowed")
        identity = await self._known(request)
        if self._rate_limit is not None:
            self._rate_limit.check(identity.subject)
        route, given = find(self._routes, request.method, path)
        if not route.allow(identity, given):
            raise Forbidden(f"{identity.subject} may not {request.method} {path}")
        call = Call(identity, path, given, onward(request.headers, identity), request)
        if not route.coalesce:
            return await route.handler(call)
        key = request.method, path, request.query, call.headers  # all that the answer may depend on
        return await self._coalescer.call(identity.subject, key, lambda: route.handler(call))

    async def _known(self, request: Request) -> Identity:
        identity = await self._authenticate(request)
        if identity is None:
            raise Unauthenticated("no credentials, or none that are known")
        return identity


def _response(value: Any) -> Response:
    if isinstance(value, Response):
        return value
    return Response(200, value.as_dict() if isinstance(value, Answer) else value)


def _refusal(error: GatewayError, request: Request) -> Response:
    """The code and the request's id, by which the people who run this find the rest in their log."""
    body: dict[str, Any] = {"error": error.code, "request": request.id}
    if isinstance(error, RequiredFailed):
        body["field"] = error.field
    headers = []
    if error.retry_after is not None:
        headers.append(("retry-after", str(max(1, math.ceil(error.retry_after)))))
    if isinstance(error, Unauthenticated):
        headers.append(("www-authenticate", "Bearer"))
    return Response(error.status, body, headers)
