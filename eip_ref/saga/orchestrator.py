"""Saga, orchestrated: one coordinator tells each participant what to do, and keeps a log of it.

The promise: a saga that was begun ends completed, compensated or stuck, and never two of them,
whenever the coordinator dies. Whatever it must know to go on is in the log, and nowhere else.
"""

from __future__ import annotations

import math
from typing import Any

import anyio

from .attempts import Carry
from .definition import Saga
from .entries import Entry, Mark, Phase, Progress, SagaEnded
from .log import SagaLog, TakenOver
from .post import Post
from .run import Run

__all__ = ["Orchestrator"]


class Orchestrator:
    """Runs the sagas of one definition.

    `carry(command)` brings a command to its participant and returns the answer. With a `Post` in its
    place each command goes into the log's outbox, in the transaction of its intent, and is sent from
    there.
    """

    def __init__(self, saga: Saga, log: SagaLog, carry: Carry | Post) -> None:
        self._saga = saga
        self._log = log
        self._carry = carry

    async def run(self, identity: str, data: Any = None) -> Progress:
        """Run a saga to its end, and return how it ended. `data` are JSON values.

        The id names the saga: one that is known goes on from where it is, and one that has ended is
        not moved. Raises ValueError for an id that belongs to something else, and `TakenOver` when
        another orchestrator runs the same saga meanwhile.
        """
        if not identity or "/" in identity:
            raise ValueError(f"a saga's id must be text without '/', not {identity!r}")
        progress = await self._read(identity)
        if progress.phase is not None:
            if (progress.name, progress.data) != (self._saga.name, data):
                raise ValueError(f"{identity} is a saga already: {progress.name!r} with {progress.data!r}")
            return await self._run(progress).finish()
        run = self._run(progress)
        deadline = None if self._saga.timeout == math.inf else self._log.now() + self._saga.timeout
        run.note(Entry(Mark.BEGUN, data={"name": self._saga.name, "data": data, "deadline": deadline}))
        return await run.finish()

    async def recover(self) -> list[Progress]:
        """Take every saga that was begun and has not ended to its end: for the time after a restart.

        Sagas that another orchestrator turns out to run are left to it. What a log raises comes out
        when the others have ended.
        """
        ended: list[Progress] = []
        errors: list[Exception] = []

        async def one(identity: str) -> None:
            try:
                ended.append(await self._run(await self._read(identity)).finish())
            except (TakenOver, SagaEnded):
                pass
            except Exception as error:
                errors.append(error)

        async with anyio.create_task_group() as group:
            for identity in await self._log.find(Phase.RUNNING, Phase.COMPENSATING, name=self._saga.name):
                group.start_soon(one, identity)
        if errors:
            raise errors[0]
        return ended

    async def stuck(self) -> list[Progress]:
        """The sagas that are stuck, with the reason: somebody must look at them, and resume them."""
        found = await self._log.find(Phase.STUCK, name=self._saga.name)
        return [await self._read(identity) for identity in found]

    async def resume(self, identity: str) -> Progress:
        """Try again what a stuck saga could not do; it may be stuck again. Raises ValueError for others."""
        progress = await self._read(identity)
        if progress.phase is not Phase.STUCK or progress.name != self._saga.name:
            raise ValueError(f"{identity} is no stuck saga here, but {progress.phase or 'not known'}")
        run = self._run(progress)
        run.note(Entry(Mark.RESUMED, data=str(progress.stuck_from)))
        return await run.finish()

    async def _read(self, identity: str) -> Progress:
        return Progress.of(identity, await self._log.read(identity))

    def _run(self, progress: Progress) -> Run:
        return Run(self._saga, self._log, self._carry, progress)
