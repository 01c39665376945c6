"""KurrentDB: an event store. No promise was ever asked of it, so none has a verdict."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import Any

from eip_ref.field.servers import KurrentDB, Server

from ..verdicts import System

__all__ = ["SYSTEMS"]


def _store(server: Server, name: str) -> AbstractAsyncContextManager[Any]:
    """Its client is no part of the extra `field`, so it is imported only when there is a server."""
    from eip_ref.field.kurrentdb import KurrentEventStore

    return KurrentEventStore(server.url, name)


SYSTEMS = (System("kurrentdb-events", "KurrentDB", "event store", KurrentDB, _store),)
