"""The edge: requests and responses in no protocol's terms, one spelling for each path, believable headers.

A check at the gateway is worth nothing when the backend reads the same path in another way. So what
has several readings is refused; it is not repaired. And a backend believes the identity headers, since
the gateway alone can set them: whatever a client sends under such a name ends here.
"""

from __future__ import annotations

import math
import re
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, unquote_to_bytes

from .. import values
from ..trace import new_id
from .errors import BadRequest

# Requests and responses

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

    @property
    def head(self) -> int:
        """The number of characters in path, query and headers."""
        headers = sum(len(name) + len(value) for name, value in self.headers)
        return len(self.path) + len(self.query) + headers

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

    def __post_init__(self) -> None:
        values.name("the subject", self.subject)
        if isinstance(self.roles, str):
            raise TypeError(f"roles must be a set of names, such as {{{self.roles!r}}}")
        object.__setattr__(self, "roles", frozenset(values.name("a role", role) for role in self.roles))


Authenticate = Callable[[Request], Awaitable[Identity | None] | Identity | None]
"""Finds out who asks; None when nobody knows. May raise `Unauthenticated`."""


@dataclass(frozen=True, slots=True)
class AdmittedRequest:
    """A request that was let in: checked, normalised, and with the identity of whoever asks."""

    identity: Identity
    path: str  #: normalised and decoded
    path_params: Mapping[str, str]  #: what stood in the route's places
    headers: tuple[Header, ...]  #: for backends: the client's without internal ones, and the identity
    request: Request

    def json(self) -> Any:
        """The body, read as JSON. Raises `BadRequest` for what is none, or is deeper than any answer."""
        try:
            return values.from_json("the body", self.request.body)
        except ValueError as error:
            raise BadRequest(str(error)) from error


# Paths

_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_BROKEN_OR_SLASH = re.compile("%(?![0-9a-f]{2})|%2f|%5c", re.IGNORECASE)


def normalise(path: str) -> str:
    """The path decoded once, without dot segments, doubled slashes or a slash at its end.

    Raises `BadRequest` for encoded slashes, backslashes, control characters, what is encoded twice,
    what is no UTF-8, and what leads above the root.
    """
    if not path.startswith("/"):
        raise BadRequest(f"a path begins with a slash; {path!r} does not")
    if _BROKEN_OR_SLASH.search(path):
        raise BadRequest(f"{path!r} has an encoded slash or a broken escape")
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{path!r} is not UTF-8") from error
    if "\\" in decoded or _ESCAPE.search(decoded) or not decoded.isprintable():
        raise BadRequest(f"{path!r} has a backslash, a control character, or is encoded twice")
    return "/" + "/".join(_without_dots(decoded))


def _without_dots(path: str) -> list[str]:
    kept: list[str] = []
    for segment in path.split("/"):
        name = segment.partition(";")[0].strip()  # some servers cut ";…" off, and then see dots
        if name in (".", "..") and segment != name:
            raise BadRequest(f"{segment!r} can be read as a step in the tree or as a name")
        if segment == "..":
            if not kept:
                raise BadRequest(f"{path!r} leads above the root")
            kept.pop()
        elif segment not in ("", "."):
            kept.append(segment)
    return kept


# Headers

SUBJECT = "x-identity-subject"
ROLES = "x-identity-roles"

# RFC 9110, section 7.6.1, and older names that are still sent
_HOP_BY_HOP = frozenset(
    {"connection", "keep-alive", "proxy-connection", "te", "trailer", "transfer-encoding", "upgrade"}
    | {"proxy-authenticate", "proxy-authorization", "proxy-authentication-info"}
)
_INTERNAL = ("x-identity-", "x-internal-", "x-forwarded-", "x-real-ip", "forwarded")
_ENDS_HERE = frozenset({"authorization", "cookie", "host", "content-length", "expect"})


def end_to_end(headers: Iterable[Header]) -> list[Header]:
    """The headers without those that concern one connection only, and those that `Connection` names."""
    headers = list(headers)
    named = {
        name.strip().lower()
        for header, value in headers
        if _plain(header) == "connection"
        for name in value.split(",")
    }
    return [(n, v) for n, v in headers if _plain(n) not in _HOP_BY_HOP and n.lower() not in named]


def onward(headers: Iterable[Header], identity: Identity) -> tuple[Header, ...]:
    """The headers that a backend gets: the client's end-to-end ones without credentials and internal
    names, and the identity as the gateway knows it, its names percent-encoded beyond ASCII."""
    kept = [
        (name.lower(), value)
        for name, value in end_to_end(headers)
        if _plain(name) not in _ENDS_HERE and not _plain(name).startswith(_INTERNAL)
    ]
    roles = ",".join(_in_a_header(role) for role in sorted(identity.roles))
    return (*kept, (SUBJECT, _in_a_header(identity.subject)), (ROLES, roles))


def _in_a_header(name: str) -> str:
    """The name with nothing that could end its header, or one of several names in it."""
    return quote(name, safe="!#$&'()*+-./:;<=>?@[]^_`{|}~")


def _plain(name: str) -> str:
    """Many servers take X_Identity_Subject for X-Identity-Subject, so both are the same here."""
    return name.strip().lower().replace("_", "-")
