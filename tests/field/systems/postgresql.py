"""PostgreSQL: a table as a queue."""

from __future__ import annotations

from typing import Any

from eip_ref.field.postgresql import PostgresQueue
from eip_ref.field.servers import PostgreSQL, Server

from ..verdicts import BY_THE_ADAPTER, DEAD_LETTERS_BY_THE_ADAPTER, System, kept_with

__all__ = ["SYSTEMS"]


def _queue(server: Server, name: str, **settings: Any) -> PostgresQueue:
    return PostgresQueue(server.url, name, **settings)


TABLE = System(
    "postgresql-table",
    "PostgreSQL, table with SKIP LOCKED",
    "queue",
    PostgreSQL,
    _queue,
    {
        **BY_THE_ADAPTER,
        **DEAD_LETTERS_BY_THE_ADAPTER,
        "test_a_message_that_is_sent_again_is_stored_once": kept_with(
            "a unique index, while the first is not settled"
        ),
    },
)

SYSTEMS = (TABLE,)
