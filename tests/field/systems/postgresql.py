"""PostgreSQL: a table as a queue, one as an event store, and NOTIFY."""

from __future__ import annotations

from typing import Any

from eip_ref.field.postgresql import PostgresQueue
from eip_ref.field.postgresql_events import PostgresEventStore
from eip_ref.field.postgresql_notify import PostgresChannel
from eip_ref.field.servers import PostgreSQL, Server

from ..verdicts import (
    BY_A_LOOK_AT_THE_DEADLINE,
    BY_THE_ADAPTER,
    DEAD_LETTERS_BY_THE_ADAPTER,
    System,
    kept_with,
    not_kept,
)

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


def _channel(server: Server, name: str) -> PostgresChannel:
    return PostgresChannel(server.url, name)


NOTIFY = System(
    "postgresql-notify",
    "PostgreSQL, NOTIFY",
    "publish–subscribe",
    PostgreSQL,
    _channel,
    {
        **BY_A_LOOK_AT_THE_DEADLINE,
        "test_a_group_shares_one_copy": not_kept("whoever listens gets every notice"),
        "test_wildcards_mean_one_word_or_the_rest": kept_with("the adapter looks at the topic in the notice"),
        "test_what_a_slow_subscriber_misses_is_counted": kept_with("the adapter counts it"),
        "test_that_nobody_is_subscribed_is_told_to_the_publisher": not_kept("it is committed, no more"),
        "test_a_message_of_ten_kilobytes_is_heard": not_kept("a notice has less than 8,000 bytes"),
        "test_who_subscribes_late_gets_what_was_published_before": not_kept("nothing is stored"),
        "test_a_subscription_outlives_a_kill_of_the_broker": not_kept(
            "the connection that listens is gone, and the client opens no other"
        ),
    },
)

SYSTEMS = (TABLE, EVENTS, NOTIFY)
