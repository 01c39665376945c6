"""The predictions of lesson 02 · Message queue."""

from ...autograder.predict import Prediction

PREDICTIONS = (
    Prediction(
        name="message_queue/order",
        question=(
            "A queue is first in, first out. worker-1 needs 5 seconds for an order and worker-2 needs 2. "
            "Eight orders wait. In which order are they packed?"
        ),
        options=(
            "1 2 3 4 5 6 7 8: the queue keeps the order",
            "2 3 1 4 5 …: they start in order and finish out of order",
            "Odd numbers by worker-1, even ones by worker-2",
        ),
        answer="2 3 1 4 5 …: they start in order and finish out of order",
        why=(
            "The queue decides only who starts next. Each worker takes the next order when it is free, so "
            "the fast one takes more, and the slow one's order is overtaken."
        ),
    ),
    Prediction(
        name="message_queue/prefetch",
        question=(
            "Twenty orders wait. worker-1 starts, and worker-2 starts one second later. Both have prefetch "
            "20. How many does worker-2 pack?"
        ),
        options=(
            "10: they share the work",
            "9 or so: it came a little later",
            "0",
        ),
        answer="0",
        why=(
            "In its first moment worker-1 took all twenty. They are in flight, so the queue has nothing for "
            "worker-2, although worker-1 is working on one of them and the other nineteen lie on its table."
        ),
    ),
    Prediction(
        name="message_queue/ack_last",
        question=(
            "Now the worker acknowledges last, after the work. Each order takes two seconds and its label "
            "is printed in the middle. The worker dies at 5.5 s. What happens to order 3?"
        ),
        options=(
            "Its label is printed once",
            "Its label is printed twice",
            "Its label is never printed",
        ),
        answer="Its label is printed twice",
        why=(
            "At 5 s the label was printed; at 5.5 s the worker died before its ack. The queue knows only "
            "that the lease ran out, so it hands out order 3 again. Between “effect, no ack” and “no "
            "effect, no ack” the queue cannot see a difference."
        ),
    ),
    Prediction(
        name="message_queue/stale",
        question=(
            "At 5 s worker-1's lease is over and worker-2 gets order 1. At 8 s worker-1 is done and sends "
            "its ack. What should the queue do with that ack?"
        ),
        options=(
            "Accept it: the work is done",
            "Answer “stale” and change nothing",
            "Take the order away from worker-2",
        ),
        answer="Answer “stale” and change nothing",
        why=(
            "worker-2 has the newer lease and is at work. If the old ack settled the message and worker-2 "
            "then died, nobody would try again. An ack counts only with the lease that it belongs to: this "
            "is called fencing."
        ),
    ),
    Prediction(
        name="message_queue/crash_loop",
        question=(
            "Failures can be counted in two ways: count the nacks, or count the nacks and the expired "
            "leases. A message crashes the whole worker process each time. What happens to it if only nacks "
            "are counted?"
        ),
        options=(
            "It is dead after three crashes",
            "It comes back for ever, and crashes every worker",
            "The queue loses it",
        ),
        answer="It comes back for ever, and crashes every worker",
        why=(
            "A dead process sends no nack, so the counter never moves. `eip_ref` counts both, which is why "
            "the policy has two counters: failures (nacks and expired leases) and deliveries (leases "
            "granted)."
        ),
    ),
)
