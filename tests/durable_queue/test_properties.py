"""The durable queue beside the one in memory, under generated calls and restarts."""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from eip_ref.durable_queue import SQLiteQueue
from eip_ref.lab import invariants
from eip_ref.lab.clock import simulate
from eip_ref.message import Message
from eip_ref.message_queue import DeadLetterPolicy, Lease, MessageQueue, replay
from eip_ref.trace import Kind, Trace
from tests.backends import recorded

TICK = 0.001
SETTINGS: dict[str, Any] = {"lease": 5.0005, "capacity": 6, "policy": DeadLetterPolicy(max_failures=3)}

# A restart changes nothing: the queue in memory, which has none, is the model

DELAYS = st.sampled_from([None, 0.0, 2.0005])  # never the same instant as another timer


def puts() -> st.SearchStrategy[tuple[Any, ...]]:
    """A strategy of its own each time: `one_of` takes the same one once, and most calls need messages."""
    return st.tuples(st.just("put"), st.sampled_from([None, "a", "b"]), st.sampled_from([0.0, 3.0005]))


CALLS = st.lists(
    st.one_of(
        *(puts() for _ in range(6)),
        st.tuples(st.just("put_again"), st.integers(0, 9)),
        st.tuples(st.just("put_briefly"), st.sampled_from([0.0, 2.5])),
        st.tuples(st.just("receive")),
        st.tuples(st.just("receive")),
        st.tuples(st.just("receive_batch"), st.integers(1, 4)),
        st.tuples(st.just("ack"), st.integers(0, 9)),
        st.tuples(st.just("nack"), st.integers(0, 9), DELAYS),
        st.tuples(st.just("reject"), st.integers(0, 9)),
        st.tuples(st.just("extend"), st.integers(0, 9), st.sampled_from([0.0, 7.0005])),
        st.tuples(st.just("purge")),
        st.tuples(st.just("peek"), st.integers(1, 3)),
        st.tuples(st.just("sleep"), st.sampled_from([1.0, 4.0, 20.0])),
        st.tuples(st.just("replay")),
        st.tuples(st.just("restart")),
    ),
    min_size=10,
    max_size=50,
)


class Player:
    """Makes calls on one queue and says what came of them, and which facts were recorded."""

    def __init__(self, queue: MessageQueue | SQLiteQueue) -> None:
        self.queue = queue
        self.messages: list[Message] = []
        self.leases: list[Lease] = []

    async def call(self, number: int, name: str, *args: Any) -> Any:
        try:
            answer = await getattr(self, name)(number, *args)
        except Exception as error:
            answer = type(error)
        await anyio.sleep(TICK)  # the expiry task of the queue in memory moves the dead
        return answer, self.queue.counts, len(self.queue.dead_letters or "")  # type: ignore[arg-type]

    async def put(self, number: int, key: str | None, delay: float) -> None:
        self.messages.append(Message(number, id=f"m{number}", key=key))
        await self.queue.put(self.messages[-1], delay=delay)

    async def put_again(self, number: int, which: int) -> None:
        await self.queue.put(self.messages[-1 - which % len(self.messages)])

    async def put_briefly(self, number: int, ttl: float) -> None:
        await self.queue.put(Message(number, id=f"m{number}", ttl=ttl))

    async def receive(self, number: int) -> Any:
        return self._granted(await self.queue.receive(timeout=0))

    async def receive_batch(self, number: int, size: int) -> Any:
        return [self._granted(lease) for lease in await self.queue.receive_batch(size, timeout=0)]

    def _granted(self, lease: Lease) -> Any:
        self.leases.append(lease)
        return lease.message.body, lease.token, lease.deliveries, lease.failures

    async def ack(self, number: int, which: int) -> Any:
        return await self.queue.ack(self._lease(which))

    async def nack(self, number: int, which: int, delay: float | None) -> Any:
        return await self.queue.nack(self._lease(which), delay=delay)

    async def reject(self, number: int, which: int) -> Any:
        return await self.queue.reject(self._lease(which), reason="no")

    async def purge(self, number: int) -> int:
        return await self.queue.purge()

    async def peek(self, number: int, limit: int) -> Any:
        dead: Any = self.queue.dead_letters
        return [[message.body for message in await queue.peek(limit)] for queue in (self.queue, dead)]

    async def extend(self, number: int, which: int, seconds: float) -> Any:
        return await self.queue.extend(self._lease(which), seconds)

    async def replay(self, number: int) -> int:
        assert self.queue.dead_letters is not None
        return await replay(self.queue.dead_letters, self.queue)

    async def restart(self, number: int) -> None:
        if isinstance(self.queue, SQLiteQueue):
            await self.queue.__aexit__(None, None, None)
            self.queue = SQLiteQueue(self.queue.database.path, "durable", synchronous="OFF", **SETTINGS)
            await self.queue.__aenter__()

    def _lease(self, which: int) -> Lease:
        return self.leases[-1 - which % len(self.leases)]


def facts(trace: Trace, queue: str) -> list[Any]:
    """All that happened in a queue and its dead letters, as the other queue would tell it."""
    told = [event for event in trace if event.where.startswith(queue) and event.kind != Kind.OPENED]
    return [
        (event.kind, event.where.removeprefix(queue), event.message, event.who, _told(event.data, queue))
        for event in told
    ]


def _told(data: Any, queue: str) -> dict[str, Any]:
    return {
        name: value.replace(queue, "") if isinstance(value, str) else name == "until" or value
        for name, value in data.items()
    }


@settings(max_examples=120)
@given(CALLS)
def test_with_restarts_it_answers_as_the_queue_in_memory_without(calls: list[tuple[Any, ...]]) -> None:
    """Messages, order, tokens, counts, answers and facts are the same, wherever the restarts are."""

    async def scenario(folder: str) -> None:
        durable = SQLiteQueue(Path(folder, "shop.db"), "durable", synchronous="OFF", **SETTINGS)
        async with MessageQueue("model", **SETTINGS) as model:
            await durable.__aenter__()
            players = Player(model), Player(durable)
            for number, (name, *args) in enumerate(calls):
                if name == "sleep":
                    await anyio.sleep(*args)
                else:
                    expected, found = [await player.call(number, name, *args) for player in players]
                    assert found == expected, (number, name, args)
                so_far = recorded()
                assert facts(so_far, "durable") == facts(so_far, "model"), (number, name, args)
            await players[1].queue.__aexit__(None, None, None)

    with TemporaryDirectory() as folder:
        trace = simulate(scenario, folder)
    asked = invariants.conservation, invariants.lease_fencing, invariants.one_in_flight_per_key
    invariants.assert_holds(trace, *asked)
