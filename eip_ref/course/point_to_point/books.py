"""What the scenarios of this lesson see for themselves and write down.

An answer may call `record` as it likes. So what a judge needs to know is kept by objects of the
scenario, and becomes the last event of the trace when the answer has ended.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from typing import Any, Self

import anyio

from ...autograder.exercise import Vacuous
from ...message import Message
from ...point_to_point import PointToPointChannel, WhenAway
from ...trace import Kind, Trace, record

__all__ = ["Counter", "WatchedChannel", "books", "close_the_books", "ids", "named"]

BOOKS = "the books"


class Counter:
    """The shop's counter: iterate over it to get each invoice when its customer has paid."""

    def __init__(self, invoices: Iterable[tuple[float, Message]]) -> None:
        """Each invoice with the time, in seconds, at which its customer comes."""
        self._waited: dict[str, float] = {}
        self._next = deque(invoices)

    @property
    def waited(self) -> dict[str, float]:
        """How long each customer stood there before being asked, in seconds."""
        return dict(self._waited)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        if not self._next:
            raise StopAsyncIteration
        at, invoice = self._next.popleft()
        self._waited[invoice.id] = max(0.0, anyio.current_time() - at)
        await anyio.sleep_until(at)
        return invoice


class WatchedChannel(PointToPointChannel):
    """A channel that remembers what was offered to it, what it accepted, and whether it was closed."""

    def __init__(self, name: str, *, when_away: WhenAway | str) -> None:
        super().__init__(name, when_away=when_away)
        self._offered: list[str] = []
        self._accepted: list[str] = []
        self._closed_by_receiver = False

    @property
    def offered(self) -> list[str]:
        """The ids of what was offered to it."""
        return list(self._offered)

    @property
    def accepted(self) -> list[str]:
        """The ids of what it accepted."""
        return list(self._accepted)

    @property
    def closed(self) -> bool:
        """Whether its receiver has closed it."""
        return self._closed_by_receiver

    async def send(self, message: Message) -> None:
        self._offered.append(message.id)
        await super().send(message)
        self._accepted.append(message.id)

    def close_receiver(self) -> None:
        self._closed_by_receiver = True
        super().close_receiver()


def ids(report: object) -> list[str] | None:
    """The message ids that a report names, as a list of ids or of messages; None when it is neither."""
    if not isinstance(report, list | tuple | set | frozenset):
        return None
    named = [item.id if isinstance(item, Message) else item for item in report]
    return sorted(map(str, named)) if all(isinstance(item, str) for item in named) else None


def close_the_books(**entries: Any) -> None:
    """Write down what the scenario knows. It must be the last thing that it does."""
    record(Kind.NOTE, BOOKS, who="", text="the day is over", **entries)


def named(day: dict[str, Any], message: str, *, begins: bool = False) -> str:
    """'invoice 28 (m3)', from the books' entry `invoices`; with a capital where a sentence begins."""
    label = day["invoices"].get(message, "a message")
    return f"{label.capitalize() if begins else label} ({message})"


def books(trace: Trace) -> dict[str, Any]:
    """What the scenario wrote down. Raises `Vacuous` when it did not get that far."""
    if not trace or trace[-1].where != BOOKS:
        raise Vacuous("the day did not come to its end.")
    return dict(trace[-1].data)
