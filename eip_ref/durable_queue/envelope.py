"""A message as text for the file, and back: what comes out equals what went in, or it is refused."""

from __future__ import annotations

import json
from dataclasses import fields
from typing import Any

from ..message import Message

__all__ = ["pack", "unpack"]

FIELDS = tuple(field.name for field in fields(Message))
TIMES = ("created", "deadline")
TIMES_IN_HEADERS = ("dead-letter-first", "dead-letter-last")


def pack(message: Message, shift: float) -> str:
    """The message as JSON text, its times moved by `shift` seconds to the file's clock.

    Raises TypeError for a body or a header that JSON would change on the way.
    """
    values = {name: getattr(message, name) for name in FIELDS} | {"headers": dict(message.headers)}
    try:
        text = json.dumps(_moved(values, shift), allow_nan=False, separators=(",", ":"))
        (message.id + (message.key or "")).encode()
    except (TypeError, ValueError) as error:
        raise TypeError(f"message {message.id!r} cannot be written to a file: {error}") from error
    kept = json.loads(text)
    if (kept["body"], kept["headers"]) != _exact(values, shift):
        raise TypeError(
            f"message {message.id!r} would come back changed: use lists for tuples, and text for keys"
        )
    return text


def unpack(text: str, shift: float) -> Message:
    """The message that `pack` wrote, on anyio's clock, which is `shift` seconds behind the file's."""
    return Message(**_moved(json.loads(text), -shift))


def _exact(values: dict[str, Any], shift: float) -> tuple[Any, Any]:
    return values["body"], _moved(values, shift)["headers"]


def _moved(values: dict[str, Any], shift: float) -> dict[str, Any]:
    return _shifted(values, TIMES, shift) | {"headers": _shifted(values["headers"], TIMES_IN_HEADERS, shift)}


def _shifted(values: dict[str, Any], names: tuple[str, ...], shift: float) -> dict[str, Any]:
    return values | {name: values[name] + shift for name in names if values.get(name) is not None}
