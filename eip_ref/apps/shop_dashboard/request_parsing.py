"""What a request asks for: its body, its numbers, its patience, each within bounds."""

from __future__ import annotations

import json
from typing import Any

from starlette.requests import Request

__all__ = ["MOST_SECONDS", "BadRequest", "body_of", "number", "within"]

MOST_BYTES = 64 * 1024
MOST_SECONDS = 10.0  #: that a read may wait


class BadRequest(Exception):
    """The request itself is wrong; nothing was looked at."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises BadRequest.

    A page of another site cannot send a body of this type without asking first.
    """
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise BadRequest("the body must be application/json", 415)
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > MOST_BYTES:
            raise BadRequest(f"the body must not be longer than {MOST_BYTES:,} bytes", 413)
    try:
        data = json.loads(body)
    except ValueError as error:
        raise BadRequest(f"the body is not JSON: {error}") from error
    if not isinstance(data, dict):
        raise BadRequest("the body must be a JSON object")
    return data


def number(text: str | None, name: str) -> int | None:
    """A whole number from 0 on, or None when it is not given. Raises BadRequest."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise BadRequest(f"{name} must be a whole number, not {text[:20]!r}")
    return int(text)


def within(text: str | None) -> float:
    """For how many seconds a read may wait. Raises BadRequest."""
    try:
        seconds = 2.0 if text is None else float(text)
    except ValueError as error:
        raise BadRequest("within must be a number of seconds") from error
    if not 0 <= seconds <= MOST_SECONDS:
        raise BadRequest(f"within must be from 0 to {MOST_SECONDS:g} seconds")
    return seconds
