"""KurrentDB, which was EventStoreDB: only one that runs already. It has never been run here.

Its packages come from its maker's own registry, and its image needs a container engine, so this starts
none: `docs/field/compose.yaml` does, and `EIP_FIELD_KURRENTDB` says where it is.
"""

from __future__ import annotations

from collections.abc import Sequence

from .server import HOST, Server, ask

__all__ = ["KurrentDB"]


class KurrentDB(Server):
    """A database of events. Nothing of it was measured."""

    name = "KurrentDB"
    install = (
        "python -m pip install kurrentdbclient && "
        "docker compose --file docs/field/compose.yaml up --detach kurrentdb && "
        "export EIP_FIELD_KURRENTDB='kurrentdb://127.0.0.1:2113?tls=false'"
    )

    @classmethod
    def program(cls) -> str | None:
        return None

    @classmethod
    def version(cls) -> str:
        return ""

    def prepare(self) -> None: ...

    def command(self) -> Sequence[str]:
        raise RuntimeError(self.missing())

    def is_ready(self) -> bool:
        return ask(self.port, b"GET /health/live HTTP/1.0\r\n\r\n").startswith(b"HTTP/1.1 20")

    @property
    def own_url(self) -> str:
        return f"kurrentdb://{HOST}:{self.port}?tls=false"
