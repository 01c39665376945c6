"""A consumer in a process of its own, which takes one message, says so, and then does nothing more.

`python -m tests.field.consumer_process SYSTEM ADDRESS NAME LEASE SETTINGS`; its parent stops or kills it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from types import SimpleNamespace
from typing import Any

import anyio
import anyio.to_thread

from .promises import Site


@asynccontextmanager
async def another_consumer(site: Site, lease: float) -> AsyncIterator[subprocess.Popen[bytes]]:
    """A process that holds a message of "orders" for so many seconds. Killed with the block."""
    arguments = [site.system.id, site.server.url, site.name(), str(lease), json.dumps(site.settings)]
    command = [sys.executable, "-m", "tests.field.consumer_process", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            if await anyio.to_thread.run_sync(process.stdout.readline) != b"taken\n":
                raise RuntimeError("the consumer took no message")
            yield process
        finally:
            process.kill()


async def _consume(system: str, address: str, name: str, lease: str, settings: str) -> None:
    from .systems import SYSTEMS

    found = next(each for each in SYSTEMS if each.id == system)
    server: Any = SimpleNamespace(url=address)
    async with found.open(server, name, lease=float(lease), **json.loads(settings)) as queue:
        await queue.receive(timeout=10)
        os.write(1, b"taken\n")
        await anyio.sleep_forever()


if __name__ == "__main__":
    anyio.run(lambda: _consume(*sys.argv[1:]))
