"""What comes in and what goes out, in no protocol's terms but its own."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ..trace import new_id

__all__ = ["AdmittedRequest", "Authenticate", "Header", "Identity", "Request", "Response"]

Header = tuple[str, str]


@dataclass(frozen=True, slots=True)
class Request:
    """A request as a client sent it, unchecked. `deadline` is when it stops waiting, on anyio's clock."""

    method: str
    path: str  #: as it was written, percent-encoded
    query: str = ""
    headers: Sequence[Header] = ()
    body: bytes = b""
    deadline: float = math.inf
    id: str = field(default_factory=lambda: new_id("r"))

    def header(self, name: str) -> str | None:
        """The value of a header, if there is exactly one of that name."""
        found = [value for given, value in self.headers if given.lower() == name.lower()]
        return found[0] if len(found) == 1 else None


@dataclass(frozen=True, slots=True)
class Response:
    """The response that the client gets. A body is plain JSON values, or bytes that a backend sent."""

    status: int
    body: Any = None
    headers: Sequence[Header] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """The one who asks, as the gateway has found out."""

    subject: str
    roles: frozenset[str] = frozenset()


Authenticate = Callable[[Request], Awaitable[Identity | None]]
"""Finds out who asks; None when nobody knows. May raise `Unauthenticated`."""


@dataclass(frozen=True, slots=True)
class AdmittedRequest:
    """A request that was let in: checked, normalised, and with the identity of whoever asks."""

    identity: Identity
    path: str  #: normalised and decoded
    path_params: Mapping[str, str]  #: what stood in the route's places
    headers: tuple[Header, ...]  #: for backends: the client's without internal ones, and the identity
    request: Request
