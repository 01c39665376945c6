"""Storage: the local database of one program, in memory or in an SQLite file.

Three things are kept in one `Database` and share its transactions: queues, which are rows of their
own; documents, in a `Store`; and records at offsets, in a `Log`. A transaction holds no await. What
it has to tell to others is told after its commit, because before it nothing has happened.

    with store.transaction() as transaction:
        transaction.put("orders", "order-1", {"state": "paid"})
        outbox.add(transaction, Message("order-1 was paid", "OrderPaid", key="order-1"))

Inside another transaction of the same task one is a savepoint: what fails inside undoes its own part.
A transaction of another task that comes in between is refused: an await has opened the door to it.

Read `transactions.py` first, then `store.py` and `log.py`; `database.py` is the file and its time.

*Left out:* transactions that wait for each other, as a database server has them; threads for the disk,
so each call to SQLite stops the event loop for the length of one short transaction.
"""

from .database import FOREVER, Database, despite_faults, microseconds
from .log import Log, MemoryLog, OffsetGone, Record
from .store import MemoryStore, SQLiteStore, Store, Table, Transaction, key_of
from .transactions import ForeignTransaction

__all__ = [
    "FOREVER",
    "Database",
    "ForeignTransaction",
    "Log",
    "MemoryLog",
    "MemoryStore",
    "OffsetGone",
    "Record",
    "SQLiteStore",
    "Store",
    "Table",
    "Transaction",
    "despite_faults",
    "key_of",
    "microseconds",
]
