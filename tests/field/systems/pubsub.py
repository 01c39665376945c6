"""Google Pub/Sub, a queue and channels, as Google's emulator has it."""

from __future__ import annotations

from typing import Any

from eip_ref.field.pubsub import PubSubQueue
from eip_ref.field.pubsub_channel import PubSubChannel
from eip_ref.field.servers import PubSub, Server

from ..verdicts import (
    BY_A_LOOK_AT_THE_DEADLINE,
    BY_THE_ADAPTER,
    DEAD_LETTERS_BY_THE_ADAPTER,
    System,
    Verdict,
    kept_with,
    not_applicable,
    not_kept,
)

__all__ = ["SYSTEMS"]


def _queue(server: Server, name: str, **settings: Any) -> PubSubQueue:
    return PubSubQueue(server.url, name, **settings)


MEMORY = not_applicable("the emulator has everything in its memory: what it loses says nothing of Pub/Sub")
NO_BOUND = not_kept("a subscription has no bound")

QUEUE = System(
    "pubsub-queue",
    "Pub/Sub, one subscription, in Google's emulator",
    "queue",
    PubSub,
    _queue,
    {
        **BY_THE_ADAPTER,
        **DEAD_LETTERS_BY_THE_ADAPTER,
        "test_one_consumer_without_redelivery_sees_fifo": Verdict(
            words="by the emulator for messages without a key; Pub/Sub promises the order of one key"
        ),
        "test_a_returned_message_has_its_old_place": Verdict(
            words="by the emulator for messages without a key; Pub/Sub promises the order of one key"
        ),
        "test_a_delayed_put_is_ready_after_its_delay": not_kept("a message is delivered at once"),
        "test_the_system_itself_refuses_an_old_lease": kept_with(
            "enable_exactly_once_delivery: without it an old ack is answered as a good one is",
            without={"exactly_once": False},
        ),
        "test_a_later_lease_has_a_higher_token": not_kept("an ack id is no number"),
        "test_extending_to_zero_releases_without_a_failure": not_kept("a release counts as a delivery"),
        "test_deliveries_are_counted": kept_with("a dead-letter policy: without one nothing is counted"),
        "test_at_most_one_message_of_a_key_is_in_flight": kept_with(
            "enable_message_ordering, and the key of the message as its ordering key"
        ),
        "test_a_put_that_raised_was_not_accepted": NO_BOUND,
        "test_an_unsettled_message_counts_against_the_capacity": NO_BOUND,
        "test_a_message_that_is_sent_again_is_stored_once": not_kept("it is stored twice"),
        "test_what_was_confirmed_survives_a_kill_of_the_broker": MEMORY,
        "test_a_queue_that_was_just_made_survives_a_kill_of_the_broker": MEMORY,
        "test_the_delivery_count_survives_a_kill_of_the_broker": MEMORY,
        "test_a_running_lease_survives_a_kill_of_the_broker": MEMORY,
    },
    unit=1.0,
)


def _channel(server: Server, name: str) -> PubSubChannel:
    return PubSubChannel(server.url, name)


CHANNEL = System(
    "pubsub-channel",
    "Pub/Sub, in Google's emulator",
    "publish–subscribe",
    PubSub,
    _channel,
    {
        **BY_A_LOOK_AT_THE_DEADLINE,
        "test_every_subscription_gets_every_message": Verdict(
            words="by the emulator in order; Pub/Sub promises the order of one key"
        ),
        "test_a_group_shares_one_copy": kept_with("one subscription for the group"),
        "test_wildcards_mean_one_word_or_the_rest": kept_with(
            "the adapter drops what was not asked for: the emulator takes a filter, and heeds it not"
        ),
        "test_that_nobody_is_subscribed_is_told_to_the_publisher": not_kept(
            "publish answers with an id, whoever is subscribed"
        ),
        "test_who_subscribes_late_gets_what_was_published_before": not_kept(
            "a subscription begins with what is published after it"
        ),
        "test_what_a_slow_subscriber_misses_is_counted": Verdict(
            words="nothing is missed: its subscription keeps all"
        ),
        "test_a_subscription_outlives_a_kill_of_the_broker": MEMORY,
    },
    unit=1.0,
)

GROUPS = System(
    "pubsub-groups",
    "Pub/Sub, in Google's emulator",
    "durable subscription",
    PubSub,
    _channel,
    {
        "test_the_place_of_a_group_survives_a_kill_of_the_broker": MEMORY,
        "test_a_key_stays_with_one_member_of_a_group": not_kept("a message goes to whoever pulls next"),
    },
    unit=1.0,
)

SYSTEMS = (QUEUE, CHANNEL, GROUPS)
