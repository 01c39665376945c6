"""NATS: a work queue of JetStream."""

from __future__ import annotations

from typing import Any

from eip_ref.field.jetstream import JetStreamQueue
from eip_ref.field.servers import NATS, Server

from ..verdicts import BY_THE_ADAPTER, DEAD_LETTERS_BY_THE_ADAPTER, System, kept_with, not_kept

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
        "test_a_returned_message_has_its_old_place": not_kept("it comes after one that is ready"),
        "test_at_most_one_message_of_a_key_is_in_flight": not_kept("a consumer knows no keys"),
        "test_a_put_that_raised_was_not_accepted": kept_with("max_msgs and discard = new"),
        "test_an_unsettled_message_counts_against_the_capacity": kept_with("max_msgs and discard = new"),
        "test_the_delivery_count_survives_a_kill_of_the_broker": not_kept(
            "the counts are written some time later: the last of them are lost"
        ),
    },
    unit=1.0,
)

SYSTEMS = (JETSTREAM,)
