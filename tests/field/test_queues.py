"""The promises of a queue with leases, asked of real brokers; `tests/contract` asks them in virtual time."""

from __future__ import annotations

import math
import signal
from contextlib import suppress
from typing import Any
from uuid import uuid4

import aio_pika
import anyio
import pytest

from eip_ref.field import Unsupported
from eip_ref.field.activemq import ActiveMQQueue
from eip_ref.field.jetstream import JetStreamQueue
from eip_ref.field.kafka_queue import KafkaQueue
from eip_ref.field.postgresql import PostgresQueue
from eip_ref.field.pubsub import PubSubQueue
from eip_ref.field.rabbitmq import RabbitQueue
from eip_ref.field.redis_streams import RedisQueue
from eip_ref.field.servers import ActiveMQ, Moto, RabbitMQ, Redis
from eip_ref.field.sqs import SqsQueue
from eip_ref.field.wire import encoded
from eip_ref.message import Message
from eip_ref.message_queue import Backoff, Empty, Lease, QueueFull, Settled, replay

from .conftest import Servers
from .consumer_process import another_consumer
from .promises import SOON, Site, promise
from .systems import SYSTEMS

QUEUES = [
    ActiveMQQueue,
    JetStreamQueue,
    KafkaQueue,
    PostgresQueue,
    PubSubQueue,
    RabbitQueue,
    RedisQueue,
    SqsQueue,
]


NO_MESSAGES = [
    b"order 17",
    b'{"order": 17}',
    b'{"body": NaN, "id": "m1", "headers": {}}',
    b'{"body": 1, "id": 17, "headers": {}}',
    b'{"body": 1, "id": "m1", "headers": null}',
    b"[" * 10_000,
]


async def fill(queue: Any, *bodies: Any) -> None:
    for body in bodies:
        await queue.put(Message(body))


async def drain(queue: Any) -> list[Any]:
    """Receive and ack until nothing comes for a while."""
    bodies = []
    while (lease := await taken(queue, timeout=1)) is not None:
        bodies.append(lease.message.body)
        await lease.ack()
    return bodies


async def taken(queue: Any, timeout: float = SOON, **settings: Any) -> Lease | None:
    """A lease, or None when there is none in time."""
    try:
        lease: Lease = await queue.receive(timeout=timeout, **settings)
    except Empty:
        return None
    return lease


async def received(queue: Any, **settings: Any) -> Lease:
    """A lease, which must come soon."""
    lease = await taken(queue, **settings)
    assert lease is not None, "no message came"
    return lease


async def is_refused(queue: Any) -> bool:
    """True when the queue says that it is full."""
    try:
        await queue.put(Message("too many"))
    except QueueFull:
        return True
    return False


def stalled(lease: Lease) -> None:
    """Let the clock of this consumer stand still: for it the lease runs on."""
    queue: Any = lease.queue
    queue._out[lease].timer.cancel()
    lease.expires = math.inf


# Handed out and settled


@pytest.mark.parametrize("made", [JetStreamQueue, KafkaQueue, PubSubQueue, RedisQueue, SqsQueue])
def test_a_lease_without_an_end_is_refused_where_the_system_has_none(made: Any) -> None:
    """When the queue is made, and not when a message is nacked."""
    with pytest.raises(ValueError, match="lease"):
        made("", "orders", lease=math.inf)


@pytest.mark.parametrize("made", [ActiveMQQueue, RabbitQueue])
def test_dead_letters_have_the_heartbeat_of_their_queue(made: Any) -> None:
    """Or a consumer of theirs that hangs would keep what it has for a minute longer than it was told."""
    queue = made("", "orders", heartbeat=2)
    assert queue._heartbeat == queue.dead_letters._heartbeat


@pytest.mark.parametrize("made", QUEUES)
def test_a_count_of_failures_beside_no_dead_letters_is_refused(made: Any) -> None:
    """Whoever sets it would believe that a poison message is moved; RabbitMQ would drop it."""
    with pytest.raises(ValueError, match="max_failures"):
        made("", "orders", max_failures=2, dead_letters=False)
    assert made("", "orders", max_failures=None, dead_letters=False).dead_letters is None


def test_a_capacity_that_nobody_would_hear_of_is_refused() -> None:
    """Without confirms RabbitMQ drops in silence what is too many."""
    with pytest.raises(ValueError, match="confirms"):
        RabbitQueue("", "orders", capacity=1, confirms=False)


def test_a_message_outlives_more_consumers_than_a_broker_allows_by_itself(servers: Servers) -> None:
    """RabbitMQ 4 drops it at the 21st of them, unless the queue was told otherwise; 3 was told so too."""
    if missing := RabbitMQ.missing():
        pytest.skip(missing)
    url, name = servers.running(RabbitMQ).url, f"crashing-{uuid4().hex[:8]}"

    async def main() -> None:
        async with RabbitQueue(url, name) as queue:
            await queue.put(Message("order"))
        for _ in range(25):
            async with RabbitQueue(url, name) as queue:
                await received(queue)

    anyio.run(main, backend="asyncio")


def test_a_queue_that_is_there_with_other_settings_is_told_from_one_that_is_gone(servers: Servers) -> None:
    """To connect again would not help."""
    if missing := RabbitMQ.missing():
        pytest.skip(missing)
    url, name = servers.running(RabbitMQ).url, f"declared-{uuid4().hex[:8]}"

    async def main() -> None:
        async with RabbitQueue(url, name, max_failures=2):
            pass
        with pytest.raises(ValueError, match=f"{name} is there with other settings.*x-delivery-limit"):
            async with RabbitQueue(url, name):
                raise AssertionError("it was opened")

    anyio.run(main, backend="asyncio")


def test_what_another_producer_has_put_in_another_field_is_a_dead_letter(servers: Servers) -> None:
    """An entry of a stream of Redis has fields, and each producer calls them as it likes."""
    if missing := Redis.missing():
        pytest.skip(missing)

    async def main() -> None:
        async with RedisQueue(servers.running(Redis).url, f"orders-{uuid4()}") as queue:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(drain, queue)
                await anyio.sleep(0.05)  # it waits
                await queue._redis.xadd(queue.name, {"order": "17"})
            assert queue.dead_letters is not None
            assert (await received(queue.dead_letters)).message.body == "17"

    anyio.run(main, backend="asyncio")


def test_a_rest_that_the_system_cannot_give_is_told_from_a_lease_that_is_over(servers: Servers) -> None:
    """SQS has one code for both."""
    if missing := Moto.missing():
        pytest.skip(missing)

    async def main() -> None:
        async with SqsQueue(servers.running(Moto).url, f"orders-{uuid4()}") as queue:
            await queue.put(Message("order"))
            lease = await received(queue)
            with pytest.raises(Unsupported, match="visibility timeout"):
                await lease.nack(delay=50_000)
            assert await lease.ack() is Settled.DONE

    anyio.run(main, backend="asyncio")


@pytest.mark.parametrize("id", ["rabbitmq-classic", "nats-jetstream"])
def test_what_would_be_lost_after_its_delay_is_refused_at_once(id: str, servers: Servers) -> None:
    """A bounded queue may be full when the delay ends, and then nobody is left to hear of it."""
    system = next(each for each in SYSTEMS if each.id == id)
    if missing := system.server.missing():
        pytest.skip(missing)

    async def main() -> None:
        async with system.open(servers.running(system.server), f"orders-{uuid4()}", capacity=1) as queue:
            with pytest.raises(Unsupported, match="what"):
                await queue.put(Message("later"), delay=0.1)
            await queue.put(Message("now"))
            assert await drain(queue) == ["now"]

    anyio.run(main, backend="asyncio")


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_headers_of_another_producer_are_no_facts_of_ours(kind: Any, servers: Servers) -> None:
    """RabbitMQ lets those through that look like its own."""
    if missing := RabbitMQ.missing():
        pytest.skip(missing)
    url, name = servers.running(RabbitMQ).url, f"orders-{uuid4()}"

    async def main() -> None:
        async with RabbitQueue(url, name, kind=kind) as queue:
            written: list[dict[str, Any]] = [
                {"x-death": "yesterday"},
                {"x-death": []},
                {"x-death": ["yesterday"]},
                {"x-death": [{"reason": 7}]},
                {"x-delivery-count": "many"},
                {"x-delivery-count": 7},
            ]
            for headers in written:
                sent = aio_pika.Message(encoded(Message("order")), headers=headers)
                await queue._channel.default_exchange.publish(sent, name)
                lease = await received(queue)
                assert (lease.message.body, lease.message.headers) == ("order", {}), headers
                assert (lease.deliveries, lease.failures) == (1, 0), headers
                await lease.ack()

    anyio.run(main, backend="asyncio")


@pytest.mark.parametrize("failures", ["", "many", "-1", "9" * 400, "\N{SUPERSCRIPT TWO}"])
def test_a_header_of_another_producer_is_no_count_of_ours(failures: str, servers: Servers) -> None:
    """ActiveMQ has the count of failures in one, which every client may write."""
    if missing := ActiveMQ.missing():
        pytest.skip(missing)

    async def main(url: str) -> None:
        async with ActiveMQQueue(url, f"orders-{uuid4()}") as queue:
            await queue._carry_out(queue._message(encoded(Message("order")), None, 0.0, failures=failures))
            lease = await received(queue)
            assert (lease.message.body, lease.failures) == ("order", 0)

    anyio.run(main, servers.running(ActiveMQ).url, backend="asyncio")


def test_a_queue_without_dead_letters_rejects_nothing(servers: Servers) -> None:
    """RabbitMQ would drop the message, and say that it is done."""
    if missing := RabbitMQ.missing():
        pytest.skip(missing)
    url = servers.running(RabbitMQ).url

    async def main() -> None:
        async with RabbitQueue(url, "rejecting", dead_letters=False) as queue:
            await queue.put(Message("order"))
            with pytest.raises(RuntimeError, match="no dead letters"):
                await (await received(queue)).reject()
            assert await taken(queue, timeout=0) is None, "the lease goes on"
        async with RabbitQueue(url, "rejecting", dead_letters=False) as queue:
            assert (await received(queue)).message.body == "order"

    anyio.run(main, backend="asyncio")


@promise
async def test_a_message_comes_again_until_it_is_acked(site: Site) -> None:
    """At least once: nacked, it is handed out again; acked, never."""
    async with site.open() as queue:
        await fill(queue, 1, 2, 3)
        for _ in range(2):
            leases = [await received(queue) for _ in range(3)]
            assert {lease.message.body for lease in leases} == {1, 2, 3}
            for lease in leases:
                assert await lease.nack(delay=0) is Settled.DONE
        assert sorted(await drain(queue)) == [1, 2, 3]
        assert await taken(queue, timeout=0) is None


@promise
async def test_one_consumer_without_redelivery_sees_fifo(site: Site) -> None:
    """First in, first out."""
    async with site.open() as queue:
        await fill(queue, *range(50))
        assert await drain(queue) == list(range(50))


@promise
async def test_each_message_goes_to_one_of_the_competing_consumers(site: Site) -> None:
    """Two consumers on two connections share what is there, and neither gets what the other has."""
    async with site.open() as one, site.open() as two:
        await fill(one, *range(40))
        found: dict[Any, list[Any]] = {one: [], two: []}

        async def work(queue: Any) -> None:
            found[queue] = await drain(queue)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(work, one)
            tasks.start_soon(work, two)
        assert sorted(found[one] + found[two]) == list(range(40))
        assert found[one], "the first consumer got nothing"
        assert found[two], "the second consumer got nothing"


@promise
async def test_settling_twice_is_idempotent_and_ways_exclude_each_other(site: Site) -> None:
    """The second ack is as good as the first; a nack after an ack, or an ack after a nack, is refused."""
    async with site.open() as queue:
        await fill(queue, 1, 2)
        acked, nacked = await received(queue), await received(queue)
        assert [await acked.ack(), await acked.ack()] == [Settled.DONE] * 2
        assert [await nacked.nack(delay=9), await nacked.nack()] == [Settled.DONE] * 2
        assert await acked.nack() is Settled.REFUSED
        assert await nacked.ack() is Settled.REFUSED


@promise
async def test_odd_text_is_kept_exactly(site: Site) -> None:
    """As body, type, key and header, in every script, with a zero byte, and long."""
    async with site.open() as queue:
        for odd in ("", "a\0b", "\N{HOT BEVERAGE}", "x" * 100_000):
            key = odd.replace("\0", "")[:100]
            message = Message({"body": [odd]}, odd[:100], key=key, headers={"odd": odd})
            await queue.put(message)
            lease = await received(queue)
            assert (lease.message.id, lease.message.body) == (message.id, message.body)
            assert (lease.message.type, lease.message.key) == (message.type, message.key)
            assert lease.message.headers == message.headers
            await lease.ack()


@promise
async def test_an_odd_id_is_kept_and_confused_with_no_other(site: Site) -> None:
    """Neither spaces nor line ends, wildcards or its length are anything to the system."""
    async with site.open() as queue:
        for id in ("a b", " a b", "a\r\nX: 1", "a\r\nX: 2", "a.b", "*", ">", "\N{HOT BEVERAGE}", "x" * 300):
            await queue.put(Message(id=id))
            lease = await taken(queue)
            assert lease is not None, f"{id!r} was confirmed, and did not come"
            assert lease.message.id == id
            await lease.ack()


@promise
async def test_a_message_of_two_megabytes_is_taken(site: Site) -> None:
    """As the others are: in one piece, and with a confirm."""
    async with site.open() as queue:
        try:
            await queue.put(Message("x" * 2_000_000))
        except ValueError as error:
            raise AssertionError(str(error)) from error
        assert len((await received(queue)).message.body) == 2_000_000


# Waiting


@promise
async def test_receive_waits_as_long_as_told(site: Site) -> None:
    """Empty no earlier than that; a message that comes before is taken when it comes."""
    async with site.open() as queue, anyio.create_task_group() as tasks:
        start = anyio.current_time()
        assert await taken(queue, timeout=site.unit) is None
        assert anyio.current_time() - start >= site.unit * 0.9
        tasks.start_soon(fill, queue, "late")
        assert (await received(queue)).message.body == "late"


@promise
async def test_whoever_waits_at_a_queue_that_is_left_is_told(site: Site) -> None:
    """It would wait for ever; and whoever comes later is told how to open it."""
    with anyio.fail_after(SOON * 2):
        async with anyio.create_task_group() as tasks, site.open() as queue:
            for timeout in (SOON * 6, math.inf):
                tasks.start_soon(is_told_of_the_end, queue, timeout)
            await anyio.sleep(site.unit / 2)  # they wait
    with pytest.raises(RuntimeError, match="not open"):
        await queue.receive()
    async with site.open() as other:
        await fill(other, "order")
        assert await drain(other) == ["order"]


async def is_told_of_the_end(queue: Any, timeout: float) -> None:
    with pytest.raises(RuntimeError, match="was left"):
        await queue.receive(timeout=timeout)


@promise
async def test_a_cancelled_receive_takes_no_message(site: Site) -> None:
    """Whatever the instant of the cancellation, each message is delivered or ready again at once."""
    async with site.open(lease=SOON * 6) as queue:
        await fill(queue, *range(20))
        found: list[Any] = []
        for seconds in [0.0] * 12 + [step / 2000 for step in range(40)]:
            with anyio.move_on_after(seconds):
                lease = await queue.receive()
                found.append(lease.message.body)
                with anyio.CancelScope(shield=True):
                    await lease.ack()
        assert sorted(found + await drain(queue)) == list(range(20))


@promise
async def test_a_delayed_put_is_ready_after_its_delay(site: Site) -> None:
    """A message can be put now for later, and others go first meanwhile."""
    async with site.open() as queue:
        start = anyio.current_time()
        later = Message("later", headers={"tenant": "t1"})
        await queue.put(later, delay=site.unit)
        await queue.put(Message("now"))
        assert (await received(queue)).message.body == "now"
        came = (await received(queue)).message
        assert anyio.current_time() - start >= site.unit * 0.95
        assert (came.id, came.body, came.headers) == (later.id, later.body, later.headers)


@promise
async def test_a_message_past_its_deadline_is_dropped(site: Site) -> None:
    """Nobody works for a caller who has gone."""
    async with site.open() as queue:
        await queue.put(Message("late", deadline=anyio.current_time() + site.unit / 4))
        await queue.put(Message("in time", deadline=anyio.current_time() + 100))
        with anyio.CancelScope(deadline=anyio.current_time() + site.unit / 2):
            await anyio.sleep_forever()
        assert await drain(queue) == ["in time"]


@promise
async def test_a_delay_for_ever_is_refused_and_the_lease_goes_on(site: Site) -> None:
    """Who asks for it has mistaken the unit, and neither the connection nor the message pays for it."""
    async with site.open() as queue:
        await fill(queue, "order")
        lease = await received(queue)
        for delay in (1e9, 1e300):
            with pytest.raises(ValueError, match="delay"):
                await queue.put(Message(), delay=delay)
            with pytest.raises(ValueError, match="delay"):
                await lease.nack(delay=delay)
        assert await lease.ack() is Settled.DONE
        assert await taken(queue, timeout=0) is None


# Leases


@promise
async def test_an_expired_lease_makes_the_message_ready(site: Site) -> None:
    """Somebody else who waits gets it when the lease ends, and not before."""
    async with site.open(lease=site.unit) as one, site.open(lease=site.unit) as two:
        await fill(one, "order")
        start = anyio.current_time()
        await received(one)
        await received(two)
        assert anyio.current_time() - start >= site.unit * 0.9


@promise
async def test_the_system_ends_the_lease_of_a_consumer_that_hangs(site: Site) -> None:
    """A process that is stopped, and can return nothing, holds the message no longer than told."""
    async with site.open(lease=site.unit) as queue:
        await fill(queue, "order")
        async with another_consumer(site, site.unit) as process:
            process.send_signal(signal.SIGSTOP)
            again = await taken(queue, timeout=max(site.unit * 8, SOON))
            assert again is not None, "the message stays with the one that hangs"


@promise
async def test_the_message_of_a_consumer_that_is_killed_comes_back(site: Site) -> None:
    """And it says that it was handed out before."""
    async with site.open(lease=site.unit) as queue:
        await fill(queue, "order")
        async with another_consumer(site, site.unit) as process:
            process.kill()
            lease = await received(queue)
            assert lease.deliveries >= 2, "it looks like a first delivery"


@promise
async def test_an_old_lease_settles_nothing(site: Site) -> None:
    """Fencing: when the lease is over, its consumer is told so, and the newer lease is untouched."""
    for settle in ("ack", "nack", "extend"):
        async with site.open(settle, lease=site.unit) as one, site.open(settle, lease=site.unit) as two:
            await fill(one, "order")
            old = await received(one)
            new = await received(two)
            await anyio.sleep_until(old.expires)  # by the clock of this process, which may be a little behind
            assert await getattr(old, settle)() is Settled.STALE
            assert await new.ack() is Settled.DONE
            assert await taken(two, timeout=site.unit) is None


@promise
async def test_the_system_itself_refuses_an_old_lease(site: Site) -> None:
    """A consumer whose clock stands still acks too late: the system says so, and the other still has it."""
    async with site.open(lease=site.unit) as one, site.open(lease=site.unit) as two:
        await fill(one, "order")
        old = await received(one)
        stalled(old)
        new = await received(two)
        assert await old.ack() is Settled.STALE, "an ack with an old lease was taken"
        assert await new.nack(delay=0) is Settled.DONE
        assert await taken(two, timeout=SOON / 5) is not None, "the old ack has removed the message"


@promise
async def test_who_is_cancelled_while_it_settles_harms_nobody(site: Site) -> None:
    """Whatever the instant, the queue goes on when the lease would have ended."""
    async with site.open(lease=site.unit) as queue:
        for step in range(10):
            await queue.put(Message(step))
            lease = await received(queue)
            with anyio.move_on_after(step / 4000):
                await lease.ack()
        await anyio.sleep_until(lease.expires + site.unit / 2)
        await queue.put(Message("order"))
        assert "order" in await drain(queue)


@promise
async def test_a_later_lease_has_a_higher_token(site: Site) -> None:
    """Whoever grants it: so that a store can refuse a consumer whose lease is over."""
    async with site.open() as one, site.open() as two:
        await fill(one, *range(3))
        tokens = [(await received(queue)).token for queue in (one, two, one)]
        assert tokens == sorted(set(tokens)), f"the tokens were {tokens}"


@promise
async def test_a_receiver_may_choose_its_lease(site: Site) -> None:
    """One that needs less than the queue gives by itself, or more."""
    async with site.open(lease=SOON * 6) as one, site.open(lease=SOON * 6) as two:
        await fill(one, "order")
        await received(one, lease=site.unit)
        start = anyio.current_time()
        await received(two, lease=site.unit * 3)
        again = await taken(one, timeout=SOON)
        assert again is not None, "the lease that was chosen did not end"
        assert anyio.current_time() - start >= site.unit * 2.7


@promise
async def test_a_heartbeat_keeps_the_lease(site: Site) -> None:
    """While it is extended nobody else gets the message, and in the end it is acked."""
    async with site.open(lease=site.unit) as one, site.open(lease=site.unit) as two:
        await fill(one, "order")
        lease = await received(one)
        for _ in range(6):
            assert await taken(two, timeout=site.unit / 2) is None
            assert await lease.extend() is Settled.DONE
        assert await lease.ack() is Settled.DONE
        assert await taken(two, timeout=0) is None


@promise
async def test_an_extension_counts_from_now(site: Site) -> None:
    """A long lease can be made to end soon."""
    async with site.open(lease=SOON * 6) as one, site.open(lease=SOON * 6) as two:
        await fill(one, "order")
        lease = await received(one)
        assert await lease.extend(site.unit) is Settled.DONE
        start = anyio.current_time()
        await received(two)
        assert anyio.current_time() - start >= site.unit * 0.8


@promise
async def test_extending_to_zero_releases_without_a_failure(site: Site) -> None:
    """The message is ready at once, the lease is over, and the failure counter stands still."""
    async with site.open() as queue:
        await fill(queue, "order")
        lease = await received(queue)
        assert await lease.extend(0) is Settled.DONE
        assert await lease.ack() is Settled.STALE
        again = await received(queue)
        assert (again.deliveries, again.failures) == (2, 0)


# Counted


@promise
async def test_deliveries_are_counted(site: Site) -> None:
    """Each lease knows how often the message was handed out."""
    async with site.open() as queue:
        await fill(queue, "order")
        counts = []
        for _ in range(4):
            lease = await received(queue)
            counts.append(lease.deliveries)
            await lease.nack(delay=0)
        assert counts == [1, 2, 3, 4]


@promise
async def test_a_poison_message_is_moved_to_the_dead_letters(site: Site) -> None:
    """After as many failures as the policy allows, and not before."""
    async with site.open(max_failures=3) as queue:
        await fill(queue, "poison")
        for _ in range(3):
            assert await taken(queue.dead_letters, timeout=0) is None
            await (await received(queue)).nack(delay=0)
        assert (await received(queue.dead_letters)).message.body == "poison"
        assert await taken(queue, timeout=0) is None


@promise
async def test_a_crash_loop_reaches_the_dead_letters(site: Site) -> None:
    """A message that ends the connection of each consumer is moved too, although nobody nacks it."""
    async with site.open(max_failures=2, lease=site.unit) as queue:
        await fill(queue, "poison")
        for _ in range(2):
            async with site.open(max_failures=2, lease=site.unit) as victim:
                await received(victim)
        assert await taken(queue, timeout=site.unit * 3) is None
        assert (await received(queue.dead_letters)).message.body == "poison"


@promise
async def test_a_rejected_message_is_a_dead_letter_at_once(site: Site) -> None:
    """Whatever the policy would have allowed."""
    async with site.open() as queue:
        await fill(queue, "poison")
        assert await (await received(queue)).reject("no such customer") is Settled.DONE
        assert (await received(queue.dead_letters)).message.body == "poison"
        assert await taken(queue, timeout=0) is None


@promise
async def test_a_dead_letter_can_be_put_back_as_often_as_it_dies(site: Site) -> None:
    """A replay is not the same message sent again, nor is its second death the first."""
    async with site.open() as queue:
        await fill(queue, "order")
        for _ in range(2):
            await (await received(queue)).reject("no such customer")
            with anyio.fail_after(SOON):
                while not await replay(queue.dead_letters, queue):
                    await anyio.sleep(site.unit / 4)
        lease = await taken(queue)
        assert lease is not None, "it is lost"
        assert lease.message.body == "order"
        assert not await taken(queue.dead_letters, timeout=0), "it is still dead, too"


@promise
async def test_a_dead_letter_keeps_everything_and_gains_the_facts(site: Site) -> None:
    """Id, type, body, key and headers stay; the reason and where it died are added."""
    async with site.open() as queue:
        message = Message({"order": 1}, "OrderPlaced", key="ada", headers={"tenant": "t1"})
        await queue.put(message)
        await (await received(queue)).reject("no such customer")
        letter = (await received(queue.dead_letters)).message
        assert (letter.id, letter.type, letter.body, letter.key) == (
            message.id,
            "OrderPlaced",
            {"order": 1},
            "ada",
        )
        assert letter.headers["tenant"] == "t1"
        assert letter.headers["dead-letter-source"] == queue.name
        assert "no such customer" in letter.headers["dead-letter-reason"], "the reason is not told"


@promise
async def test_what_is_no_message_is_a_dead_letter_and_others_are_delivered(site: Site) -> None:
    """Of a producer that writes otherwise. Its content is in the letter, and nobody fails on it again."""
    async with site.open(lease=site.unit) as queue:
        for content in NO_MESSAGES:
            await queue._put(content, Message(), 0.0)
        await queue.put(Message("order"))
        assert await drain(queue) == ["order"]
        bodies = []
        for _ in NO_MESSAGES:
            letter = await received(queue.dead_letters)
            assert "no message" in letter.message.headers["dead-letter-reason"]
            bodies.append(letter.message.body)
            await letter.ack()
        assert sorted(bodies) == sorted(content.decode() for content in NO_MESSAGES)


@promise
async def test_what_is_no_message_can_be_read_where_it_has_come_to_rest(site: Site) -> None:
    """The system itself may have moved it to the dead letters, and they have none of their own."""
    async with site.open() as queue:
        await queue.dead_letters._put(NO_MESSAGES[0], Message(), 0.0)
        assert await (await received(queue.dead_letters)).nack(delay=0) is Settled.DONE
        letter = await received(queue.dead_letters)
        assert letter.message.body == NO_MESSAGES[0].decode()
        assert await letter.ack() is Settled.DONE
        assert await taken(queue.dead_letters, timeout=0) is None


@promise
async def test_a_dead_letter_does_not_expire(site: Site) -> None:
    """Whoever looks after its deadline finds it, and the deadline among the facts."""
    async with site.open() as queue:
        message = Message("order", deadline=anyio.current_time() + site.unit)
        await queue.put(message)
        await (await received(queue)).reject("no such customer")
        await anyio.sleep_until(anyio.current_time() + site.unit * 1.2)
        lease = await taken(queue.dead_letters)
        assert lease is not None, "it is lost"
        assert lease.message.deadline is None
        assert lease.message.headers["dead-letter-deadline"] == pytest.approx(message.deadline, abs=0.1)


def test_a_dead_letter_that_the_service_has_moved_does_not_expire(servers: Servers) -> None:
    """SQS moves what has failed too often as it is, with the deadline in its content."""
    if missing := Moto.missing():
        pytest.skip(missing)
    url, name = servers.running(Moto).url, f"orders-{uuid4()}"

    async def main() -> None:
        async with SqsQueue(url, name, max_failures=1) as queue:
            message = Message("order", deadline=anyio.current_time() + 1)
            await queue.put(message)
            await (await received(queue)).nack(delay=0)
            await anyio.sleep_until(anyio.current_time() + 1.1)
            assert await taken(queue, timeout=0) is None
            letter = (await received(queue.dead_letters)).message
            assert (letter.id, letter.deadline) == (message.id, None)

    anyio.run(main, backend="asyncio")


@promise
async def test_a_dead_letter_says_when_it_died(site: Site) -> None:
    """On the clock of whoever reads it, so that a replay knows what has died since it began."""
    async with site.open() as queue:
        await fill(queue, "poison")
        before = anyio.current_time()
        await (await received(queue)).reject("no such customer")
        died = (await received(queue.dead_letters)).message.headers["dead-letter-last"]
        assert before <= died <= anyio.current_time() + 1


@pytest.mark.parametrize("id", ["kafka-share", "nats-jetstream", "sqs-fifo"])
def test_the_largest_message_can_be_a_dead_letter(id: str, servers: Servers) -> None:
    """With the facts of its death; or else it would come again for ever."""
    system = next(each for each in SYSTEMS if each.id == id)
    if missing := system.server.missing():
        pytest.skip(missing)

    async def fits(queue: Any, size: int) -> bool:
        try:
            await queue.put(Message("x" * size))
        except ValueError:
            return False
        await (await received(queue)).ack()
        return True

    async def main() -> None:
        async with system.open(servers.running(system.server), f"orders-{uuid4()}") as queue:
            least, most = 1, 12_000_000
            while most - least > 1:
                size = (least + most) // 2
                least, most = (size, most) if await fits(queue, size) else (least, size)
            least -= 100  # the time of a message is not always as long
            await queue.put(Message("x" * least))
            assert await (await received(queue)).reject("no " * least) is Settled.DONE
            assert len((await received(queue.dead_letters)).message.body) == least
            await queue._put(b"{" * least, Message(), 0.0)
            await queue.put(Message("order"))
            assert await drain(queue) == ["order"]

    anyio.run(main, backend="asyncio")


# Order after a failure


@promise
async def test_a_nack_takes_a_delay(site: Site) -> None:
    """The message rests for at least that long, and others go first meanwhile."""
    async with site.open() as queue:
        await fill(queue, "first", "second")
        start = anyio.current_time()
        await (await received(queue)).nack(delay=site.unit)
        assert (await received(queue)).message.body == "second"
        assert (await received(queue)).message.body == "first"
        assert anyio.current_time() - start >= site.unit * 0.95


@promise
async def test_a_nack_without_a_delay_makes_no_hot_loop(site: Site) -> None:
    """The rest grows from failure to failure."""
    async with site.open(backoff=Backoff(site.unit / 2)) as queue:
        await fill(queue, "order")
        lease = await received(queue)
        for factor in (0.5, 1, 2):
            start = anyio.current_time()
            await lease.nack()
            lease = await received(queue)
            assert anyio.current_time() - start >= factor * site.unit * 0.95


@promise
async def test_a_returned_message_has_its_old_place(site: Site) -> None:
    """Nacked with delay 0, it is again before all that were put after it."""
    async with site.open() as queue:
        for _ in range(50):
            await fill(queue, 1, 2, 3)
            await (await received(queue)).nack(delay=0)
            leases = [await received(queue) for _ in range(3)]
            assert [lease.message.body for lease in leases] == [1, 2, 3]
            for lease in leases:
                await lease.ack()


@promise
async def test_at_most_one_message_of_a_key_is_in_flight(site: Site) -> None:
    """The next of the key comes only when the one before is settled; other keys do not wait."""
    async with site.open() as queue:
        for key, body in (("a", 1), ("a", 2), ("b", 3)):
            await queue.put(Message(body, key=key))
        first, second = await received(queue), await received(queue)
        assert (first.message.body, second.message.body) == (1, 3)
        assert await taken(queue, timeout=site.unit) is None
        await first.ack()
        assert (await received(queue)).message.body == 2


# Bounds


@promise
async def test_a_put_that_raised_was_not_accepted(site: Site) -> None:
    """Full is definite: nothing is in the queue that the producer was refused."""
    async with site.open(capacity=2) as queue:
        await fill(queue, 1, 2)
        assert await is_refused(queue), "one more than the queue may hold was taken"
        assert await drain(queue) == [1, 2]


@promise
async def test_an_unsettled_message_counts_against_the_capacity(site: Site) -> None:
    """A message in flight may come back, so its room is kept."""
    async with site.open(capacity=1) as queue:
        await fill(queue, "first")
        lease = await received(queue)
        assert await is_refused(queue), "the room of a message in flight was given away"
        await lease.ack()
        await queue.put(Message("second"))


@promise
async def test_a_message_that_is_sent_again_is_stored_once(site: Site) -> None:
    """A producer that heard no confirm sends again with the same id."""
    async with site.open() as queue:
        message = Message("order")
        await queue.put(message)
        await queue.put(message)
        assert await drain(queue) == ["order"]


# The broker is killed


@promise
async def test_what_was_confirmed_survives_a_kill_of_the_broker(site: Site) -> None:
    """SIGKILL while nothing is on the way; the queue was made more than two seconds before."""
    async with site.open() as queue:
        accepted = await confirmed_for(2.5, queue)
        await site.restart()
    async with site.open() as queue:
        found = await drain(queue)
        lost = len(set(accepted) - set(found))
        assert not lost, f"{lost} of {len(accepted)} confirmed messages are lost"
        assert found == accepted


@promise
async def test_a_queue_that_was_just_made_survives_a_kill_of_the_broker(site: Site) -> None:
    """SIGKILL at the first confirm; the queue is there afterwards, and so is the message."""
    async with site.open() as queue:
        await queue.put(Message("order"))
        site.server.freeze()
        await site.restart()
    found = None
    with suppress(TimeoutError), anyio.move_on_after(SOON):
        async with site.open() as queue:
            found = await taken(queue)
    assert found is not None, "the queue is gone, or cannot be used any more"


@promise
async def test_the_delivery_count_survives_a_kill_of_the_broker(site: Site) -> None:
    """A poison message cannot become immortal by killing the broker too."""
    async with site.open(lease=site.unit, max_failures=None) as queue:
        await confirmed_for(2.5, queue, limit=1)
        for _ in range(5):
            await (await received(queue)).nack(delay=0)
        await site.restart()
    async with site.open(lease=site.unit, max_failures=None) as queue:
        deliveries = (await received(queue)).deliveries
        assert deliveries == 6, f"after five it says {deliveries}"


@promise
async def test_a_running_lease_survives_a_kill_of_the_broker(site: Site) -> None:
    """Nobody else gets the message while its consumer still works on it."""
    async with site.open(lease=SOON * 6) as queue:
        await confirmed_for(2.5, queue, limit=1)
        await received(queue)
        await site.restart()
        async with site.open(lease=SOON * 6) as other:
            assert await taken(other, timeout=site.unit) is None, "two consumers have it"


async def confirmed_for(seconds: float, queue: Any, limit: int = 300) -> list[int]:
    """Put messages that are confirmed, up to a limit, for so long; return them."""
    end = anyio.current_time() + seconds
    accepted: list[int] = []
    while anyio.current_time() < end:
        if len(accepted) < limit:
            await queue.put(Message(len(accepted)))
            accepted.append(len(accepted))
        else:
            await anyio.sleep_until(end)
    return accepted
