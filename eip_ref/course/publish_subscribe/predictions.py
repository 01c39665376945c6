"""The predictions of lessons 05a and 05b · Publish–subscribe."""

from __future__ import annotations

from ...trace import Kind, Trace
from .._proof import Proved
from .slow import heard

__all__ = ["PREDICTIONS"]


def _receipts(trace: Trace) -> tuple[int, bool]:
    """The receipts that were sent, and true when somebody could count a miss."""
    return trace.count(Kind.EFFECT, where="mail"), bool(trace.filter(Kind.DROPPED, Kind.REFUSED))


def _last_of_stock(trace: Trace) -> int:
    return round(trace.filter(Kind.EFFECT, where="stock")[-1].at)


def _shown(trace: Trace) -> tuple[int, bool]:
    """The prices that the first browser showed, and true when one of them was late."""
    shown = trace.filter(Kind.EFFECT, where="browser 0.1 s")
    return len(shown), any(event.data["late"] > 1 for event in shown)


def _again(trace: Trace) -> str:
    crash = trace.filter(Kind.CRASHED)[0].at
    return " ".join(e.message[1:] for e in trace.filter(Kind.DELIVERED) if e.at > crash) or "none"


def _who_waited(trace: Trace) -> str:
    return " ".join(
        str(e.data["key"]) for e in trace.filter(Kind.EFFECT) if e.at > 10 and e.data["key"] != "Ada"
    )


PREDICTIONS = (
    Proved(
        name="publish_subscribe/away",
        question="Mail is away for three of the ten orders. How many receipts are sent, and who can tell?",
        run="away",
        reading=_receipts,
        claims={
            "Ten receipts: the three orders are sent when mail is back": (10, False),
            "Seven receipts, and three drops that somebody can count": (7, True),
            "Seven receipts, and no error or drop anywhere": (7, False),
        },
        answer="Seven receipts, and no error or drop anywhere",
        why=(
            "A live subscription hears what is published while it is there. While mail is away it has no "
            "subscription, so nothing is owed to it and nothing is dropped."
        ),
    ),
    Proved(
        name="publish_subscribe/slow_mail",
        question=(
            "The shop publishes for 30 seconds. At which second does stock, which needs no time, hear its "
            "last order?"
        ),
        run="slow",
        reading=_last_of_stock,
        claims={
            "At 29 s: it has a buffer of its own": 29,
            "At 47 s: in between": 47,
            "At 60 s: all wait in turn for mail": 60,
        },
        answer="At 47 s: in between",
        why=(
            "Stock's buffer is empty, but the shop publishes nothing while it waits for mail. From the sixth "
            "waiting order on it publishes at mail's pace, one order in 2 s. Only mail's last few are still "
            "in its buffer when stock has heard all."
        ),
    ),
    Proved(
        name="publish_subscribe/dead_mail",
        question=(
            "Mail's process is dead, and its subscription is still there. How many orders does stock hear in "
            "two minutes?"
        ),
        run="dead",
        reading=lambda dead: heard(dead, "stock"),
        claims={
            "30: the dead hold nobody up": 30,
            "19: until mail's buffer is full": 19,
            "3: those before mail died": 3,
        },
        answer="19: until mail's buffer is full",
        why=(
            "A buffer is filled whether or not somebody empties it. Then `block` does what it promises: it "
            "waits. From outside a dead subscriber looks like a slow one."
        ),
    ),
    Proved(
        name="publish_subscribe/sockets",
        question=(
            "All three browsers read from one shared subscription. How many of the thirty prices does the "
            "first quick browser show?"
        ),
        run="sockets",
        reading=lambda sockets: _shown(sockets["shared"]),
        claims={
            "30, each in time": (30, False),
            "30, many of them late: the slow browser holds it up": (30, True),
            "13, each in time": (13, False),
        },
        answer="13, each in time",
        why=(
            "One subscription with three readers is a queue with three competing consumers: each price goes "
            "to one of them. The slow one takes few, and holds nobody up."
        ),
    ),
    Proved(
        name="publish_subscribe/helper",
        question=(
            "Alone, packer-1 packs the order once and acknowledges it at 14 s. Now packer-2 joins. How often "
            "is the order packed in 300 s?"
        ),
        run="helped",
        reading=lambda helped: (helped[2].count(Kind.EFFECT), helped[2].count(Kind.ACKED)),
        claims={
            "Once: the second has nothing to do": (1, 1),
            "Twice: each packs it, and the first ack ends it": (2, 1),
            "28 times, and it is never done": (28, 0),
        },
        answer="28 times, and it is never done",
        why=(
            "After 10 s of silence packer-1 counts as dead and loses its partition, so its ack is stale. "
            "Then packer-2 is silent for 10 s, and it goes the other way. 14 s of work never fit into a "
            "session of 10 s."
        ),
    ),
    Proved(
        name="publish_subscribe/committed",
        question="Mail has acknowledged 1, 2, 4 and 5 and dies over 3. What is handed out when it is back?",
        run="again",
        reading=_again,
        claims={"Order 3": "3", "Orders 3, 4 and 5": "3 4 5", "Nothing: 5 was acknowledged": "none"},
        answer="Orders 3, 4 and 5",
        why=(
            "The committed position is the first one without an ack: 3. It cannot say that 4 and 5 behind it "
            "are done, so they come again."
        ),
    ),
    Proved(
        name="publish_subscribe/holiday",
        question=(
            "The log keeps 10 messages, mail's durable subscription has the policy `block`, and mail is on "
            "holiday. How many of 30 orders can the shop publish in 100 s?"
        ),
        run="holidays",
        reading=lambda holidays: holidays["block"].count(Kind.ACCEPTED, where="shop.log"),
        claims={
            "30: a durable subscriber reads them later": 30,
            "10: then the shop waits": 10,
            "0: nobody is there to read": 0,
        },
        answer="10: then the shop waits",
        why=(
            "The log may not forget what mail has not read, and it has room for 10. So the shop waits for "
            "somebody who is away."
        ),
    ),
    Proved(
        name="publish_subscribe/ada",
        question="Three packers, three partitions. Ada's order takes a minute. Whose orders wait for it?",
        run="ada",
        reading=_who_waited,
        claims={
            "Nobody's: only Ada's own orders wait for Ada": "",
            "Cem's and Finn's: they share her partition": "Cem Finn",
            "Everybody's: they came after her": "Ben Cem Dina Emil Finn",
        },
        answer="Cem's and Finn's: they share her partition",
        why=(
            "Ada, Cem and Finn have the same partition, and a partition has one owner, who takes one after "
            "the other. The other two packers are done after 2 s and may not help."
        ),
    ),
)
