"""The clients of real systems without an adapter, doing what the adapter does, for `benchmarks.field`.

Each writes and reads messages in the form of the adapters, and awaits the same confirms. Nothing here
survives a fault: no lease, no trace, no cancelled receiver who takes nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aio_pika
import anyio
import asyncpg
import confluent_kafka
import nats
import redis.asyncio
import stomp

from eip_ref.field import decoded, encoded, kafka, postgresql, pubsub, redis_log, redis_streams, sqs
from eip_ref.field.rabbitmq_exchange import REPLY_TO
from eip_ref.message import Message

__all__ = ["TOPIC", "Way", "each", "in_turn", "nothing", "times"]

TOPIC = "orders"
LEASE = 30  #: seconds
NEW = ">"  #: the entries of a stream that nobody was given
ONCE: dict[str, Any] = {"retry": None, "timeout": LEASE}  #: how a call to Pub/Sub is sent


class Way(NamedTuple):
    """The two calls of a client: put these messages, all at once; take and settle so many, all at once."""

    put: Callable[[Sequence[Message]], Awaitable[None]]
    take: Callable[[int], Awaitable[None]]


async def at_once(calls: Sequence[Callable[[], Coroutine[Any, Any, object]]]) -> None:
    """Await one call, or let many run at the same time."""
    if len(calls) == 1:
        await calls[0]()
        return
    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(call)


def each(
    put: Callable[[Message], Coroutine[Any, Any, object]],
) -> Callable[[Sequence[Message]], Awaitable[None]]:
    """The `put` of a way, by one call for each message."""
    return lambda messages: at_once([partial(put, message) for message in messages])


def times(take: Callable[[], Coroutine[Any, Any, object]]) -> Callable[[int], Awaitable[None]]:
    """The `take` of a way, by one call for each message."""
    return lambda count: at_once([take] * count)


def in_turn(take: Callable[[], Coroutine[Any, Any, object]]) -> Callable[[int], Awaitable[None]]:
    """The `take` of a way that one reader goes, message by message."""

    async def take_all(count: int) -> None:
        for _ in range(count):
            await take()

    return take_all


async def nothing(count: int) -> None:
    """The `take` of a way whose messages are answered when they have been put."""


# Queues


@asynccontextmanager
async def aio_pika_queue(url: str, name: str) -> AsyncIterator[Way]:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        queue = await channel.get_queue(name)

        async def put(message: Message) -> None:
            mode = aio_pika.DeliveryMode.PERSISTENT
            sent = aio_pika.Message(encoded(message), message_id=message.id, delivery_mode=mode)
            await channel.default_exchange.publish(sent, name)

        async def take() -> None:
            message = await queue.get()
            assert message is not None
            decoded(message.body)
            await message.ack()

        yield Way(each(put), times(take))


@asynccontextmanager
async def nats_queue(url: str, name: str) -> AsyncIterator[Way]:
    client = await nats.connect(url)
    stream = client.jetstream()
    pulls = await stream.pull_subscribe_bind(stream=name, durable="workers")

    async def put(message: Message) -> None:
        await stream.publish(name, encoded(message), headers={"Nats-Msg-Id": message.id})

    async def take() -> None:
        (message,) = await pulls.fetch(1)
        decoded(message.data)
        await message.ack_sync()

    yield Way(each(put), times(take))
    await client.close()


@asynccontextmanager
async def redis_queue(url: str, name: str) -> AsyncIterator[Way]:
    client, group = redis_streams.pooled(url), redis_streams.GROUP

    async def put(message: Message) -> None:
        await client.xadd(name, {"content": encoded(message)})

    async def take() -> None:
        found = await client.xreadgroup(group, "client", {name: NEW}, count=1)
        entry, fields = found[0][1][0]
        decoded(fields[b"content"])
        async with client.pipeline(transaction=True) as both:
            await both.xack(name, group, entry).xdel(name, entry).execute()

    yield Way(each(put), times(take))
    await client.aclose()


@asynccontextmanager
async def asyncpg_queue(url: str, name: str) -> AsyncIterator[Way]:
    put_and_tell = f"with put as ({postgresql.PUT}) select pg_notify('field_messages', $1)"
    async with asyncpg.create_pool(url, min_size=1, max_size=4) as pool:

        async def put(message: Message) -> None:
            await pool.execute(put_and_tell, name, message.id, message.key, encoded(message), 0.0)

        async def take() -> None:
            row = await pool.fetchrow(postgresql.TAKE, name, float(LEASE))
            decoded(bytes(row["content"]))
            await pool.execute(postgresql.ACK, row["sequence"], row["token"])

        yield Way(each(put), times(take))


class Stomp(stomp.ConnectionListener):  # type: ignore[misc, unused-ignore]
    """A connection over STOMP whose answers are futures of the loop."""

    def __init__(self, url: str) -> None:
        address = urlsplit(url)
        self.loop = asyncio.get_running_loop()
        self.answers: dict[str, asyncio.Future[Any]] = {}
        self.numbers = itertools.count()
        self.client = stomp.Connection12([(address.hostname, address.port)], auto_decode=False)
        self.client.set_listener("", self)
        self.client.connect(wait=True)

    def awaited(self) -> tuple[str, asyncio.Future[Any]]:
        number = str(next(self.numbers))
        self.answers[number] = self.loop.create_future()
        return number, self.answers[number]

    def on_message(self, frame: Any) -> None:
        self.loop.call_soon_threadsafe(self._heard, frame.headers["subscription"], frame)

    def on_receipt(self, frame: Any) -> None:
        self.loop.call_soon_threadsafe(self._heard, frame.headers["receipt-id"], frame)

    def _heard(self, number: str, frame: Any) -> None:
        if number in self.answers:
            self.answers.pop(number).set_result(frame)


@asynccontextmanager
async def stomp_queue(url: str, name: str) -> AsyncIterator[Way]:
    connection = Stomp(url)
    client, to = connection.client, f"/queue/{name}"

    async def put(message: Message) -> None:
        receipt, heard = connection.awaited()
        client.send(to, encoded(message), receipt=receipt, persistent="true")
        await heard

    async def take() -> None:
        subscription, arrived = connection.awaited()
        one = {"activemq.prefetchSize": "1"}
        client.subscribe(to, subscription, ack="client-individual", headers=one)
        frame = await arrived
        decoded(frame.body)
        receipt, heard = connection.awaited()
        client.ack(frame.headers["ack"])
        client.unsubscribe(subscription, receipt=receipt)
        await heard

    yield Way(each(put), times(take))
    client.disconnect()


@asynccontextmanager
async def sqs_queue(url: str, name: str) -> AsyncIterator[Way]:
    async with sqs.client("sqs", url, "us-east-1") as client:
        queue = min(
            (await client.list_queues(QueueNamePrefix=name))["QueueUrls"], key=len
        )  # not its dead letters
        is_fifo = queue.endswith(".fifo")

        async def put(message: Message) -> None:
            id = message.id
            facts = {"MessageGroupId": id, "MessageDeduplicationId": id} if is_fifo else {}
            await client.send_message(QueueUrl=queue, MessageBody=encoded(message).decode(), **facts)

        yield Way(each(put), times(partial(sqs_take, client, queue)))


async def sqs_take(client: Any, queue: str) -> None:
    """Receive the next message of a queue and delete it."""
    wishes = {"VisibilityTimeout": LEASE, "WaitTimeSeconds": sqs.POLL, "MessageSystemAttributeNames": ["All"]}
    while not (found := (await client.receive_message(QueueUrl=queue, **wishes)).get("Messages")):
        pass
    decoded(found[0]["Body"].encode())
    await client.delete_message(QueueUrl=queue, ReceiptHandle=found[0]["ReceiptHandle"])


@asynccontextmanager
async def pubsub_queue(url: str, name: str) -> AsyncIterator[Way]:
    async with pubsub.clients(url) as (publisher, subscriber):
        topic, subscription = f"{pubsub.PROJECT}/topics/{name}", f"{pubsub.PROJECT}/subscriptions/{name}"

        async def put(message: Message) -> None:
            sent = {"data": encoded(message), "ordering_key": message.id}
            await publisher.publish(topic=topic, messages=[sent], **ONCE)

        yield Way(each(put), times(partial(pubsub_take, subscriber, subscription)))


async def pubsub_take(subscriber: Any, subscription: str) -> None:
    """Pull the next message of a subscription and ack it."""
    one = {"subscription": subscription, "max_messages": 1}
    while not (found := (await subscriber.pull(request=one, **ONCE)).received_messages):
        pass
    decoded(found[0].message.data)
    await subscriber.acknowledge(subscription=subscription, ack_ids=[found[0].ack_id], **ONCE)


# Logs


@asynccontextmanager
async def redis_stream(url: str, name: str) -> AsyncIterator[Way]:
    client = redis_streams.pooled(url)
    writer = redis.asyncio.from_url(url, single_connection_client=True)
    keys, place = (name, f"{name}.end"), 1

    async def put(message: Message) -> None:
        await writer.eval(redis_log.APPEND, 2, *keys, encoded(message))

    async def take(count: int) -> None:
        nonlocal place
        async with client.pipeline(transaction=True) as both:
            both.eval(redis_log.BOUNDS, 2, *keys)
            both.xrange(name, min=f"{place}-0", count=count)
            for _, fields in (await both.execute())[1]:
                decoded(fields[b"content"])
                place += 1

    yield Way(each(put), take)
    await client.aclose()
    await writer.aclose()


@asynccontextmanager
async def kafka_topic(url: str, name: str) -> AsyncIterator[Way]:
    """The client knows nothing of asyncio: one thread hears its confirms, another waits for messages."""
    await kafka.make_topic(url, name, config={})
    careful = {"acks": "all", "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
    producer = confluent_kafka.Producer({"bootstrap.servers": url, **careful})
    consumer = kafka.consumer(url, "client")
    consumer.assign([confluent_kafka.TopicPartition(name, 0, 0)])
    loop, ended = asyncio.get_running_loop(), threading.Event()

    def hear() -> None:
        while not ended.is_set():
            producer.poll(0.1)

    async def put(message: Message) -> None:
        told: asyncio.Future[Any] = loop.create_future()

        def confirmed(*facts: Any) -> None:
            loop.call_soon_threadsafe(told.set_result, facts)

        producer.produce(name, encoded(message), on_delivery=confirmed)
        await told

    async def take(count: int) -> None:
        while count:
            for arrived in await asyncio.to_thread(consumer.consume, count, 1):
                if arrived.error() is None:
                    decoded(arrived.value())
                    count -= 1

    hearing = asyncio.create_task(asyncio.to_thread(hear))
    yield Way(each(put), take)
    ended.set()
    await hearing
    consumer.close()


# Publish–subscribe


@asynccontextmanager
async def nats_subject(url: str, name: str) -> AsyncIterator[Way]:
    client = await nats.connect(url)
    subscription = await client.subscribe(f"{name}.{TOPIC}")
    await client.flush()

    async def put(message: Message) -> None:
        await client.publish(f"{name}.{TOPIC}", encoded(message))

    async def take() -> None:
        decoded((await subscription.next_msg(timeout=None)).data)

    yield Way(each(put), in_turn(take))
    await client.close()


@asynccontextmanager
async def aio_pika_topic(url: str, name: str) -> AsyncIterator[Way]:
    async with await aio_pika.connect(url) as connection:
        channel = await connection.channel(on_return_raises=True)
        exchange = await channel.declare_exchange(name, aio_pika.ExchangeType.TOPIC)
        reading = await connection.channel()
        await reading.set_qos(1_000)
        queue = await reading.declare_queue(exclusive=True, auto_delete=True)
        await queue.bind(exchange, f"{name}.{TOPIC}")
        arrived: asyncio.Queue[Any] = asyncio.Queue()
        await queue.consume(arrived.put)

        async def put(message: Message) -> None:
            await exchange.publish(aio_pika.Message(encoded(message)), f"{name}.{TOPIC}")

        async def take() -> None:
            delivery = await arrived.get()
            await delivery.ack()
            decoded(delivery.body)

        yield Way(each(put), in_turn(take))


@asynccontextmanager
async def asyncpg_notify(url: str, name: str) -> AsyncIterator[Way]:
    arrived: asyncio.Queue[str] = asyncio.Queue()
    connection, one_at_a_time = await asyncpg.connect(url), asyncio.Lock()
    await connection.add_listener(name, lambda *heard: arrived.put_nowait(heard[-1]))

    async def put(message: Message) -> None:
        notice = f"{TOPIC} {encoded(message).decode()}"
        async with one_at_a_time:
            await connection.execute("select pg_notify($1, $2)", name, notice)

    async def take() -> None:
        decoded((await arrived.get()).partition(" ")[2].encode())

    yield Way(each(put), in_turn(take))
    await connection.close()


@asynccontextmanager
async def sns_topic(url: str, name: str) -> AsyncIterator[Way]:
    clients = sqs.client("sns", url, "us-east-1"), sqs.client("sqs", url, "us-east-1")
    async with clients[0] as sns, clients[1] as reading:
        topic = (await sns.create_topic(Name=name))["TopicArn"]
        queue = (await reading.create_queue(QueueName=name))["QueueUrl"]
        arn = await reading.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])
        await sns.subscribe(
            TopicArn=topic,
            Protocol="sqs",
            Endpoint=arn["Attributes"]["QueueArn"],
            Attributes={"RawMessageDelivery": "true"},
        )
        fact = {"topic": {"DataType": "String", "StringValue": TOPIC}}

        async def put(message: Message) -> None:
            text = encoded(message).decode()
            await sns.publish(TopicArn=topic, Message=text, MessageAttributes=fact)

        yield Way(each(put), in_turn(partial(sqs_take, reading, queue)))


@asynccontextmanager
async def pubsub_topic(url: str, name: str) -> AsyncIterator[Way]:
    async with pubsub.clients(url) as (publisher, subscriber):
        topic, subscription = f"{pubsub.PROJECT}/topics/{name}", f"{pubsub.PROJECT}/subscriptions/{name}"
        await publisher.create_topic(name=topic, **ONCE)
        made = {"name": subscription, "topic": topic, "ack_deadline_seconds": LEASE}
        ordered = {"enable_message_ordering": True, "enable_exactly_once_delivery": True}
        await subscriber.create_subscription(request={**made, **ordered}, **ONCE)

        async def put(message: Message) -> None:
            attributes = {"topic": TOPIC}
            sent = {"data": encoded(message), "attributes": attributes, "ordering_key": message.id}
            await publisher.publish(topic=topic, messages=[sent], **ONCE)

        yield Way(each(put), in_turn(partial(pubsub_take, subscriber, subscription)))


# Request–reply


@asynccontextmanager
async def nats_requests(url: str, name: str) -> AsyncIterator[Way]:
    client = await nats.connect(url)

    async def serve(request: Any) -> None:
        asked = decoded(request.data)
        await request.respond(encoded(asked.reply(asked.body)))

    async def ask(message: Message) -> None:
        decoded((await client.request(name, encoded(message), timeout=LEASE)).data)

    await client.subscribe(name, cb=serve)
    await client.flush()
    yield Way(each(ask), nothing)
    await client.close()


@asynccontextmanager
async def aio_pika_requests(url: str, name: str) -> AsyncIterator[Way]:
    async with await aio_pika.connect(url) as asking, await aio_pika.connect(url) as serving:
        channel, answers = await asking.channel(), await serving.channel()
        await answers.set_qos(100)
        waiting: dict[str, asyncio.Future[Message]] = {}

        async def serve(request: Any) -> None:
            asked = decoded(request.body)
            content = encoded(asked.reply(asked.body))
            answer = aio_pika.Message(content, correlation_id=request.correlation_id)
            await answers.default_exchange.publish(answer, request.reply_to, mandatory=False)
            await request.ack()

        async def answered(reply: Any) -> None:
            waiting.pop(reply.correlation_id).set_result(decoded(reply.body))

        async def ask(message: Message) -> None:
            waiting[message.id] = asyncio.get_running_loop().create_future()
            request = aio_pika.Message(encoded(message), reply_to=REPLY_TO, correlation_id=message.id)
            heard = waiting[message.id]
            await channel.default_exchange.publish(request, name)
            await heard

        replies = await channel.get_queue(REPLY_TO, ensure=False)
        await replies.consume(answered, no_ack=True)
        await (await answers.declare_queue(name, auto_delete=True)).consume(serve)
        yield Way(each(ask), nothing)
