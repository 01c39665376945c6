"""Transactions: all of it is committed or none; one inside another undoes its own part.

There must be no await inside. With one, another task could come in between, and what it does would be
committed or rolled back with the first task's transaction, after it was told that it is done. So the
transaction of another task is refused. What several parts do in one commit (receive here and send
there, which the field calls a *Transactional Client*) is done by one task, in one block without await.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

__all__ = ["ForeignTransaction", "Transactional"]


class ForeignTransaction(RuntimeError):
    """The transaction of another task is open here: there is an await inside it, which must go."""


_mine: ContextVar[tuple[object, ...]] = ContextVar("transactions", default=())  # open in this context


class Transactional(ABC):
    """Whatever has transactions: a database file, or documents in memory."""

    def __init__(self) -> None:
        self._open: object | None = None  # the outermost transaction
        self._after: list[Callable[[], object]] = []

    @abstractmethod
    def _begin(self, nested: bool) -> int:
        """Begin a transaction, or a savepoint; the answer marks where that was."""

    @abstractmethod
    def _commit(self, nested: bool, mark: int) -> None: ...

    @abstractmethod
    def _roll_back(self, nested: bool, mark: int) -> None: ...

    def after_commit(self, call: Callable[[], object]) -> None:
        """Call this when the outermost transaction is committed, and never if its part was undone."""
        self._after.append(call)

    @contextmanager
    def changing(self) -> Iterator[None]:
        """A transaction, or inside one of the same task a savepoint. Raises `ForeignTransaction`."""
        mine = _mine.get()
        nested = self._open is not None
        if nested and self._open not in mine:
            raise ForeignTransaction(
                f"a transaction of another task is open in {self}: no await may stand inside a transaction"
            )
        noted = len(self._after)
        mark = self._begin(nested)
        if not nested:
            self._open = object()
            token = _mine.set((*mine, self._open))
        try:
            yield
            self._commit(nested, mark)
        except BaseException:
            del self._after[noted:]
            self._roll_back(nested, mark)
            raise
        finally:
            if not nested:
                self._open = None
                _mine.reset(token)
        if not nested:
            after, self._after = self._after, []
            for call in after:
                call()
