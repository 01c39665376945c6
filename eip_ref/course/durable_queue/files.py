"""Files that outlive a process, in virtual time: a simulation with a disk, and a queue as in the field."""

from __future__ import annotations

import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Self

from ...durable_queue import SQLiteQueue
from ...lab import Crash, Participant, simulate
from ...trace import Kind, Trace, record

__all__ = ["FieldQueue", "simulate_on_a_disk"]


def simulate_on_a_disk(
    program: Callable[..., Awaitable[Any]], *args: Any, crashes: tuple[Crash, ...] = (), name: str = "broker"
) -> Trace:
    """The trace of `program(path, *args)`, a participant whose file is there in each of its lives.

    The result of the trace is what the last life returned.
    """
    with tempfile.TemporaryDirectory(prefix="eip-") as folder:

        async def scenario() -> Any:
            returned = []

            async def main() -> None:
                returned.append(await program(Path(folder, "orders"), *args))

            await Participant(name, main, crashes=crashes).run()
            return returned[-1] if returned else None

        return simulate(scenario)


class FieldQueue(SQLiteQueue):
    """A queue that keeps over a restart what RabbitMQ keeps: persistent messages, if it is durable.

    A message is persistent when its header `persistent` is true. Ids are not remembered.
    """

    def __init__(self, path: Path, durable: bool) -> None:
        super().__init__(path, "tasks", lease=5)
        self._durable = durable

    async def __aenter__(self) -> Self:
        await super().__aenter__()
        kept = "json_extract(envelope, '$.headers.persistent')" if self._durable else "0"
        with self.database.transaction():
            gone = self.database.execute(f"DELETE FROM messages WHERE NOT {kept} RETURNING id").fetchall()
            self.database.execute("UPDATE queues SET dropped = dropped + ?", len(gone))
        for (message,) in gone:
            record(Kind.DROPPED, self.name, message, who="", reason="not kept over a restart")
        return self
