"""A writer that writes to a log again when no confirm comes, of lesson 07a; and partitions without a key."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import pairwise

import anyio

from ...event_sourcing import Expected, MemoryEventStore, WrongExpectedVersion
from ...lab import Faults
from ...lab.wording import plural
from ...message import Message
from ...trace import acting

__all__ = ["forty_facts", "four_users", "in_words"]

FACTS = 40
LOST = 0.1  # of the requests, and of the confirms
TIMEOUT = 1.0  # seconds without a confirm, then it is written again


async def forty_facts(ids: bool, at_once: int, versions: bool = False) -> list[int]:
    """Write 40 facts to one stream, `at_once` at a time, again and again until each is confirmed.

    With `ids` the store knows a fact that it has already. With `versions` fact n is written at version n
    and nowhere else. Returns the numbers of the facts in the order of the log.
    """
    chance = Faults().random("network")
    store, tries = MemoryEventStore("user-events"), iter(range(1, 10_000))

    async def attempt(number: int) -> bool:
        """True when a confirm came."""
        identity = f"fact {number}" if ids else f"fact {number}, try {next(tries)}"
        expected = number if versions else Expected.ANY
        await anyio.sleep(0.1)
        if chance.random() < LOST:
            await anyio.sleep(TIMEOUT)
            return False
        try:
            await store.append("user-1", [Message(number, "UserDid", id=identity)], expected=expected)
        except WrongExpectedVersion:
            return False
        if chance.random() < LOST:
            await anyio.sleep(TIMEOUT)
            return False
        return True

    async def writer(numbers: Iterator[int]) -> None:
        for number in numbers:
            while not await attempt(number):
                pass

    numbers = iter(range(FACTS))
    with acting("service"):
        async with anyio.create_task_group() as group:
            for _ in range(at_once):
                group.start_soon(writer, numbers)
    return [event.message.body for event in await store.read("user-1")]


def in_words(log: list[int]) -> str:
    """The facts in the log, and the places at which it goes back."""
    back = sum(after <= before for before, after in pairwise(log))
    return f"{len(log)} in the log, {len(log) - len(set(log))} of them twice, {plural(back, 'step')} back"


async def four_users(by_key: bool) -> int:
    """The users of whom a reader sees all five facts in order: 3 partitions, each read at its own pace.

    A fact goes to the partition of its user, or else to the next one in turns.
    """
    seen: dict[str, list[int]] = {}
    partitions: list[list[tuple[str, int]]] = [[], [], []]
    users = ("Ada", "Ben", "Cem", "Dina")
    for number in range(20):
        user = users[number % len(users)]
        place = users.index(user) if by_key else number
        partitions[place % len(partitions)].append((user, number))

    async def read(partition: list[tuple[str, int]], pace: float) -> None:
        for user, number in partition:
            await anyio.sleep(pace)
            seen.setdefault(user, []).append(number)

    async with anyio.create_task_group() as group:
        for partition, pace in zip(partitions, (0.2, 0.5, 1.0), strict=True):
            group.start_soon(read, partition, pace)
    return sum(numbers == sorted(numbers) for numbers in seen.values())
