"""The exercises of lesson 02 · Message queue."""

from .backoff_not_hot_loop import BACKOFF_NOT_HOT_LOOP, a_supplier_is_away
from .books import Books, Conflict, Transaction
from .catch_ack_on_receive import CATCH_ACK_ON_RECEIVE
from .choose_ack_mode import CHOOSE_ACK_MODE
from .dead_letter_day import a_day_with_poison
from .dead_letters_and_replay import DEAD_LETTERS_AND_REPLAY
from .fence_the_store import FENCE_THE_STORE, a_sleepy_worker
from .idempotent_receiver import IDEMPOTENT_RECEIVER, four_payments
from .keep_the_lease import KEEP_THE_LEASE, slow_reports
from .mend_the_worker import MEND_THE_WORKER, a_hard_shift
from .order_per_key import ORDER_PER_KEY, changes_of_mind
from .predict_the_shares import PREDICT_THE_SHARES

__all__ = [
    "EXERCISES",
    "NUMBER",
    "TITLE",
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
TITLE = "Message queue"
EXERCISES = (
    PREDICT_THE_SHARES,
    CHOOSE_ACK_MODE,
    MEND_THE_WORKER,
    KEEP_THE_LEASE,
    FENCE_THE_STORE,
    CATCH_ACK_ON_RECEIVE,
    BACKOFF_NOT_HOT_LOOP,
    DEAD_LETTERS_AND_REPLAY,
    IDEMPOTENT_RECEIVER,
    ORDER_PER_KEY,
)
