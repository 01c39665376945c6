"""The gateway: one door for all clients, and every check made there, before any backend is called."""

from __future__ import annotations

import logging
import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, Self

import anyio
import anyio.lowlevel

from .. import values
from ..backpressure import TokenBucket
from ..bounded import LastN
from ..circuit_breaker import CallRejected
from ..trace import Kind, acting, record, whoami
from .coalescing import Coalescer
from .edge import AdmittedRequest, Authenticate, Header, Identity, Request, Response, normalise, onward
from .errors import (
    BackendFailed,
    Forbidden,
    GatewayError,
    NotFound,
    RequestRefused,
    RequiredFailed,
    Unauthenticated,
    log_failure,
    public_error,
)
from .fan_out import ComposedAnswer
from .spans import in_time, span

_log = logging.getLogger(__name__)

# Routes

RouteHandler = Callable[[AdmittedRequest], Awaitable[Any] | Any]
"""Answers a call: with a `ComposedAnswer`, a `Response`, or plain JSON values."""

Allow = Callable[[Identity, Mapping[str, str]], Awaitable[bool] | bool]


@dataclass(frozen=True, slots=True)
class Route:
    """`method` on paths like `/orders/{order}` goes to `handler`, for those whom `allow` lets.

    With `coalesce`, equal requests of one user share a call while it is in flight; for reading only. That
    call has the gateway's whole timeout, and no client's deadline.
    """

    method: str
    path: str
    handler: RouteHandler
    allow: Allow = lambda identity, path_params: True
    coalesce: bool = False

    def __post_init__(self) -> None:
        for what in ("method", "path"):
            values.name(what, getattr(self, what))
        if not self.path.startswith("/") or self.method != self.method.upper():
            raise ValueError(
                f"a route is a method such as GET and a path from /, not {self.method} {self.path}"
            )
        if self.coalesce and self.method not in ("GET", "HEAD"):
            raise ValueError(f"only reading can be shared, and {self.method} {self.path} may do more")

    def match(self, path: str) -> dict[str, str] | None:
        """The values in the places of a normalised path, or None when it is another path."""
        ours, theirs = self.path.strip("/").split("/"), path.strip("/").split("/")
        if len(ours) != len(theirs):
            return None
        found: dict[str, str] = {}
        for mine, given in zip(ours, theirs, strict=True):
            if given and mine.startswith("{") and mine.endswith("}"):
                found[mine[1:-1]] = given
            elif mine != given:
                return None
        return found


def find(routes: Sequence[Route], method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The first route that fits a normalised path. Raises `NotFound`, or `RequestRefused` for the method."""
    found = [(route, given) for route in routes if (given := route.match(path)) is not None]
    if not found:
        raise NotFound(f"no route leads to {path}")
    for route, given in found:
        if route.method == method:
            return route, given
    allowed = ", ".join(sorted({route.method for route, _ in found}))
    words = f"{path} is there for {allowed}, and not for {method}"
    raise RequestRefused(405, "method not allowed", words, headers=[("allow", allowed)])


_ROUNDING = 1e-9


class RateLimit:
    """At most `rate` requests a second of each client in the long run, and `burst` at once.

    `max_clients` are remembered, those that asked last. One that is forgotten begins anew with a full
    bucket, so let there be more of them than may ask in the time in which a bucket fills.
    """

    def __init__(self, *, rate: float, burst: int, max_clients: int = 10_000) -> None:
        self._rate = values.rate("rate", rate)
        self._burst = values.count("burst", burst)
        self._buckets = LastN[str, TokenBucket](values.count("max_clients", max_clients))

    def __len__(self) -> int:
        """The number of clients that are remembered."""
        return len(self._buckets)

    def check(self, client: str) -> None:
        """Count one request of the client. Raises `RequestRefused`, 429, when it has asked too often."""
        bucket = self._bucket(client)
        try:
            bucket.take_nowait()
        except anyio.WouldBlock:
            after = (1 - bucket.tokens) / self._rate
            words = f"{client} has asked too often; it may again in {after:g} s"
            raise RequestRefused(429, "too many requests", words, retry_after=after) from None

    def headers(self, client: str) -> list[Header]:
        """The limit, and what is left of it for the client, in the fields of the IETF's draft.

        They are those of draft-ietf-httpapi-ratelimit-headers-11, sections 3 and 4: `q` requests in `w`
        seconds, of which `r` are left for the next `t` seconds.
        """
        tokens = self._bucket(client).tokens
        left = max(0, math.floor(tokens + _ROUNDING))
        window, until_next = self._burst / self._rate, (left + 1 - tokens) / self._rate
        return [
            ("ratelimit-policy", f'"client";q={self._burst};w={math.ceil(window)}'),
            ("ratelimit", f'"client";r={left};t={math.ceil(until_next - _ROUNDING)}'),
        ]

    def _bucket(self, client: str) -> TokenBucket:
        if (bucket := self._buckets.get(client)) is None:
            bucket = TokenBucket(f"limit of {client}", rate=self._rate, burst=self._burst)
            self._buckets[client] = bucket
        self._buckets.move_to_end(client)
        return bucket


# The door


class Gateway:
    """Answers every request within `timeout` seconds, and before the client's deadline.

    `authenticate` finds out who asks. `rate_limit` counts how often, and each answer says what is left.
    At most `max_concurrent` requests are under way at a time. Bodies have at most `max_body` bytes, and what
    comes before them, path, query and headers, at most `max_head` characters. Where routes coalesce, use
    it as `async with Gateway(…) as gateway:`.
    """

    def __init__(
        self,
        routes: Sequence[Route],
        *,
        authenticate: Authenticate,
        timeout: float,
        rate_limit: RateLimit | None = None,
        max_concurrent: int = 100,
        max_body: int = 64 * 1024,
        max_head: int = 16 * 1024,
        name: str = "gateway",
    ) -> None:
        self.timeout = values.duration("timeout", timeout, zero=False)
        self.name = values.name("name", name)
        self.max_body = values.count("max_body", max_body, minimum=0)
        self._max_head = values.count("max_head", max_head)
        self.routes = (*routes,)  #: the first one that fits is taken
        self._authenticate = authenticate
        self._rate_limit = rate_limit
        self._max_concurrent = values.count("max_concurrent", max_concurrent)
        self.under_way = 0  #: the number of requests that are being answered now
        self._coalescer = Coalescer(f"{name} coalescer", timeout=timeout)

    async def __aenter__(self) -> Self:
        await self._coalescer.__aenter__()
        return self

    async def __aexit__(self, *error: Any) -> bool | None:
        return await self._coalescer.__aexit__(*error)

    async def handle(self, request: Request) -> Response:
        """The response to a request, whatever happens: errors become a status and a code.

        Only cancellation comes out of here, as cancellation, and RuntimeError where routes coalesce and
        nobody has entered the gateway.
        """
        if not self._coalescer.is_open and any(route.coalesce for route in self.routes):
            raise RuntimeError(f"{self.name} has routes that coalesce: use it as `async with`")
        limits: list[Header] = []  # told to the client in every answer, once it is known who asks
        response = await self._outcome(request, limits)
        return replace(response, headers=(*response.headers, *limits))

    async def _outcome(self, request: Request, limits: list[Header]) -> Response:
        await anyio.lowlevel.checkpoint()
        until = min(anyio.current_time() + self.timeout, request.deadline)
        if self.under_way >= self._max_concurrent:
            words = f"{self.under_way} requests are under way; this one was not begun"
            return self.refuse(request, RequestRefused(503, "overloaded", words, retry_after=1))
        self.under_way += 1
        label = f"{request.method} {request.path}"
        try:
            with (
                acting(whoami() or self.name),
                span(self.name, request.id, label=label, until=until),
                in_time(until, f"{label} was not answered in time"),
            ):
                return _response(await self._answer(request, limits))
        except Exception as error:  # the edge: nobody further out could do more than this
            return self.refuse(request, error)
        finally:
            self.under_way -= 1

    def refuse(self, request: Request, error: Exception) -> Response:
        """The response to a request that ends with this error, which is recorded and logged.

        It has a code and the request's id, by which the people who run this find the rest in their log.
        """
        if isinstance(error, GatewayError | CallRejected):
            told = public_error(error)
            log_failure(f"request {request.id}", error)
        else:
            told = GatewayError()
            _log.error("request %s failed", request.id, exc_info=error)
        if told.status < 500 or isinstance(error, RequestRefused):
            who = whoami() or self.name
            record(Kind.REFUSED, self.name, request.id, who=who, reason=told.code, status=told.status)
        body = {"error": told.code, "request": request.id}
        if isinstance(error, RequiredFailed):
            body["field"] = error.field
        headers = [*told.headers]
        if told.retry_after is not None:
            headers.append(("retry-after", str(max(1, math.ceil(told.retry_after)))))
        return Response(told.status, body, headers)

    async def _answer(self, request: Request, limits: list[Header]) -> Any:
        """The checks, in their order: what is cheap and needs no trust comes first."""
        if request.head > self._max_head:
            words = f"path, query and headers have {request.head} of {self._max_head} characters"
            raise RequestRefused(431, "head too large", words)  # RFC 6585, section 5
        path = normalise(request.path)
        if len(request.body) > self.max_body:
            words = f"the body has {len(request.body)} bytes, and {self.max_body} are allowed"
            raise RequestRefused(413, "body too large", words)
        identity = await self._known(request)
        if self._rate_limit is not None:
            try:
                self._rate_limit.check(identity.subject)
            finally:
                limits += self._rate_limit.headers(identity.subject)
        route, path_params = find(self.routes, request.method, path)
        if not await values.finished(route.allow(identity, path_params)):
            raise Forbidden(f"{identity.subject} may not {request.method} {path}")
        call = AdmittedRequest(identity, path, path_params, onward(request.headers, identity), request)
        if not route.coalesce:
            return await values.finished(route.handler(call))
        call = replace(call, request=replace(request, deadline=math.inf))  # that was one client's own
        key = request.method, path, request.query, call.headers  # all that the answer may depend on
        return (await self._coalescer.call(identity.subject, key, partial(route.handler, call))).value

    async def _known(self, request: Request) -> Identity:
        identity = await values.finished(self._authenticate(request))
        if identity is None:
            raise Unauthenticated("no credentials, or none that are known")
        return identity


def _response(value: Any) -> Response:
    """The response that a handler's answer makes. Raises `BackendFailed` for one that is not JSON."""
    if isinstance(value, ComposedAnswer):
        value = value.as_dict()
    response = value if isinstance(value, Response) else Response(200, value)
    if not isinstance(response.body, bytes):
        try:
            values.check_json("the answer", response.body)
        except TypeError as error:
            raise BackendFailed(str(error)) from error
    return response
