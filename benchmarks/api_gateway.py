"""What a gateway costs beside a bare task group: `python -m benchmarks.api_gateway`.

Ratios within one run, the best of several rounds. The bare task group makes the same three calls at
the same time; it has no deadline, no error per field, no bound, no breaker, and asks nobody who they are.
"""

from __future__ import annotations

from functools import partial
from typing import Any

import anyio
import anyio.lowlevel

from eip_ref.api_gateway import (
    AdmittedRequest,
    Backend,
    Branch,
    BranchInput,
    ComposedAnswer,
    FanOut,
    Gateway,
    Identity,
    Request,
    Route,
)

from .core import best, line

FIELDS = ("order", "user", "invoices")


async def service(name: str) -> str:
    await anyio.lowlevel.checkpoint()
    return name


async def bare(count: int) -> None:
    for _ in range(count):
        values: dict[str, str] = {}

        async def ask(name: str, values: dict[str, str] = values) -> None:
            values[name] = await service(name)

        async with anyio.create_task_group() as group:
            for name in FIELDS:
                group.start_soon(ask, name)


def fan_out(backends: bool) -> FanOut:
    def branch(name: str) -> Branch:
        backend = Backend(name, timeout=5)

        async def through(ask: BranchInput) -> str:
            return await backend.call(service, name)

        async def direct(ask: BranchInput) -> str:
            return await service(name)

        return Branch(name, through if backends else direct, required=name == "order")

    return FanOut(*map(branch, FIELDS), timeout=8)


async def fans(count: int, backends: bool) -> None:
    view = fan_out(backends)
    for _ in range(count):
        await view()


async def requests(count: int) -> None:
    view = fan_out(True)

    async def handle(call: AdmittedRequest) -> ComposedAnswer:
        return await view(call)

    async def anybody(request: Request) -> Identity:
        return Identity("ann")

    door = Gateway([Route("GET", "/orders/{order}", handle)], authenticate=anybody, timeout=10)
    for _ in range(count):
        response: Any = await door.handle(Request("GET", "/orders/17", id="r"))
        assert response.status == 200


def main() -> None:
    count = 2_000
    beside = "a bare task group of three"
    group = best(lambda: anyio.run(bare, count))
    alone = best(lambda: anyio.run(fans, count, False))
    line("a fan-out of three, nobody listens", alone, count, beside, group)
    behind = best(lambda: anyio.run(fans, count, True))
    line("the same with bulkheads, breakers, timeouts", behind, count, beside, group)
    door = best(lambda: anyio.run(requests, count))
    line("the same as a request through the gateway", door, count, beside, group)
    long = best(lambda: anyio.run(partial(requests, 10 * count)))
    line("the same with ten times as many", long, 10 * count, "the line above, for one", 10 * door)


if __name__ == "__main__":
    main()
