"""SQS, standard and FIFO, and SNS, as moto emulates them."""

from __future__ import annotations

from functools import partial
from typing import Any

from eip_ref.field.servers import Moto, Server
from eip_ref.field.sns import SnsChannel
from eip_ref.field.sqs import SqsQueue

from ..verdicts import (
    BY_A_LOOK_AT_THE_DEADLINE,
    BY_THE_ADAPTER,
    DEAD_LETTERS_BY_THE_ADAPTER,
    Found,
    System,
    Verdict,
    kept_with,
    not_applicable,
    not_kept,
)

__all__ = ["SYSTEMS"]


def _queue(server: Server, name: str, **settings: Any) -> SqsQueue:
    return SqsQueue(server.url, name, **settings)


def by_moto(but: str) -> Verdict:
    """Kept by the emulator, with a word on the service."""
    return Verdict(Found.KEPT, but)


MEMORY = not_applicable("moto has everything in its memory: what it loses says nothing of SQS")
NO_BOUND = not_kept("a queue has no bound")
BOTH = {
    **BY_THE_ADAPTER,
    **DEAD_LETTERS_BY_THE_ADAPTER,
    "test_a_message_of_two_megabytes_is_taken": not_kept("a message has at most 1 MiB"),
    "test_the_system_itself_refuses_an_old_lease": not_kept(
        "moto deletes by each receipt handle that the message ever had; SQS promises no more than that an "
        "old one may not delete"
    ),
    "test_a_later_lease_has_a_higher_token": not_kept("a receipt handle is no number"),
    "test_extending_to_zero_releases_without_a_failure": not_kept("a release counts as a delivery"),
    "test_a_poison_message_is_moved_to_the_dead_letters": not_kept(
        "the redrive policy moves it when somebody asks for the next message, and not before"
    ),
    "test_a_crash_loop_reaches_the_dead_letters": kept_with("a redrive policy with maxReceiveCount"),
    "test_a_put_that_raised_was_not_accepted": NO_BOUND,
    "test_an_unsettled_message_counts_against_the_capacity": NO_BOUND,
    "test_what_was_confirmed_survives_a_kill_of_the_broker": MEMORY,
    "test_a_queue_that_was_just_made_survives_a_kill_of_the_broker": MEMORY,
    "test_the_delivery_count_survives_a_kill_of_the_broker": MEMORY,
    "test_a_running_lease_survives_a_kill_of_the_broker": MEMORY,
}

STANDARD = System(
    "sqs-standard",
    "SQS, standard queue, emulated by moto",
    "queue",
    Moto,
    _queue,
    {
        **BOTH,
        "test_one_consumer_without_redelivery_sees_fifo": by_moto("by moto; SQS does not promise an order"),
        "test_a_returned_message_has_its_old_place": by_moto("by moto; SQS does not promise an order"),
        "test_each_message_goes_to_one_of_the_competing_consumers": by_moto(
            "by moto; SQS may deliver a message more than once"
        ),
        "test_at_most_one_message_of_a_key_is_in_flight": not_kept("a standard queue knows no keys"),
        "test_a_message_that_is_sent_again_is_stored_once": not_kept("it is stored twice"),
    },
    unit=1.0,
)

FIFO = System(
    "sqs-fifo",
    "SQS, FIFO queue, emulated by moto",
    "queue",
    Moto,
    partial(_queue, fifo=True),
    {
        **BOTH,
        "test_one_consumer_without_redelivery_sees_fifo": by_moto(
            "by moto for messages without a key; SQS promises the order of one key"
        ),
        "test_a_returned_message_has_its_old_place": by_moto(
            "by moto for messages without a key; SQS promises the order of one key"
        ),
        "test_a_delayed_put_is_ready_after_its_delay": not_kept(
            "the queue has one delay for all, and takes none for one message"
        ),
        "test_at_most_one_message_of_a_key_is_in_flight": kept_with("MessageGroupId: the key of the message"),
        "test_a_message_that_is_sent_again_is_stored_once": kept_with(
            "MessageDeduplicationId: within five minutes, by the id of the message"
        ),
    },
    unit=1.0,
)


def _channel(server: Server, name: str) -> SnsChannel:
    return SnsChannel(server.url, name)


CHANNEL = System(
    "sns-sqs",
    "SNS to SQS, emulated by moto",
    "publish–subscribe",
    Moto,
    _channel,
    {
        **BY_A_LOOK_AT_THE_DEADLINE,
        "test_every_subscription_gets_every_message": by_moto("by moto in order; SNS promises none"),
        "test_a_group_shares_one_copy": kept_with("one queue of SQS for the group"),
        "test_wildcards_mean_one_word_or_the_rest": kept_with(
            "a filter policy on attributes: each word of the topic is one"
        ),
        "test_that_nobody_is_subscribed_is_told_to_the_publisher": not_kept(
            "publish answers with an id, whoever is subscribed"
        ),
        "test_who_subscribes_late_gets_what_was_published_before": not_kept(
            "a standard topic stores nothing"
        ),
        "test_a_slow_subscriber_delays_nobody": not_applicable(
            "two thousand messages take moto minutes, and its speed says nothing of SNS"
        ),
        "test_what_a_slow_subscriber_misses_is_counted": Verdict(
            words="nothing is missed: its queue has room"
        ),
        "test_a_subscription_outlives_a_kill_of_the_broker": MEMORY,
    },
    unit=1.0,
)

SYSTEMS = (STANDARD, FIFO, CHANNEL)
