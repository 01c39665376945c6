"""Event stores and logs in memory and on SQLite, under operations that nobody has thought of."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import rule

from eip_ref.durable_queue import SQLiteLog
from eip_ref.event_sourcing import Appended, Expected, MemoryEventStore, SQLiteEventStore
from eip_ref.message import Message
from eip_ref.storage import MemoryLog

from .alike import DOCUMENTS, KEYS, KEYS_AND_ODD, NUMBERS, ODD, Alike, few

STREAMS = st.one_of(st.sampled_from("ab"), st.sampled_from("ab"), KEYS_AND_ODD)
IDS = st.lists(st.sampled_from("uvwxyz"), max_size=3)
TEXTS = [each for each in ODD if isinstance(each, str)]  #: a message takes no other type
EXPECTED = st.one_of(st.sampled_from(list(Expected)), st.integers(0, 4), NUMBERS)


class _InALoop(Alike):
    """Both are used in one event loop. Times are not compared, nor positions: a refusal may leave a gap."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        found = self.loop.run_until_complete(work)
        if isinstance(found, list):
            return [(*each[1:-2], each.message.id, each.message.body, each.message.key) for each in found]
        return found._replace(position=0) if isinstance(found, Appended) else found

    def teardown(self) -> None:
        self.loop.close()
        super().teardown()


class EventStores(_InALoop):
    """Appends, alone and in batches, new and repeated, as expected or not; and all ways to read."""

    def __init__(self) -> None:
        super().__init__()
        self.stores = MemoryEventStore(), SQLiteEventStore(self.path, synchronous="OFF")
        self.do(self.stores[1].__aenter__())

    def teardown(self) -> None:
        self.reads_all(after=0, limit=100)
        self.do(self.stores[1].__aexit__())
        super().teardown()

    def both(self, ask: Any) -> None:
        self.same(lambda store: self.do(ask(store)), *self.stores)

    @rule(stream=STREAMS, ids=IDS, expected=EXPECTED)
    def appends(self, stream: Any, ids: list[str], expected: Any) -> None:
        batch = [Message(None, "Said", id=each) for each in ids]
        self.both(lambda store: store.append(stream, batch, expected=expected))

    @rule(body=DOCUMENTS, type=st.one_of(KEYS, st.sampled_from(TEXTS)), version=st.integers(0, 3))
    def appends_one(self, body: Any, type: Any, version: Any) -> None:
        event = Message(body, type, version=version)
        self.both(lambda store: store.append("c", [event]))

    @rule(stream=STREAMS, after=NUMBERS, limit=NUMBERS)
    def reads(self, stream: Any, after: Any, limit: Any) -> None:
        self.both(lambda store: store.read(stream, after=after, limit=limit))

    @rule(after=NUMBERS, limit=NUMBERS)
    def reads_all(self, after: Any, limit: Any) -> None:
        after = 0 if after in (1, 2, 3) and after is not True else after  # positions, which may differ
        self.both(lambda store: store.read_all(after=after, limit=limit))


class Logs(_InALoop):
    """Appends and reads at any offset."""

    def __init__(self) -> None:
        super().__init__()
        self.logs = MemoryLog("orders"), SQLiteLog(self.path, "orders", synchronous="OFF")
        self.do(self.logs[1].__aenter__())

    def teardown(self) -> None:
        self.reads(0, 100)
        self.do(self.logs[1].__aexit__())
        super().teardown()

    def both(self, ask: Any) -> None:
        self.same(lambda log: self.do(ask(log)), *self.logs)
        self.same(lambda log: (log.first, log.end), *self.logs)

    @rule(body=DOCUMENTS, key=st.sampled_from([None, "", "a", "é"]))
    def appends(self, body: Any, key: Any) -> None:
        message = Message(body, key=key)
        self.both(lambda log: log.append(message))

    @rule(offset=NUMBERS, limit=NUMBERS)
    def reads(self, offset: Any, limit: Any) -> None:
        self.both(lambda log: log.read(offset, limit=limit))


TestEventStores = EventStores.TestCase
TestEventStores.settings = few
TestLogs = Logs.TestCase
TestLogs.settings = few
