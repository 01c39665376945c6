"""JetStream: what its queue keeps of a connection and of a pull that have ended."""

from __future__ import annotations

from unittest.mock import AsyncMock, Mock
from uuid import uuid4

import anyio
import pytest
from nats.errors import TimeoutError

from eip_ref.field import jetstream
from eip_ref.field.jetstream import Inbox, JetStreamQueue
from eip_ref.field.servers import NATS
from eip_ref.message import Message

from .conftest import Servers
from .promises import SOON


def test_a_queue_that_is_opened_again_receives_at_once(servers: Servers) -> None:
    """The subjects on which the server answers have ended with the connection before."""
    if missing := NATS.missing():
        pytest.skip(missing)
    queue = JetStreamQueue(servers.running(NATS).url, f"orders-{uuid4()}")

    async def main() -> None:
        for number in range(2):
            async with queue:
                await queue.put(Message(number))
                with anyio.fail_after(SOON):
                    lease = await queue.receive()
                assert lease.message.body == number
                assert await lease.ack()

    anyio.run(main, backend="asyncio")


def test_a_pull_that_nobody_answers_leaves_nothing_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    """Or else whoever asks again and again would have the server send to each of these subjects for ever."""
    if missing := NATS.missing():
        pytest.skip(missing)
    monkeypatch.setattr(jetstream, "ANSWER", 0.1)

    async def main(server: NATS) -> None:
        async with JetStreamQueue(server.url, "orders") as queue:
            await queue.put(Message(0))
            before = len(queue._nats._subs)
            await (await queue.receive(timeout=0.1)).ack()  # its subject is the next pull's too
            server.freeze()
            for _ in range(3):
                with pytest.raises(ConnectionError, match="timeout"):
                    await queue.receive(timeout=0.1)
            assert len(queue._nats._subs) == before
            server.kill()

    with NATS.running() as server:
        anyio.run(main, server, backend="asyncio")


def test_a_subject_that_was_given_up_is_not_used_again() -> None:
    """Not even when its message comes as it is left: nobody would hear the next one."""

    async def main() -> None:
        free: list[Inbox] = []
        inbox = await Inbox.subscribed(AsyncMock(new_inbox=lambda: "inbox"), free)
        with pytest.raises(TimeoutError):
            await inbox.answer_within(0)
        await inbox._hear(Mock(headers=None))
        assert free == []

    anyio.run(main, backend="asyncio")


def test_a_message_with_an_odd_id_can_be_put_for_later(servers: Servers) -> None:
    """Its place is a subject of the stream, and an id may have signs which a subject may not have."""
    if missing := NATS.missing():
        pytest.skip(missing)

    async def main() -> None:
        async with JetStreamQueue(servers.running(NATS).url, f"orders-{uuid4()}") as queue:
            for id in ("a.b", "a b", "a\r\nb", "*", ".", "x" * 5_000):
                await queue.put(Message(id=id), delay=0.01)
                assert (await queue.receive(timeout=SOON)).message.id == id

    anyio.run(main, backend="asyncio")
