"""A view: the rows that queries read, with the place of each in the order of changes.

Each change of a row takes the next *position* of the view. A row knows the position of its last
change, and a removed row leaves a tombstone, so "what has changed since 17?" can be answered from
the rows alone, for any 17: nothing is kept for a reader that is away.

*Left out:* forgetting tombstones; a real system does so when no reader is that far behind.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from ..storage import Transaction, key_of

__all__ = ["Change", "View"]


class Change(NamedTuple):
    """A row as it is after the change at `position`; None when it was removed."""

    position: int
    key: str
    row: Any


class View:
    """The rows of the view `table`, inside one transaction."""

    def __init__(self, transaction: Transaction, table: str) -> None:
        self._transaction = transaction
        self._table = table
        self._by_position = f"{table}.changes"
        self.changes: list[Change] = []  #: those of this transaction, in order

    @property
    def position(self) -> int:
        """The position of the last change; 0 before the first."""
        return int(self._transaction.get("counters", self._table, 0))

    def get(self, key: str, default: Any = None) -> Any:
        """The row, or `default`."""
        _, row = self._transaction.get(self._table, key, (0, None))
        return default if row is None else row

    def set(self, key: str, row: Any) -> None:
        """Write a row, which is any JSON value but None. One that is already so is no change."""
        if row is None:
            raise ValueError(f"a row cannot be None; use remove({key!r})")
        if self.get(key) != row:
            self._change(key, row)

    def remove(self, key: str) -> None:
        """Remove a row, if it is there."""
        if self.get(key) is not None:
            self._change(key, None)

    def rows(self) -> dict[str, Any]:
        """All rows by key."""
        return {key: row for key, (_, row) in self._transaction.scan(self._table) if row is not None}

    def since(self, position: int, limit: int = -1) -> list[Change]:
        """The last change of each row that was changed after `position`, in order."""
        changed = self._transaction.scan(self._by_position, after=key_of(position), limit=limit)
        return [Change(int(at), key, self._transaction.get(self._table, key)[1]) for at, key in changed]

    def succeed(self, old: View) -> None:
        """Take the place of an older view: every row changes once more, later than all that was before.

        So whoever resumes from a position of the old one sees all rows of the new one, and learns
        which are gone.
        """
        rows = self.rows()
        gone = [key for key, _ in self._transaction.scan(old._table) if key not in rows]
        self._transaction.clear(self._table)
        self._transaction.clear(self._by_position)
        self._transaction.put("counters", self._table, max(old.position, self.position))
        for key in gone:
            self._change(key, None)
        for key, row in rows.items():
            self._change(key, row)

    def _change(self, key: str, row: Any) -> None:
        at, _ = self._transaction.get(self._table, key, (0, None))
        position = self._transaction.count(self._table)
        self._transaction.delete(self._by_position, key_of(at))
        self._transaction.put(self._by_position, key_of(position), key)
        self._transaction.put(self._table, key, [position, row])
        self.changes.append(Change(position, key, row))
