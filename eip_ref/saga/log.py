"""The log of sagas: the protocol, and one that lives in memory.

Whatever a log is made of, it promises three things. Entries and outgoing commands given together
are kept together, or not at all. Whoever appends must know the number of entries before: two
orchestrators that both believe to run a saga cannot both write. And a saga that has ended takes no
more entries.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import anyio
import anyio.lowlevel

from ..message import Message
from ..trace import Kind, record
from .entries import Entry, Mark, Phase, phase_after

__all__ = ["Change", "MemorySagaLog", "SagaLog", "TakenOver", "checked", "packed", "tell", "unpacked"]


class TakenOver(Exception):
    """Somebody else has written to this saga's log meanwhile: leave the saga to them."""


class SagaLog(Protocol):
    """Where sagas are kept. All of it may take time, since a database may be far away."""

    async def append(
        self, saga: str, number: int, entries: Sequence[Entry], commands: Sequence[Message] = ()
    ) -> None:
        """Add entries after the first `number`, and commands to the outbox, in one transaction.

        Raises `TakenOver` when there are more or fewer entries, `SagaEnded` or `IllegalEntry` when
        an entry may not follow; then nothing is kept.
        """
        ...

    async def read(self, saga: str) -> list[Entry]:
        """The entries of a saga; none when it is not known."""
        ...

    async def find(self, *phases: Phase, name: str | None = None) -> list[str]:
        """The ids of all sagas in one of these phases, and with this name, oldest first."""
        ...

    def now(self) -> float:
        """The time on the log's clock, in seconds. It goes on over restarts."""
        ...

    async def unsent(self, limit: int = 100) -> list[tuple[int, Message]]:
        """The oldest commands in the outbox, each with its place."""
        ...

    async def sent(self, place: int) -> None:
        """The command at this place was sent: forget it."""
        ...


class Change(NamedTuple):
    """One change of phase, as the trace tells it."""

    was: Phase | None
    now: Phase
    reason: str


def checked(
    saga: str, phase: Phase | None, known: int, number: int, entries: Sequence[Entry]
) -> tuple[Phase, list[Change]]:
    """For logs: the phase after these entries, and its changes. Raises what `append` raises."""
    if number != known:
        raise TakenOver(f"saga {saga} has {known} entries and not {number}: somebody else runs it")
    changes = []
    for entry in entries:
        before, phase = phase, phase_after(phase, entry)
        if before is not phase:
            changes.append(Change(before, phase, entry.data if isinstance(entry.data, str) else ""))
    if phase is None:
        raise TakenOver(f"saga {saga} is not known here")
    return phase, changes


def tell(saga: str, name: str, changes: Sequence[Change]) -> None:
    """For logs, right after the commit: so no crash comes between what is so and what the trace says."""
    for was, now, reason in changes:
        record(Kind.STATE, name, saga, was=was or "", now=now, reason=reason)


def packed(entry: Entry) -> str:
    """The data of an entry as JSON. Raises TypeError for data that would come back changed."""
    text = json.dumps(entry.data, allow_nan=False)
    if json.loads(text) != entry.data:
        raise TypeError(
            f"{entry.mark} {entry.step}: {entry.data!r} would come back changed from the log; "
            "use JSON values: lists for tuples, and text for keys"
        )
    return text


def unpacked(mark: str, step: str, data: Any) -> Entry:
    """The entry that was packed."""
    return Entry(Mark(mark), step, json.loads(data))


class MemorySagaLog:
    """A log that lives as long as its process: for simulations and tests."""

    def __init__(self) -> None:
        self._entries: dict[str, list[tuple[str, str, str]]] = {}
        self._phases: dict[str, tuple[str, Phase]] = {}
        self._outbox: dict[int, Message] = {}
        self._place = 0

    async def append(
        self, saga: str, number: int, entries: Sequence[Entry], commands: Sequence[Message] = ()
    ) -> None:
        name, phase = self._phases.get(saga, ("", None))
        after, changes = checked(saga, phase, len(self._entries.get(saga, ())), number, entries)
        rows = [(str(entry.mark), entry.step, packed(entry)) for entry in entries]
        if phase is None:
            name = str(entries[0].data["name"])
        self._entries.setdefault(saga, []).extend(rows)
        self._phases[saga] = name, after
        for command in commands:
            self._place += 1
            self._outbox[self._place] = command.copy()
        tell(saga, name, changes)
        await anyio.lowlevel.cancel_shielded_checkpoint()  # it is written: say so, come what may

    async def read(self, saga: str) -> list[Entry]:
        await anyio.lowlevel.checkpoint()
        return [unpacked(*row) for row in self._entries.get(saga, ())]

    async def find(self, *phases: Phase, name: str | None = None) -> list[str]:
        await anyio.lowlevel.checkpoint()
        return [saga for saga, (of, phase) in self._phases.items() if phase in phases and name in (None, of)]

    def now(self) -> float:
        return anyio.current_time()

    async def unsent(self, limit: int = 100) -> list[tuple[int, Message]]:
        await anyio.lowlevel.checkpoint()
        return [(place, command.copy()) for place, command in list(self._outbox.items())[:limit]]

    async def sent(self, place: int) -> None:
        self._outbox.pop(place, None)
        await anyio.lowlevel.cancel_shielded_checkpoint()
