"""What only Kafka's share groups have to be asked: whether they let go of whoever uses them."""

from __future__ import annotations

from uuid import uuid4

import anyio
import pytest

from eip_ref.field import Unsupported, kafka_member
from eip_ref.field.kafka_queue import KafkaQueue
from eip_ref.field.servers import Kafka
from eip_ref.message import Message
from eip_ref.message_queue import Settled

from .conftest import Servers
from .promises import SOON


def test_a_record_rests_no_longer_than_its_lock_lasts(servers: Servers) -> None:
    """A longer rest is refused, since the broker would hand the message out before its end."""
    if missing := Kafka.no_fresh_one():
        pytest.skip(missing)
    kafka = servers.running(Kafka)

    async def main() -> None:
        async with KafkaQueue(kafka.url, f"orders-{uuid4().hex[:8]}", lease=4) as queue:
            await queue.put(Message("order"))
            lease = await queue.receive()
            await anyio.sleep_until(lease.expires - 2)
            with pytest.raises(Unsupported, match="lock"):
                await lease.nack(delay=3)
            assert await lease.nack(delay=1) is Settled.DONE

    anyio.run(main)


def test_a_member_that_is_asked_nothing_does_not_grow(
    servers: Servers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client's statistics, which wait until it is called, are heard of meanwhile; its record is kept."""
    if missing := Kafka.no_fresh_one():
        pytest.skip(missing)
    kafka = servers.running(Kafka)
    monkeypatch.setattr(kafka_member, "IDLE", 0.1)
    heard = 0
    hear = kafka_member.Member._hear

    def count(member: kafka_member.Member, statistics: str) -> None:
        nonlocal heard
        heard += 1
        hear(member, statistics)

    monkeypatch.setattr(kafka_member.Member, "_hear", count)

    async def main() -> None:
        async with KafkaQueue(kafka.url, f"orders-{uuid4().hex[:8]}") as queue:
            await queue.put(Message("order"))
            lease = await queue.receive()
            enough = heard + 10
            with anyio.fail_after(SOON):
                while heard < enough:
                    await anyio.sleep(0.01)
            assert await lease.ack() is Settled.DONE

    anyio.run(main)


def test_a_share_group_is_left_although_its_broker_says_no_more(servers: Servers) -> None:
    """With a message in hand, of which the client wants to tell the broker first."""
    if missing := Kafka.no_fresh_one():
        pytest.skip(missing)
    kafka = servers.running(Kafka)

    async def main() -> None:
        async with KafkaQueue(kafka.url, f"orders-{uuid4().hex[:8]}") as queue:
            await queue.put(Message("order"))
            await queue.receive()
            kafka.freeze()
            start = anyio.current_time()
        assert anyio.current_time() - start < SOON

    try:
        anyio.run(main)
    finally:
        kafka.kill()
        kafka.start()
