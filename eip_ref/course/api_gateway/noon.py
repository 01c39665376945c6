"""Noon at the one door, of lesson 11b: more requests than the service behind it can answer.

The service answers 40 requests a second: four at a time, a tenth of a second each. It is not told when a
client leaves. A client waits 2 s.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import anyio

from ...api_gateway import AdmittedRequest, Gateway, Identity, Request, Route
from ...backpressure import Buffer
from ...lab import Exponential, Faults
from ...lab.demo import Demo, choice, demo, slider
from ...lab.figures import depth
from ...message import Message
from ...trace import Kind, Trace, acting, record

__all__ = ["a_noon", "in_time", "in_words", "the_noon_demo"]

PLACES, TAKES, PATIENCE, SECONDS = 4, 0.1, 2.0, 30.0
ENDS = {200: "in time", 504: "too late", 503: "turned away"}
NO_LIMIT = 1_000_000


async def a_noon(limit: int | None = None, load: float = 50) -> None:
    """Play 30 s with `load` requests a second, of which the gateway has at most `limit` in hand."""
    chance = Faults()
    answered = dict[str, anyio.Event]()

    async def serve(line: Buffer) -> None:
        async for request in line:
            await anyio.sleep(TAKES)
            answered[request.id].set()

    async def handle(call: AdmittedRequest) -> str:
        message = Message(call.path)
        answered[message.id] = anyio.Event()
        await line.put(message)
        await answered[message.id].wait()
        return "here it is"

    async def client(gateway: Gateway) -> None:
        came = anyio.current_time()
        response = await gateway.handle(Request("GET", "/order/17"))
        record(Kind.EFFECT, "clients", effect=ENDS[response.status], came=came)

    gateway = Gateway(
        [Route("GET", "/order/{order}", handle)],
        authenticate=lambda request: Identity("ann"),
        timeout=PATIENCE,
        max_concurrent=limit or NO_LIMIT,
    )
    async with anyio.create_task_group() as group:
        with Buffer("the line", NO_LIMIT, when_full="block") as line:
            with acting("service"):
                for _ in range(PLACES):
                    group.start_soon(serve, line)
            async with anyio.create_task_group() as clients:
                while anyio.current_time() < SECONDS:
                    clients.start_soon(client, gateway)
                    await chance.sleep("street", Exponential(1 / load))


def _ends(trace: Trace, since: float = 0.0) -> Counter[str]:
    return Counter(event.data["effect"] for event in trace.filter(Kind.EFFECT) if event.data["came"] >= since)


def in_time(trace: Trace, since: float = 0.0) -> int:
    """The share of the requests that came since then and were answered in time, in percent."""
    ends = _ends(trace, since)
    return round(100 * ends["in time"] / ends.total())


def in_words(trace: Trace) -> str:
    """The fate of the requests, in words."""
    ends = _ends(trace)
    counts = ", ".join(f"{ends[end]:,} {end}" for end in ENDS.values())
    return f"Of {ends.total():,} requests: {counts}. That is {in_time(trace)} of 100 in time."


def the_noon_demo() -> Demo:
    """Noon with its controls."""

    async def scenario(limit: Any, load: int) -> None:
        await a_noon(None if limit == "none" else limit, load)

    return demo(
        scenario,
        {
            "limit": choice("none", 200, 100, 80, 60, 20, 5, label="At most in hand"),
            "load": slider(20, 80, 5, value=50, label="Requests a second"),
        },
        presets={
            "A quiet day": {"load": 30},
            "A quiet day, a tight limit": {"load": 30, "limit": 5},
            "A fifth too much": {},
            "The same, at most 80": {"limit": 80},
            "Twice too much": {"load": 80},
            "Twice too much, at most 80": {"load": 80, "limit": 80},
        },
        summary=in_words,
        figures=[lambda trace: depth(trace, where="the line", title="Requests at the service")],
        player=False,
        max_events=400_000,
        title="Noon at the one door",
    )
