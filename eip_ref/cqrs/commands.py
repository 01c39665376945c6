"""Commands: validate, decide, and commit what changed together with what will be published about it.

`Commands` is the write side of one service. A command is handled by the one handler of its type: a
check of its data, and a decision that looks at the state of one aggregate and returns the new state
and the facts to publish. State, outbox and answer are committed in one local transaction, so after
a crash there are all three of them or none. The answer is the version that readers can ask for.

A command with an idempotency key is carried out once: the key repeats its first answer, a refusal
by the decision included. A command that failed to be valid, or met a conflict, decided nothing and
is remembered by nobody.

*Left out:* decisions that look at two aggregates (that is a saga), and authorisation.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import anyio.lowlevel

from ..storage import Store, Transaction
from ..trace import Kind, new_id, record, whoami
from .errors import Conflict, KeyReused, Rejected, UnknownCommand
from .events import DomainEvent, event
from .outbox import Outbox

__all__ = ["Answer", "Command", "Commands", "Decision"]


@dataclass(frozen=True, slots=True)
class Command:
    """What somebody asks for. `target` is the id of the aggregate that it concerns."""

    type: str  #: in the imperative, such as "Register"
    target: str
    data: Mapping[str, Any] = field(default_factory=dict)
    key: str | None = None  #: the idempotency key: the same for every repetition of this operation
    expects: int | None = None  #: the version that the aggregate must have; 0 is "there is none"
    id: str = field(default_factory=lambda: new_id("c"))

    @property
    def fingerprint(self) -> str:
        """The same for repetitions of one operation, and another for anything else."""
        return json.dumps([self.type, self.target, dict(self.data), self.expects], sort_keys=True)


@dataclass(frozen=True, slots=True)
class Answer:
    """What the caller learns: the aggregate is at this version now."""

    id: str
    version: int
    created: bool  #: whether this command made the aggregate
    repeated: bool = False  #: whether the command had been carried out before, and this is its first answer


@dataclass(frozen=True, slots=True)
class Decision:
    """The new state of the aggregate, and what happened, to be published. No facts: nothing changed."""

    state: Mapping[str, Any]
    facts: tuple[DomainEvent, ...] = ()


Check = Callable[[Mapping[str, Any]], None]
Decide = Callable[[Mapping[str, Any] | None, Command], Decision]


class Commands:
    """The command handlers of the service `name`, on its store. It remembers the last `remember` keys."""

    def __init__(
        self, store: Store, name: str, *, outbox: Outbox | None = None, remember: int = 10_000
    ) -> None:
        if remember < 1:
            raise ValueError(f"remember must be at least 1 idempotency key, not {remember}")
        self.name = name
        self.store = store
        self.outbox = Outbox(store, f"{name}.outbox") if outbox is None else outbox
        self._remember = remember
        self._handlers: dict[str, tuple[Check, Decide]] = {}

    def handler(self, type: str, decide: Decide, *, check: Check = lambda data: None) -> None:
        """Let `decide` handle the commands of this type. Raises ValueError when another one does."""
        if type in self._handlers:
            raise ValueError(f"{type} has a handler; a command has exactly one, so that one answer is right")
        self._handlers[type] = check, decide

    async def handle(self, command: Command) -> Answer:
        """Carry the command out and answer after the commit.

        Raises `UnknownCommand`, `Invalid`, `Rejected`, `Conflict` and `KeyReused`, all definite:
        nothing has changed. When it is cancelled, or raises an error of the store, the outcome is
        indefinite: repeat the command with the same idempotency key.
        """
        await anyio.lowlevel.checkpoint()
        outcome = self._handle(command)
        # Between the commit and the answer something can always happen to the caller.
        await anyio.lowlevel.cancel_shielded_checkpoint()
        if isinstance(outcome, Rejected):
            raise outcome
        return outcome

    def _handle(self, command: Command) -> Answer | Rejected:
        if command.type not in self._handlers:
            raise UnknownCommand(f"{self.name} does not know the command {command.type!r}")
        check, decide = self._handlers[command.type]
        with self.store.transaction() as transaction:
            if (first := self._first_answer(transaction, command)) is not None:
                transaction.after_commit(lambda: record(Kind.DUPLICATE, self.name, command.id, who=whoami()))
                return first
            check(command.data)
            try:
                outcome: Answer | Rejected = self._carry_out(transaction, command, decide)
            except Rejected as rejected:  # raised before anything was written
                outcome = rejected
            self._keep(transaction, command, outcome)
            return outcome

    # State and outbox

    def state(self, target: str) -> tuple[int, Any]:
        """The version and the state of an aggregate; 0 and None when there is none. Not for queries."""
        with self.store.transaction() as transaction:
            return self._load(transaction, target)

    def _load(self, transaction: Transaction, target: str) -> tuple[int, Any]:
        version, state = transaction.get(self.name, target, (0, None))
        return int(version), state

    def _carry_out(self, transaction: Transaction, command: Command, decide: Decide) -> Answer:
        version, state = self._load(transaction, command.target)
        if command.expects is not None and command.expects != version:
            raise Conflict(command.target, command.expects, version)
        decision = decide(state, command)
        now = version + len(decision.facts)
        if decision.facts:
            self._commit(transaction, command, decision, version, now)
        return Answer(command.target, now, created=version == 0 and now > 0)

    def _commit(
        self, transaction: Transaction, command: Command, decision: Decision, version: int, now: int
    ) -> None:
        transaction.put(self.name, command.target, [now, dict(decision.state)])
        for number, fact in enumerate(decision.facts, version + 1):
            self.outbox.add(transaction, self._event(fact, command, number))
        facts: dict[str, Any] = {"command": command.type, "stream": f"{self.name}/{command.target}"}
        facts |= {"was": version, "version": now}
        transaction.after_commit(
            lambda: record(Kind.EFFECT, self.name, command.id, effect="committed", **facts)
        )

    def _event(self, fact: DomainEvent, command: Command, version: int) -> Any:
        stream = f"{self.name}/{command.target}"
        # Its id says which change it is: whoever makes it again makes the same one.
        return event(fact, stream, version, id=f"{stream}/{version}", causation_id=command.id)

    # Idempotency

    def _first_answer(self, transaction: Transaction, command: Command) -> Answer | Rejected | None:
        if command.key is None:
            return None
        kept = transaction.get(f"{self.name}.answers", command.key)
        if kept is None:
            return None
        if kept["of"] != command.fingerprint:
            raise KeyReused(f"the idempotency key {command.key!r} was used for another command")
        if kept["rejected"] is not None:
            return Rejected(kept["rejected"])
        return Answer(**kept["answer"], repeated=True)

    def _keep(self, transaction: Transaction, command: Command, outcome: Answer | Rejected) -> None:
        if command.key is None:
            return
        rejected = str(outcome) if isinstance(outcome, Rejected) else None
        answer = None
        if isinstance(outcome, Answer):
            answer = {"id": outcome.id, "version": outcome.version, "created": outcome.created}
        kept = {"of": command.fingerprint, "answer": answer, "rejected": rejected}
        transaction.remember(f"{self.name}.answers", command.key, kept, capacity=self._remember)
