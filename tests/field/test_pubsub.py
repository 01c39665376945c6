"""What only Pub/Sub has to be asked: its bounds, and where its emulator differs from its documents."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest
from google.api_core.exceptions import DeadlineExceeded

from eip_ref.field import Unsupported
from eip_ref.field.pubsub import PROJECT, PubSubQueue, asked, clients
from eip_ref.field.pubsub_channel import PubSubChannel
from eip_ref.field.servers import PubSub
from eip_ref.message import Message
from eip_ref.message_queue import Settled

from .conftest import Servers
from .promises import SOON

Check = Callable[[str, str], Awaitable[None]]


def at_pubsub(check: Check) -> Callable[[Servers], None]:
    """The test of this, which is given the address of the emulator and a name that no other test uses."""

    def test(servers: Servers) -> None:
        if missing := PubSub.missing():
            pytest.skip(missing)
        url = servers.running(PubSub).url
        anyio.run(check, url, f"orders-{uuid4().hex[:8]}", backend="asyncio")

    test.__name__, test.__doc__ = check.__name__, check.__doc__
    return test


@at_pubsub
async def test_what_pubsub_does_not_take_is_refused_here(url: str, name: str) -> None:
    """A message of more than ten megabytes, to which the emulator never answers; a lease over ten minutes."""
    async with PubSubQueue(url, name) as queue:
        with pytest.raises(ValueError, match="at most 9983616 bytes"):
            await queue.put(Message("x" * 10_000_000))
        with pytest.raises(Unsupported, match="600 seconds"):
            await queue.receive(lease=601, timeout=0)
        await queue.put(Message("order"))
        with pytest.raises(Unsupported, match="600 seconds"):
            await (await queue.receive()).extend(601)


@at_pubsub
async def test_after_ninety_nine_failures_a_message_is_a_dead_letter(url: str, name: str) -> None:
    """By the adapter, before the policy has to: more are not counted."""
    with pytest.raises(Unsupported, match="100 deliveries"):
        PubSubQueue(url, name, max_failures=100)
    async with PubSubQueue(url, name) as queue:
        await queue.put(Message("poison"))
        for count in range(1, 100):
            lease = await queue.receive(timeout=SOON)
            assert lease.deliveries == count
            await lease.nack(delay=0)
        assert queue.dead_letters is not None
        letter = (await queue.dead_letters.receive(timeout=SOON)).message
        assert letter.body == "poison"
        await queue.put(Message("order"))
        assert (await queue.receive(timeout=SOON)).message.body == "order"


@at_pubsub
async def test_messages_without_a_key_are_acked_in_any_order(url: str, name: str) -> None:
    """With one ordering key for all of them the emulator would refuse each ack but the first message's."""
    async with PubSubQueue(url, name) as queue:
        for number in range(3):
            await queue.put(Message(number))
        leases = [await queue.receive(timeout=SOON) for _ in range(3)]
        assert [await lease.ack() for lease in reversed(leases)] == [Settled.DONE] * 3


@at_pubsub
async def test_whoever_leaves_leaves_no_subscription_behind(url: str, name: str) -> None:
    """One that is left would keep messages for nobody; that of a group is kept."""
    async with clients(url) as (_, subscriber):

        async def subscriptions() -> set[str]:
            answer = await asked(subscriber.list_subscriptions, project=PROJECT)
            return {each.name async for each in answer if f"/{name}-" in each.name}

        async with PubSubChannel(url, name) as channel:
            ends = [await channel.subscribe("orders") for _ in range(2)]
            await channel.subscribe("orders", group="invoices")
            await ends[0].leave()
            assert len(await subscriptions()) == 2
        assert await subscriptions() == {f"{PROJECT}/subscriptions/{name}-invoices"}


def test_who_waits_for_a_message_is_told_when_the_service_is_gone(servers: Servers) -> None:
    """And so is who puts one."""
    if missing := PubSub.no_fresh_one():
        pytest.skip(missing)
    server = servers.running(PubSub)

    async def main() -> None:
        async with PubSubQueue(server.url, f"orders-{uuid4().hex[:8]}") as queue:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(anyio.to_thread.run_sync, server.kill)
                with anyio.fail_after(SOON), pytest.raises(ConnectionError, match=queue.name):
                    await queue.receive()
            with pytest.raises(ConnectionError, match=queue.name):
                await queue.put(Message("order"))

    try:
        anyio.run(main, backend="asyncio")
    finally:
        server.kill()
        server.start()


class Raw:
    """A topic and a subscription, without an adapter."""

    def __init__(self, publisher: Any, subscriber: Any, name: str) -> None:
        self._publisher, self._subscriber = publisher, subscriber
        self.topic, self.subscription = f"{PROJECT}/topics/{name}", f"{PROJECT}/subscriptions/{name}"

    @classmethod
    @asynccontextmanager
    async def made(cls, url: str, name: str, **settings: Any) -> AsyncIterator[Raw]:
        async with clients(url) as (publisher, subscriber):
            raw = cls(publisher, subscriber, name)
            await asked(publisher.create_topic, name=raw.topic)
            facts = {"name": raw.subscription, "topic": raw.topic, "ack_deadline_seconds": 60, **settings}
            await subscriber.create_subscription(request=facts)
            yield raw

    async def publish(self, **message: Any) -> None:
        await asked(self._publisher.publish, topic=self.topic, messages=[{"data": b"order", **message}])

    async def pulled(self, timeout: float = SOON) -> Any:
        call = partial(asked, self._subscriber.pull, timeout=timeout)
        answer = await call(subscription=self.subscription, max_messages=1)
        return answer.received_messages[0]

    async def nack(self, found: Any) -> None:
        call = partial(asked, self._subscriber.modify_ack_deadline, subscription=self.subscription)
        await call(ack_ids=[found.ack_id], ack_deadline_seconds=0)


@at_pubsub
async def test_the_emulator_heeds_neither_a_filter_nor_a_retry_policy(url: str, name: str) -> None:
    """So what they do is not measured here: when it does heed them, the adapter can use them."""
    rest = {"minimum_backoff": {"seconds": 60}, "maximum_backoff": {"seconds": 60}}
    async with Raw.made(url, name, filter='attributes.kind = "paid"', retry_policy=rest) as raw:
        await raw.publish(attributes={"kind": "other"})
        first = await raw.pulled()
        assert first.message.attributes["kind"] == "other"
        await raw.nack(first)
        assert (await raw.pulled()).message.message_id == first.message.message_id


@at_pubsub
async def test_the_emulator_ends_an_ordered_subscription_by_its_dead_letter_policy(
    url: str, name: str
) -> None:
    """That is why the adapter is before it: the dead letter comes nowhere, nor does what follows."""
    async with Raw.made(url, f"{name}-dead") as dead:
        policy = {"dead_letter_topic": dead.topic, "max_delivery_attempts": 5}
        async with Raw.made(url, name, enable_message_ordering=True, dead_letter_policy=policy) as raw:
            await raw.publish()
            for _ in range(5):
                await raw.nack(await raw.pulled())
            await raw.publish()
            with pytest.raises(DeadlineExceeded):
                await raw.pulled(timeout=3)
            with pytest.raises(IndexError):
                await dead.pulled(timeout=3)


@at_pubsub
async def test_whose_call_is_under_way_when_the_connection_is_closed_is_told(url: str, name: str) -> None:
    """gRPC calls it a cancellation, and nobody has cancelled the caller, who goes on."""
    told: list[str] = []

    async def pull(raw: Raw) -> None:
        with pytest.raises(ConnectionError, match="closed"):
            await raw.pulled()
        await anyio.sleep(0)
        told.append("goes on")

    async with anyio.create_task_group() as tasks, Raw.made(url, name) as raw:
        tasks.start_soon(pull, raw)
        await anyio.sleep(0.3)  # it waits
    assert told == ["goes on"]
