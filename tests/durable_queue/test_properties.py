"""The durable queue beside the one in memory, under generated calls and restarts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.durable_queue import SQLiteQueue
from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.message_queue import DeadLetterPolicy, Lease, MessageQueue, replay

TICK = 0.001
SETTINGS: dict[str, Any] = {"lease": 5.0005, "capacity": 6, "policy": DeadLetterPolicy(max_failures=3)}

# A restart changes nothing: the queue in memory, which has none, is the model

DELAYS = st.sampled_from([None, 0.0, 2.0005])  # never the same instant as another timer
CALLS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.sampled_from([None, "a", "b"]), st.sampled_from([0.0, 3.0005])),
        st.tuples(st.just("receive")),
        st.tuples(st.just("receive")),
        st.tuples(st.just("ack"), st.integers(0, 9)),
        st.tuples(st.just("nack"), st.integers(0, 9), DELAYS),
        st.tuples(st.just("extend"), st.integers(0, 9), st.sampled_from([0.0, 7.0005])),
        st.tuples(st.just("sleep"), st.sampled_from([1.0, 4.0, 20.0])),
        st.tuples(st.just("replay")),
        st.tuples(st.just("restart")),
    ),
    max_size=40,
)


class Player:
    """Makes calls on one queue and says what came of them."""

    def __init__(self, queue: MessageQueue | SQLiteQueue) -> None:
        self.queue = queue
        self.leases: list[Lease] = []

    async def call(self, number: int, name: str, *args: Any) -> Any:
        try:
            answer = await getattr(self, name)(number, *args)
        except Exception as error:
            answer = type(error)
        await anyio.sleep(TICK)  # the expiry task of the queue in memory moves the dead
        return answer, self.queue.counts, len(self.queue.dead_letters or "")  # type: ignore[arg-type]

    async def put(self, number: int, key: str | None, delay: float) -> None:
        await self.queue.put(Message(number, id=f"m{number}", key=key), delay=delay)

    async def receive(self, number: int) -> Any:
        lease = await self.queue.receive(timeout=0)
        self.leases.append(lease)
        return lease.message.body, lease.token, lease.deliveries, lease.failures

    async def ack(self, number: int, which: int) -> Any:
        return await self.queue.ack(self._lease(which))

    async def nack(self, number: int, which: int, delay: float | None) -> Any:
        return await self.queue.nack(self._lease(which), delay=delay)

    async def extend(self, number: int, which: int, seconds: float) -> Any:
        return await self.queue.extend(self._lease(which), seconds)

    async def replay(self, number: int) -> int:
        assert self.queue.dead_letters is not None
        return await replay(self.queue.dead_letters, self.queue)

    async def restart(self, number: int) -> None:
        if isinstance(self.queue, SQLiteQueue):
            await self.queue.__aexit__(None, None, None)
            self.queue = SQLiteQueue(self.queue.database.path, "orders", synchronous="OFF", **SETTINGS)
            await self.queue.__aenter__()

    def _lease(self, which: int) -> Lease:
        return self.leases[-1 - which % len(self.leases)]


@settings(max_examples=150, deadline=None)
@given(CALLS)
def test_with_restarts_it_answers_as_the_queue_in_memory_without(calls: list[tuple[Any, ...]]) -> None:
    """Messages, order, tokens, counts and answers are the same, wherever the restarts are."""

    async def scenario(folder: str) -> None:
        durable = SQLiteQueue(Path(folder, "shop.db"), "orders", synchronous="OFF", **SETTINGS)
        async with MessageQueue("orders", **SETTINGS) as model:
            await durable.__aenter__()
            players = Player(model), Player(durable)
            for number, (name, *args) in enumerate(calls):
                if name == "sleep":
                    await anyio.sleep(*args)
                else:
                    expected, found = [await player.call(number, name, *args) for player in players]
                    assert found == expected, (number, name, args)
            await players[1].queue.__aexit__(None, None, None)

    with TemporaryDirectory() as folder:
        simulate(scenario, folder)
