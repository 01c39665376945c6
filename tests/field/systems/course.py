"""What this course itself has, asked the same promises in real time as the systems beside it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

import httpx

from eip_ref.api_gateway import (
    Backend,
    Branch,
    BranchInput,
    FanOut,
    Gateway,
    Identity,
    RateLimit,
    Request,
    Route,
)
from eip_ref.api_gateway.http_edge import HttpBackend, application
from eip_ref.apps.loopback import serving
from eip_ref.circuit_breaker import CircuitBreaker
from eip_ref.field.servers import Server

from ..verdicts import System, kept_with

__all__ = ["SYSTEMS"]


class Course(Server):
    """No server: what is asked runs in the test's own process."""

    name = "eip_ref"
    install = "python -m pip install -e '.[course]'"

    @classmethod
    def program(cls) -> str | None:
        return sys.executable

    @classmethod
    def version(cls) -> str:
        return version("eip-ref")

    @classmethod
    @contextmanager
    def running(cls) -> Iterator[Self]:
        yield cls(Path())

    def prepare(self) -> None: ...

    def command(self) -> Sequence[str]:
        return []

    def is_ready(self) -> bool:
        return True


# The gateway


@asynccontextmanager
async def _gateway(
    server: Server,
    name: str,
    *,
    services: Mapping[str, str],
    clients: Mapping[str, str],
    timeouts: Mapping[str, float],
    max_concurrent: int = 10,
    retries: int = 0,
    rate: float | None = None,
    burst: int = 1,
    max_body: int = 64 * 1024,
    coalesce: bool = False,
    compose: bool = False,
) -> AsyncIterator[str]:
    def authenticate(request: Request) -> Identity | None:
        key = (request.header("authorization") or "").removeprefix("Bearer ")
        return Identity(clients[key]) if key in clients else None

    def service(of: str) -> HttpBackend:
        breaker = CircuitBreaker(f"{of} breaker")
        breaker.disable("breakers are another pattern")
        bounds: Any = {"timeout": timeouts[of], "max_concurrent": max_concurrent}
        backend = Backend(of, **bounds, breaker=breaker, pauses=[0.01] * retries)
        return HttpBackend(backend, behind, services[of])

    async with httpx.AsyncClient(trust_env=False) as behind:
        backends = {of: service(of) for of in services}
        routes = [
            Route(method, f"/{of}/{{id}}", backend.forward, coalesce=coalesce and method == "GET")
            for of, backend in backends.items()
            for method in ("GET", "POST")
        ]
        if compose:
            routes.append(Route("GET", "/all/{id}", _all(backends, max(timeouts.values()) * 2)))
        door = Gateway(
            routes,
            authenticate=authenticate,
            timeout=max(timeouts.values()) * 2,
            rate_limit=None if rate is None else RateLimit(rate=rate, burst=burst),
            max_body=max_body,
        )
        async with serving(application(door)) as url:
            yield url


def _all(backends: Mapping[str, HttpBackend], timeout: float) -> FanOut:
    """One answer of what all of them say."""

    def branch(name: str, backend: HttpBackend) -> Branch:
        async def ask(part: BranchInput) -> Any:
            return await backend.get(f"/{name}/1", part.request)

        return Branch(name, ask)

    return FanOut(*(branch(name, backend) for name, backend in backends.items()), timeout=timeout)


GATEWAY = System(
    "course-gateway",
    "eip_ref, this course",
    "API gateway",
    Course,
    _gateway,
    {
        "test_a_client_over_its_rate_is_told_429": kept_with("rate_limit of the gateway"),
        "test_who_is_over_its_rate_is_told_when_to_come_again": kept_with("rate_limit of the gateway"),
        "test_a_client_uses_up_only_its_own_rate": kept_with("rate_limit of the gateway"),
        "test_only_what_only_reads_is_tried_again": kept_with("pauses of the backend"),
        "test_a_sick_service_gets_only_a_few_repetitions": kept_with("pauses of the backend"),
        "test_equal_requests_of_a_client_share_a_call": kept_with("coalesce of the route"),
    },
)

SYSTEMS = (GATEWAY,)
