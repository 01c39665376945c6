"""A relay in a process of its own, which kills itself after a publish and before its mark.

`python -m tests.field.relay_process ADDRESS FILE LOG PUBLISHES`
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import anyio
import anyio.to_thread

from eip_ref.apps.shop_dashboard.services import billing
from eip_ref.cqrs import Relay
from eip_ref.field.kafka_log import KafkaLog
from eip_ref.message import Message
from eip_ref.storage import SQLiteStore

__all__ = ["CLAIM", "a_relay_that_dies"]

CLAIM = 5.0  #: seconds for which the dead one still holds its keys


async def a_relay_that_dies(address: str, file: Path, log: str, publishes: int) -> None:
    """Return when a relay of billing has died after so many publishes. Raises RuntimeError if it did not."""
    arguments = [sys.executable, "-m", "tests.field.relay_process", address, str(file), log, str(publishes)]
    died = await anyio.to_thread.run_sync(lambda: subprocess.run(arguments, check=False, timeout=60))
    if died.returncode != -signal.SIGKILL:
        raise RuntimeError(f"the relay ended by itself: {died.returncode}")


async def _main(address: str, file: str, name: str, publishes: str) -> None:
    published = 0

    async def publish(message: Message) -> None:
        nonlocal published
        await log.append(message)
        published += 1
        if published == int(publishes):
            os.kill(os.getpid(), signal.SIGKILL)

    with SQLiteStore(file) as store:
        async with KafkaLog(address, name) as log:
            await Relay(billing(store).outbox, publish, "first relay", claim=CLAIM).run()


if __name__ == "__main__":
    anyio.run(lambda: _main(*sys.argv[1:]))
