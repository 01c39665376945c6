"""What this course itself has, asked the same promises in real time as the systems beside it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from importlib.metadata import version
from itertools import cycle
from pathlib import Path
from typing import Any, Self

import anyio
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
from eip_ref.circuit_breaker import (
    CallRejected,
    CircuitBreaker,
    ConsecutiveFailures,
    FailureRate,
    LastSeconds,
    OpenDuration,
    Predicates,
    if_result,
)
from eip_ref.field.servers import Server

from ..verdicts import System, kept_with, not_kept

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

# The breaker


class _Guard:
    """The instances of a service, in turn, behind one breaker."""

    def __init__(self, client: httpx.AsyncClient, urls: Sequence[str], timeout: float, breaker: Any) -> None:
        self._client, self._urls, self._timeout, self._breaker = client, cycle(urls), timeout, breaker

    async def ask(self) -> tuple[int, bool, float | None]:
        """The status; True when it is refused, and when to come again."""
        try:
            return await self._breaker.call(self._call), False, None
        except CallRejected as refusal:
            return 503, True, refusal.retry_after
        except TimeoutError:
            return 504, False, None
        except httpx.TransportError:
            return 502, False, None

    async def _call(self) -> int:
        with anyio.fail_after(self._timeout):
            return (await self._client.get(next(self._urls), timeout=None)).status_code

    async def force_open(self) -> None:
        self._breaker.force_open()


@asynccontextmanager
async def _breaker(
    server: Server,
    name: str,
    *,
    urls: Sequence[str],
    failures: int,
    open_for: float,
    timeout: float,
    rate: float | None = None,
    factor: float = 1.0,
) -> AsyncIterator[_Guard]:
    breaker = CircuitBreaker(
        "payments",
        policy=ConsecutiveFailures(failures) if rate is None else FailureRate(rate, LastSeconds(10)),
        open_duration=OpenDuration(open_for, factor),
        predicates=Predicates(
            neutral=if_result(lambda status: 400 <= status < 500),
            failure=if_result(lambda status: status >= 500),
        ),
    )
    async with httpx.AsyncClient(trust_env=False) as client:
        yield _Guard(client, urls, timeout, breaker)


BREAKER = System(
    "course-breaker",
    "eip_ref, this course",
    "circuit breaker",
    Course,
    _breaker,
    {
        "test_a_share_of_failures_opens_it": kept_with("FailureRate as its policy"),
        "test_a_call_that_hangs_is_a_failure": kept_with("a timeout inside the call: the breaker has none"),
        "test_what_the_caller_did_wrong_opens_nothing": kept_with("a predicate for it"),
        "test_what_the_caller_did_wrong_says_nothing": kept_with("a predicate for it"),
        "test_it_is_open_for_longer_each_time": kept_with("factor of the open duration", {"factor": 2.0}),
        "test_one_sick_instance_of_two_is_left_out": not_kept(
            "it knows of no instances: to ask another one is left to its caller"
        ),
    },
    unit=1.0,
)

SYSTEMS = (GATEWAY, BREAKER)
