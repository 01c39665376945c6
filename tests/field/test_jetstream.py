"""JetStream: what its queue keeps between two connections."""

from __future__ import annotations

from uuid import uuid4

import anyio
import pytest

from eip_ref.field.jetstream import JetStreamQueue
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
