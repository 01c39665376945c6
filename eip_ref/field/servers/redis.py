"""Redis, one server, which keeps its data in an append-only file."""

from __future__ import annotations

import re
from collections.abc import Sequence

from .server import HOST, Server, ask, says, which

__all__ = ["Redis"]


class Redis(Server):
    """A server that answers a write when it is in its file: `appendfsync always`."""

    name = "Redis"
    install = "sudo apt-get install --yes --no-install-recommends redis-server"

    @classmethod
    def program(cls) -> str | None:
        return which("redis-server")

    @classmethod
    def version(cls) -> str:
        found = re.search(r"v=([\d.]+)", says(cls.program() or "", "--version"))
        return found[1] if found else ""

    def prepare(self) -> None: ...

    def command(self) -> Sequence[str]:
        place = ["--bind", HOST, "--port", str(self.port), "--dir", str(self.folder)]
        kept = ["--save", "", "--appendonly", "yes", "--appendfsync", "always"]
        return [self.program() or "redis-server", *place, *kept]

    def is_ready(self) -> bool:
        return ask(self.port, b"PING\r\n").startswith(b"+PONG")

    @property
    def own_url(self) -> str:
        return f"redis://{HOST}:{self.port}"
