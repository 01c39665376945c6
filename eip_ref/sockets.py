"""Sockets: how a server of this machine listens."""

from __future__ import annotations

import socket

__all__ = ["listening_socket"]


def listening_socket(port: int = 0) -> socket.socket:
    """A socket of this machine alone, to which clients can connect from here on; a free port unless given."""
    listener = socket.create_server(("127.0.0.1", port))
    # asyncio does so for its own sockets only: a response of two parts would wait 40 ms for its second
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listener
