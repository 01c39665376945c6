"""A consumer in a process of its own; its parent stops or kills it.

`python -m tests.field.consumer_process SYSTEM ADDRESS NAME LEASE SETTINGS [work]`: it takes one message,
says so, and does nothing more; or it works on one after the other, and says each step.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread

from eip_ref.trace import Kind

from .promises import Site


@asynccontextmanager
async def another_consumer(site: Site, lease: float) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process that holds a message of "orders" for so many seconds. Killed with the block."""
    with subprocess.Popen(_command(site, lease), stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if await anyio.to_thread.run_sync(process.stdout.readline) != b"taken\n":
                raise RuntimeError("the consumer took no message")
            yield process
        finally:
            process.kill()


@contextmanager
def a_working_consumer(site: Site, lease: float, said: Path) -> Iterator[None]:
    """A process that works on "orders", and writes each step into a file. Killed with the block."""
    with said.open("wb") as out, subprocess.Popen([*_command(site, lease), "work"], stdout=out) as process:
        try:
            yield
        finally:
            process.kill()


def _command(site: Site, lease: float) -> list[str]:
    arguments = [site.system.id, site.server.url, site.name(), str(lease), json.dumps(site.settings)]
    return [sys.executable, "-m", "tests.field.consumer_process", *arguments]


async def _consume(system: str, address: str, name: str, lease: str, settings: str, mode: str = "") -> None:
    from .systems import SYSTEMS

    found = next(each for each in SYSTEMS if each.id == system)
    server: Any = SimpleNamespace(url=address)
    async with found.open(server, name, lease=float(lease), **json.loads(settings)) as queue:
        if mode == "work":
            await _work(queue)
        await queue.receive(timeout=10)
        os.write(1, b"taken\n")
        await anyio.sleep_forever()


async def _work(queue: Any) -> None:
    while True:
        lease = await queue.receive()
        id = lease.message.id
        for kind in (Kind.DELIVERED, Kind.FINISHED):
            os.write(1, f"{kind} {id}\n".encode())
        await lease.ack()
        os.write(1, f"{Kind.ACKED} {id}\n".encode())


if __name__ == "__main__":
    anyio.run(lambda: _consume(*sys.argv[1:]))
