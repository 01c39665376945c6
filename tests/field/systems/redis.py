"""Redis: a stream with a consumer group as a queue, and a stream as a log."""

from __future__ import annotations

from typing import Any

from eip_ref.field.redis_log import RedisLog
from eip_ref.field.redis_streams import RedisQueue
from eip_ref.field.servers import Redis, Server

from ..verdicts import (
    BY_A_GROUP_OF_OURS,
    BY_THE_ADAPTER,
    DEAD_LETTERS_BY_THE_ADAPTER,
    System,
    kept_with,
    not_kept,
)

__all__ = ["SYSTEMS"]


def _queue(server: Server, name: str, **settings: Any) -> RedisQueue:
    return RedisQueue(server.url, name, **settings)


APPENDONLY = kept_with("appendonly yes and appendfsync always, which are not what it has by itself")
OFFSETS = kept_with("a script that counts: the ids that a stream gives are times")

STREAM = System(
    "redis-stream",
    "Redis, stream with a group",
    "queue",
    Redis,
    _queue,
    {
        **BY_THE_ADAPTER,
        **DEAD_LETTERS_BY_THE_ADAPTER,
        "test_a_delayed_put_is_ready_after_its_delay": kept_with("a sorted set beside it, and a script"),
        "test_a_nack_takes_a_delay": kept_with("XCLAIM with IDLE, for no longer than a lease"),
        "test_a_receiver_may_choose_its_lease": kept_with(
            "XCLAIM with IDLE after the read, for one that is shorter than the queue's"
        ),
        "test_the_system_itself_refuses_an_old_lease": not_kept(
            "XACK asks for no owner: a late one removes the message under its new consumer"
        ),
        "test_extending_to_zero_releases_without_a_failure": not_kept(
            "there is one counter: a release takes the delivery back, or counts as a failure"
        ),
        "test_at_most_one_message_of_a_key_is_in_flight": not_kept("a group knows no keys"),
        "test_a_put_that_raised_was_not_accepted": not_kept("MAXLEN evicts the oldest and refuses none"),
        "test_an_unsettled_message_counts_against_the_capacity": not_kept(
            "MAXLEN evicts also what is in flight"
        ),
        "test_a_message_that_is_sent_again_is_stored_once": not_kept("it is stored twice"),
        "test_what_was_confirmed_survives_a_kill_of_the_broker": APPENDONLY,
    },
)


def _log(server: Server, name: str) -> RedisLog:
    return RedisLog(server.url, name)


LOG = System(
    "redis-log",
    "Redis, stream",
    "log",
    Redis,
    _log,
    {
        **BY_A_GROUP_OF_OURS,
        "test_a_message_that_is_sent_again_is_stored_once": not_kept("it is stored twice"),
        "test_an_append_returns_the_offset_of_its_record": OFFSETS,
        "test_offsets_have_no_gaps": OFFSETS,
        "test_first_and_end_are_those_of_the_log": OFFSETS,
        "test_a_commit_never_moves_back": kept_with("a script compares and sets"),
        "test_what_was_confirmed_survives_a_kill_of_the_broker": APPENDONLY,
        "test_a_log_is_used_on_after_a_kill_of_the_broker": APPENDONLY,
    },
)

SYSTEMS = (STREAM, LOG)
