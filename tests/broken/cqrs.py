"""CQRS with one mistake each. The dual writes are in the order in which people invent them."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import anyio

from eip_ref import values
from eip_ref.cqrs import (
    ClaimedMessage,
    Command,
    CommandResult,
    Commands,
    Feed,
    Inbox,
    NumberedView,
    Outbox,
    Reading,
    ReadModel,
    Relay,
    RowChange,
    stream_version,
)
from eip_ref.event_sourcing import Projector, Recorded
from eip_ref.message import Message
from eip_ref.storage import MemoryStore, Store, Transaction
from eip_ref.trace import Kind, new_id, record

Publish = Callable[[Message], Awaitable[object]]


# Dual writes


class _Collects(Outbox):
    """No outbox: it keeps the events for whoever asks in the same breath."""

    def __init__(self, store: Store) -> None:
        super().__init__(store, "nothing")
        self.events: list[Message] = []

    def add(self, transaction: Transaction, event: Message) -> None:
        self.events.append(event)

    def take(self) -> list[Message]:
        events, self.events = self.events, []
        return events


class _DualWrites(Commands):
    def __init__(self, store: Store, name: str, publish: Publish) -> None:
        self._none = _Collects(store)
        super().__init__(store, name, outbox=self._none)
        self._publish = publish


class DatabaseThenBroker(_DualWrites):
    """Commits, then publishes (E3). A crash between the two loses the event for good."""

    async def handle(self, command: Command) -> CommandResult:
        answer = await super().handle(command)
        for event in self._none.take():
            await self._publish(event)
        return answer


class BrokerThenDatabase(_DualWrites):
    """Publishes, then commits. A crash between the two leaves news of something that never was."""

    async def handle(self, command: Command) -> CommandResult:
        version, state = self.state(command.target)
        _, decide = self._handlers[command.type]
        for number, fact in enumerate(decide(state, command).events, version + 1):
            await self._publish(self._event(fact, command, number))
        answer = await super().handle(command)
        self._none.take()
        return answer


class WithRetry(_DualWrites):
    """Commits, then publishes; when it is asked again it publishes again, and it is a new message."""

    async def handle(self, command: Command) -> CommandResult:
        answer = await super().handle(command)
        self._none.take()
        body = dict(command.data)
        headers = {"stream-version": answer.version}
        stream = f"{self.name}/{command.target}"
        await self._publish(Message(body, type="Charged", key=stream, id=new_id("try "), headers=headers))
        return answer


class PublishesInsideTheTransaction(_DualWrites):
    """Hands the event to the broker before the commit: when that fails, the broker has it all the same."""

    def __init__(self, store: Store, name: str, send: Callable[[Message], object]) -> None:
        async def never(event: Message) -> None:
            raise AssertionError("the event was published inside the transaction")

        super().__init__(store, name, never)
        self._send = send

    def _keep(self, transaction: Transaction, command: Command, outcome: Any) -> None:
        for event in self._none.take():
            self._send(event)
        super()._keep(transaction, command, outcome)


# Events


class FormatsTheEvent(Commands):
    """Builds the body with a format string (E4): a quote in a name breaks it, or says more than it should."""

    def _event(self, fact: Any, command: Command, version: int) -> Message:
        values = ", ".join(f'"{name}": "{value}"' for name, value in fact.body.items())
        made: Message = super()._event(fact, command, version)
        return made.copy(body=json.loads("{" + values + "}"))


class PublishesItsRows(Commands):
    """The event is the row of the database: private columns too, and another event when one is renamed."""

    def _carry_out(self, transaction: Transaction, command: Command, decide: Any) -> CommandResult:
        def rows(state: Any, command: Command) -> Any:
            decision = decide(state, command)
            facts = tuple(fact._replace(body=decision.state) for fact in decision.events)
            return type(decision)(decision.state, facts)

        return super()._carry_out(transaction, command, rows)


class ForgetsTheAnswer(Commands):
    """Has no memory for idempotency keys."""

    def _first_outcome(self, transaction: Transaction, command: Command) -> None:
        return None


class LastWriterWins(Commands):
    """Does not look at the version that the command expects."""

    async def handle(self, command: Command) -> CommandResult:
        return await super().handle(Command(command.type, command.target, command.data, command.key))


class UpdatesTheViewItself(Commands):
    """The command handler writes the read model too, so that it is there at once."""

    def __init__(self, store: Store, name: str, view: ReadModel, project: Mapping[str, Any]) -> None:
        super().__init__(store, name)
        self._view, self._project = view, project

    def _event(self, fact: Any, command: Command, version: int) -> Any:
        event = super()._event(fact, command, version)
        with self._view.store.transaction() as transaction:
            recorded = Recorded(1, str(event.key), version, event, event.created)
            self._project[fact.type](NumberedView(transaction, f"{self._view.name}.1"), recorded)
        return event


# Relays


class MarksThenPublishes(Relay):
    """Marks first: a crash or a broker that is down loses the event."""

    async def _publish_and_mark(self, claimed: ClaimedMessage) -> bool:
        self.outbox.mark(claimed)
        await values.finished(self._publish(claimed.message))
        return True


class GoesOnAfterAFailure(Relay):
    """When one event cannot be published it tries the next one, of the same stream too."""

    async def _publish_and_mark(self, claimed: ClaimedMessage) -> bool:
        await super()._publish_and_mark(claimed)
        return True


class WithoutClaims(Outbox):
    """Two relays read the same rows: both publish them, the one this, the other that."""

    def _new_token(self, transaction: Transaction, key: str) -> int:
        transaction.delete(self._claims, key)
        return super()._new_token(transaction, key)

    def _holds(self, transaction: Transaction, claimed: ClaimedMessage) -> bool:
        return True


class NeverRests(Relay):
    """Tries again at once when the broker is down."""

    async def _back_off(self) -> None:
        await anyio.sleep(0.01)


# Inboxes and projections


class SeenBeforeTheEffect(Inbox):
    """Writes the id down in a transaction of its own: after a failed attempt the retry is a duplicate."""

    async def __call__(self, message: Message) -> bool:
        await anyio.lowlevel.checkpoint()
        with self.store.transaction() as transaction:
            if not self._first(transaction, message.id):
                return False
        for handler in self._handlers[message.type]:
            with self.store.transaction() as transaction:
                handler(transaction, message)
        return True


class SeenAfterTheEffect(Inbox):
    """Writes the id down after the effect: a crash between the two does it twice."""

    async def __call__(self, message: Message) -> bool:
        with self.store.transaction() as transaction:
            if transaction.get(f"{self.name}.seen", message.id) is not None:
                return False
            for handler in self._handlers[message.type]:
                handler(transaction, message)
        await anyio.sleep(0.1)
        with self.store.transaction() as transaction:
            return self._first(transaction, message.id)


class RemembersForEver(Inbox):
    """Keeps the id of every message that ever came."""

    def _first(self, transaction: Transaction, message_id: str) -> bool:
        known = transaction.get(f"{self.name}.seen", message_id) is not None
        transaction.put(f"{self.name}.seen", message_id, 1)
        return not known


class AppliesWhateverComes(ReadModel):
    """Takes every event as the next one: a duplicate counts twice, and an old one overwrites a new one."""

    def handle(self, message: Message) -> bool:
        with self.store.transaction() as transaction:
            live, version = self._live(transaction), stream_version(message)
            last = transaction.get(f"{live.name}.versions", str(message.key), 0)
            transaction.put(f"{live.name}.versions", str(message.key), max(last, version))
            position = transaction.count("taken")
            event = Recorded(position, str(message.key), version, message, message.created)
            Projector(self.store, self._projection).take([event])
        return True


class IgnoresWhatIsLate(ReadModel):
    """Knows duplicates, and takes what comes early at once: the ones before it are then taken for old."""

    def handle(self, message: Message) -> bool:
        version = stream_version(message)
        with self.store.transaction() as transaction:
            live = self._live(transaction)
            if version > live.version(str(message.key)):
                transaction.put(f"{live.name}.versions", str(message.key), version - 1)
            return super().handle(message)


class CheckpointBeforeTheView(ReadModel):
    """Commits how far it is, and then the view: a failure between the two loses the event."""

    async def __call__(self, message: Message) -> bool:
        await anyio.lowlevel.checkpoint()
        version = stream_version(message)
        with self.store.transaction() as transaction:
            live = self._live(transaction).name
            seen = transaction.get(f"{live}.versions", str(message.key), 0)
            transaction.put(f"{live}.versions", str(message.key), max(seen, version))
        if version <= seen:
            return False
        with self.store.transaction() as transaction:
            event = Recorded(version, str(message.key), version, message, message.created)
            self._projection.project(NumberedView(transaction, live), event)
        return True


class _TellsAtOnce(NumberedView):
    def _change(self, key: str, row: Any) -> None:
        super()._change(key, row)
        assert self._tell is not None
        self._tell(RowChange(self.last_change, key, row))


class TellsBeforeTheCommit(ReadModel):
    """Tells its followers while the transaction still runs: they see what may never be."""

    def __init__(self, *settings: Any) -> None:
        super().__init__(*settings)
        at_once = partial(_TellsAtOnce, tell=self._tell)
        self._projection = replace(self._projection, view_type=at_once)


class RebuildsInPlace(ReadModel):
    """Empties the live view and fills it again, before everybody's eyes."""

    async def rebuild(self, history: Any, handlers: Any = None) -> None:
        with self.store.transaction() as transaction:
            self._clear(transaction, self._live(transaction))
        self._intake = None
        async for message in history:
            await self(message)


# Reading


async def read_without_version(view: ReadModel, key: str, **_: Any) -> Reading:
    """Answers with what there is: after the 201 comes a 404."""
    await anyio.lowlevel.checkpoint()
    return Reading(view.get(key), {}, stale=False)


async def read_without_a_mark(
    view: ReadModel, key: str, *, at_least: Mapping[str, int], timeout: float = 2.0
) -> Reading:
    """Waits, and when the time is over passes the old for the new."""
    name = new_id("read ")
    with anyio.move_on_after(timeout):
        while any(view.seen(stream) < version for stream, version in at_least.items()):
            await view.store.news()
    versions = {stream: view.seen(stream) for stream in at_least}
    record(Kind.FINISHED, view.name, name, wanted=dict(at_least), versions=versions, stale=False)
    return Reading(view.get(key), versions, stale=False)


# Feeds


class SharedFeed:
    """All sockets take from one channel (E5): each gets a part, and there is no coming back."""

    def __init__(self, view: ReadModel) -> None:
        self.changes: deque[RowChange] = deque()
        view.listeners[self.changes.append] = None

    def take(self) -> RowChange | None:
        return self.changes.popleft() if self.changes else None


class SnapshotThenSubscribe(Feed):
    """Reads the snapshot, and begins to listen a moment later: what falls between is missed."""

    async def begin(self) -> list[RowChange]:
        self._behind = False
        self._last, snapshot = self.model.since(0)
        self.model.listeners.pop(self._hear, None)
        await anyio.sleep(1)
        self.model.listeners[self._hear] = None
        return snapshot

    def _hear(self, change: RowChange) -> None:
        self._last = change.position - 1
        super()._hear(change)

    def _look_up(self) -> None:
        """It has had its snapshot."""


class UnboundedFeed(Feed):
    """Keeps for a slow follower whatever it has not taken."""

    def _hear(self, change: RowChange) -> None:
        self._add(change)


class NeverLeaves(Feed):
    """The follower is gone and its buffer grows on."""

    def __exit__(self, *error: object) -> None:
        return None


def memory() -> Store:
    """A store of the kind that tests use."""
    return MemoryStore()
