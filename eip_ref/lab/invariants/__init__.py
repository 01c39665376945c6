"""Invariants: judgements over a trace. Each names what broke, in plain words, and proves it.

    check(trace, conservation, prefetch_never_exceeded(limit=2))      a list of findings, empty when all holds
    assert_holds(trace, conservation, order_per_key(kind="started"))  AssertionError with the findings

An invariant is a function of a trace that returns its findings, in time linear in the events. What
it needs to know comes as keyword arguments, with the trace or before it.

*Left out:* judging a trace while it still grows, and invariants over a sample of a production
system's events, where some are always missing.
"""

from .breaker import breaker_legality
from .demand import (
    demand_never_exceeded,
    depth_never_exceeded,
    drops_counted,
    no_flapping,
    rate_never_exceeded,
)
from .fan_out import fan_out_budget
from .finding import Check, Finding, Invariant, assert_holds, check, in_words
from .journeys import conservation
from .leases import lease_fencing, one_in_flight_per_key, prefetch_never_exceeded
from .loss import exactly_one_receiver, no_duplicate_effect, nothing_acked_lost
from .order import fifo, order_per_key
from .reading import gap_free_reading
from .replies import no_stray_reply
from .sagas import saga_outcome
from .subscriptions import every_subscription_gets_all, no_gap, one_owner_per_partition, order_per_publisher
from .views import effect_once_on_view, read_your_writes

__all__ = [
    "Check",
    "Finding",
    "Invariant",
    "assert_holds",
    "breaker_legality",
    "check",
    "conservation",
    "demand_never_exceeded",
    "depth_never_exceeded",
    "drops_counted",
    "effect_once_on_view",
    "every_subscription_gets_all",
    "exactly_one_receiver",
    "fan_out_budget",
    "fifo",
    "gap_free_reading",
    "in_words",
    "lease_fencing",
    "no_duplicate_effect",
    "no_flapping",
    "no_gap",
    "no_stray_reply",
    "nothing_acked_lost",
    "one_in_flight_per_key",
    "one_owner_per_partition",
    "order_per_key",
    "order_per_publisher",
    "prefetch_never_exceeded",
    "rate_never_exceeded",
    "read_your_writes",
    "saga_outcome",
]
