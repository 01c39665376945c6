"""The predictions of lessons 02a to 02c · Message queue."""

from __future__ import annotations

from collections.abc import Mapping

from ...trace import Kind, Trace
from .._proof import Proved

__all__ = ["PREDICTIONS"]


def _packed(trace: Trace) -> tuple[str, frozenset[str]]:
    """The orders as they were packed, and which of them worker-1 packed."""
    mine = frozenset(event.message for event in trace.filter(Kind.EFFECT, who="worker-1"))
    return " ".join(message.removeprefix("m") for message in trace.messages(Kind.EFFECT)), mine


def _share_of_the_late(traces: Mapping[int, Trace]) -> int:
    return traces[20].count(Kind.FINISHED, who="worker-2")


def _waited_for_ada(trace: Trace) -> tuple[bool, bool]:
    """True when Ben was done before Ada's first order was; true when Ada's orders were done in order."""
    done = [str(event.data["effect"]) for event in trace.filter(Kind.EFFECT)]
    ada = [body.split()[0] for body in done if body.endswith("Ada")]
    return done.index("cancel Ben") < done.index("place Ada"), ada == ["place", "change", "cancel"]


def _labels(trace: Trace) -> int:
    return len(trace.filter(Kind.EFFECT, message="m3"))


def _late_ack(trace: Trace) -> tuple[bool, str]:
    """True when the queue called worker-1's ack stale; and whose ack settled the order."""
    (acked,) = trace.filter(Kind.ACKED)
    return trace.count(Kind.STALE, who="worker-1") == 1, acked.who


def _handed_on(trace: Trace) -> float | None:
    """Seconds from the crash to the next delivery."""
    (crash,) = trace.filter(Kind.CRASHED)
    later = [event.at for event in trace.filter(Kind.DELIVERED) if event.at >= crash.at]
    return later[0] - crash.at if later else None


def _in_one_second(trace: Trace) -> tuple[str, bool]:
    """The orders that were packed, and whether the poison was tried more than ten times."""
    return " ".join(trace.messages(Kind.EFFECT)), len(trace.filter(Kind.DELIVERED, message="m2")) > 10


def _dead_of_nacks(trace: Trace) -> tuple[int, int]:
    """The nacks that a queue could count until the third crash; and the leases that expired."""
    third = trace.filter(Kind.CRASHED)[2].at
    until = trace.filter(test=lambda event: event.at <= third + 9)
    return until.count(Kind.NACKED), until.count(Kind.EXPIRED)


def _paid(trace: Trace) -> int:
    return 40 * trace.count(Kind.EFFECT)


def _charges(traces: Mapping[str, Trace]) -> tuple[int, int]:
    return traces["id_first"].count(Kind.EFFECT), traces["effect_first"].count(Kind.EFFECT)


PREDICTIONS = (
    Proved(
        name="message_queue/order",
        question=(
            "A queue is first in, first out. worker-1 needs 5 seconds for an order and worker-2 needs 2. "
            "Eight orders wait. In which order are they packed?"
        ),
        run="two",
        reading=_packed,
        claims={
            "1 2 3 4 5 6 7 8: the queue keeps the order": (
                "1 2 3 4 5 6 7 8",
                frozenset({"m1", "m4", "m8"}),
            ),
            "2 3 1 4 6 5 7 8: they start in order and finish out of order": (
                "2 3 1 4 6 5 7 8",
                frozenset({"m1", "m5", "m8"}),
            ),
            "2 4 1 6 8 3 5 7: odd numbers by worker-1, even ones by worker-2": (
                "2 4 1 6 8 3 5 7",
                frozenset({"m1", "m3", "m5", "m7"}),
            ),
        },
        answer="2 3 1 4 6 5 7 8: they start in order and finish out of order",
        why=(
            "The queue decides only who starts next. Each worker takes the next order when it is free, so "
            "the fast one takes more, and the slow one's order is overtaken."
        ),
    ),
    Proved(
        name="message_queue/prefetch",
        question=(
            "Twenty orders wait. worker-1 starts, and worker-2 starts one second later. Both have prefetch "
            "20. How many does worker-2 pack?"
        ),
        run="late",
        reading=_share_of_the_late,
        claims={
            "10: they share the work": 10,
            "9: it came a little later": 9,
            "0": 0,
        },
        answer="0",
        why=(
            "In its first moment worker-1 took all twenty. They are in flight, so the queue has nothing for "
            "worker-2, although worker-1 is working on one of them and the other nineteen lie on its table."
        ),
    ),
    Proved(
        name="message_queue/who_waits",
        question=(
            "Each message has its customer as key. “place Ada” fails and rests for ten seconds. Who waits "
            "for it?"
        ),
        run="rested",
        reading=_waited_for_ada,
        claims={
            "Everybody: the queue is first in, first out": (False, True),
            "Ada's other messages; all of Ben's go on": (True, True),
            "Nobody: “change Ada” and “cancel Ada” go first": (True, False),
        },
        answer="Ada's other messages; all of Ben's go on",
        why=(
            "A message that rests keeps its place at the head of its key, so Ada's next ones stay behind it. "
            "Ben has another key, and two workers are free for him."
        ),
    ),
    Proved(
        name="message_queue/ack_last",
        question=(
            "Now the worker acknowledges last, after the work. Each order takes two seconds and its label "
            "is printed in the middle. The worker dies at 5.5 s. What happens to order 3?"
        ),
        run="ack_last",
        reading=_labels,
        claims={
            "Its label is printed once": 1,
            "Its label is printed twice": 2,
            "Its label is never printed": 0,
        },
        answer="Its label is printed twice",
        why=(
            "At 5 s the label was printed; at 5.5 s the worker died before its ack. The queue knows only "
            "that the lease ran out, so it hands out order 3 again. Between “effect, no ack” and “no "
            "effect, no ack” the queue cannot see a difference."
        ),
    ),
    Proved(
        name="message_queue/stale",
        question=(
            "At 5 s worker-1's lease is over and worker-2 gets order 1. At 8 s worker-1 is done and sends "
            "its ack; worker-2 is still at work. What does the queue do with that ack?"
        ),
        run="slow",
        reading=_late_ack,
        claims={
            "Accept it: the work is done": (False, "worker-1"),
            "Answer “stale” and change nothing": (True, "worker-2"),
            "Take the order away from worker-2, and call that one stale": (False, ""),
        },
        answer="Answer “stale” and change nothing",
        why=(
            "worker-2 has the newer lease and is at work. If the old ack settled the message and worker-2 "
            "then died, nobody would try again."
        ),
    ),
    Proved(
        name="message_queue/heartbeat",
        question=(
            "worker-1 extended its lease of five seconds at 5 s, and dies at 6 s. When does the queue hand "
            "the order to worker-2?"
        ),
        run="dead",
        reading=_handed_on,
        claims={
            "At once: the heartbeat has stopped": 0.0,
            "At 10 s: five seconds after the last beat": 4.0,
            "Never: the lease was extended": None,
        },
        answer="At 10 s: five seconds after the last beat",
        why=(
            "The queue hears nothing when a worker dies; it hears only that no beat comes. That takes until "
            "the lease is over. So the length of the lease is how long the work of a dead worker lies still."
        ),
    ),
    Proved(
        name="message_queue/hot_loop",
        question=(
            "One worker and four orders. Order 2 fails in a hundredth of a second and is ready again at "
            "once. Which orders are packed in the first second?"
        ),
        run="hot",
        reading=_in_one_second,
        claims={
            "1, 3 and 4; order 2 is tried again and again": ("m1 m3 m4", True),
            "Only 1; order 2 is tried again and again": ("m1", True),
            "1, 3 and 4; order 2 is tried once in each round": ("m1 m3 m4", False),
        },
        answer="Only 1; order 2 is tried again and again",
        why=(
            "A message that comes back at once comes back to its old place, the head of the queue. The only "
            "worker takes it again, and so on for ever."
        ),
    ),
    Proved(
        name="message_queue/crash_loop",
        question=(
            "The policy says three failures. The worker's process dies over this message each time. What "
            "would happen to it if a queue counted only the nacks?"
        ),
        run="loop",
        reading=_dead_of_nacks,
        claims={
            "It is dead after three crashes": (3, 0),
            "It comes back for ever, and crashes every worker": (0, 3),
            "It is lost with the first crash": (0, 0),
        },
        answer="It comes back for ever, and crashes every worker",
        why=(
            "A dead process sends no nack, so the counter never moves. What happens is that leases expire. "
            "`eip_ref` counts both as failures."
        ),
    ),
    Proved(
        name="message_queue/charged",
        question=(
            "One payment of 40 with the key “Ada”, put once. worker-1 gets it and needs 7 seconds; the lease "
            "is 5 seconds long. worker-2 waits. Nobody dies. What does Ada pay in all?"
        ),
        run="charged",
        reading=_paid,
        claims={
            "40: with a key one message is in flight at a time": 40,
            "80": 80,
            "0: the late ack is stale, so the charge does not count": 0,
        },
        answer="80",
        why=(
            "At 5 s the lease is over, so the message is no longer in flight, and worker-2 may have it. The "
            "key held. worker-1 charges at 7 s all the same: the queue can refuse its ack, and cannot undo "
            "its work."
        ),
    ),
    Proved(
        name="message_queue/shortcuts",
        question=(
            "The first attempt raises an error; later the worker dies at 3.5 s and starts again. How often "
            "is Ada charged: with the id remembered first, and with the effect first?"
        ),
        run="evenings",
        reading=_charges,
        claims={
            "Once with either": (1, 1),
            "Once with the id first, twice with the effect first": (1, 2),
            "Never with the id first, twice with the effect first": (0, 2),
        },
        answer="Never with the id first, twice with the effect first",
        why=(
            "The id of the failed attempt stays in the memory, so the retry is taken for a duplicate. In the "
            "other order the crash comes after the charge and before the id, so the retry is taken for new."
        ),
    ),
)
