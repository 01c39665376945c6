"""Commands for later: answered when they are safely written down, and carried out afterwards.

That is the honest 202: it says "accepted", never "done", and names the place where the outcome will
be. The command is on the disk before it is confirmed, so nothing that was accepted is forgotten. It
is carried out with an idempotency key of its own, so a crash in the middle does it once all the same.

*Left out:* forgetting old outcomes, and carrying out commands of different aggregates at the same time.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from functools import partial

import anyio.lowlevel

from ..storage import Transaction, despite_faults, key_of
from ..trace import Kind, record
from .commands import REFUSALS, Command, CommandResult, Commands, IdempotencyKeyReused

__all__ = ["CommandQueue", "CommandStatus"]


@dataclass(frozen=True, slots=True)
class CommandStatus:
    """The state of a command that was accepted: neither a result nor a refusal, while it waits."""

    result: CommandResult | None = None
    refused: str = ""  #: the name of the error and its words

    @property
    def pending(self) -> bool:
        return self.result is None and not self.refused


class CommandQueue:
    """Accepts commands for a service, in the service's own store, and carries them out in order."""

    def __init__(self, commands: Commands) -> None:
        self.commands = commands
        self.name = f"{commands.name}.later"
        self._store = commands.store
        self._accepted = f"{self.name}.accepted"

    async def accept(self, command: Command) -> str:
        """Return an id to ask `status` for, after the command is committed: it will be carried out.

        The id is the idempotency key, or the command's own id. To accept it again changes nothing.
        Raises IdempotencyKeyReused when the key came with another command.
        """
        await anyio.lowlevel.checkpoint()
        name = command.key or command.id
        await self._store.run(partial(self._accept, name, replace(command, key=name)))
        await anyio.lowlevel.cancel_shielded_checkpoint()
        return name

    def _accept(self, name: str, command: Command, transaction: Transaction) -> None:
        known = transaction.get(self._accepted, name)
        if known is not None and known["of"] != command.fingerprint:
            raise IdempotencyKeyReused(f"the idempotency key {name!r} was used for another command")
        if known is None:
            self._keep(transaction, command, CommandStatus())
            transaction.put(self.name, key_of(transaction.count(self.name)), asdict(command))
            transaction.after_commit(lambda: record(Kind.ACCEPTED, self.name, command.id))

    def status(self, name: str) -> CommandStatus | None:
        """The state of the command; None when nobody has accepted it."""
        with self._store.reading() as transaction:
            kept = transaction.get(self._accepted, name)
        if kept is None:
            return None
        return CommandStatus(CommandResult(**kept["result"]) if kept["result"] else None, kept["refused"])

    async def run(self) -> None:
        """Carry out what was accepted, for ever. A fault of the disk is noted, and it goes on later."""
        while True:
            if not await despite_faults(self.run_once, self.name):
                await self._store.news()

    async def run_once(self) -> bool:
        """Carry out the oldest command; false when there is none."""
        with self._store.reading() as transaction:
            oldest = transaction.scan(self.name, limit=1)
        if not oldest:
            return False
        ((place, kept),) = oldest
        command = Command(**kept)
        try:
            status = CommandStatus(result=await self.commands.handle(command))
        except REFUSALS as error:
            status = CommandStatus(refused=f"{type(error).__name__}: {error}")
        await self._store.run(partial(self._done, place, command, status))
        return True

    def _done(self, place: str, command: Command, status: CommandStatus, transaction: Transaction) -> None:
        self._keep(transaction, command, status)
        transaction.delete(self.name, place)
        transaction.after_commit(lambda: record(Kind.ACKED, self.name, command.id))

    def _keep(self, transaction: Transaction, command: Command, status: CommandStatus) -> None:
        kept = {"of": command.fingerprint, **asdict(status)}
        transaction.put(self._accepted, str(command.key), kept)
