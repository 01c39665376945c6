"""Lessons 02a, 02b and 02c · Message queue."""

from ...autograder.registry import Part
from . import (
    backoff_not_hot_loop,
    catch_ack_on_receive,
    choose_ack_mode,
    dead_letters_and_replay,
    fence_the_store,
    idempotent_receiver,
    keep_the_lease,
    mend_the_worker,
    order_per_key,
    predict_the_shares,
)
from .backoff_not_hot_loop import a_supplier_is_away
from .books import Books, Conflict, Transaction
from .dead_letters_and_replay import a_day_with_poison
from .fence_the_store import a_sleepy_worker
from .idempotent_receiver import four_payments
from .keep_the_lease import slow_reports
from .mend_the_worker import a_hard_shift
from .order_per_key import changes_of_mind

__all__ = [
    "NUMBER",
    "PARTS",
    "Books",
    "Conflict",
    "Transaction",
    "a_day_with_poison",
    "a_hard_shift",
    "a_sleepy_worker",
    "a_supplier_is_away",
    "changes_of_mind",
    "four_payments",
    "slow_reports",
]

NUMBER = 2
PARTS = (
    Part(
        "competing_consumers",
        "Competing consumers",
        (predict_the_shares.EXERCISE, order_per_key.EXERCISE),
        ("order", "prefetch", "who_waits"),
    ),
    Part(
        "acks_and_leases",
        "Acks and leases",
        (
            choose_ack_mode.EXERCISE,
            mend_the_worker.EXERCISE,
            keep_the_lease.EXERCISE,
            fence_the_store.EXERCISE,
            catch_ack_on_receive.EXERCISE,
        ),
        ("ack_last", "stale", "heartbeat"),
    ),
    Part(
        "poison_and_duplicates",
        "Poison and duplicates",
        (backoff_not_hot_loop.EXERCISE, dead_letters_and_replay.EXERCISE, idempotent_receiver.EXERCISE),
        ("hot_loop", "crash_loop", "charged", "shortcuts"),
    ),
)
