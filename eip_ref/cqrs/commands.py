"""Commands: validate, decide, and commit what changed together with what will be published about it.

`Commands` is the write side of one service. A command is handled by the one handler of its type: a
check of its data, and a decision that looks at the state of one aggregate and returns the new state
and the events to publish. State, outbox and result are committed in one local transaction, so after
a crash there are all three of them or none. The result is the version that readers can ask for.

A command with an idempotency key is carried out once: the key repeats its first result, a rejection
by the decision included. A command that was not valid, or expected another version, decided nothing
and is remembered by nobody.

*Left out:* decisions that look at two aggregates (that is a saga), and authorisation; in the queue,
forgetting old outcomes, and carrying out commands of different aggregates at the same time.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any, NamedTuple

from .. import values
from ..event_sourcing import STREAM_VERSION, WrongExpectedVersion
from ..message import Message
from ..storage import ForeignTransaction, Store, Transaction, despite_faults, key_of
from ..trace import Kind, new_id, record
from .outbox import Outbox


class UnknownCommand(LookupError):
    """No handler has this type."""


class InvalidCommand(ValueError):
    """The command could not be valid whatever the state: its data are wrong."""


class CommandRejected(Exception):
    """The decision looked at the state and said no."""


class IdempotencyKeyReused(Exception):
    """An idempotency key came with another command than the first time; nothing was changed."""


REFUSALS = (UnknownCommand, InvalidCommand, CommandRejected, WrongExpectedVersion, IdempotencyKeyReused)
"""All that `Commands.handle` raises to say that nothing has changed."""


@dataclass(frozen=True, slots=True)
class Command:
    """A request to change something. `target` is the id of the aggregate that it concerns.

    Raises ValueError for a type, a target, a key or a version that cannot be one, TypeError for data
    that are not JSON.
    """

    type: str  #: in the imperative, such as "Register"
    target: str
    data: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None  #: the idempotency key: the same for every repetition of this operation
    expects: int | None = None  #: the version that the aggregate must have; 0 is "there is none"
    id: str = field(default_factory=lambda: new_id("c"))

    def __post_init__(self) -> None:
        values.name("the type of a command", self.type)
        values.name("the target of a command", self.target)
        if self.key is not None:
            values.name("an idempotency key", self.key)
        if self.expects is not None:
            values.count("expects", self.expects, minimum=0)
        data = dict(self.data)
        values.check_json(f"the data of command {self.id!r}", data)
        object.__setattr__(self, "data", values.copied(data))

    @property
    def fingerprint(self) -> str:
        """The same for repetitions of one operation, and another for anything else."""
        return json.dumps([self.type, self.target, self.data, self.expects], sort_keys=True)


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The answer to the caller: the aggregate is at this version now."""

    id: str
    version: int
    created: bool  #: this command made the aggregate
    repeated: bool = False  #: the command had been carried out before, and this is its first result


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """The outcome of a command; neither a result nor a refusal, while it waits in a `CommandQueue`."""

    result: CommandResult | None = None
    refused: str = ""  #: why nothing was changed


def _written(command: Command, status: CommandStatus) -> dict[str, Any]:
    return {"of": command.fingerprint, **asdict(status)}


def _read(written: dict[str, Any], command: Command | None = None) -> CommandStatus:
    """The status that was written. Raises IdempotencyKeyReused when it is that of another command."""
    if command is not None and written["of"] != command.fingerprint:
        raise IdempotencyKeyReused(f"the idempotency key {command.key!r} was used for another command")
    result = written["result"]
    return CommandStatus(CommandResult(**result) if result else None, written["refused"])


class DomainEvent(NamedTuple):
    """A thing that has happened, as a decision says it: the type of an event and its body, a contract.

    The body is made for those who read it. It is never the row of a database, whose columns are
    private to the service and change with it.
    """

    type: str
    body: Mapping[str, Any]
    schema: int = 1  #: the version of the body's schema


def event(fact: DomainEvent, stream: str, version: int, *, id: str, causation_id: str) -> Message:
    """The message that tells of version `version` of this stream, such as "users/ann".

    Its key is the stream, within which its order counts, and a header has the version: 1, 2, 3 and so on
    without a gap. A reader that knows the last version it has seen can tell a duplicate and a gap.
    """
    return Message(
        dict(fact.body),
        type=fact.type,
        key=stream,
        id=id,
        causation_id=causation_id,
        correlation_id=causation_id,
        version=fact.schema,
        headers={STREAM_VERSION: values.count("version", version)},
    )


@dataclass(frozen=True, slots=True)
class Decision:
    """The new state of the aggregate, and what happened, to be published. No events: nothing changed."""

    state: Mapping[str, Any]
    events: tuple[DomainEvent, ...] = ()


Check = Callable[[Mapping[str, Any]], None]
"""Raises InvalidCommand for data that could never be right."""
Decide = Callable[[Mapping[str, Any] | None, Command], Decision]
"""Looks at the state, which is None when there is none. Raises CommandRejected to say no."""


class Commands:
    """The command handlers of the service `name`, on its store. It remembers the last `remember` keys."""

    def __init__(
        self, store: Store, name: str, *, outbox: Outbox | None = None, remember: int = 10_000
    ) -> None:
        self.name = values.name("the name of a service", name)
        self.store = store
        self.outbox = Outbox(store, f"{name}.outbox") if outbox is None else outbox
        self._statuses = f"{name}.statuses"  # by idempotency key
        self._remember = values.count("remember", remember)
        self._handlers: dict[str, tuple[Check, Decide]] = {}

    def handler(self, type: str, decide: Decide, *, check: Check = lambda data: None) -> None:
        """Let `decide` handle the commands of this type, after `check`. Both are plain functions.

        Raises ValueError when the type has a handler, TypeError for an `async def`.
        """
        if type in self._handlers:
            raise ValueError(f"{type} has a handler; a command has exactly one, so that one result is right")
        values.must_not_be_async(f"the handler of {type}", decide)
        values.must_not_be_async(f"the check of {type}", check)
        self._handlers[type] = check, decide

    async def handle(self, command: Command) -> CommandResult:
        """Carry the command out and return after the commit.

        Raises one of `REFUSALS`, all definite: nothing has changed. When it is cancelled, or raises an
        error of the store, the outcome is indefinite: repeat the command with the same idempotency key.
        """
        status = await self.store.commit(partial(self._handle, command))
        if status.result is None:
            raise CommandRejected(status.refused)
        return status.result

    def _handle(self, command: Command, transaction: Transaction) -> CommandStatus:
        """The outcome, which is kept; what decided nothing is raised."""
        if command.type not in self._handlers:
            raise UnknownCommand(f"{self.name} does not know the command {command.type!r}")
        if (first := self._first_outcome(transaction, command)) is not None:
            transaction.after_commit(lambda: record(Kind.DUPLICATE, self.name, command.id))
            return first
        check, decide = self._handlers[command.type]
        theirs = replace(command)  # with data of its own, which they may change
        check(theirs.data)
        try:
            status = CommandStatus(self._carry_out(transaction, theirs, decide))
        except CommandRejected as rejected:  # raised before anything was written
            status = CommandStatus(refused=str(rejected))
        self._keep(transaction, command, status)
        return status

    # State and outbox

    def state(self, target: str) -> tuple[int, Any]:
        """The version and the state of an aggregate; 0 and None when there is none. Not for queries."""
        with self.store.reading() as transaction:
            return self._load(transaction, target)

    def _load(self, transaction: Transaction, target: str) -> tuple[int, Any]:
        version, state = transaction.get(self.name, target, (0, None))
        return int(version), state

    def _carry_out(self, transaction: Transaction, command: Command, decide: Decide) -> CommandResult:
        version, state = self._load(transaction, command.target)
        if command.expects is not None and command.expects != version:
            raise WrongExpectedVersion(self._stream(command), command.expects, version)
        decision = decide(state, command)
        now = version + len(decision.events)
        if decision.events:
            transaction.put(self.name, command.target, [now, dict(decision.state)])
            for number, fact in enumerate(decision.events, version + 1):
                self.outbox.add(transaction, self._event(fact, command, number))
            facts: dict[str, Any] = {"command": command.type, "stream": self._stream(command)}
            facts |= {"was": version, "version": now}
            transaction.after_commit(
                lambda: record(Kind.EFFECT, self.name, command.id, effect="committed", **facts)
            )
        return CommandResult(command.target, now, created=version == 0 and now > 0)

    def _event(self, fact: DomainEvent, command: Command, version: int) -> Message:
        stream = self._stream(command)
        # Its id says which change it is: whoever makes it again makes the same one.
        return event(fact, stream, version, id=f"{stream}/{version}", causation_id=command.id)

    def _stream(self, command: Command) -> str:
        return f"{self.name}/{command.target}"

    # Idempotency

    def _first_outcome(self, transaction: Transaction, command: Command) -> CommandStatus | None:
        """The outcome that the key had the first time; None when it is new. Raises IdempotencyKeyReused."""
        written = None if command.key is None else transaction.get(self._statuses, command.key)
        if written is None:
            return None
        first = _read(written, command)
        return replace(first, result=first.result and replace(first.result, repeated=True))

    def _keep(self, transaction: Transaction, command: Command, status: CommandStatus) -> None:
        if command.key is not None:
            written = _written(command, status)
            transaction.remember(self._statuses, command.key, written, capacity=self._remember)


# For later


class CommandQueue:
    """Accepts commands for a service, in the service's own store, and carries them out in order.

    That is the honest 202: it says "accepted", never "done", and names the place where the outcome will
    be. The command is on the disk before it is confirmed, so nothing that was accepted is forgotten. It
    is carried out with an idempotency key of its own, so a crash in the middle does it once all the same.
    """

    def __init__(self, commands: Commands) -> None:
        self.commands = commands
        self.name = f"{commands.name}.later"
        self._store = commands.store
        self._statuses = f"{self.name}.commands"

    async def accept(self, command: Command) -> str:
        """Return an id to ask `status` for, after the command is committed: it will be carried out.

        The id is the idempotency key, or the command's own id. To accept it again changes nothing.
        Raises IdempotencyKeyReused when the key came with another command.
        """
        name = command.key or command.id
        await self._store.commit(partial(self._accept, name, replace(command, key=name)))
        return name

    def _accept(self, name: str, command: Command, transaction: Transaction) -> None:
        if (known := transaction.get(self._statuses, name)) is not None:
            _read(known, command)  # refuses another command
        else:
            transaction.put(self._statuses, name, _written(command, CommandStatus()))
            transaction.put(self.name, key_of(transaction.count(self.name)), asdict(command))
            transaction.after_commit(lambda: record(Kind.ACCEPTED, self.name, command.id))

    def status(self, name: str) -> CommandStatus | None:
        """The state of the command; None when nobody has accepted it."""
        with self._store.reading() as transaction:
            known = transaction.get(self._statuses, name)
        return None if known is None else _read(known)

    async def run(self) -> None:
        """Carry out what was accepted, for ever. A fault of the disk is noted, and it goes on later."""
        while True:
            if not await despite_faults(self.run_once, self.name):
                await self._store.news()

    async def run_once(self) -> bool:
        """Carry out the oldest command; false when there is none.

        Whatever it raises is its outcome, since nothing has changed. A fault of the store comes out.
        """
        with self._store.reading() as transaction:
            oldest = transaction.scan(self.name, limit=1)
        if not oldest:
            return False
        ((place, kept),) = oldest
        command = Command(**kept)
        try:
            status = CommandStatus(result=await self.commands.handle(command))
        except (sqlite3.Error, ForeignTransaction):
            raise
        except Exception as error:  # of the handlers' own code too, or it would hold up all that follow
            status = CommandStatus(refused=f"{type(error).__name__}: {error}")
            if not isinstance(error, REFUSALS):
                record(Kind.FAILED, self.name, command.id, error=values.shown(error))
        await self._store.run(partial(self._done, place, command, status))
        return True

    def _done(self, place: str, command: Command, status: CommandStatus, transaction: Transaction) -> None:
        transaction.put(self._statuses, str(command.key), _written(command, status))
        transaction.delete(self.name, place)
        transaction.after_commit(lambda: record(Kind.ACKED, self.name, command.id))
