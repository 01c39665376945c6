"""The parts of a request: its body, its numbers, its timeout, each within bounds."""

from __future__ import annotations

import json
import re
from typing import Any

from starlette.requests import Request

from ... import values

__all__ = ["MAX_TIMEOUT", "HttpRefusal", "body_of", "json_of", "must_be_id", "number", "timeout"]

ID = re.compile(r"[A-Za-z0-9-]{1,64}")
MAX_TIMEOUT = 10.0  #: in seconds, of a read


class HttpRefusal(Exception):
    """The request itself is wrong, or asks for what is not there; nothing was changed."""

    def __init__(self, words: str, status: int = 400) -> None:
        super().__init__(words)
        self.status = status


def json_of(text: str | bytes) -> Any:
    """The value of a JSON text that this application can keep. Raises JSONDecodeError, whatever is wrong."""
    try:
        return values.from_json("the body", text)
    except ValueError as error:
        raise json.JSONDecodeError(str(error), "", 0) from error


async def body_of(request: Request) -> dict[str, Any]:
    """The JSON object in the body. Raises HttpRefusal.

    A page of another site cannot send a body of this type without asking first.
    """
    if request.headers.get("Content-Type", "").partition(";")[0].strip() != "application/json":
        raise HttpRefusal("the body must be application/json", 415)
    try:
        data = json_of(await request.body())
    except json.JSONDecodeError as error:
        raise HttpRefusal(error.msg) from error
    if not isinstance(data, dict):
        raise HttpRefusal("the body must be a JSON object")
    return data


def must_be_id(id: Any) -> str:
    """The id of a customer, as it was given. Raises HttpRefusal for what cannot be one."""
    if not isinstance(id, str) or not ID.fullmatch(id):
        raise HttpRefusal("an id must be 1 to 64 letters of a to z, digits and hyphens")
    return id


def number(text: str | None, name: str) -> int | None:
    """A whole number from 0 on, or None when it is not given. Raises HttpRefusal."""
    if text is None:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 16):
        raise HttpRefusal(f"{name} must be a whole number, not {text[:20]!r}")
    return int(text)


def timeout(text: str | None) -> float:
    """The seconds for which a read may wait; 2 when it is not given. Raises HttpRefusal."""
    try:
        seconds = 2.0 if text is None else float(text)
    except ValueError as error:
        raise HttpRefusal("timeout must be a number of seconds") from error
    if not 0 <= seconds <= MAX_TIMEOUT:
        raise HttpRefusal(f"timeout must be from 0 to {MAX_TIMEOUT:g} seconds")
    return seconds
