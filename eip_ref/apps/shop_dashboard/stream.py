"""The stream: over a WebSocket the rows as they are, and then every change as it comes.

    ws://…/stream?after=17&epoch=…&when_slow=latest

Each socket has a feed of its own. It gets `begin` (epoch, after), `change`s (position, id, row; a removed
row is null), `live` once it has all that there was, and `change`s again. A client that lost its
connection comes back with the last position that it has, and its epoch. Where the application has begun
a new history meanwhile, `begin` says after=0, and what the client had is void. A slow one drops to the
latest change of each row, or is closed with 1013 ("try again later"), as it asked; one that takes nothing
at all for `patience` seconds is closed in any case. When a socket has gone, nothing of it stays.
"""

from __future__ import annotations

from typing import Any

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect

from ...cqrs import Feed, RowChange, TooSlow
from ..loopback import POLICY_VIOLATION
from .shop import ShopSystem

__all__ = ["MAX_FOLLOWERS", "Stream"]

MAX_FOLLOWERS = 1_000  #: of one view, at both doors for sockets
TRY_AGAIN_LATER = 1013


class Stream:
    """The endpoint. `capacity` changes may wait for one socket, and there may be `max_sockets`."""

    def __init__(
        self,
        shop: ShopSystem,
        *,
        capacity: int = 100,
        patience: float = 10.0,
        max_sockets: int = MAX_FOLLOWERS,
    ) -> None:
        self._shop = shop
        self._capacity = capacity
        self._patience = patience
        self._max_sockets = max_sockets

    async def serve(self, socket: WebSocket) -> None:
        """Serve one socket until it goes, is too slow, or the shop closes."""
        feed = self._feed(socket)
        if feed is None:
            await socket.close(POLICY_VIOLATION)
            return
        await socket.accept()
        if len(self._shop.dashboard.listeners) >= self._max_sockets:
            await socket.close(TRY_AGAIN_LATER, "too many sockets")
            return
        try:
            with feed:
                async with anyio.create_task_group() as group:
                    group.start_soon(_until_gone, socket, group.cancel_scope)
                    await self._serve(socket, feed)
        except* (TooSlow, TimeoutError):
            await _close(socket)

    def _feed(self, socket: WebSocket) -> Feed | None:
        """The feed that was asked for; None for a request that makes no sense."""
        query = socket.query_params
        after, when_slow = query.get("after", "0"), query.get("when_slow", "latest")
        a_position = after.isascii() and after.isdigit() and len(after) < 16
        if not a_position or when_slow not in ("latest", "close"):
            return None
        return Feed(
            self._shop.dashboard,
            after=int(after),
            epoch=query.get("epoch", ""),
            capacity=self._capacity,
            when_slow=when_slow,
            name="socket",
        )

    async def _serve(self, socket: WebSocket, feed: Feed) -> None:
        await self._send(socket, {"kind": "begin", "epoch": feed.epoch, "after": feed.position})
        while (change := feed.next_nowait()) is not None:
            await self._send(socket, _told(change))
        await self._send(socket, {"kind": "live", "position": feed.position})
        async for change in feed:
            await self._send(socket, _told(change) | {"skipped": feed.skipped})

    async def _send(self, socket: WebSocket, message: dict[str, Any]) -> None:
        with anyio.fail_after(self._patience):
            await socket.send_json(message)


def _told(change: RowChange) -> dict[str, Any]:
    return {"kind": "change", "position": change.position, "id": change.key, "row": change.row}


async def _until_gone(socket: WebSocket, scope: anyio.CancelScope) -> None:
    """Ignore what a client says, which nobody asked for; that it goes is heard at once."""
    while (await socket.receive())["type"] != "websocket.disconnect":
        pass
    scope.cancel()


async def _close(socket: WebSocket) -> None:
    """Say why, if that is still possible: the one who does not read may not read this either."""
    try:
        with anyio.move_on_after(1.0):
            await socket.close(TRY_AGAIN_LATER, "too slow")
    except (RuntimeError, WebSocketDisconnect):
        return
