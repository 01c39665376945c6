"""RabbitMQ: classic and quorum queues, a topic exchange, and direct reply-to."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from functools import partial
from typing import Any

from eip_ref.field.rabbitmq import RabbitQueue
from eip_ref.field.rabbitmq_exchange import RabbitChannel, rabbit_replier, rabbit_requestor
from eip_ref.field.rabbitmq_stream import RabbitStreamLog
from eip_ref.field.servers import RabbitMQ, Server
from eip_ref.message import Handler

from ..verdicts import (
    BY_A_GROUP_OF_OURS,
    BY_A_LOOK_AT_THE_DEADLINE,
    BY_A_TIMER,
    BY_REQUESTOR_AND_REPLIER,
    BY_THE_ADAPTER,
    UNTIL_ITS_DEADLINE,
    System,
    kept_with,
    not_applicable,
    not_kept,
)

__all__ = ["SYSTEMS"]


def _queue(server: Server, name: str, **settings: Any) -> RabbitQueue:
    """Opened with the settings of a careful operator."""
    return RabbitQueue(server.url, name, **settings)


NO_COUNT = not_kept("a classic queue counts no deliveries: it says redelivered, and no more")
BOTH = {
    **BY_THE_ADAPTER,
    **BY_A_TIMER,
    "test_a_nack_takes_a_delay": kept_with("the adapter holds the message while it rests"),
    "test_a_delayed_put_is_ready_after_its_delay": kept_with(
        "a queue that nobody reads, whose messages expire into this one"
    ),
    "test_the_system_ends_the_lease_of_a_consumer_that_hangs": kept_with(
        "a heartbeat of 2 s in place of 60: the broker ends a connection that has missed two",
        {"heartbeat": 2},
    ),
    "test_the_system_itself_refuses_an_old_lease": not_applicable(
        "a message is with one channel until that settles it or ends: no lease is ever old"
    ),
    "test_a_later_lease_has_a_higher_token": not_kept("delivery tags count for each channel alone"),
    "test_extending_to_zero_releases_without_a_failure": not_kept("a release counts as a failed delivery"),
    "test_a_dead_letter_keeps_everything_and_gains_the_facts": not_kept(
        "it says rejected, and from which queue; the reason in words is lost"
    ),
    "test_a_dead_letter_does_not_expire": kept_with("the adapter takes the deadline from a dead letter"),
    "test_at_most_one_message_of_a_key_is_in_flight": not_kept("a queue knows no keys"),
    "test_an_unsettled_message_counts_against_the_capacity": not_kept("x-max-length counts ready ones only"),
    "test_a_message_that_is_sent_again_is_stored_once": not_kept("it is stored twice"),
    "test_a_running_lease_survives_a_kill_of_the_broker": not_kept(
        "the message is handed out again while its consumer still works on it"
    ),
}

CLASSIC = System(
    "rabbitmq-classic",
    "RabbitMQ, classic queue",
    "queue",
    RabbitMQ,
    partial(_queue, kind="classic"),
    {
        **BOTH,
        "test_deliveries_are_counted": NO_COUNT,
        "test_a_poison_message_is_moved_to_the_dead_letters": NO_COUNT,
        "test_a_crash_loop_reaches_the_dead_letters": NO_COUNT,
        "test_the_delivery_count_survives_a_kill_of_the_broker": NO_COUNT,
        "test_a_nack_without_a_delay_makes_no_hot_loop": NO_COUNT,
        "test_a_put_that_raised_was_not_accepted": kept_with("x-overflow = reject-publish"),
        "test_what_was_confirmed_survives_a_kill_of_the_broker": kept_with(
            "persistent messages: a transient one is confirmed at once, and lost",
            without={"persistent": False},
        ),
        "test_a_queue_that_was_just_made_survives_a_kill_of_the_broker": not_applicable(
            "its declaration is confirmed before it is written, and lost in about one run of eight: one test"
            " cannot show it"
        ),
    },
)

QUORUM = System(
    "rabbitmq-quorum",
    "RabbitMQ, quorum queue",
    "queue",
    RabbitMQ,
    partial(_queue, kind="quorum", max_failures=5),
    {
        **BOTH,
        "test_a_returned_message_has_its_old_place": kept_with(
            "an x-delivery-limit, however high: without one a returned message goes to the end"
        ),
        "test_a_cancelled_receive_takes_no_message": kept_with(
            "an x-delivery-limit that nobody reaches: each cancelled get counts as a failed delivery",
            {"max_failures": None},
        ),
        "test_a_put_that_raised_was_not_accepted": not_kept("x-max-length is soft: some more are taken"),
        "test_a_queue_that_was_just_made_survives_a_kill_of_the_broker": not_kept(
            "its declaration is confirmed before it is written: within a second it is lost, with its messages"
        ),
    },
)


def _channel(server: Server, name: str) -> RabbitChannel:
    return RabbitChannel(server.url, name)


EXCHANGE = System(
    "rabbitmq-topics",
    "RabbitMQ, topic exchange",
    "publish–subscribe",
    RabbitMQ,
    _channel,
    {
        **BY_A_LOOK_AT_THE_DEADLINE,
        "test_who_subscribes_late_gets_what_was_published_before": not_kept(
            "an exchange stores nothing, and a queue only what comes after it was bound"
        ),
        "test_what_a_slow_subscriber_misses_is_counted": not_kept("x-max-length evicts in silence"),
        "test_wildcards_mean_one_word_or_the_rest": kept_with(
            "`*.#` for the rest: `#` alone means no word too"
        ),
    },
)


def _requests(
    server: Server, name: str, *, handle: Handler | None = None
) -> AbstractAsyncContextManager[Any]:
    if handle is None:
        return rabbit_requestor(server.url, name)
    return rabbit_replier(server.url, name, handle)


REQUESTS = System(
    "rabbitmq-requests",
    "RabbitMQ, direct reply-to",
    "request–reply",
    RabbitMQ,
    _requests,
    {**BY_REQUESTOR_AND_REPLIER, **UNTIL_ITS_DEADLINE},
)


def _log(server: Server, name: str, **settings: Any) -> RabbitStreamLog:
    return RabbitStreamLog(server.url, name, **settings)


READ_BACK = kept_with("the writer reads its records back: a confirm tells no offset")
BESIDE = "a stream beside the log: over AMQP the broker keeps no place of a group"

STREAM = System(
    "rabbitmq-stream",
    "RabbitMQ, stream over AMQP",
    "log",
    RabbitMQ,
    _log,
    {
        **BY_A_GROUP_OF_OURS,
        "test_an_append_returns_the_offset_of_its_record": READ_BACK,
        "test_offsets_have_no_gaps": kept_with(
            "one segment, of 500 MB by itself: each takes its first offset for itself",
            without={"segment_bytes": 1_000},
        ),
        "test_the_time_of_a_record_stays": kept_with("a header in which its writer has put it"),
        "test_a_message_that_is_sent_again_is_stored_once": not_kept("it is stored twice"),
        "test_at_the_end_there_is_nothing_and_beyond_it_an_error": kept_with(
            "the adapter reads the last piece: over AMQP a reader at the end waits, and is not told so"
        ),
        "test_first_and_end_are_those_of_the_log": kept_with(
            "the adapter reads the first piece and the last"
        ),
        "test_a_reader_who_comes_too_late_is_told": not_kept(
            "a stream evicts whole segments, by size or age: nobody evicts by hand"
        ),
        "test_a_group_goes_on_where_it_has_committed": kept_with(BESIDE),
        "test_a_group_can_go_back": kept_with(BESIDE),
        "test_a_commit_never_moves_back": not_kept("the group is wherever the last commit has put it"),
        "test_a_log_that_was_just_made_survives_a_kill_of_the_broker": not_applicable(
            "confirmed before it is on the disk, and lost within a second: always by a broker that has just"
            " started, and in some runs by one that has been busy: one test cannot show it"
        ),
    },
)

SYSTEMS = (CLASSIC, QUORUM, EXCHANGE, REQUESTS, STREAM)
