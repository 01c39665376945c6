"""Topics: how they are named, which of them a pattern means, and what was published to one.

A topic is a row of words with dots between them: `orders.paid`. In a pattern, by the rules of NATS, `*`
stands for exactly one word, and `>`, which can only be the last, for one word or more.

*Left out:* a tree of words, with which a broker finds a million different patterns in time that
does not grow with their number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType
from typing import Generic, Self, TypeVar

from ..backpressure import WhenFull
from ..message import Message
from ..signal import EndOfMessages
from ..trace import Kind, record

T = TypeVar("T")

_WORD = r"[^\s.*>\0\ud800-\udfff]+"  # no NUL and no half of a character, which no backend can hold
_TOPIC = re.compile(rf"{_WORD}(\.{_WORD})*")
_PATTERN = re.compile(rf"(({_WORD}|\*)\.)*({_WORD}|\*|>)")
_facts = attrgetter(*(each.name for each in fields(Message)))


# What is published, and how it ends


class Start(StrEnum):
    """The place at which a subscription that reads a log begins, if not an offset."""

    LATEST = "latest"  #: with what is published from now on
    EARLIEST = "earliest"  #: with the oldest message that is still retained


class ChannelClosed(Exception):
    """The channel takes no more messages: it certainly did not publish this one."""


class SubscriptionEnded(EndOfMessages):
    """Nothing more will come: the channel is closed and all is received, or this end has left."""


@dataclass(frozen=True, slots=True)
class TopicMessage(Message):
    """A message that was published, with the topic to which it was."""

    topic: str = ""

    def __post_init__(self, ttl: float | None) -> None:
        if not isinstance(self.headers, MappingProxyType):  # else it was copied, and checked before
            Message.__post_init__(self, ttl)

    @classmethod
    def of(cls, topic: str, message: Message) -> Self:
        """A copy of the message that shares nothing changeable with it."""
        return cls(*(*_facts(message.copy()), topic))

    def record_sent(self, where: str) -> None:
        """Say that it is sent to a subscription, or to a topic that refuses it."""
        record(Kind.SENT, where, self.id, label=self.label, key=self.key, topic=self.topic)


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome of publishing one message.

    A group counts as one. A receiver *has* the message in its buffer; that says nothing of its work.
    """

    receivers: int  #: subscriptions and groups that took the message
    dropped: int = 0  #: those for which there was no room, so that they missed it
    partition: int | None = None  #: where it was put, in a partitioned topic
    offset: int | None = None  #: its place in the log, where there is one

    @property
    def nobody_subscribed(self) -> bool:
        """True when there was nobody that the message was meant for."""
        return self.receivers + self.dropped == 0


def policy_of(who: str, when_full: WhenFull | str, allowed: tuple[WhenFull, ...]) -> WhenFull:
    """The policy of that name. Raises ValueError for one that is not allowed to `who`."""
    if when_full in allowed:
        return WhenFull(when_full)
    names = ", ".join(f"'{policy}'" for policy in allowed)
    raise ValueError(f"the policy of {who} is one of {names}, and not '{when_full}'")


# Wildcards


def check_topic(topic: str) -> None:
    """Raise ValueError unless a message can be published to this topic."""
    if not (isinstance(topic, str) and _TOPIC.fullmatch(topic)):
        raise ValueError(
            f"{topic!r} is no topic: use words with dots between them, such as 'orders.paid', "
            "without spaces; wildcards are for subscribers"
        )


def check_pattern(pattern: str) -> None:
    """Raise ValueError unless it is a topic or a pattern of topics."""
    if not (isinstance(pattern, str) and _PATTERN.fullmatch(pattern)):
        raise ValueError(
            f"{pattern!r} is no pattern: use words with dots between them; '*' stands for one word, "
            "'>' at the end for one or more, as in 'orders.*' and 'orders.>'"
        )


def matches(pattern: str, topic: str) -> bool:
    """True when the pattern means the topic. Both must be valid."""
    if pattern == topic:
        return True
    asked, words = pattern.split("."), topic.split(".")
    if asked[-1] == ">":  # as many '*' as there are words left, and at least one
        asked[-1:] = ["*"] * max(1, len(words) - len(asked) + 1)
    if len(asked) != len(words):
        return False
    return asked == [ask if ask == "*" else word for ask, word in zip(asked, words, strict=True)]


class Interest(Generic[T]):
    """The interests of subscribers. It knows patterns and no topics: a topic costs nothing.

    Finding costs one look for the topic's own name and one match for each different wildcard pattern.
    """

    def __init__(self) -> None:
        self._plain: dict[str, list[T]] = {}  # by the topic that a pattern without wildcards is
        self._wild: dict[str, list[T]] = {}  # by pattern

    def __len__(self) -> int:
        """The number of different patterns that somebody is interested in."""
        return len(self._plain) + len(self._wild)

    def add(self, pattern: str, who: T) -> None:
        """From now on `who` is found for every topic that the pattern means."""
        self._kind_of(pattern).setdefault(pattern, []).append(who)

    def remove(self, pattern: str, who: T) -> None:
        """Undo `add`. Nothing remains of a pattern that nobody else asked for."""
        interested = self._kind_of(pattern)
        interested[pattern].remove(who)
        if not interested[pattern]:
            del interested[pattern]

    def matching(self, topic: str) -> list[T]:
        """Everybody who is interested in the topic now: a list that later changes do not touch."""
        found = list(self._plain.get(topic, ()))
        for pattern, interested in self._wild.items():
            if matches(pattern, topic):
                found += interested
        return found

    def _kind_of(self, pattern: str) -> dict[str, list[T]]:
        return self._plain if _TOPIC.fullmatch(pattern) else self._wild
