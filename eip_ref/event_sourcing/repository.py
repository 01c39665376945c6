"""The repository: the state of a stream is what its events make of the initial state, and nothing else.

    state = fold(all events) = fold(snapshot + the events after it)

A snapshot is the state of a stream at one version, kept so that a replay need not begin at the start.
It is a cache: it may be missing, old or thrown away at any time, and nothing changes but the length of
the replay. So it need not be written with the events, and one that cannot be read, or written, is noted.

A fold is a pure function: it gets a state and an event and returns the next state. It has no way to
send an e-mail, and it is no coroutine, so replaying a history a hundred times does nothing to the
world; who acts on events is a `Reactor`, which sees each of them once.

*Left out:* caching states in memory between two loads; snapshots but the newest of a stream.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, Generic, NamedTuple, TypeVar

from .. import values
from ..message import Message
from ..storage import Store
from ..trace import Kind, record
from .event_types import EventTypes
from .shredding import Forgotten
from .store import Appended, EventStore, Expected, IdTaken, WrongExpectedVersion

_log = logging.getLogger(__name__)

SNAPSHOTS = "snapshots"  # the table of all of them in a store

S = TypeVar("S")


@dataclass(frozen=True)
class Fold(Generic[S]):
    """The way in which events make a state: from `initial` on, `apply(state, event)` is the next state.

    Both are objects of registered classes. `apply` changes neither of them.
    """

    initial: S
    apply: Callable[[S, Any], S]

    def __post_init__(self) -> None:
        values.must_not_be_async("apply", self.apply)

    def __call__(self, events: Sequence[Any], state: S | None = None) -> S:
        """The state after these events, which go on from `state`, or begin."""
        return reduce(self.apply, events, self.initial if state is None else state)


class Loaded(NamedTuple, Generic[S]):
    """A state, and the version of the stream that it is the state of; 0 when there is no stream."""

    state: S
    version: int


class Snapshots:
    """The newest snapshot of each stream, in a store of documents, which may be lost.

    A snapshot is a state as `EventTypes` has encoded it, and its version. One is written whenever a load
    had to replay at least `interval` events.
    """

    def __init__(self, store: Store, *, interval: int = 100) -> None:
        self._store = store
        self.interval = values.count("interval", interval)

    def get(self, stream: str) -> Loaded[Message] | None:
        """The snapshot of this stream, or None."""
        with self._store.reading() as transaction:
            version, text = transaction.get(SNAPSHOTS, stream, (0, None))
        return Loaded(Message.from_json(text, shift=self._store.shift), version) if text else None

    def put(self, stream: str, snapshot: Loaded[Message]) -> None:
        """Keep it, unless a newer one is there."""
        state, version = snapshot
        with self._store.transaction() as transaction:
            newest, _ = transaction.get(SNAPSHOTS, stream, (0, None))
            if version >= newest:
                transaction.put(SNAPSHOTS, stream, [version, state.to_json(shift=self._store.shift)])

    def drop(self, stream: str | None = None) -> None:
        """Forget the snapshot of this stream, or all of them. Always allowed."""
        with self._store.transaction() as transaction:
            if stream is None:
                transaction.clear(SNAPSHOTS)
            else:
                transaction.delete(SNAPSHOTS, stream)


class Repository(Generic[S]):
    """Loads states from a store, and appends what was decided on them.

    With `snapshots`, a load that had to replay many events writes one.
    """

    def __init__(
        self,
        store: EventStore,
        types: EventTypes,
        fold: Fold[S],
        *,
        snapshots: Snapshots | None = None,
    ) -> None:
        self._store = store
        self._types = types
        self._fold = fold
        self._snapshots = snapshots

    async def load(self, stream: str) -> Loaded[S]:
        """The state of the stream as it is now. Raises what `EventTypes.decode` raises."""
        start = self._from_snapshot(stream)
        tail = await self._store.read(stream, after=start.version)
        nothing_new = start.version and not tail
        if nothing_new and not await self._store.read(stream, after=start.version - 1, limit=1):
            start = Loaded(self._fold.initial, 0)  # a snapshot of events that this store never had
            tail = await self._store.read(stream)
        state = self._fold([self._types.decode(event.message) for event in tail], start.state)
        loaded = Loaded(state, start.version + len(tail))
        if self._snapshots is not None and len(tail) >= self._snapshots.interval:
            self._write_snapshot(stream, loaded, self._snapshots)
        return loaded

    async def save(self, stream: str, events: Sequence[Any], *, expected: int | Expected) -> Appended:
        """Append events of registered classes, or whole messages. Raises what the store raises."""
        messages = [e if isinstance(e, Message) else self._types.encode(e) for e in events]
        return await self._store.append(stream, messages, expected=expected)

    async def change(
        self, stream: str, decide: Callable[[S], Sequence[Any]], *, attempts: int = 3
    ) -> Loaded[S]:
        """Load, decide and append; after a conflict all three again, up to `attempts` times in all.

        `decide` returns the events that follow from the state, perhaps none, or raises to refuse; it
        may be called several times. Returns the state with its new events. Raises the last
        `WrongExpectedVersion`.
        """
        values.must_not_be_async("decide", decide)
        left = values.count("attempts", attempts)
        while True:
            state, version = await self.load(stream)
            events = decide(state)
            if not events:
                return Loaded(state, version)
            try:
                appended = await self.save(stream, events, expected=version)
                break
            except WrongExpectedVersion as error:
                left -= 1
                if not left or isinstance(error, IdTaken):
                    raise
        objects = [self._types.decode(e) if isinstance(e, Message) else e for e in events]
        return Loaded(self._fold(objects, state), appended.version)

    def _from_snapshot(self, stream: str) -> Loaded[S]:
        """The beginning of the replay: the newest snapshot, if there is one that can be read."""
        try:
            snapshot = None if self._snapshots is None else self._snapshots.get(stream)
            if snapshot is not None:
                return Loaded(self._types.decode(snapshot.state), snapshot.version)
        except (LookupError, TypeError, ValueError) as error:
            text = f"the snapshot of {stream} cannot be read and is not used: {error}"
            record(Kind.NOTE, self._store.name, text=text)
        return Loaded(self._fold.initial, 0)

    def _write_snapshot(self, stream: str, loaded: Loaded[S], snapshots: Snapshots) -> None:
        identity = f"{stream} at version {loaded.version}"
        text = f"snapshot of {identity}"
        try:
            snapshots.put(stream, Loaded(self._types.encode(loaded.state, id=identity), loaded.version))
        except Forgotten:
            return  # of whom nothing personal is written any more; the events are still there
        except (LookupError, TypeError, ValueError) as error:  # the state is loaded all the same
            text = f"there can be no snapshot of {identity}: {error}"
            _log.warning(text)
        record(Kind.NOTE, self._store.name, text=text)
