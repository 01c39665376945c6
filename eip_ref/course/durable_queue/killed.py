"""Programs that are killed for real: a process of its own, SIGKILL, and what is left of its work.

All else in the course runs in virtual time. What the system keeps of a process that dies cannot be
played, so it is tried. `killed(program)` runs `program(path, confirm)` in a child, from its source;
the child is dead at the moment of its last confirm.

*Left out:* pulling the plug. No program can do that to the machine on which it runs; see `disk`.
"""

from __future__ import annotations

import inspect
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

from ...durable_queue import SQLiteQueue
from ...lab import simulate

__all__ = ["Killed", "killed"]

CHILD = """
from __future__ import annotations  # what the annotations of a program name is not known here
import os, signal, sys
import anyio
from eip_ref.durable_queue import SQLiteQueue
from eip_ref.message import Message

left = int(sys.argv[2])

def confirm():
    global left
    os.write(1, b".")
    left -= 1
    if not left:
        os.kill(os.getpid(), getattr(signal, "SIGKILL", signal.SIGTERM))

{source}

{name}(sys.argv[1], confirm)
raise SystemExit("it came to its end before it was killed")
"""


class Killed(NamedTuple):
    """The count of orders that were confirmed, and of those that were left when the process was dead."""

    name: str
    confirmed: int
    left: int
    not_run: str = ""  #: the reason why nothing was tried on this machine

    def __str__(self) -> str:
        if self.not_run:
            return f"{self.name}: not run here, since Python may start no process: {self.not_run}"
        return f"{self.name:22} confirmed {self.confirmed:,}, left after SIGKILL {self.left:,}"


def killed(program: Callable[..., object], *, confirms: int = 1000) -> Killed:
    """Run `program(path, confirm)` in a process that is killed at the last of so many confirms.

    Raises RuntimeError for a program that ends, or fails, before. Where no process can be started, as in
    a browser, the result says so.
    """
    name = program.__name__
    source = CHILD.format(source=dedent(inspect.getsource(program)), name=name)
    with tempfile.TemporaryDirectory(prefix="eip-") as folder:
        path = Path(folder, "orders")
        command = [sys.executable, "-c", source, str(path), str(confirms)]
        try:
            child = subprocess.run(command, capture_output=True, check=False, timeout=60)
        except OSError as error:
            return Killed(name, 0, 0, str(error))
        if child.returncode >= 0 and sys.platform != "win32":
            raise RuntimeError(f"{name} was not killed:\n{child.stderr.decode()}")
        return Killed(name, len(child.stdout), _count(path))


def _count(path: Path) -> int:
    """The orders in a file: the rows of a durable queue, or else the whole lines."""
    if not path.exists():
        return 0
    content = path.read_bytes()
    return simulate(_rows, path).result if content.startswith(b"SQLite format 3") else content.count(b"\n")


async def _rows(path: Path) -> int:
    async with SQLiteQueue(path, "orders") as queue:
        return queue.counts.ready
