"""A lesson's scenario on a real system: run now where there is one, else the trace that was stored last.

The facts come from the same `record` calls as in virtual time, so pictures and invariants read them alike.
`EIP_FIELD=stored` shows what is stored, whatever is installed: so are the outputs of notebooks made.
"""

from __future__ import annotations

import json
import os
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import anyio

from ..trace import Trace, recording
from .servers import Server

__all__ = ["RealRun", "RealScenario"]

STORED = Path(__file__).parent / "measured" / "runs"
SETTING = "EIP_FIELD"


@dataclass(frozen=True)
class RealRun:
    """One run of a scenario on a real system."""

    system: str  #: its name and version
    trace: Trace
    stored: bool  #: False for one that has just been made here

    def __str__(self) -> str:
        return f"{self.system}, {'as it was stored' if self.stored else 'run here and now'}"


@dataclass(frozen=True)
class RealScenario:
    """A scenario for a real system: `play` is called with a fresh server, in real time, and may kill it."""

    name: str  #: of the file in which its trace is stored
    server: type[Server]
    play: Callable[[Server], Awaitable[None]]

    def run(self) -> RealRun:
        """Run it, on a server that is started for it and ended with it; where there is none, what is stored.

        Works inside a notebook too: it plays in a thread of its own. Raises what the scenario raises.
        """
        if os.environ.get(SETTING) == "stored" or self.server.no_fresh_one():
            return self.stored()
        try:
            with ThreadPoolExecutor(1) as thread:
                return thread.submit(self.run_now).result()
        except ModuleNotFoundError:  # the system is there, and its client library is not
            return self.stored()

    def run_now(self) -> RealRun:
        """Run it where no event loop runs. Raises RuntimeError when the server does not start."""
        with self.server.running() as server:
            trace = anyio.run(self._recorded, server)
        return RealRun(f"{self.server.name} {self.server.version()}", trace, stored=False)

    async def _recorded(self, server: Server) -> Trace:
        """The trace, which begins with its first fact: to load a client library is no part of it."""
        with recording() as recorder:
            await self.play(server)
        begin = recorder.events[0].at
        return Trace([event._replace(at=event.at - begin) for event in recorder.events])

    def stored(self) -> RealRun:
        """The run that was stored last."""
        kept = json.loads(self._file.read_text(encoding="utf-8"))
        return RealRun(kept["system"], Trace.from_json(json.dumps(kept["trace"])), stored=True)

    def store(self, run: RealRun) -> None:
        """Keep this run for whoever has no such system."""
        kept = {"system": run.system, "trace": json.loads(run.trace.to_json())}
        self._file.write_text(json.dumps(kept, ensure_ascii=False) + "\n", encoding="utf-8")

    @property
    def _file(self) -> Path:
        return STORED / f"{self.name}.json"
