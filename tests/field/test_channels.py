"""The promises of publish–subscribe, asked of real brokers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any
from unittest.mock import patch
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import anyio.to_thread
import pytest
from confluent_kafka import Producer

from eip_ref.field import channel as channels
from eip_ref.field.kafka_channel import KafkaChannel
from eip_ref.field.nats_core import NatsChannel
from eip_ref.field.postgresql_notify import PostgresChannel
from eip_ref.field.pubsub import publish
from eip_ref.field.pubsub_channel import PubSubChannel
from eip_ref.field.rabbitmq_exchange import RabbitChannel
from eip_ref.field.servers import NATS, Kafka, Moto, PostgreSQL, PubSub, RabbitMQ
from eip_ref.field.sns import SnsChannel
from eip_ref.field.wire import encoded
from eip_ref.message import Message
from eip_ref.publish_subscribe import SubscriptionEnded

from .conftest import Servers
from .promises import SOON, Site, promise
from .proxy import Proxy

KINDS = [
    *((RabbitMQ, RabbitChannel), (NATS, NatsChannel), (PostgreSQL, PostgresChannel)),
    *((Kafka, KafkaChannel), (Moto, SnsChannel), (PubSub, PubSubChannel)),
]


async def heard(end: Any, timeout: float = SOON) -> Any:
    """The body of the next message, or None when none comes in time."""
    try:
        return (await end.receive(timeout=timeout)).body
    except TimeoutError:
        return None


async def all_heard(end: Any) -> list[Any]:
    """All that comes, until nothing comes for a while."""
    bodies = []
    while (body := await heard(end, timeout=1)) is not None:
        bodies.append(body)
    return bodies


async def all_heard_by(ends: list[Any]) -> list[list[Any]]:
    """The bodies that each of them hears, all at the same time."""
    found: dict[Any, list[Any]] = {}

    async def hear(end: Any) -> None:
        found[end] = await all_heard(end)

    async with anyio.create_task_group() as tasks:
        for end in ends:
            tasks.start_soon(hear, end)
    return [found[end] for end in ends]


@promise
async def test_every_subscription_gets_every_message(site: Site) -> None:
    """From the instant at which subscribe returned, on whatever connection."""
    async with site.open() as one, site.open() as two:
        ends = [await channel.subscribe("orders") for channel in (one, two, two)]
        for number in range(20):
            await one.publish("orders", Message(number))
        for end in ends:
            assert await all_heard(end) == list(range(20))


@promise
async def test_many_tasks_publish_at_the_same_time(site: Site) -> None:
    """None is refused, and each is heard once."""
    async with site.open() as channel:
        end = await channel.subscribe("orders")
        async with anyio.create_task_group() as tasks:
            for number in range(20):
                tasks.start_soon(channel.publish, "orders", Message(number))
        assert sorted(await all_heard(end)) == list(range(20))


@promise
async def test_a_group_shares_one_copy(site: Site) -> None:
    """Each message goes to one of its members, and to every other subscription."""
    async with site.open() as one, site.open() as two:
        members = [await channel.subscribe("orders", group="invoices") for channel in (one, two)]
        other = await one.subscribe("orders")
        for number in range(40):
            await one.publish("orders", Message(number))
        shares = await all_heard_by(members)
        assert sorted(shares[0] + shares[1]) == list(range(40))
        assert all(shares), "one of the two got nothing"
        assert await all_heard(other) == list(range(40))


@promise
async def test_wildcards_mean_one_word_or_the_rest(site: Site) -> None:
    """`*` stands for one word, and `>` at the end for one or more."""
    async with site.open() as channel:
        one_word, the_rest = await channel.subscribe("orders.*"), await channel.subscribe("orders.>")
        for topic in ("orders.paid", "orders.paid.late", "stock.paid"):
            await channel.publish(topic, Message(topic))
        assert await all_heard(one_word) == ["orders.paid"]
        assert await all_heard(the_rest) == ["orders.paid", "orders.paid.late"]


@promise
async def test_a_message_says_to_which_topic_it_was_published(site: Site) -> None:
    """By the name that its publisher used, whatever the system calls it."""
    async with site.open() as channel:
        end = await channel.subscribe("orders.>")
        await channel.publish("orders.paid", Message(1))
        assert (await end.receive(timeout=SOON)).topic == "orders.paid"


@promise
async def test_what_is_no_topic_is_refused(site: Site) -> None:
    """Nobody hears what is published there, and a pattern that means nothing hears nothing."""
    async with site.open() as channel:
        for wrong in ("", "orders..paid", "orders paid", "orders.\r\n", "orders."):
            with pytest.raises(ValueError, match="is no topic"):
                await channel.publish(wrong, Message(1))
            with pytest.raises(ValueError, match="is no pattern"):
                await channel.subscribe(wrong)
        with pytest.raises(ValueError, match="is no topic"):
            await channel.publish("orders.*", Message(1))
        with pytest.raises(ValueError, match="is no pattern"):
            await channel.subscribe("orders.>.paid")


def test_what_another_producer_has_put_on_no_topic_is_passed_over(servers: Servers) -> None:
    """Kafka hands it to each subscription, which hears on: also one whose record has no header at all."""
    if missing := Kafka.missing():
        pytest.skip(missing)
    url, name = servers.running(Kafka).url, f"shop-{uuid4()}"

    async def main() -> None:
        async with KafkaChannel(url, name) as channel:
            end = await channel.subscribe(">")
            producer = Producer({"bootstrap.servers": url})
            producer.produce(name, b"order 17")
            producer.produce(name, b"order 18", headers={"topic": b""})
            await anyio.to_thread.run_sync(producer.flush, SOON)
            await channel.publish("orders", Message(19))
            assert await heard(end) == 19

    anyio.run(main, backend="asyncio")


def test_what_is_published_on_no_topic_of_ours_is_passed_over(servers: Servers) -> None:
    """Pub/Sub brings it too, and nothing in it says for whom it is."""
    if missing := PubSub.missing():
        pytest.skip(missing)

    async def main(url: str) -> None:
        async with PubSubChannel(url, f"shop-{uuid4()}") as channel:
            end = await channel.subscribe(">")
            for content in (b"order 17", encoded(Message(18))):
                await publish(channel._publisher, channel._topic, content, Message())
            await channel.publish("orders", Message(19))
            assert await heard(end) == 19

    anyio.run(main, servers.running(PubSub).url, backend="asyncio")


@pytest.mark.parametrize(("kind", "made"), KINDS)
def test_what_is_no_message_is_told_once_and_nobody_shares_what_is_one(
    kind: Any, made: Any, servers: Servers
) -> None:
    """Each subscriber is told of it, and hears on; what one changes in a body no other one sees."""
    if missing := kind.missing():
        pytest.skip(missing)

    async def main(url: str, name: str) -> None:
        async with made(url, name) as channel:
            ends = [await channel.subscribe("orders") for _ in range(2)]
            with patch.object(channels, "encoded", return_value=b"no message"):
                await channel.publish("orders", Message())
            await channel.publish("orders", Message(["tea"]))
            for end in ends:
                with pytest.raises(ValueError, match="no message"):
                    await end.receive(timeout=SOON)
                body = await heard(end)
                assert body == ["tea"]
                body.append("milk")

    anyio.run(main, servers.running(kind).url, f"shop-{uuid4()}", backend="asyncio")


@pytest.mark.parametrize(("kind", "made"), [(RabbitMQ, RabbitChannel), (NATS, NatsChannel)])
def test_what_has_come_before_a_connection_was_cut_is_received(
    kind: Any, made: Any, servers: Servers
) -> None:
    """And then what is published after the client has another one."""
    if missing := kind.missing():
        pytest.skip(missing)

    async def main(url: str, name: str) -> None:
        async with cut_before_reading(url, name, made) as (channel, end):
            assert [await heard(end), await heard(end)] == [1, 2]
            with anyio.fail_after(SOON):
                while await heard(end, timeout=0.1) is None:
                    await channel.publish("orders", Message(3))

    anyio.run(main, servers.running(kind).url, f"shop-{uuid4()}", backend="asyncio")


def test_a_subscriber_whose_connection_to_the_database_has_ended_is_told(servers: Servers) -> None:
    """It would wait for ever: nobody listens for it any more."""
    if missing := PostgreSQL.missing():
        pytest.skip(missing)

    async def main(url: str, name: str) -> None:
        async with cut_before_reading(url, name, PostgresChannel) as (_, end):
            assert [await heard(end), await heard(end)] == [1, 2]
            for _ in range(2):
                with pytest.raises(ConnectionError, match=name):
                    await end.receive(timeout=SOON)

    anyio.run(main, servers.running(PostgreSQL).url, f"shop-{uuid4()}", backend="asyncio")


@asynccontextmanager
async def cut_before_reading(url: str, name: str, made: Any) -> AsyncIterator[tuple[Any, Any]]:
    """A channel with another connection, and a subscription to which two messages had come before the cut."""
    port = urlsplit(url).port or 0
    async with (
        Proxy(port) as proxy,
        made(url, name) as channel,
        made(url.replace(f":{port}", f":{proxy.port}"), name) as other,
    ):
        end = await other.subscribe("orders")
        for number in (1, 2):
            await channel.publish("orders", Message(number))
        await other.flush()
        await anyio.sleep(0.2)
        proxy.cut()
        yield channel, end


def test_whoever_is_cancelled_while_it_joins_a_group_leaves_it(servers: Servers) -> None:
    """Kafka would hand the messages of the group to the one who has gone."""
    if missing := Kafka.missing():
        pytest.skip(missing)
    url, name = servers.running(Kafka).url, f"shop-{uuid4()}"

    async def main() -> None:
        async with KafkaChannel(url, name) as channel:
            before = asyncio.all_tasks()
            for step in range(12):
                with anyio.move_on_after(step / 20):
                    await (await channel.subscribe("orders", group="billing")).leave()
            assert asyncio.all_tasks() == before
            end = await channel.subscribe("orders", group="billing")
            await channel.publish("orders", Message(17))
            assert await heard(end) == 17

    anyio.run(main, backend="asyncio")


@promise
async def test_a_message_of_ten_kilobytes_is_heard(site: Site) -> None:
    """In one piece."""
    async with site.open() as channel:
        end = await channel.subscribe("orders")
        try:
            await channel.publish("orders", Message("x" * 10_000))
        except ValueError as error:
            raise AssertionError(str(error)) from error
        assert await heard(end) == "x" * 10_000


@promise
async def test_a_message_past_its_deadline_is_dropped(site: Site) -> None:
    """Nobody works for a caller who has gone, and who waits goes on to wait for as long as it was told."""
    async with site.open() as channel:
        end = await channel.subscribe("orders")
        late = anyio.current_time() + site.unit / 2
        for body, deadline in (("late", late), ("in time", late + 100), ("late, too", late)):
            await channel.publish("orders", Message(body, deadline=deadline))
        await anyio.sleep_until(late + site.unit / 4)
        assert await heard(end) == "in time"
        start = anyio.current_time()
        assert await heard(end, timeout=site.unit) is None
        assert anyio.current_time() - start >= site.unit * 0.9


@promise
async def test_that_nobody_is_subscribed_is_told_to_the_publisher(site: Site) -> None:
    """An explicit outcome: a message for nobody does not vanish in silence."""
    async with site.open() as channel:
        lonely = await channel.publish("orders", Message(1))
        assert lonely is not None, "publish says nothing of who was there"
        assert lonely.nobody_subscribed
        await channel.subscribe("orders")
        assert not (await channel.publish("orders", Message(2))).nobody_subscribed


@promise
async def test_who_subscribes_late_gets_what_was_published_before(site: Site) -> None:
    """From a position in the log, where there is one."""
    async with site.open() as channel:
        await channel.publish("orders", Message(1))
        end = await channel.subscribe("orders")
        await channel.publish("orders", Message(2))
        assert await all_heard(end) == [1, 2]


@promise
async def test_a_slow_subscriber_delays_nobody(site: Site) -> None:
    """It reads nothing of two thousand messages, and another one gets them all."""
    async with site.open() as one, site.open() as two:
        await one.subscribe("orders", capacity=10)
        quick = await two.subscribe("orders", capacity=5_000)
        for number in range(2_000):
            await two.publish("orders", Message(number))
        assert await all_heard(quick) == list(range(2_000))


@promise
async def test_what_a_slow_subscriber_misses_is_counted(site: Site) -> None:
    """What it has and what it missed are together all that was published."""
    async with site.open() as one, site.open() as two:
        slow = await one.subscribe("orders", capacity=10)
        for number in range(200):
            await two.publish("orders", Message(number))
        await two.flush()
        await one.flush()
        got = await all_heard(slow)
        assert len(got) + one.dropped == 200, f"{len(got)} came, and {one.dropped} are counted as missed"


@promise
async def test_who_leaves_gets_nothing_more_and_others_do(site: Site) -> None:
    """Also when both are on one connection; whoever waits there is told, and to leave twice is no error."""
    async with site.open() as channel:
        leaves, stays = await channel.subscribe("orders"), await channel.subscribe("orders")
        await channel.publish("orders", Message(1))
        assert await heard(leaves) == 1
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(is_told_of_the_end, leaves)
            await anyio.sleep(0.1)  # it waits
            await leaves.leave()
        await channel.publish("orders", Message(2))
        assert await all_heard(stays) == [1, 2]
        await is_told_of_the_end(leaves)
        await leaves.leave()


@pytest.mark.parametrize(("kind", "made"), KINDS)
def test_who_waits_at_a_channel_that_is_left_is_told(kind: Any, made: Any, servers: Servers) -> None:
    """Whoever comes later too; to leave the subscription then is no error, and nothing hangs."""
    if missing := kind.missing():
        pytest.skip(missing)

    async def main(url: str, name: str) -> None:
        async with anyio.create_task_group() as tasks, made(url, name) as channel:
            ends = [await channel.subscribe("orders.*") for _ in range(2)]
            for end in ends:
                tasks.start_soon(is_told_of_the_end, end)
            await anyio.sleep(0.1)  # they wait
        with anyio.fail_after(SOON):
            for end in ends:
                await is_told_of_the_end(end)
                await end.leave()

    anyio.run(main, servers.running(kind).url, f"shop-{uuid4()}", backend="asyncio")


async def is_told_of_the_end(end: Any) -> None:
    with pytest.raises(SubscriptionEnded, match="was left"):
        await end.receive(timeout=SOON)


@promise
async def test_a_subscription_outlives_a_kill_of_the_broker(site: Site) -> None:
    """What is published after the restart reaches it, although nobody subscribes anew."""
    async with site.open() as channel:
        end = await channel.subscribe("orders")
        await channel.publish("orders", Message("before"))
        assert await heard(end) == "before"
        await site.restart()
        tries = anyio.current_time() + SOON * 3
        while await heard_or_told(end, timeout=site.unit) != "after":
            assert anyio.current_time() < tries, "nothing more comes"
            with suppress(ConnectionError):
                await channel.publish("orders", Message("after"))


async def heard_or_told(end: Any, timeout: float) -> Any:
    """As `heard`; a subscription that is told that nothing more can come has not outlived its broker."""
    try:
        return await heard(end, timeout)
    except ConnectionError as error:
        raise AssertionError("nothing more comes") from error
