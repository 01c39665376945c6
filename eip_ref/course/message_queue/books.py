"""A small store whose writes commit together, for exercises about what must commit together."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import anyio.lowlevel

from ...trace import Kind, record

__all__ = ["Books", "Conflict", "Transaction", "at_commit"]


class Conflict(Exception):
    """Something that this transaction read was changed before its commit; nothing was written."""


class Transaction:
    """Reads and writes that commit together at the end of `async with books.transaction()`."""

    def __init__(self, values: dict[str, Any], versions: dict[str, int]) -> None:
        self._values, self._versions = values, versions
        self._read: dict[str, int] = {}
        self._writes: dict[str, Any] = {}
        self._then: list[Callable[[], None]] = []

    def get(self, name: str, default: Any = None) -> Any:
        """The value as this transaction sees it: its own write, or what is committed."""
        if name in self._writes:
            return self._writes[name]
        self._read.setdefault(name, self._versions.get(name, 0))
        return self._values.get(name, default)

    def set(self, name: str, value: Any) -> None:
        """Write a value. Others see it after the commit, and never if the block does not end well."""
        self._writes[name] = value


class Books:
    """Values by name. What one transaction writes commits together, or not at all."""

    def __init__(self) -> None:
        self._values: dict[str, Any] = {}
        self._versions: dict[str, int] = {}

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Transaction]:
        """Commit when the block ends. An exception, a cancellation or a crash in it leaves nothing behind.

        Raises `Conflict` at the commit when a value that was read has been changed meanwhile.
        """
        transaction = Transaction(self._values, self._versions)
        yield transaction
        for name, version in transaction._read.items():
            if self._versions.get(name, 0) != version:
                raise Conflict(f"{name} was changed by another transaction")
        for name, value in transaction._writes.items():
            self._values[name] = value
            self._versions[name] = self._versions.get(name, 0) + 1
        record(Kind.NOTE, "books", text="a commit", wrote=[str(name) for name in transaction._writes])
        for call in transaction._then:
            call()
        await anyio.lowlevel.checkpoint()  # the commit is done; whoever dies now dies after it


def at_commit(transaction: Transaction, call: Callable[[], None]) -> None:
    """For scenarios: call this when the transaction commits, and never if it does not."""
    transaction._then.append(call)
