"""Commands for later: answered when they are safely written down, and carried out afterwards.

That is the honest 202: it says "accepted", never "done", and names the place where the outcome will
be. The command is on the disk before it is confirmed, so nothing that was accepted is forgotten. It
is carried out with an idempotency key of its own, so a crash in the middle does it once all the same.

*Left out:* forgetting old outcomes, and carrying out commands of different aggregates at the same time.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import anyio
import anyio.lowlevel

from ..storage import key_of
from ..trace import Kind, record
from .commands import Answer, Command, Commands
from .errors import Conflict, Invalid, KeyReused, Rejected, UnknownCommand

__all__ = ["CommandQueue", "CommandStatus"]

REFUSALS = (Conflict, Invalid, KeyReused, Rejected, UnknownCommand)


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """The state of a command that was accepted: neither an answer nor a refusal, while it waits."""

    answer: Answer | None = None
    refused: str = ""  #: the name of the error and its words

    @property
    def pending(self) -> bool:
        return self.answer is None and not self.refused


class CommandQueue:
    """Accepts commands for a service, in the service's own store, and carries them out in order."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands
        self.name = f"{commands.name}.later"
        self._store = commands.store

    async def accept(self, command: Command) -> str:
        """Return an id to ask `status` for, after the command is committed: it will be carried out.

        The id is the idempotency key, or the command's own id. To accept it again changes nothing.
        Raises KeyReused when the key came with another command.
        """
        await anyio.lowlevel.checkpoint()
        name = command.key or command.id
        command = replace(command, key=name)
        with self._store.transaction() as transaction:
            known = transaction.get(f"{self.name}.accepted", name)
            if known is not None and known != command.fingerprint:
                raise KeyReused(f"the idempotency key {name!r} was used for another command")
            if known is None:
                row = [command.type, command.target, dict(command.data), name, command.expects, command.id]
                transaction.put(f"{self.name}.accepted", name, command.fingerprint)
                transaction.put(self.name, key_of(transaction.count(self.name)), row)
                transaction.after_commit(lambda: record(Kind.ACCEPTED, self.name, command.id))
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return name

    def status(self, name: str) -> CommandStatus | None:
        """The state of the command; None when nobody has accepted it."""
        with self._store.transaction() as transaction:
            if transaction.get(f"{self.name}.accepted", name) is None:
                return None
            kept = transaction.get(f"{self.name}.outcomes", name)
        if kept is None:
            return CommandStatus()
        return CommandStatus(Answer(**kept["answer"]) if kept["answer"] else None, kept["refused"])

    async def run(self) -> None:
        """Carry out what was accepted, for ever."""
        while True:
            if not await self.run_once():
                await self._store.changed.wait()

    async def run_once(self) -> bool:
        """Carry out the oldest command; false when there is none."""
        with self._store.transaction() as transaction:
            found = transaction.scan(self.name, limit=1)
        if not found:
            return False
        at, (type, target, data, key, expects, id) = found[0]
        kept: dict[str, object] = {"answer": None, "refused": ""}
        try:
            answer = await self.commands.handle(Command(type, target, data, key, expects, id))
            kept["answer"] = {"id": answer.id, "version": answer.version, "created": answer.created}
        except REFUSALS as error:
            kept["refused"] = f"{type_name(error)}: {error}"
        with self._store.transaction() as transaction:
            transaction.put(f"{self.name}.outcomes", key, kept)
            transaction.delete(self.name, at)
            transaction.after_commit(lambda: record(Kind.ACKED, self.name, id))
        return True


def type_name(error: Exception) -> str:
    return type(error).__name__
