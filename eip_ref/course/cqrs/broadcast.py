"""A page that is told of each change, of lesson 08b: before the view has committed it, or after."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from ...cqrs import DomainEvent, ReadModel, RowChange, event
from ...event_sourcing import PoisonEvent, Recorded, View
from ...storage import MemoryStore

__all__ = ["page_and_view"]


def _charged(view: View, charge: Recorded) -> None:
    """Adds a charge. The third one is wrong: its amount is text."""
    cents: Any = view.get("ann", {"cents": 0})["cents"] + charge.message.body["cents"]
    view.put("ann", {"cents": cents})


async def page_and_view(tells_first: bool) -> tuple[int, int]:
    """Three charges of 100 cents, of which the view cannot take the third; what page and view show then."""
    view, page = ReadModel(MemoryStore(), "dashboard", {"Charged": _charged}), [0]

    def hear(change: RowChange) -> None:
        page.append(change.row["cents"])

    if not tells_first:
        view.listeners[hear] = None
    for number, cents in enumerate((100, 100, "1.00"), 1):
        fact = DomainEvent("Charged", {"cents": cents})
        if tells_first:
            page.append(page[-1] + 100)
        with suppress(PoisonEvent):
            await view(event(fact, "billing/ann", number, id=f"e{number}", causation_id="c"))
    return page[-1], view.get("ann")["cents"]
