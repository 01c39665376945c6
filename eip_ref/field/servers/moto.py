"""moto's server, an emulator of SQS and SNS: it has their interface, and keeps all in its memory.

What it shows of the interface holds for the services as far as their documents say the same; what it
shows of speed, of order and of crashes says nothing of them.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from importlib.util import find_spec

from .server import HOST, Server, ask

__all__ = ["Moto"]

MAIN = "import sys; sys.setswitchinterval(0.1); from moto.server import main; main(sys.argv[1:])"
"""Its threads share lists without a lock: one that is seldom stopped does not stop half-way through them."""


class Moto(Server):
    """One process of Python."""

    name = "moto, an emulator of SQS and SNS"
    install = "python -m pip install moto flask flask-cors"

    @classmethod
    def program(cls) -> str | None:
        return sys.executable if all(map(find_spec, ("moto", "flask", "flask_cors"))) else None

    @classmethod
    def version(cls) -> str:
        return version("moto")

    def prepare(self) -> None: ...

    def command(self) -> Sequence[str]:
        return [sys.executable, "-c", MAIN, "-H", HOST, "-p", str(self.port)]

    def is_ready(self) -> bool:
        return ask(self.port, b"GET /moto-api/data.json HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 200")

    @property
    def own_url(self) -> str:
        return f"http://nobody:nothing@{HOST}:{self.port}"
