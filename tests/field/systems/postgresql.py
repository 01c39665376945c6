"""PostgreSQL: a table as a queue, and one as an event store."""

from __future__ import annotations

from typing import Any

from eip_ref.field.postgresql import PostgresQueue
from eip_ref.field.postgresql_events import PostgresEventStore
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


def _store(server: Server, name: str, **settings: Any) -> PostgresEventStore:
    return PostgresEventStore(server.url, name, **settings)


EVENTS = System(
    "postgresql-events",
    "PostgreSQL, table of events",
    "event store",
    PostgreSQL,
    _store,
    {
        "test_a_reader_of_all_skips_nobody_who_commits_late": kept_with(
            "an advisory lock: without it positions are seen in another order than they are given",
            without={"lock": False},
        ),
    },
)

SYSTEMS = (TABLE, EVENTS)
