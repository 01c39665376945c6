"""ActiveMQ Classic, over STOMP."""

from __future__ import annotations

from typing import Any

from eip_ref.field.activemq import ActiveMQQueue
from eip_ref.field.servers import ActiveMQ, Server

from ..verdicts import (
    BY_A_TIMER,
    BY_THE_ADAPTER,
    DEAD_LETTERS_BY_THE_ADAPTER,
    System,
    kept_with,
    not_applicable,
    not_kept,
)

__all__ = ["SYSTEMS"]


def _queue(server: Server, name: str, **settings: Any) -> ActiveMQQueue:
    return ActiveMQQueue(server.url, name, **settings)


NO_BOUND = not_kept("a queue is bounded by the memory of all messages, and not by a count")
COPY = kept_with("the adapter puts a copy with its count in the same transaction as the ack")

QUEUE = System(
    "activemq-classic",
    "ActiveMQ Classic, over STOMP",
    "queue",
    ActiveMQ,
    _queue,
    {
        **BY_THE_ADAPTER,
        **BY_A_TIMER,
        **DEAD_LETTERS_BY_THE_ADAPTER,
        "test_deliveries_are_counted": COPY,
        "test_the_delivery_count_survives_a_kill_of_the_broker": COPY,
        "test_a_nack_takes_a_delay": kept_with("AMQ_SCHEDULED_DELAY, on the copy that the adapter puts"),
        "test_a_delayed_put_is_ready_after_its_delay": kept_with(
            "schedulerSupport of the broker, and AMQ_SCHEDULED_DELAY"
        ),
        "test_the_system_ends_the_lease_of_a_consumer_that_hangs": kept_with(
            "a heartbeat of 2 s in place of 60: the broker ends a connection that is silent",
            {"heartbeat": 2},
        ),
        "test_the_system_itself_refuses_an_old_lease": not_applicable(
            "a message is with one subscription until that settles it or ends: no lease is ever old"
        ),
        "test_a_later_lease_has_a_higher_token": not_kept("the id of an ack is no number"),
        "test_a_crash_loop_reaches_the_dead_letters": not_kept(
            "over STOMP the broker says redelivered, and no more"
        ),
        "test_a_returned_message_has_its_old_place": not_kept("the copy that counts the failure is the last"),
        "test_at_most_one_message_of_a_key_is_in_flight": kept_with(
            "JMSXGroupID: a group stays with a subscription, which has one message"
        ),
        "test_a_put_that_raised_was_not_accepted": NO_BOUND,
        "test_an_unsettled_message_counts_against_the_capacity": NO_BOUND,
        "test_a_message_that_is_sent_again_is_stored_once": not_kept("it is stored twice"),
        "test_what_was_confirmed_survives_a_kill_of_the_broker": kept_with(
            "persistent messages", without={"persistent": False}
        ),
        "test_a_running_lease_survives_a_kill_of_the_broker": not_kept(
            "the message is handed out again while its consumer still works on it"
        ),
    },
)

SYSTEMS = (QUEUE,)
