"""The verdict on a promise that a system keeps, or does not keep, and how it is proved."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from eip_ref.field.servers import Server

__all__ = [
    "BY_A_GROUP_OF_OURS",
    "BY_A_LOOK_AT_THE_DEADLINE",
    "BY_A_TIMER",
    "BY_REQUESTOR_AND_REPLIER",
    "BY_THE_ADAPTER",
    "DEAD_LETTERS_BY_THE_ADAPTER",
    "UNTIL_ITS_DEADLINE",
    "System",
    "Verdict",
    "kept_with",
    "not_applicable",
    "not_kept",
]


class Found(StrEnum):
    """The four words of the table."""

    KEPT = "kept"
    WITH = "kept with a setting"
    NOT = "not kept"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True)
class Verdict:
    """One cell of the table. The words name the setting, or what the system does instead, or why."""

    found: Found = Found.KEPT
    words: str = ""
    settings: Mapping[str, Any] = field(default_factory=dict)  #: with which it is asked
    without: Mapping[str, Any] | None = None  #: settings with which it is not kept, as is proved too


def kept_with(
    setting: str, settings: Mapping[str, Any] | None = None, *, without: Mapping[str, Any] | None = None
) -> Verdict:
    """Kept with this setting: one that the promise itself gives, or that the adapter has by itself, or these.

    With those of `without` it is not kept; given `settings`, it is not without them.
    """
    if settings is None:
        return Verdict(Found.WITH, setting, without=without)
    return Verdict(Found.WITH, setting, settings, without or {})


def not_kept(instead: str) -> Verdict:
    """Not kept, and the test proves that it is not."""
    return Verdict(Found.NOT, instead)


def not_applicable(why: str) -> Verdict:
    """Nothing to run: the promise is about something that the system does not have by design."""
    return Verdict(Found.NOT_APPLICABLE, why)


BY_A_LOOK_AT_THE_DEADLINE = {
    "test_a_message_past_its_deadline_is_dropped": kept_with(
        "the adapter looks at the deadline when it receives"
    )
}
"""What the adapter of every queue and every channel brings."""

BY_THE_ADAPTER = {
    "test_settling_twice_is_idempotent_and_ways_exclude_each_other": kept_with(
        "the adapter remembers how it has settled a lease"
    ),
    **BY_A_LOOK_AT_THE_DEADLINE,
    "test_a_nack_without_a_delay_makes_no_hot_loop": kept_with("the adapter chooses the delay"),
    "test_what_is_no_message_is_a_dead_letter_and_others_are_delivered": kept_with(
        "the adapter puts its content into a dead letter, then acks it"
    ),
    "test_what_is_no_message_can_be_read_where_it_has_come_to_rest": kept_with(
        "the adapter hands out its content as a dead letter"
    ),
}
"""What the adapter of every queue brings."""

BY_A_TIMER = dict.fromkeys(
    (
        "test_an_expired_lease_makes_the_message_ready",
        "test_an_old_lease_settles_nothing",
        "test_a_receiver_may_choose_its_lease",
        "test_a_heartbeat_keeps_the_lease",
        "test_an_extension_counts_from_now",
    ),
    kept_with("a timer of the adapter returns the message"),
)
"""Brought by the adapter where the system has no leases."""

DEAD_LETTERS_BY_THE_ADAPTER = dict.fromkeys(
    (
        "test_a_poison_message_is_moved_to_the_dead_letters",
        "test_a_crash_loop_reaches_the_dead_letters",
        "test_a_rejected_message_is_a_dead_letter_at_once",
        "test_a_dead_letter_keeps_everything_and_gains_the_facts",
        "test_a_dead_letter_does_not_expire",
    ),
    kept_with("the adapter puts it into a second queue, then acks it here"),
)
"""What the adapter brings where the system has no dead letters."""

BY_A_GROUP_OF_OURS = {
    "test_a_group_drops_what_has_expired": kept_with("the adapter looks at the deadline when a group reads")
}
"""What the adapter of every log brings."""

BY_REQUESTOR_AND_REPLIER = {
    "test_the_error_of_the_handler_keeps_its_type": kept_with("it is in the reply's content"),
    "test_a_repeated_operation_is_carried_out_once": kept_with("the replier remembers its answers"),
    "test_the_deadline_reaches_the_replier": kept_with("it is in the request's content"),
}
"""What `request_reply` brings to every transport."""


UNTIL_ITS_DEADLINE = {
    "test_who_waits_at_a_kill_is_told_before_the_deadline": not_kept(
        "the caller waits until its deadline: its client opens another connection, and tells nobody"
    )
}
"""What comes of a request to a broker that dies: the reply might be on its way elsewhere."""


@dataclass(frozen=True)
class System:
    """A system in the role of one pattern. A promise that `verdicts` does not name is kept as it is."""

    id: str  #: in the names of the tests, such as "rabbitmq-quorum"
    label: str  #: in the table
    pattern: str  #: of `PATTERNS`, such as "log"
    server: type[Server]
    open: Callable[..., AbstractAsyncContextManager[Any]]  #: of server, name and settings
    verdicts: Mapping[str, Verdict] = field(default_factory=dict)  #: by the name of the promise's test
    unit: float = 0.4  #: seconds of the shortest lease that promises use
