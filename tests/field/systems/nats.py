"""NATS: a work queue of JetStream; publish–subscribe and request–reply without a stream."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from eip_ref.field.jetstream import JetStreamQueue
from eip_ref.field.nats_core import NatsChannel, nats_replier, nats_requestor
from eip_ref.field.servers import NATS, Server
from eip_ref.message import Handler

from ..verdicts import (
    BY_A_LOOK_AT_THE_DEADLINE,
    BY_REQUESTOR_AND_REPLIER,
    BY_THE_ADAPTER,
    DEAD_LETTERS_BY_THE_ADAPTER,
    UNTIL_ITS_DEADLINE,
    System,
    kept_with,
    not_kept,
)

__all__ = ["SYSTEMS"]


def _queue(server: Server, name: str, **settings: Any) -> JetStreamQueue:
    return JetStreamQueue(server.url, name, **settings)


JETSTREAM = System(
    "nats-jetstream",
    "NATS JetStream, work queue",
    "queue",
    NATS,
    _queue,
    {
        **BY_THE_ADAPTER,
        **DEAD_LETTERS_BY_THE_ADAPTER,
        "test_a_message_of_two_megabytes_is_taken": not_kept("max_payload of the server is 1 MiB by itself"),
        "test_a_message_that_is_sent_again_is_stored_once": kept_with(
            "duplicate_window: within 120 s, by the id of the message"
        ),
        "test_the_system_itself_refuses_an_old_lease": not_kept(
            "an ack names the message and not its delivery: a late one removes it under its new consumer"
        ),
        "test_a_receiver_may_choose_its_lease": not_kept("ack_wait is one for all"),
        "test_an_extension_counts_from_now": not_kept("a lease can be begun again, and not made shorter"),
        "test_extending_to_zero_releases_without_a_failure": not_kept("a release counts as a delivery"),
        "test_a_returned_message_has_its_old_place": kept_with(
            "a nak that waits for the server's answer: else the next pull may be served before it"
        ),
        "test_at_most_one_message_of_a_key_is_in_flight": not_kept("a consumer knows no keys"),
        "test_a_put_that_raised_was_not_accepted": kept_with("max_msgs and discard = new"),
        "test_an_unsettled_message_counts_against_the_capacity": kept_with("max_msgs and discard = new"),
        "test_the_delivery_count_survives_a_kill_of_the_broker": not_kept(
            "the counts are written some time later: the last of them are lost"
        ),
    },
    unit=1.0,
)


def _channel(server: Server, name: str) -> NatsChannel:
    return NatsChannel(server.url, name)


CHANNEL = System(
    "nats-core",
    "NATS",
    "publish–subscribe",
    NATS,
    _channel,
    {
        **BY_A_LOOK_AT_THE_DEADLINE,
        "test_that_nobody_is_subscribed_is_told_to_the_publisher": not_kept(
            "publish is heard by nobody in silence; only a request is told so"
        ),
        "test_what_a_slow_subscriber_misses_is_counted": kept_with(
            "pending_msgs_limit of the client, which drops the newest and tells its error callback"
        ),
        "test_who_subscribes_late_gets_what_was_published_before": not_kept(
            "nothing is stored: that takes a stream"
        ),
    },
)


def _requests(
    server: Server, name: str, *, handle: Handler | None = None
) -> AbstractAsyncContextManager[Any]:
    if handle is None:
        return nats_requestor(server.url, name)
    return nats_replier(server.url, name, handle)


NOTHING_STORED = not_kept("nothing is stored: that takes a stream")
GROUPS = System(
    "nats-groups",
    "NATS",
    "durable subscription",
    NATS,
    _channel,
    {
        "test_a_group_that_was_away_gets_what_it_missed": NOTHING_STORED,
        "test_the_place_of_a_group_survives_a_kill_of_the_broker": NOTHING_STORED,
        "test_a_key_stays_with_one_member_of_a_group": not_kept("a message goes to any of them"),
    },
)

REQUESTS = System(
    "nats-requests",
    "NATS",
    "request–reply",
    NATS,
    _requests,
    {**BY_REQUESTOR_AND_REPLIER, **UNTIL_ITS_DEADLINE},
)

SYSTEMS = (JETSTREAM, CHANNEL, GROUPS, REQUESTS)
