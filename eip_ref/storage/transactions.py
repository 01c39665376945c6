"""Transactions: all of it is committed or none; one inside another undoes its own part.

There must be no await inside. With one, another task could come in between, and what it does would be
committed or rolled back with the first task's transaction, after it was told that it is done. So the
transaction of another task is refused. What several parts do in one commit (receive here and send
there, which the field calls a *Transactional Client*) is done by one task, in one block without await.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass
from functools import partial
from typing import TypeVarTuple

from .. import values
from ..trace import Kind, record

Given = TypeVarTuple("Given")


class ForeignTransaction(RuntimeError):
    """The transaction of another task is open here: there is an await inside it, which must go."""


@dataclass(eq=False, slots=True)
class _Outermost:
    """A transaction that is in no other, or a look at everything, which writes nothing."""

    writes: bool


_mine: ContextVar[tuple[_Outermost, ...]] = ContextVar("transactions", default=())  # open in this context


class Transactional(ABC):
    """Whatever has transactions: a database file, or documents in memory."""

    def __init__(self) -> None:
        self._open: _Outermost | None = None
        self._after: list[Callable[[], object]] = []

    @abstractmethod
    def _begin(self, nested: bool) -> int:
        """Begin a transaction, or a savepoint; the answer marks where that was."""

    @abstractmethod
    def _commit(self, nested: bool, mark: int) -> None: ...

    @abstractmethod
    def _roll_back(self, nested: bool, mark: int) -> None: ...

    def after_commit(self, call: Callable[[*Given], object], *given: *Given) -> None:
        """Call this when the outermost transaction is committed, and never if its part was undone.

        An exception that it raises is recorded as a note, since what is committed stays so. Raises
        TypeError for an `async def`.
        """
        values.must_not_be_async("what is called after the commit", call)
        self._after.append(partial(call, *given) if given else call)

    def _changing(self) -> AbstractContextManager[None]:
        """A transaction, or inside one of the same task a savepoint. Raises `ForeignTransaction`."""
        return _Changing(self)

    @contextmanager
    def _looking(self) -> Iterator[bool]:
        """Inside, nothing is written; true where it is in no transaction. Raises `ForeignTransaction`."""
        entered = self._enter(writes=False)
        try:
            yield entered is not None
        finally:
            self._leave(entered)

    def _enter(self, *, writes: bool) -> Token[tuple[_Outermost, ...]] | None:
        """Enter a transaction, or a look; None inside another one of the same task."""
        if self._open is None:
            self._open = _Outermost(writes=writes)
            return _mine.set((*_mine.get(), self._open))
        if self._open not in _mine.get():
            raise ForeignTransaction(
                f"a transaction of another task is open in {self}: no await may stand inside a transaction"
            )
        if writes and not self._open.writes:
            raise RuntimeError(f"{self} is only read here: write in a transaction of its own, afterwards")
        return None

    def _leave(self, entered: Token[tuple[_Outermost, ...]] | None) -> None:
        if entered is not None:
            self._open = None
            _mine.reset(entered)


class _Changing:
    """A transaction, or a savepoint. No generator, since whatever is stored passes through here."""

    __slots__ = ("_entered", "_mark", "_nested", "_noted", "_owner")

    def __init__(self, owner: Transactional) -> None:
        self._owner = owner

    def __enter__(self) -> None:
        self._noted = len(self._owner._after)
        self._entered = self._owner._enter(writes=True)
        self._nested = self._entered is None
        try:
            self._mark = self._owner._begin(self._nested)
        except BaseException:
            self._owner._leave(self._entered)
            raise

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            if kind is None:
                self._commit()
            else:
                self._undo()
        finally:
            self._owner._leave(self._entered)
        if kind is None and not self._nested:
            after, self._owner._after = self._owner._after, []
            for call in after:
                self._tell(call)

    def _tell(self, call: Callable[[], object]) -> None:
        """All of it is committed: a listener that fails changes nothing of that, for its caller or others."""
        try:
            call()
        except Exception as error:
            record(Kind.NOTE, str(self._owner), who="", text=f"failed after the commit: {error!r}")

    def _commit(self) -> None:
        try:
            self._owner._commit(self._nested, self._mark)
        except BaseException:
            self._undo()
            raise

    def _undo(self) -> None:
        del self._owner._after[self._noted :]
        self._owner._roll_back(self._nested, self._mark)
