"""A message on a wire: written and read, with times that other processes understand."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import anyio

from .. import values
from ..message import Message
from ..publish_subscribe import TopicMessage
from ..storage import Record
from ..trace import Kind, record

__all__ = ["clock_shift", "decoded", "encoded", "hashed", "printable", "published", "records", "requested"]

A = TypeVar("A")
M = TypeVar("M", bound=Message)


def encoded(message: Message) -> bytes:
    """The message for a wire, its times on the clock of the machine, which other processes have too."""
    return message.to_json(shift=clock_shift()).encode()


def decoded(content: bytes, headers: dict[str, Any] | None = None) -> Message:
    """The message from a wire, its times on the clock of this process, with these headers more.

    Raises ValueError for what is none, whoever has sent it.
    """
    message = _read(Message, content)
    return message.copy(headers={**message.headers, **headers}) if headers else message


def published(topic: str, content: bytes) -> TopicMessage:
    """The message from a wire, as `decoded` reads it, with the topic to which it was published."""
    return _read(TopicMessage, content, topic=topic)


def requested(name: str, content: bytes) -> Message | None:
    """The request from a wire; None for what is none: it is dropped, for nobody waits for a reply to it."""
    try:
        return decoded(content)
    except ValueError as error:
        record(Kind.DROPPED, name, who="", reason=str(error))
        return None


def records(
    log: str, found: Iterable[A], offset: Callable[[A], int], content: Callable[[A], tuple[bytes, float]]
) -> list[Record]:
    """The records of a log, up to one that is no message: `content` gives what was written, and the time.

    Raises ValueError, which says how to pass over it, when it is the first. Nobody's progress does so by
    itself: what is in a log is a fact for all who read it.
    """
    read: list[Record] = []
    for each in found:
        place = offset(each)
        try:
            written, at = content(each)
            read.append(Record(place, decoded(written), at))
        except (ValueError, TypeError, KeyError) as error:
            if read:
                break
            words = f"{log} has no message at offset {place}: {error}; go on at {place + 1} to pass over it"
            raise ValueError(words) from error
    return read


def _read(kind: type[M], content: bytes, **more: str) -> M:
    try:
        message = kind.from_json(content.decode(), shift=clock_shift(), **more)
        message.check_json()
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ValueError(f"this is no message: {type(error).__name__}: {values.shown(str(error))}") from error
    return message


def printable(text: str) -> str:
    """The text itself, or its hash where it is long or has signs that a header or a name may not have."""
    return text if re.fullmatch(r"[!-~]{1,128}", text) else hashed(text)


def hashed(text: str) -> str:
    """A short name for any text, of letters and digits alone."""
    return hashlib.sha256(text.encode()).hexdigest()


def clock_shift() -> float:
    """Seconds by which the clock of the machine is ahead of anyio's."""
    return time.time() - anyio.current_time()
