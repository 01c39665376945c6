"""Message: the envelope that every pattern carries, and the rule that nobody shares what can change.

A message is a frozen record around a body. Channels call `copy()` when they accept a message and
again for every receiver, so a sender that changes its list afterwards, or a receiver that changes
what it got, changes nothing for anybody else.

Bodies and headers are plain JSON values. `to_json` and `from_json` write a message for a disk or a
wire and read it back equal.

*Left out:* other serialisation formats, and schema registries.
"""

from __future__ import annotations

import json
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import InitVar, dataclass, field, fields, replace
from operator import attrgetter
from types import MappingProxyType
from typing import Any, Self

import anyio

from . import values
from .trace import new_id

__all__ = ["EXPIRED", "Handler", "Message"]

EXPIRED = "its deadline has passed"  #: the reason for which a channel drops a message that is over

_IDS = ("correlation_id", "causation_id", "reply_to")


def _now() -> float:
    try:
        return anyio.current_time()
    except RuntimeError:  # made outside any event loop, where there is no clock to ask
        return 0.0


@dataclass(frozen=True, slots=True)
class Message:
    """A body that travels, and what channels and receivers need to know about it.

    Times are seconds on anyio's clock. The names are those of *Enterprise Integration Patterns*
    (Hohpe and Woolf): Correlation Identifier, Return Address, Message Expiration.
    """

    body: Any = None
    type: str = ""  #: what the body means, such as "OrderPlaced"
    key: str | None = None  #: messages with the same key keep their order
    id: str = field(default_factory=new_id)  #: the same for every delivery and every resend
    correlation_id: str | None = None  #: the conversation that it belongs to
    causation_id: str | None = None  #: the id of the message that led to this one
    reply_to: str | None = None  #: the channel that an answer should go to
    deadline: float | None = None  #: after this time nobody needs it any more; infinity is the same as None
    version: int = 1  #: of the schema of the body
    headers: Mapping[str, Any] = field(default_factory=dict)
    created: float = field(default_factory=_now)
    ttl: InitVar[float | None] = field(default=None, kw_only=True)  #: instead of a deadline: seconds to live

    def __post_init__(self, ttl: float | None) -> None:
        values.name("a message id", self.id)
        if self.key not in (None, ""):
            values.name("a message key", self.key)
        alone = self.correlation_id is self.causation_id is self.reply_to is None
        if type(self.type) is not str or not alone:
            self._must_have_text()
        if type(self.version) is not int or self.version < 0:
            values.count("a message's version", self.version, minimum=0)
        if type(self.created) is not float or math.isnan(self.created):
            values.number("a message's time, created,", self.created)
        if ttl is not None:
            if self.deadline is not None:
                raise ValueError("a message has a deadline or a ttl, not both")
            object.__setattr__(self, "deadline", self.created + values.duration("ttl", ttl, infinite=True))
        if self.deadline is not None:
            deadline = values.number("a message's deadline", self.deadline)
            object.__setattr__(self, "deadline", None if deadline == math.inf else deadline)
        object.__setattr__(self, "headers", MappingProxyType(dict(self.headers)))

    def _must_have_text(self) -> None:
        values.text("a message's type", self.type)
        for each in _IDS:
            if (fact := getattr(self, each)) is not None:
                values.text(f"a message's {each}", fact)

    def copy(self, **changes: Any) -> Message:
        """The same message, with the same id, that shares nothing changeable with this one."""
        if "body" not in changes and (body := values.copied(self.body)) is not self.body:
            changes["body"] = body
        if "headers" not in changes and self.headers:
            for each in self.headers.values():  # the mapping is read only, and mostly all that is in it
                if not isinstance(each, values.UNCHANGEABLE):
                    changes["headers"] = values.copied(dict(self.headers))
                    break
        return replace(self, **changes) if changes else self

    def reply(self, body: Any, type: str = "") -> Message:
        """An answer to this message: correlated with it and caused by it."""
        return Message(
            body,
            type=type,
            key=self.key,
            correlation_id=self.correlation_id or self.id,
            causation_id=self.id,
        )

    def has_expired(self, now: float | None = None) -> bool:
        """True from its deadline on: nobody needs it any more, so nobody delivers it."""
        return self.deadline is not None and self.deadline <= (anyio.current_time() if now is None else now)

    @property
    def label(self) -> str:
        """A few words that tell a reader which message this is."""
        if isinstance(self.body, str) and self.body:
            return self.body
        return self.type or self.id

    # On a disk or a wire

    def to_json(self, *, shift: float = 0.0) -> str:
        """The message as JSON text that `from_json` reads back equal, its times moved by `shift` seconds.

        Raises TypeError for a body or headers that would come back changed.
        """
        self.check_json()
        kept = {name: value for name, value in zip(_NAMES, _facts(self), strict=True) if value is not None}
        kept["headers"] = dict(self.headers)
        return values.encode(_moved(kept, shift))

    def check_json(self) -> None:
        """Raise TypeError for a message that `to_json` cannot write; for channels that keep it in memory."""
        for fact in _facts(self):
            if not values.is_plain(fact):  # most are
                values.check_json(f"message {self.id!r}", fact)
        if self.headers:
            values.check_json(f"message {self.id!r}", dict(self.headers))

    @classmethod
    def from_json(cls, text: str, *, shift: float = 0.0, **more: Any) -> Self:
        """The message that `to_json` wrote with the same `shift`, with what a subclass has more."""
        return cls(**_moved(json.loads(text), -shift), **more)


_NAMES = tuple(each.name for each in fields(Message) if each.name != "headers")
_facts = attrgetter(*_NAMES)
_TIMES = ("created", "deadline")
_TIMES_IN_HEADERS = ("dead-letter-first", "dead-letter-last", "dead-letter-deadline")


def _moved(kept: dict[str, Any], shift: float) -> dict[str, Any]:
    """The facts with their times moved, in place."""
    if shift:
        for facts, times in ((kept, _TIMES), (kept["headers"], _TIMES_IN_HEADERS)):
            for time in times:
                if facts.get(time) is not None:
                    facts[time] += shift
    return kept


Handler = Callable[[Message], Awaitable[object] | object]
"""Takes one message, plain or `async`. A worker, a listener or a channel's pump calls it."""
