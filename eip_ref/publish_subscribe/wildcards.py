"""Wildcards: which topics a pattern means, by the rules of NATS, and who is interested in a topic.

A topic is a row of words with dots between them: `orders.paid`. In a pattern, `*` stands for exactly
one word, and `>`, which can only be the last, for one word or more.

*Left out:* a tree of words, with which a broker finds a million different patterns in time that
does not grow with their number.
"""

from __future__ import annotations

import re
from typing import Generic, TypeVar

__all__ = ["Interest", "check_pattern", "check_topic", "is_pattern", "matches"]

T = TypeVar("T")

_WORD = re.compile(r"[^\s.*>]+")


def check_topic(topic: str) -> None:
    """Raise ValueError unless a message can be published to this topic."""
    for word in topic.split("."):
        if not _WORD.fullmatch(word):
            raise ValueError(
                f"{topic!r} is no topic: use words with dots between them, such as 'orders.paid', "
                "without spaces; wildcards are for subscribers"
            )


def check_pattern(pattern: str) -> None:
    """Raise ValueError unless it is a topic or a pattern of topics."""
    words = pattern.split(".")
    for place, word in enumerate(words):
        last = place == len(words) - 1
        if not (_WORD.fullmatch(word) or word == "*" or (word == ">" and last)):
            raise ValueError(
                f"{pattern!r} is no pattern: use words with dots between them; '*' stands for one word, "
                "'>' at the end for one or more, as in 'orders.*' and 'orders.>'"
            )


def is_pattern(pattern: str) -> bool:
    """Whether it may mean more than one topic."""
    return "*" in pattern or ">" in pattern


def matches(pattern: str, topic: str) -> bool:
    """Whether the pattern means the topic. Both must be valid."""
    if not is_pattern(pattern):
        return pattern == topic
    asked, words = pattern.split("."), topic.split(".")
    if asked[-1] == ">":
        asked.pop()
        if len(words) <= len(asked):
            return False
    elif len(words) != len(asked):
        return False
    return all(ask in ("*", word) for ask, word in zip(asked, words, strict=False))


class Interest(Generic[T]):
    """Who is interested in what. It knows patterns and no topics: a topic costs nothing.

    Finding costs one look for the topic's own name and one match for each different wildcard pattern.
    """

    def __init__(self) -> None:
        self._plain: dict[str, list[T]] = {}
        self._wild: dict[str, list[T]] = {}

    def __len__(self) -> int:
        """How many different patterns somebody is interested in."""
        return len(self._plain) + len(self._wild)

    def add(self, pattern: str, who: T) -> None:
        """From now on `who` is found for every topic that the pattern means."""
        self._table(pattern).setdefault(pattern, []).append(who)

    def remove(self, pattern: str, who: T) -> None:
        """Undo `add`. Nothing remains of a pattern that nobody else asked for."""
        table = self._table(pattern)
        table[pattern].remove(who)
        if not table[pattern]:
            del table[pattern]

    def matching(self, topic: str) -> list[T]:
        """Everybody who is interested in the topic now: a list that later changes do not touch."""
        found = list(self._plain.get(topic, ()))
        for pattern, interested in self._wild.items():
            if matches(pattern, topic):
                found += interested
        return found

    def _table(self, pattern: str) -> dict[str, list[T]]:
        return self._wild if is_pattern(pattern) else self._plain
