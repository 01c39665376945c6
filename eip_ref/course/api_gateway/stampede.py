"""A stampede of lesson 11b: four customers, and 25 tabs of each open their basket in the same instant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import anyio

from ...lab.wording import plural
from ...trace import Kind, Trace, record, working

__all__ = ["a_stampede", "seen_by_tabs"]

USERS, TABS, PATH, TAKES = ("Ann", "Ben", "Cem", "Dina"), 25, "/basket", 0.3
OWN, ANOTHERS, NONE = "own basket", "another's basket", "still waiting"

Read = Callable[[], Awaitable[Any]]


async def a_stampede(make: Callable[[], Any], leaves: float | None = None) -> None:
    """Open 100 tabs, each with `await door.call(user, path, read)` of the door that `make()` gives.

    The first tab of Ann is closed after `leaves` seconds. Whoever has nothing after 10 s waits still.
    """
    async with AsyncExitStack() as stack:
        door = make()
        if hasattr(door, "__aenter__"):
            await stack.enter_async_context(door)
        async with anyio.create_task_group() as tabs:
            for user in USERS:
                for tab in range(TABS):
                    closes = leaves if (user, tab) == ("Ann", 0) else None
                    tabs.start_soon(_tab, door, user, tab, closes)


async def _tab(door: Any, user: str, tab: int, closes: float | None) -> None:
    async def read() -> dict[str, str]:
        with working("baskets", f"call for {user}'s tab {tab + 1}"):
            await anyio.sleep(TAKES)
            return {"of": user}

    got = NONE
    with anyio.move_on_after(10 if closes is None else closes):
        value = await door.call(user, PATH, read)
        basket = getattr(value, "value", value)
        got = OWN if basket["of"] == user else ANOTHERS
    if closes is None:
        record(Kind.EFFECT, "tabs", effect=got, user=user)


def seen_by_tabs(trace: Trace) -> str:
    """The calls of a stampede, and what the tabs that were left open showed."""
    counts = Counter(event.data["effect"] for event in trace.filter(Kind.EFFECT))
    shown = ", ".join(f"{counts[each]} {each}" for each in (OWN, ANOTHERS, NONE) if counts[each])
    return f"{plural(trace.count(Kind.STARTED, where='baskets'), 'call')}; {shown}"
