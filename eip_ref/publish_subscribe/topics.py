"""Topics: how they are named, which of them a pattern means, and what was published to one.

A topic is a row of words with dots between them: `orders.paid`. In a pattern, by the rules of NATS, `*`
stands for exactly one word, and `>`, which can only be the last, for one word or more.

*Left out:* a tree of words, with which a broker finds a million different patterns in time that
does not grow with their number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from operator import attrgetter
from types import MappingProxyType
from typing import Generic, Self, TypeVar

from ..backpressure import WhenFull
from ..message import Message
from ..signal import EndOfMessages

__all__ = [
    "ChannelClosed",
    "Interest",
    "Published",
    "Start",
    "SubscriptionEnded",
    "TopicMessage",
    "check_pattern",
    "check_topic",
    "is_pattern",
    "matcher",
    "matches",
    "policy_of",
]

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


@dataclass(frozen=True, slots=True)
class Published:
    """The outcome of publishing one message. It is true when somebody was there to hear of it.

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

    def __bool__(self) -> bool:
        return not self.nobody_subscribed


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


def is_pattern(pattern: str) -> bool:
    """True when it may mean more than one topic."""
    return "*" in pattern or ">" in pattern


def matches(pattern: str, topic: str) -> bool:
    """True when the pattern means the topic. Both must be valid."""
    return matcher(pattern)(topic)


def matcher(pattern: str) -> Callable[[str], bool]:
    """Return the test of a topic, for whoever asks for one pattern again and again."""
    if not is_pattern(pattern):
        return pattern.__eq__
    asked = pattern.split(".")
    more = asked[-1] == ">"
    length = len(asked)
    fixed = [(place, word) for place, word in enumerate(asked) if word not in ("*", ">")]

    def means(topic: str) -> bool:
        words = topic.split(".")
        if len(words) < length if more else len(words) != length:
            return False
        return all(words[place] == word for place, word in fixed)

    return means


class Interest(Generic[T]):
    """The interests of subscribers. It knows patterns and no topics: a topic costs nothing.

    Finding costs one look for the topic's own name and one match for each different wildcard pattern.
    """

    def __init__(self) -> None:
        self._interested: dict[str, list[T]] = {}  # by pattern
        self._means: dict[str, Callable[[str], bool]] = {}  # the test of each pattern with a wildcard

    def __len__(self) -> int:
        """The number of different patterns that somebody is interested in."""
        return len(self._interested)

    def add(self, pattern: str, who: T) -> None:
        """From now on `who` is found for every topic that the pattern means."""
        if pattern not in self._interested and is_pattern(pattern):
            self._means[pattern] = matcher(pattern)
        self._interested.setdefault(pattern, []).append(who)

    def remove(self, pattern: str, who: T) -> None:
        """Undo `add`. Nothing remains of a pattern that nobody else asked for."""
        interested = self._interested[pattern]
        interested.remove(who)
        if not interested:
            del self._interested[pattern]
            self._means.pop(pattern, None)

    def matching(self, topic: str) -> list[T]:
        """Everybody who is interested in the topic now: a list that later changes do not touch."""
        found = list(self._interested.get(topic, ()))
        for pattern, means in self._means.items():
            if means(topic):
                found += self._interested[pattern]
        return found
