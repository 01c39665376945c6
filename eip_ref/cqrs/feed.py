"""A feed: all rows of a view as they are, and then every change, without a gap and without an overlap.

Each follower has a feed of its own, with a bounded buffer and a position, so that a slow one delays
nobody. When its buffer is full, it loses the changes in between and goes on with the last one of
each row (the rows themselves know their positions, so nothing has to be kept for it), or it is cut
off with `TooSlow`. Whoever comes back names the last position that it has, and goes on after it. It
names the *epoch* of that position too: in another store the same number means something else.
"""

from __future__ import annotations

from collections import deque
from enum import StrEnum
from typing import Self

import anyio.lowlevel

from .. import values
from ..trace import Kind, record, whoami
from .read_model import ReadModel, RowChange


class WhenSlow(StrEnum):
    """The fate of a follower whose buffer is full."""

    LATEST = "latest"  #: it misses changes, and gets the last one of each row instead
    CLOSE = "close"  #: it is cut off, and may come back to resume from its position


class TooSlow(Exception):
    """The follower's buffer was full and its policy is to be cut off."""


class Feed:
    """A follower of a view: `with Feed(view) as feed: async for change in feed: …`.

    With `after=0` it begins with a snapshot, the last change of every row; with a position that a
    feed of this view has given before, it begins with what has changed since. A position of another
    `epoch`, or one that the view has not reached, was one of another view: then it begins with a snapshot
    too, and `position` is 0 after it was entered.
    """

    def __init__(
        self,
        model: ReadModel,
        *,
        after: int = 0,
        epoch: str = "",
        capacity: int = 100,
        when_slow: WhenSlow | str = WhenSlow.LATEST,
        name: str = "",
    ) -> None:
        self.model = model
        self.name = values.name("name", name or whoami() or "follower")
        self.position = values.count("after", after, minimum=0)  #: of the last change that was handed out
        self.epoch = epoch  #: of `position`; that of the view once the feed was entered
        self.skipped = 0  #: how often it dropped to the latest
        self._capacity = values.count("capacity", capacity)
        self._when_slow = WhenSlow(when_slow)
        self._buffer: deque[RowChange] = deque()
        self._last = after  # the position up to which it has all, handed out or in its buffer
        self._behind = True  # it takes what comes next from the view, and not from what it hears
        self._cut = False

    def __enter__(self) -> Self:
        end, _ = self.model.since(self.position, limit=0)
        if self.position > end or self.epoch not in ("", self.model.epoch):
            self.position = 0
        self.epoch = self.model.epoch
        self.model.listeners[self._hear] = None
        record(Kind.OPENED, self._where, who=self.name, role="channel", capacity=self._capacity)
        return self

    def __exit__(self, *_: object) -> None:
        """Leave: nothing of this follower stays."""
        self.model.listeners.pop(self._hear, None)
        self._drop_all("the follower has left")
        record(Kind.CLOSED, self._where, who=self.name)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> RowChange:
        """The next change. Raises `TooSlow` by policy, after what is in the buffer."""
        await anyio.lowlevel.checkpoint()
        while True:
            if (change := self.next_nowait()) is not None:
                return change
            await self.model.store.news()

    def next_nowait(self) -> RowChange | None:
        """The next change, or None when there is none now. Raises `TooSlow` by policy."""
        if not self._buffer and not self._cut:
            self._look_up()
        if not self._buffer:
            if self._cut:
                raise TooSlow(f"{self.name} left its buffer of {self._capacity} full")
            return None
        change = self._buffer.popleft()
        self.position = change.position
        record(Kind.DELIVERED, self._where, _id(change), who=self.name, lease=None, position=change.position)
        return change

    def __len__(self) -> int:
        """The number of changes in the buffer."""
        return len(self._buffer)

    @property
    def _where(self) -> str:
        return f"{self.model.name} → {self.name}"

    def _look_up(self) -> None:
        """Fill the buffer from the view. The feed is behind until there is nothing more to be found."""
        self._last, changes = self.model.since(self.position, self._capacity)
        self._behind = bool(changes)
        for change in changes:
            self._add(change)

    def _hear(self, change: RowChange) -> None:
        """The view has committed this change."""
        if self._behind or self._cut:
            return
        if change.position != self._last + 1:  # another process made those between
            self._behind = True
        elif len(self._buffer) >= self._capacity:
            self._overflow()
        else:
            self._last = change.position
            self._add(change)

    def _overflow(self) -> None:
        if self._when_slow is WhenSlow.CLOSE:
            self._cut = True
            return
        self.skipped += 1
        self._drop_all("the buffer was full")
        self._behind = True
        record(Kind.STATE, self._where, who=self.name, was="live", now="behind", reason="the buffer was full")

    def _add(self, change: RowChange) -> None:
        record(Kind.ACCEPTED, self._where, _id(change), who="", key=change.key, position=change.position)
        self._buffer.append(change)

    def _drop_all(self, reason: str) -> None:
        while self._buffer:
            record(Kind.DROPPED, self._where, _id(self._buffer.popleft()), who="", reason=reason)


def _id(change: RowChange) -> str:
    return f"{change.key}@{change.position}"
