"""The edge: one spelling for each path, and only those headers that a backend may believe.

A check at the gateway is worth nothing when the backend reads the same path in another way. So what
has several readings is refused; it is not repaired. And a backend believes the identity headers, since
the gateway alone can set them: whatever a client sends under such a name ends here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import quote, unquote_to_bytes

from .errors import BadRequest
from .request import Header, Identity

__all__ = ["ROLES", "SUBJECT", "encode", "end_to_end", "normalise", "onward"]

# Paths

_ESCAPE = re.compile("%[0-9A-Fa-f]{2}")
_BROKEN_ESCAPE = re.compile("%(?![0-9A-Fa-f]{2})")
_ENCODED_SLASH = re.compile("%2f|%5c", re.IGNORECASE)


def normalise(path: str) -> str:
    """The path decoded once, without dot segments, doubled slashes or a slash at its end.

    Raises `BadRequest` for encoded slashes, backslashes, control characters, what is encoded twice,
    what is no UTF-8, and what leads above the root.
    """
    if not path.startswith("/"):
        raise BadRequest(f"a path begins with a slash; {path!r} does not")
    if _BROKEN_ESCAPE.search(path) or _ENCODED_SLASH.search(path):
        raise BadRequest(f"{path!r} has an encoded slash or a broken escape")
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError as error:
        raise BadRequest(f"{path!r} is not UTF-8") from error
    if "\\" in decoded or _ESCAPE.search(decoded) or not decoded.isprintable():
        raise BadRequest(f"{path!r} has a backslash, a control character, or is encoded twice")
    return "/" + "/".join(_without_dots(decoded))


def encode(path: str) -> str:
    """A normalised path as it is written in a URL."""
    return quote(path)


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
    names, and the identity as the gateway knows it."""
    kept = [
        (name.lower(), value)
        for name, value in end_to_end(headers)
        if _plain(name) not in _ENDS_HERE and not _plain(name).startswith(_INTERNAL)
    ]
    return (*kept, (SUBJECT, identity.subject), (ROLES, ",".join(sorted(identity.roles))))


def _plain(name: str) -> str:
    """Many servers take X_Identity_Subject for X-Identity-Subject, so both are the same here."""
    return name.strip().lower().replace("_", "-")
