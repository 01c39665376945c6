"""Delivery: one message of a log in the hands of one subscriber, and what that may say of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from ..message import Message
from ..message_queue import Settled
from ..trace import Kind

if TYPE_CHECKING:
    from .cursor import Cursor

__all__ = ["Delivery", "Holder"]


class Holder(Protocol):
    """Whoever reads a cursor now."""

    name: str


@dataclass(eq=False, slots=True)
class Delivery:
    """One message, handed out to one subscriber until it is acked or handed out again."""

    topic: str
    message: Message
    offset: int
    deliveries: int  #: how often it was handed out, this time included
    first: float  #: when it was handed out for the first time, on anyio's clock
    generation: int  #: of the cursor; acks of an older one are stale
    lease: int  #: a number that no other delivery of this subscription has
    to: str
    cursor: Cursor = field(repr=False)
    ending: tuple[Kind, Mapping[str, Any]] | None = None  #: how it was settled
    committed: bool = False  #: settled, and so is everything before it

    async def ack(self) -> Settled:
        """The work is done. It is never handed out again once all before it is acked too. Idempotent."""
        return self.cursor.settle(self, Kind.ACKED)

    async def nack(self, *, reason: str = "") -> Settled:
        """The work is not done: hand this one out again, and all from the committed position on."""
        return self.cursor.nack(self, reason)
