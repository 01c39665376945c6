"""The clients of real systems without an adapter, doing what the adapter does, for `benchmarks.field`.

Each writes and reads messages in the form of the adapters, and awaits the same confirms. Nothing here
survives a fault: no lease, no trace, no cancelled receiver who takes nothing.
"""

from __future__ import annotations

import asyncio
import itertools
import threading
import time
from collections import OrderedDict
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import aio_pika
import anyio
import asyncpg
import confluent_kafka
import grpc
import grpc.aio
import httpx
import nats
import redis.asyncio
import stomp
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from eip_ref import values
from eip_ref.field import decoded, encoded, kafka, postgresql, pubsub, redis_log, redis_streams, sqs
from eip_ref.field.rabbitmq_exchange import REPLY_TO
from eip_ref.field.rabbitmq_stream import OFFSET
from eip_ref.message import Message
from eip_ref.request_reply.envelope import (
    KEY,
    OUTCOME,
    TIMEOUT,
    read_reply,
    read_request,
    write_reply,
    write_request,
)
from eip_ref.sockets import listening_socket
from eip_ref.trace import new_id

__all__ = ["TOPIC", "Way", "each", "echo", "http_client", "in_turn", "nothing", "times"]

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
    async with asyncpg.create_pool(url, min_size=1, max_size=4, server_settings=postgresql.PLANS) as pool:

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


class ShareConsumers:
    """Members of a share group with one record each, which are made as they are needed.

    The client knows nothing of asyncio, and of one thread only.
    """

    def __init__(self, url: str, name: str) -> None:
        one = {"share.acknowledgement.mode": "explicit", "max.poll.records": 1}
        self.settings = {"bootstrap.servers": url, "group.id": name, "log_level": 0, **one}
        self.name = name
        self.free: list[tuple[Any, ThreadPoolExecutor]] = []

    async def take(self) -> None:
        consumer, thread = self.free.pop() if self.free else self.joined()
        run = asyncio.get_running_loop().run_in_executor
        while not (found := await run(thread, consumer.poll, 1.0)):
            pass
        decoded(found[0].value())
        await run(thread, self.accept, consumer, found[0])
        self.free.append((consumer, thread))

    def joined(self) -> tuple[Any, ThreadPoolExecutor]:
        consumer = confluent_kafka.ShareConsumer(self.settings)
        consumer.subscribe([self.name])
        return consumer, ThreadPoolExecutor(1)

    def accept(self, consumer: Any, record: Any) -> None:
        consumer.acknowledge(record, confluent_kafka.AcknowledgeType.ACCEPT)
        consumer.commit_sync(LEASE)

    async def close(self) -> None:
        run = asyncio.get_running_loop().run_in_executor
        await asyncio.gather(*(run(thread, consumer.close) for consumer, thread in self.free))
        for _, thread in self.free:
            thread.shutdown()


@asynccontextmanager
async def kafka_share(url: str, name: str) -> AsyncIterator[Way]:
    consumers = ShareConsumers(url, name)
    async with kafka_writer(url, name, batch=1) as put:  # a share group takes a batch whole
        yield Way(each(put), times(consumers.take))
    await consumers.close()


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
async def aio_pika_stream(url: str, name: str) -> AsyncIterator[Way]:
    """A confirm tells no offset: the writer reads its records back."""
    async with await aio_pika.connect(url) as connection:
        channel, reading = await connection.channel(on_return_raises=True), await connection.channel()
        await channel.set_qos(1_000)
        await reading.set_qos(1_000)
        is_stream: dict[str, Any] = {"x-queue-type": "stream"}
        written = await channel.declare_queue(name, durable=True, arguments=is_stream)
        offsets: dict[str, asyncio.Future[int]] = {}
        arrived: asyncio.Queue[Any] = asyncio.Queue()

        async def read_back(record: Any) -> None:
            if (offset := offsets.pop(record.message_id, None)) is not None:
                offset.set_result(record.headers[OFFSET])
            if record.delivery_tag % 100 == 0:
                await record.ack(multiple=True)

        async def put(message: Message) -> None:
            offset = offsets[message.id] = asyncio.get_running_loop().create_future()
            at = {"at": repr(time.time())}
            sent = aio_pika.Message(encoded(message), message_id=message.id, headers=at)
            await channel.default_exchange.publish(sent, name)
            await offset

        async def take(count: int) -> None:
            for _ in range(count):
                record = await arrived.get()
                decoded(record.body), float(record.headers["at"])
            await record.ack(multiple=True)

        await written.consume(read_back, arguments={OFFSET: "next"})
        records = await reading.get_queue(name)
        await records.consume(arrived.put, arguments={OFFSET: "first"})
        yield Way(each(put), take)


@asynccontextmanager
async def kafka_topic(url: str, name: str) -> AsyncIterator[Way]:
    await kafka.make_topic(url, name, config={})
    consumer = kafka.consumer(url, "client")
    consumer.assign([confluent_kafka.TopicPartition(name, 0, 0)])

    async def take(count: int) -> None:
        while count:
            for arrived in await asyncio.to_thread(consumer.consume, count, 1):
                if arrived.error() is None:
                    decoded(arrived.value())
                    count -= 1

    async with kafka_writer(url, name) as put:
        yield Way(each(put), take)
    consumer.close()


@asynccontextmanager
async def kafka_writer(
    url: str, name: str, *, batch: int = 10_000
) -> AsyncIterator[Callable[[Message], Coroutine[Any, Any, None]]]:
    """The client knows nothing of asyncio: a thread hears its confirms."""
    careful = {"acks": "all", "enable.idempotence": True, "linger.ms": 0, "log_level": 0}
    settings = {"bootstrap.servers": url, "batch.num.messages": batch, **careful}
    producer = confluent_kafka.Producer(settings)
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

    hearing = asyncio.create_task(asyncio.to_thread(hear))
    yield put
    ended.set()
    await hearing


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


# Request–reply, by hand to the promise of the adapters: an operation is carried out once, while it is wanted,
# and whoever asked gets the answer to its own request, the error that the handler raised, or a timeout

ERRORS = {kind.__name__: kind for kind in (KeyError, LookupError, TimeoutError, TypeError, ValueError)}


class Result(NamedTuple):
    """How an operation ended: "answer" and the body, or the name of the error's type and its arguments."""

    outcome: str
    body: Any


class Operations:
    """The server: at most ten handlers at a time, and the results of the last operations by their keys."""

    def __init__(self, handle: Callable[[Message], Awaitable[Any]], *, remember: int = 10_000) -> None:
        self.handle, self.remember = handle, remember
        self.slots = asyncio.Semaphore(10)
        self.known: OrderedDict[str, tuple[Any, asyncio.Future[Result]]] = OrderedDict()

    async def answer(self, request: Message) -> Message:
        """The reply to this attempt: with the result that its operation has, will have, or now gets."""
        key = str(request.headers.get(KEY) or request.id)
        asked = (request.type, request.body)
        known = self.known.get(key)
        if known is None:
            result = await self.begin(key, asked, request)
        elif known[0] != asked:
            result = Result("ValueError", ["the key belongs to another operation"])
        else:
            result = await asyncio.shield(known[1])
        return Message(
            result.body,
            id=f"{request.id}.reply",
            correlation_id=request.id,
            causation_id=request.id,
            headers={OUTCOME: result.outcome},
        )

    async def begin(self, key: str, asked: Any, request: Message) -> Result:
        heard = asyncio.get_running_loop().create_future()
        self.known[key] = asked, heard
        async with self.slots:
            result = await self.carried_out(request)
        if result.outcome == "TimeoutError":
            del self.known[key]
        elif len(self.known) > self.remember:
            self.known.popitem(last=False)
        heard.set_result(result)
        return result

    async def carried_out(self, request: Message) -> Result:
        if request.has_expired():
            return Result("TimeoutError", ["the deadline had passed before the work began"])
        try:
            body = await self.handle(request)
            values.check_json("the answer", body)
        except Exception as error:
            return Result(type(error).__name__, [str(each) for each in error.args])
        return Result("answer", body)


class Asker:
    """The client: `exchange` sends an attempt and brings its reply; at most 1,000 wait for theirs."""

    def __init__(self, exchange: Callable[[Message], Awaitable[Message]]) -> None:
        self.exchange = exchange
        self.waiting = 0

    async def ask(self, body: Any, *, timeout: float, operation: str | None = None) -> Message:
        """The reply. Raises TimeoutError, and what the handler raised."""
        if self.waiting >= 1_000:
            raise RuntimeError("1,000 requests wait for their replies")
        id, end = new_id(), asyncio.get_running_loop().time() + timeout
        headers = {} if operation is None else {KEY: operation}
        attempt = Message(body, id=id, correlation_id=id, deadline=end, headers=headers)
        self.waiting += 1
        try:
            async with asyncio.timeout_at(end):
                reply = await self.exchange(attempt)
        finally:
            self.waiting -= 1
        outcome = reply.headers[OUTCOME]
        if outcome != "answer":
            raise ERRORS.get(outcome, RuntimeError)(*reply.body)
        return reply


def asked_of(asker: Asker) -> Way:
    async def ask(message: Message) -> None:
        await asker.ask(message.body, timeout=60)

    return Way(each(ask), nothing)


async def echo(request: Message) -> Any:
    return request.body


@asynccontextmanager
async def nats_requests(url: str, name: str) -> AsyncIterator[Way]:
    """The client itself knows which reply belongs to which request, and drops one that is late."""
    client, server = await nats.connect(url), await nats.connect(url)
    operations, tasks = Operations(echo), set[asyncio.Task[None]]()

    async def serve(request: Any) -> None:
        await request.respond(encoded(await operations.answer(decoded(request.data))))

    async def arrives(request: Any) -> None:
        tasks.add(task := asyncio.create_task(serve(request)))
        task.add_done_callback(tasks.discard)

    async def exchange(attempt: Message) -> Message:
        assert attempt.deadline is not None
        left = attempt.deadline - asyncio.get_running_loop().time()
        return decoded((await client.request(name, encoded(attempt), timeout=left)).data)

    await server.subscribe(name, queue="repliers", cb=arrives)
    await server.flush()
    yield asked_of(Asker(exchange))
    await client.close()
    await server.close()


@asynccontextmanager
async def aio_pika_requests(url: str, name: str) -> AsyncIterator[Way]:
    """The client cancels its own task for a delivery with the connection, so that another one carries out."""
    connect = aio_pika.connect_robust
    async with await connect(url) as asking, await connect(url) as serving:
        channel = await asking.channel(on_return_raises=True)
        answers = await serving.channel()
        await answers.set_qos(100)
        operations, tasks = Operations(echo), set[asyncio.Task[None]]()
        waiting: dict[str, asyncio.Future[Message]] = {}

        async def serve(request: Any) -> None:
            content = encoded(await operations.answer(decoded(request.body)))
            answer = aio_pika.Message(content, correlation_id=request.correlation_id)
            await answers.default_exchange.publish(answer, request.reply_to, mandatory=False)
            await request.ack()

        async def arrives(request: Any) -> None:
            tasks.add(task := asyncio.create_task(serve(request)))
            task.add_done_callback(tasks.discard)

        async def answered(reply: Any) -> None:
            if (heard := waiting.get(reply.correlation_id)) is not None and not heard.done():
                heard.set_result(decoded(reply.body))

        async def exchange(attempt: Message) -> Message:
            heard: asyncio.Future[Message] = asyncio.get_running_loop().create_future()
            waiting[attempt.id] = heard
            request = aio_pika.Message(encoded(attempt), reply_to=REPLY_TO, correlation_id=attempt.id)
            try:
                await channel.default_exchange.publish(request, name)
                return await heard
            finally:
                del waiting[attempt.id]

        replies = await channel.get_queue(REPLY_TO, ensure=False)
        await replies.consume(answered, no_ack=True)
        await (await answers.declare_queue(name, auto_delete=True)).consume(arrives)
        yield asked_of(Asker(exchange))


def http_client() -> httpx.AsyncClient:
    """The client of both ways over HTTP, which keeps the connections of all that are in flight."""
    return httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_keepalive_connections=1_000))


@asynccontextmanager
async def httpx_requests(_: str, name: str) -> AsyncIterator[Way]:
    operations = Operations(echo)

    async def answer(request: Request) -> Response:
        try:
            asked = read_request(await request.body(), request.headers)
        except (KeyError, TypeError, ValueError) as error:
            return Response(str(error), 400)
        reply, content = write_reply(await operations.answer(asked))
        status = 200 if reply.headers[OUTCOME] == "answer" else 500
        return Response(content, status, media_type="application/json")

    async def exchange(attempt: Message) -> Message:
        content, headers = write_request(attempt)
        headers["content-type"] = "application/json"
        response = await client.post(url, content=content, headers=headers, timeout=None)
        return read_reply(attempt, response.content)

    app = Starlette(routes=[Route(f"/{name}", answer, methods=["POST"])])
    server = uvicorn.Server(uvicorn.Config(app, log_level="critical", lifespan="off"))
    with listening_socket() as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}/{name}"
        serving = asyncio.create_task(server.serve([listener]))
        async with http_client() as client:
            yield asked_of(Asker(exchange))
        server.should_exit = True
        await serving


@asynccontextmanager
async def grpc_requests(_: str, name: str) -> AsyncIterator[Way]:
    """The server cancels its own task when a client gives up, so that another one carries out."""
    operations, tasks = Operations(echo), set[asyncio.Task[Message]]()

    async def answer(content: bytes, context: Any) -> bytes:
        try:
            asked = read_request(content, dict(context.invocation_metadata()), left=context.time_remaining())
        except (KeyError, TypeError, ValueError) as error:
            raise await context.abort(grpc.StatusCode.INVALID_ARGUMENT, str(error)) from error
        tasks.add(task := asyncio.create_task(operations.answer(asked)))
        task.add_done_callback(tasks.discard)
        return write_reply(await asyncio.shield(task))[1]

    async def exchange(attempt: Message) -> Message:
        content, headers = write_request(attempt)
        left = float(headers[TIMEOUT])
        return read_reply(attempt, await call(content, metadata=[*headers.items()], timeout=left))

    server = grpc.aio.server()
    methods: Any = {"Ask": grpc.unary_unary_rpc_method_handler(answer)}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, methods),))
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
        call: Any = channel.unary_unary(f"/{name}/Ask")
        yield asked_of(Asker(exchange))
    await server.stop(None)
