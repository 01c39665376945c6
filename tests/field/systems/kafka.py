"""Kafka: a queue by a share group, a log of one partition, and publish–subscribe over one topic."""

from __future__ import annotations

from typing import Any

from eip_ref.field.kafka_channel import KafkaChannel
from eip_ref.field.kafka_log import KafkaLog
from eip_ref.field.kafka_queue import KafkaQueue
from eip_ref.field.servers import Kafka, Server

from ..verdicts import (
    BY_A_GROUP_OF_OURS,
    BY_A_LOOK_AT_THE_DEADLINE,
    BY_THE_ADAPTER,
    DEAD_LETTERS_BY_THE_ADAPTER,
    System,
    kept_with,
    not_kept,
)

__all__ = ["SYSTEMS"]


LARGE = kept_with(
    "max.message.bytes of the topic and message.max.bytes of the client: 1 MB by themselves",
    {"max_bytes": 4_000_000},
)


def _log(server: Server, name: str, **settings: Any) -> KafkaLog:
    return KafkaLog(server.url, name, **settings)


def _queue(server: Server, name: str, **settings: Any) -> KafkaQueue:
    return KafkaQueue(server.url, name, **settings)


NO_RENEWAL = not_kept("the client cannot extend the lock of a record")
HOLDS = kept_with("the adapter holds the message while it rests, for no longer than its lease lasts")
QUEUE = System(
    "kafka-share",
    "Kafka, share group",
    "queue",
    Kafka,
    _queue,
    {
        **BY_THE_ADAPTER,
        **DEAD_LETTERS_BY_THE_ADAPTER,
        "test_a_nack_takes_a_delay": HOLDS,
        "test_a_nack_without_a_delay_makes_no_hot_loop": HOLDS,
        "test_a_delayed_put_is_ready_after_its_delay": not_kept("nothing can be put for later"),
        "test_a_message_of_two_megabytes_is_taken": LARGE,
        "test_a_later_lease_has_a_higher_token": not_kept("deliveries are counted for each record alone"),
        "test_a_receiver_may_choose_its_lease": not_kept("the locks of a group have one length"),
        "test_a_heartbeat_keeps_the_lease": NO_RENEWAL,
        "test_an_extension_counts_from_now": NO_RENEWAL,
        "test_extending_to_zero_releases_without_a_failure": not_kept("a release counts as a delivery"),
        "test_at_most_one_message_of_a_key_is_in_flight": not_kept("a share group knows no keys"),
        "test_a_put_that_raised_was_not_accepted": not_kept("a topic evicts the oldest and refuses none"),
        "test_an_unsettled_message_counts_against_the_capacity": not_kept(
            "a topic evicts the oldest and refuses none"
        ),
        "test_a_message_that_is_sent_again_is_stored_once": not_kept(
            "it is stored twice: enable.idempotence knows only the retries of the client itself"
        ),
        "test_a_running_lease_survives_a_kill_of_the_broker": not_kept(
            "locks are in memory: after the restart the message is handed out again"
        ),
    },
    unit=2.0,
)

LOG = System(
    "kafka-log",
    "Kafka",
    "log",
    Kafka,
    _log,
    {
        **BY_A_GROUP_OF_OURS,
        "test_an_append_returns_the_offset_of_its_record": kept_with(
            "acks = all or 1: with 0 the client is told no offset", without={"acks": 0}
        ),
        "test_what_was_confirmed_survives_a_kill_of_the_broker": kept_with(
            "acks = all or 1: with 0 what the broker never read counts as confirmed", without={"acks": 0}
        ),
        "test_a_record_of_two_megabytes_is_taken": LARGE,
        "test_a_message_that_is_sent_again_is_stored_once": not_kept(
            "it is stored twice: enable.idempotence knows only the retries of the client itself"
        ),
        "test_a_commit_never_moves_back": not_kept("the group is wherever the last commit has put it"),
    },
)


def _channel(server: Server, name: str, **settings: Any) -> KafkaChannel:
    return KafkaChannel(server.url, name, **settings)


CHANNEL = System(
    "kafka-channel",
    "Kafka",
    "publish–subscribe",
    Kafka,
    _channel,
    {
        **BY_A_LOOK_AT_THE_DEADLINE,
        "test_a_group_shares_one_copy": not_kept(
            "one partition goes to one member; with several there is no one order for the others"
        ),
        "test_wildcards_mean_one_word_or_the_rest": kept_with(
            "the adapter looks: a consumer gets all of a topic"
        ),
        "test_that_nobody_is_subscribed_is_told_to_the_publisher": not_kept(
            "the broker keeps it for whoever will read it, and does not say who that is"
        ),
        "test_who_subscribes_late_gets_what_was_published_before": kept_with(
            "start = earliest (auto.offset.reset)", {"start": "earliest"}
        ),
    },
)

DURABLE = System(
    "kafka-groups",
    "Kafka",
    "durable subscription",
    Kafka,
    _channel,
    {
        "test_a_key_stays_with_one_member_of_a_group": kept_with(
            "a topic of 4 partitions: with one, the second member gets nothing", {"partitions": 4}
        ),
    },
)

SYSTEMS = (QUEUE, LOG, CHANNEL, DURABLE)
