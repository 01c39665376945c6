"""A store in memory and one on SQLite, under operations that nobody has thought of."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from functools import partial
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import precondition, rule

from eip_ref.storage import MemoryStore, SQLiteStore, Transaction

from .alike import DOCUMENTS, KEYS_AND_ODD, NUMBERS, Alike, few

TABLES = st.sampled_from(["t", "t", "u", "", "\ud800", 7])


class Undone(Exception):
    """The way out of a transaction that is to leave nothing."""


class Stores(Alike):
    """Transactions in transactions, looks at what is there, and all that can be written."""

    def __init__(self) -> None:
        super().__init__()
        self.stores = MemoryStore(), SQLiteStore(self.path, synchronous="OFF")
        self.stores[1].__enter__()
        self.open: list[tuple[list[Any], list[Transaction]]] = []
        self.told: tuple[list[int], list[int]] = [], []
        self.steps = 0

    def teardown(self) -> None:
        while self.open:
            self.leaves(undone=True)
        with ExitStack() as stack:
            looks = [stack.enter_context(store.reading()) for store in self.stores]
            for table in ("t", "u", "counters", "t.order"):
                self.same(partial(Transaction.scan, table=table), *looks)
        assert self.told[0] == self.told[1]
        self.stores[1].__exit__()
        super().teardown()

    @precondition(lambda self: len(self.open) < 4)
    @rule(writes=st.sampled_from([True, True, True, False]))
    def enters(self, writes: bool) -> None:
        entered = [store.transaction() if writes else store.reading() for store in self.stores]
        made = [self._outcome(lambda each: each.__enter__(), each) for each in entered]
        assert type(made[0]) is type(made[1]) or isinstance(made[0], Transaction), made
        if isinstance(made[0], Transaction):
            self.open.append((entered, made))
        else:
            assert made[0][0] == made[1][0] == "RuntimeError"

    @precondition(lambda self: self.open)
    @rule(undone=st.booleans())
    def leaves(self, undone: bool) -> None:
        entered, _ = self.open.pop()
        for each in entered:
            with suppress(Undone):
                failed = each.__exit__(*((Undone, Undone(), None) if undone else (None, None, None)))
                assert not failed

    def now(self, asks: Any) -> None:
        self.same(asks, *self.open[-1][1])

    @precondition(lambda self: self.open)
    @rule(table=TABLES, key=KEYS_AND_ODD, document=DOCUMENTS)
    def puts(self, table: Any, key: Any, document: Any) -> None:
        self.now(lambda transaction: transaction.put(table, key, document))

    @precondition(lambda self: self.open)
    @rule(table=TABLES, key=KEYS_AND_ODD)
    def gets(self, table: Any, key: Any) -> None:
        self.now(lambda transaction: transaction.get(table, key, "nothing"))

    @precondition(lambda self: self.open)
    @rule(table=TABLES, key=KEYS_AND_ODD)
    def deletes(self, table: Any, key: Any) -> None:
        self.now(lambda transaction: transaction.delete(table, key))

    @precondition(lambda self: self.open)
    @rule(table=TABLES, after=KEYS_AND_ODD, limit=NUMBERS)
    def scans(self, table: Any, after: Any, limit: Any) -> None:
        self.now(lambda transaction: transaction.scan(table, after=after, limit=limit))

    @precondition(lambda self: self.open)
    @rule(table=TABLES)
    def looks_at(self, table: Any) -> None:
        self.now(lambda transaction: (transaction.size(table), transaction.scan(table)))

    @precondition(lambda self: self.open)
    @rule(table=TABLES)
    def clears(self, table: Any) -> None:
        self.now(lambda transaction: transaction.clear(table))

    @precondition(lambda self: self.open)
    @rule(counter=KEYS_AND_ODD)
    def counts(self, counter: Any) -> None:
        self.now(lambda transaction: transaction.count(counter))

    @precondition(lambda self: self.open)
    @rule(key=KEYS_AND_ODD, capacity=NUMBERS)
    def remembers(self, key: Any, capacity: Any) -> None:
        self.now(lambda transaction: transaction.remember("t", key, 1, capacity=capacity))

    @precondition(lambda self: self.open)
    @rule()
    def tells_after_the_commit(self) -> None:
        self.steps += 1
        told = iter(self.told)
        self.now(lambda transaction: transaction.after_commit(partial(next(told).append, self.steps)))


TestStores = Stores.TestCase
TestStores.settings = few
