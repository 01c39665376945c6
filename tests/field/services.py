"""Services behind a gateway or a breaker: each answers as it is told, and knows what it was asked."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import anyio
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from eip_ref.apps.loopback import serving

__all__ = ["Answer", "Asked", "Service", "served", "well"]

Answer = Callable[["Asked"], Awaitable[Response]]


@dataclass(frozen=True)
class Asked:
    """A request as a service has got it."""

    method: str
    path: str  #: as it was written
    headers: list[tuple[str, str]]
    body: bytes


async def well(asked: Asked) -> Response:
    """The answer of a service that is well."""
    return JSONResponse({"path": asked.path})


@dataclass
class Service:
    """One service."""

    answer: Answer
    url: str = ""
    asked: list[Asked] = field(default_factory=list)  #: all requests, in their order
    under_way: int = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The application that is served."""
        if scope["type"] != "http":
            return
        request = Request(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return
        path = scope.get("raw_path", scope["path"].encode()).decode()
        asked = Asked(request.method, path, request.headers.items(), body)
        self.asked.append(asked)
        self.under_way += 1
        try:
            response = await self.answer(asked)
        finally:
            self.under_way -= 1
        await response(scope, receive, send)

    async def has_been_asked(self, times: int) -> None:
        """Return when it has got so many requests."""
        while len(self.asked) < times:
            await anyio.sleep(0.01)


@asynccontextmanager
async def served(**answers: Answer) -> AsyncIterator[dict[str, Service]]:
    """These services, by their names, while the block runs."""
    services = {name: Service(answer) for name, answer in answers.items()}
    async with AsyncExitStack() as stack:
        for service in services.values():
            service.url = await stack.enter_async_context(serving(service))
        yield services
