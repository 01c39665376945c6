"""The predictions of lessons 03a and 03b · Durable queue."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Kind, Trace
from .._proof import Proved
from .killed import Killed
from .strip import Strip

__all__ = ["PREDICTIONS"]


def _left(both: tuple[Killed, Killed]) -> tuple[int, int | str]:
    """The orders in the file of each program; "some" for fewer than were confirmed."""
    saved, written = both
    return saved.left, "some" if 0 < written.left < written.confirmed else written.left


def _lost(killed: Killed) -> int:
    """The orders that were lost; 100 for hundreds."""
    return min(killed.confirmed - killed.left, 100)


def _alone(rates: Mapping[tuple[int, int, int], float]) -> str:
    """The number of orders a second of one till that may share, compared with one that may not."""
    ratio = rates[1, 10, 10] / rates[1, 1, 0]
    return "tenfold" if ratio > 5 else "falls" if ratio < 0.9 else "stays"


def _with_new_ids(strips: Mapping[str, Strip]) -> tuple[bool, bool]:
    """True when orders are lost; true when more are booked twice than billing's own deaths explain."""
    return strips["new ids"].lost > 0, strips["new ids"].twice > strips["same ids"].twice


def _next_delivery(trace: Trace) -> float:
    return trace.filter(Kind.DELIVERED)[1].at


def _booked(trace: Trace) -> tuple[str, int]:
    return " ".join(trace.messages(Kind.EFFECT)), trace.result


def _unread(dropped: Mapping[int, int]) -> int:
    return dropped[600]


def _after(stocks: Mapping[str, tuple[int, int]]) -> tuple[int, int]:
    return stocks["changes"][1], stocks["levels"][1]


PREDICTIONS = (
    Proved(
        name="durable_queue/finally",
        question=(
            "Both programs confirm 1,000 orders and are then killed by SIGKILL. How many orders are in the "
            "file of each?"
        ),
        run="first_two",
        reading=_left,
        claims={
            "1,000 and 1,000: `finally` always runs, and the other one wrote before it confirmed": (
                1000,
                1000,
            ),
            "0 and 1,000": (0, 1000),
            "0, and some of them": (0, "some"),
        },
        answer="0, and some of them",
        why=(
            "SIGKILL ends the process between two instructions: no `finally`, no `with`, no handler runs. "
            "And `file.write` only fills a buffer inside the program. What is in it dies with the program."
        ),
    ),
    Proved(
        name="durable_queue/never_synced",
        question=(
            "This queue never syncs. Its process is killed at the last of 1,000 confirms. How many orders "
            "are lost?"
        ),
        run="unsynced",
        reading=_lost,
        claims={
            "Hundreds": 100,
            "The last one": 1,
            "None": 0,
        },
        answer="None",
        why=(
            "SQLite hands each commit to the operating system before it returns. The system lives on when "
            "the program dies, and the next program reads from its cache. Only the loss of power, or of the "
            "system, takes what was not synced."
        ),
    ),
    Proved(
        name="durable_queue/company",
        question=(
            "One till sends orders, each when the one before is confirmed. Now up to ten orders may share a "
            "sync, and the broker waits up to 10 ms for company. What becomes of the number of orders a "
            "second?"
        ),
        run="rates",
        reading=_alone,
        claims={
            "It grows nearly tenfold": "tenfold",
            "It stays as it was": "stays",
            "It falls": "falls",
        },
        answer="It falls",
        why=(
            "The till waits for its confirm, the broker waits for the till's next order, and nothing comes. "
            "So each order waits for 10 ms more. Sharing needs several producers, or one that does not wait "
            "for each confirm."
        ),
    ),
    Proved(
        name="durable_queue/same_id",
        question=(
            "The queue is durable, and the till sends each order with an id that it makes anew for each try. "
            "The process dies at every quarter of a second, one run for each. What can happen to an order?"
        ),
        run="strips",
        reading=_with_new_ids,
        claims={
            "It can be lost": (True, False),
            "It can be booked twice, even if no crash came between a booking and its ack": (False, True),
            "Nothing: a durable queue loses nothing and doubles nothing": (False, False),
        },
        answer="It can be booked twice, even if no crash came between a booking and its ack",
        why=(
            "When the process dies after the commit and before the till has crossed the order out, the till "
            "sends it again. With a new id these are two orders, and each of them is booked. With the same "
            "id the queue knows that it has this one."
        ),
    ),
    Proved(
        name="durable_queue/lease",
        question=(
            "At 10 s a worker gets an order, with a lease of 30 s. At 12 s the broker dies, and at 13 s it "
            "is back. When does another worker get the order?"
        ),
        run="restarted",
        reading=_next_delivery,
        claims={
            "At 13 s: the restart gives everything back": 13.0,
            "At 40 s: when the lease is over": 40.0,
            "At 43 s: the lease begins anew": 43.0,
        },
        answer="At 40 s: when the lease is over",
        why=(
            "The lease is kept in the file with the time of its end. The worker may still be at work: it was "
            "the broker that died. A broker whose leases end with a connection, as RabbitMQ, would hand the "
            "order out at 13 s."
        ),
    ),
    Proved(
        name="durable_queue/skipped",
        question=(
            "The handler fails for order 2. The reader does not commit and reads on; after each order that "
            "was booked it commits. Which orders are booked in the end, and what is committed?"
        ),
        run="failed",
        reading=_booked,
        claims={
            "0 1, and then it waits at order 2; committed 2": ("o0 o1", 2),
            "0 1 3 4 5, and order 2 comes again; committed 2": ("o0 o1 o3 o4 o5", 2),
            "0 1 3 4 5, and order 2 never comes again; committed 6": ("o0 o1 o3 o4 o5", 6),
        },
        answer="0 1 3 4 5, and order 2 never comes again; committed 6",
        why=(
            "A commit has one number for the whole past. The commit after order 3 says that everything "
            "before offset 4 is done, and order 2 is before it. One order cannot be left out of a commit."
        ),
    ),
    Proved(
        name="durable_queue/retention",
        question=(
            "An order comes every 6 seconds. The log keeps 600 seconds. Billing was away for 702 seconds, "
            "and nothing has crashed. How many orders can it never read?"
        ),
        run="unread",
        reading=_unread,
        claims={
            "None: they are on the disk": 0,
            "18: those that are 600 seconds old, or older": 18,
            "117: all that came while it was away": 117,
        },
        answer="18: those that are 600 seconds old, or older",
        why=(
            "Retention looks at the age of a message and not at its readers. What is 600 seconds old is "
            "dropped, read or unread."
        ),
    ),
    Proved(
        name="durable_queue/compaction",
        question="Before, both logs say that there are 80 packets of tea. What do they say after it?",
        run="stocks",
        reading=_after,
        claims={
            "80 and 80": (80, 80),
            "−15 and 80": (-15, 80),
            "100 and 100": (100, 100),
        },
        answer="−15 and 80",
        why=(
            "Compaction keeps the last message of each key. The last level is the whole truth. The last "
            "change is only the last change: what came before it is gone, and the sum with it."
        ),
    ),
)
