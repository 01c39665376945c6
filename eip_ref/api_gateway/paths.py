"""Paths: one spelling for one place, found before anybody decides where a request goes and who may.

A check at the gateway is worth nothing when the backend reads the same path in another way. What has
several readings is refused; it is not repaired.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote_to_bytes

from .errors import BadRequest

__all__ = ["encode", "normalise"]

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
