"""Headers: which of the client's reach a backend, and how a backend learns who asks.

A backend believes the identity headers, since the gateway alone can set them. So whatever a client
sends under such a name must end here.
"""

from __future__ import annotations

from collections.abc import Iterable

from .request import Header, Identity

__all__ = ["ROLES", "SUBJECT", "end_to_end", "onward"]

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
    """What a backend gets: the client's end-to-end headers without credentials and internal names, and
    the identity as the gateway knows it."""
    kept = [
        (name.lower(), value)
        for name, value in end_to_end(headers)
        if _plain(name) not in _ENDS_HERE and not _plain(name).startswith(_INTERNAL)
    ]
    return (*kept, (SUBJECT, identity.subject), (ROLES, ",".join(sorted(identity.roles))))


def _plain(name: str) -> str:
    """Many servers take X_Identity_Subject for X-Identity-Subject, so both are the same here."""
    return name.strip().lower().replace("_", "-")
