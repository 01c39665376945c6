"""Catch the relay

Write the test · medium · 4 points · 12 minutes

Answer: async def test_relay(make)
Called: Your `test_relay(make)` on four correct relays and on six broken ones. `make()` gives a new one
    with an empty outbox and a broker that is up.
Promised: The test passes for each correct relay and raises AssertionError for each broken one.
Hint: While the broker is up, every one of the relays looks right. What does each promise say about a broker
    that is down?
Hint: Three events: two of Ann and one of Ben. `fail(2)` lets two tries fail, `fail(1000)` is a long night.
    Afterwards look at ids, at order per user, at `tries` and at `waiting`.
Hint: Start `run` in a task group with `fail(2)`; sleep 60; of Ann's ids in `told`, each at its first place,
    assert the order; assert `waiting == 0`; sleep 60 and assert that `tries` has not grown. Then a second
    relay with `fail(1000)`: after 30 s assert `tries <= 60` and `waiting == 3`.
Why: The test makes the broker fail, and asks what was promised: every event, in order per user, with its
    own id, not too many tries, and an outbox that ends empty. It allows what is allowed: a repetition with
    the same id, and another order between users.

accuses-a-correct-relay: Fails a relay that keeps the promises, or never ends: `run` goes on until the test
    cancels it. One relay tells an event twice with the same id, one tells Ben's event while Ann's must wait,
    and they rest for different times.
misses-the-loss: Does not see that an event is lost. This relay empties the outbox before it publishes.
misses-the-order: Does not see that a newer event is told before an older one. It happens only when the
    older one failed.
misses-the-new-id: Does not see that each try has an id of its own. Its readers cannot know a repetition.
misses-the-hot-loop: Does not see that the relay never rests. A broker that is down is asked again and
    again, without a pause.
misses-the-repetition: Does not see that an event is told for ever. It never leaves the outbox.
misses-the-delay: Does not see that an event is told too late. After a failure this relay rests for two
    minutes, and 30 s were promised.
"""

from __future__ import annotations

from typing import Any

import anyio

from ...autograder import kit
from ...trace import Kind, record

__all__ = ["EXERCISE"]

TRY = 0.1  #: seconds


class OneByOne:
    """The outbox and its relay: one event after the other, and longer rests at each failure."""

    def __init__(self) -> None:
        self.told: list[dict[str, Any]] = []
        self.tries = 0
        self._outbox: list[dict[str, Any]] = []
        self._failing = 0

    @property
    def waiting(self) -> int:
        return len(self._outbox)

    def add(self, event: dict[str, Any]) -> None:
        self._outbox.append(dict(event))
        record(Kind.NOTE, "outbox", text=f"{event.get('id')} waits")

    def fail(self, times: int) -> None:
        self._failing = times

    async def _publish(self, event: dict[str, Any]) -> bool:
        self.tries += 1
        await anyio.sleep(TRY)
        if self._failing:
            self._failing -= 1
            record(Kind.FAILED, "broker", str(event.get("id")), who="relay", error="down")
            return False
        self.told.append(dict(event))
        record(Kind.ACCEPTED, "broker", str(event.get("id")), who="relay")
        return True

    async def run(self) -> None:
        rest = 1.0
        while True:
            if not self._outbox:
                await anyio.sleep(0.5)
            elif await self._publish(self._outbox[0]):
                self._outbox.pop(0)
                rest = 1.0
            else:
                await anyio.sleep(rest)
                rest = min(8.0, 2 * rest)


class PerUser(OneByOne):
    """An event that failed holds up its own user only."""

    async def run(self) -> None:
        while True:
            held = set()
            for event in list(self._outbox):
                if event["user"] in held:
                    continue
                if await self._publish(event):
                    self._outbox.remove(event)
                else:
                    held.add(event["user"])
            await anyio.sleep(2.0)


class Repeating(OneByOne):
    """Tells the first event after a failure twice: as after a death between publishing and removing."""

    async def _publish(self, event: dict[str, Any]) -> bool:
        told = await super()._publish(event)
        if told and self.tries > len(self.told):
            await super()._publish(event)
        return told


class RestsBriefly(OneByOne):
    """Makes nearly two tries a second while the broker is down."""

    async def run(self) -> None:
        while True:
            if not self._outbox:
                await anyio.sleep(0.5)
            elif await self._publish(self._outbox[0]):
                self._outbox.pop(0)
            else:
                await anyio.sleep(0.45)


class RestsForLong(OneByOne):
    """Rests for two minutes after a failure."""

    async def run(self) -> None:
        while True:
            if not self._outbox:
                await anyio.sleep(0.5)
            elif await self._publish(self._outbox[0]):
                self._outbox.pop(0)
            else:
                await anyio.sleep(120.0)


class RemovesFirst(OneByOne):
    """Removes, then publishes."""

    async def run(self) -> None:
        while True:
            if self._outbox:
                await self._publish(self._outbox.pop(0))
            await anyio.sleep(1.0)


class GoesOn(OneByOne):
    """After a failure it goes on with the next event, whose user may be the same."""

    async def run(self) -> None:
        while True:
            for event in list(self._outbox):
                if await self._publish(event):
                    self._outbox.remove(event)
            await anyio.sleep(2.0)


class NewIds(OneByOne):
    """Gives each try after a failure an id of its own."""

    async def _publish(self, event: dict[str, Any]) -> bool:
        fresh = (
            {**event, "id": f"{event.get('id')}, try {self.tries}"} if self.tries > len(self.told) else event
        )
        return await super()._publish(fresh)


class NeverRests(OneByOne):
    """Tries again at once."""

    async def run(self) -> None:
        while True:
            if not self._outbox:
                await anyio.sleep(0.5)
            elif await self._publish(self._outbox[0]):
                self._outbox.pop(0)


class NeverRemoves(OneByOne):
    """Forgets to remove the last event once something failed."""

    async def run(self) -> None:
        while True:
            for event in list(self._outbox):
                if not await self._publish(event):
                    break
                if self.tries == len(self.told) or event is not self._outbox[-1]:
                    self._outbox.remove(event)
            await anyio.sleep(2.0)


CORRECT: dict[str, kit.Make] = {
    "a relay that goes one by one": OneByOne,
    "a relay that holds up one user only": PerUser,
    "a relay that repeats an event with its id": Repeating,
    "a relay that makes nearly two tries a second": RestsBriefly,
}
BROKEN = {
    "a relay that removes before it publishes": (RemovesFirst, "misses-the-loss"),
    "a relay that goes on after a failure": (GoesOn, "misses-the-order"),
    "a relay that makes new ids": (NewIds, "misses-the-new-id"),
    "a relay that never rests": (NeverRests, "misses-the-hot-loop"),
    "a relay that never removes": (NeverRemoves, "misses-the-repetition"),
    "a relay that rests for two minutes": (RestsForLong, "misses-the-delay"),
}

EXERCISE = kit.exercise(
    __name__,
    __doc__,
    kit.try_test(CORRECT, BROKEN, max_events=10_000),
    kit.judge_test("accuses-a-correct-relay", BROKEN),
    seeds=(1,),
)
