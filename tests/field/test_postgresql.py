"""A table as a queue is as quick after a million messages as after the first."""

from __future__ import annotations

from uuid import uuid4

import anyio
import pytest

from eip_ref.field.postgresql import TAKE, PostgresQueue
from eip_ref.field.servers import PostgreSQL

from .conftest import Servers


def test_a_message_is_taken_along_the_order_of_its_queue(servers: Servers) -> None:
    """Also when its statement was planned while the table was empty, as that of a new queue is."""
    if missing := PostgreSQL.missing():
        pytest.skip(missing)
    url = servers.running(PostgreSQL).url

    async def main() -> str:
        async with PostgresQueue(url, f"orders-{uuid4()}") as queue:
            asked = TAKE.replace("$1", "'orders'").replace("$2", "30.0")
            return "\n".join(line for (line,) in await queue._pool.fetch(f"explain {asked}"))

    plan = anyio.run(main, backend="asyncio")
    assert "Index Scan using field_messages_order" in plan
    assert not any(word in plan for word in ("Sort", "Seq Scan", "Bitmap")), plan
