"""Write the test that catches the lying broker

Write the test · hard · 4 points · 15 minutes

Answer: async def test_broker(make)
Called: Your `test_broker(make)` with three brokers that keep the promise and five that break it, each in a
    simulation of its own.
Promised: Your test passes for every broker that keeps over a kill what it confirmed: the orders, their
    ids, the counts of their deliveries, and the acks. It raises an AssertionError for every other broker.
Hint: What must be there when the broker is killed right after `put` has returned? Start it again and look.
Hint: Four questions, each with a kill before it: is the order there? Is it there once, when it is put
    again with the same id? How often was it delivered? Is it gone after the ack?
Hint: Put, kill, start, receive, put again with the same id; kill, start, wait more than ten seconds,
    receive: now `deliveries` must be 2. Ack, kill, start, wait again: `receive()` must be None.
Why: Each promise is tried by a kill at the moment at which it matters, and then by looking. A stop in good
    order proves nothing, and neither does a kill long after the confirm.

accuses-a-correct-broker: The test fails a broker that keeps the promise. It may take a tenth of a second
    for a put, and it may lend an order again at once after a restart, or only when its ten seconds are
    over. Each `make()` is another broker, with an empty disk of its own.
misses-saves-at-exit: The test does not notice a broker that writes at its exit. A broker that is stopped
    in good order may save what it has. A killed one may not. And look before you put the same order again:
    that put brings back what was lost.
misses-early-confirm: The test does not notice a confirm before the write. This broker writes a second
    later. Only a kill within that second sees it, and only if you look before you put the same order again:
    that put brings back what was lost.
misses-forgotten-ids: The test does not notice that ids are forgotten. The producer that heard no confirm
    puts again after the restart, and then there are two.
misses-forgotten-counts: The test does not notice that counts are forgotten. An order that kills its
    worker, and the broker with it, is then never given up.
misses-forgotten-acks: The test does not notice that an ack is forgotten. What was done comes again after
    each restart.
"""

from __future__ import annotations

from ...autograder import kit
from .brokers import (
    Broker,
    ConfirmsEarly,
    ForgetsAcks,
    ForgetsCounts,
    ForgetsIds,
    GivesLeasesBack,
    SavesAtExit,
    SharesSyncs,
)

__all__ = ["EXERCISE"]

CORRECT: dict[str, kit.Make] = {
    "a broker that syncs each order": Broker,
    "a broker that shares its syncs": SharesSyncs,
    "a broker that lends everything again after a restart": GivesLeasesBack,
}
BROKEN: dict[str, tuple[kit.Make, str]] = {
    "a broker that saves at its exit": (SavesAtExit, "misses-saves-at-exit"),
    "a broker that confirms before it writes": (ConfirmsEarly, "misses-early-confirm"),
    "a broker that forgets the ids": (ForgetsIds, "misses-forgotten-ids"),
    "a broker that forgets the counts": (ForgetsCounts, "misses-forgotten-counts"),
    "a broker that forgets the acks": (ForgetsAcks, "misses-forgotten-acks"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN),
    kit.judge_test("accuses-a-correct-broker", BROKEN),
    seeds=(1,),
)
