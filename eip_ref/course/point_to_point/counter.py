"""The shop's counter and the channel behind it: what two exercises of this lesson share.

An answer may call `record` as it likes. So what a judge needs to know is kept by these objects, and the
scenario writes it down at its end.
"""

from __future__ import annotations

from collections import Counter as Tally
from collections import deque
from typing import Any, Self

import anyio

from ...autograder import kit
from ...message import Message
from ...point_to_point import PointToPointChannel, WhenAway
from ...trace import Trace

__all__ = ["Counter", "Invoices", "false_alarms", "invoice", "reported", "twice"]


class Counter:
    """The shop's counter: iterate over it to get each invoice when its customer has paid, one a second."""

    def __init__(self, first: int, customers: int) -> None:
        self._invoices = [Message(f"invoice {first + number}") for number in range(customers)]
        self._waited: dict[str, float] = {}
        self._next = deque(self._invoices)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Message:
        if not self._next:
            raise StopAsyncIteration
        message, at = self._next.popleft(), len(self._waited) + 1.0
        self._waited[message.id] = max(0.0, anyio.current_time() - at)
        await anyio.sleep_until(at)
        return message

    def facts(self) -> dict[str, Any]:
        """The names of the invoices by id, and how many seconds each customer waited before being asked."""
        return {"invoices": {each.id: each.body for each in self._invoices}, "waited": dict(self._waited)}


class Invoices(PointToPointChannel):
    """A channel that remembers what was offered to it, what it accepted, and whether it was closed."""

    def __init__(self, when_away: WhenAway | str) -> None:
        super().__init__("invoices", when_away=when_away)
        self._offered: list[str] = []
        self._accepted: list[str] = []
        self._closed = False

    async def send(self, message: Message) -> None:
        self._offered.append(message.id)
        await super().send(message)
        self._accepted.append(message.id)

    def close_receiver(self) -> None:
        self._closed = True
        super().close_receiver()

    def facts(self) -> dict[str, Any]:
        """The ids that were offered and accepted, and whether the receiver has closed it for good."""
        return {"offered": [*self._offered], "accepted": [*self._accepted], "closed": self._closed}


def reported(report: object) -> list[str] | None:
    """The message ids that a report names, as a list of ids or of messages; None when it is neither."""
    if not isinstance(report, list | tuple):
        return None
    named = [item.id if isinstance(item, Message) else item for item in report]
    return sorted(map(str, named)) if all(isinstance(item, str) for item in named) else None


def invoice(day: dict[str, Any], message: str) -> str:
    """A message as the learner knows it, "invoice 28 (m3)", also when it was never sent."""
    return f"{day['invoices'].get(message, 'a message')} ({message})"


def false_alarms(trace: Trace, day: dict[str, Any]) -> kit.Symptoms:
    """See what the report names and should not."""
    for message in day["reported"]:
        if message not in day["invoices"]:
            yield kit.seen("false-alarm", f"The report names {message!r}, which is no invoice's id.")
        elif message in day["accepted"]:
            words = f"{invoice(day, message)} was accepted, and the report says that it was not."
            yield kit.seen("false-alarm", words, trace.filter(message=message))


def twice(trace: Trace, day: dict[str, Any]) -> kit.Symptoms:
    """Invoices that were accepted more than once."""
    for message, times in Tally(day["accepted"]).items():
        if times > 1:
            words = f"{invoice(day, message)} was accepted {times} times."
            yield kit.seen("sent-twice", words, trace.filter(message=message))
