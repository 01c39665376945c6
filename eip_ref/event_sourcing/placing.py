"""Where a batch belongs: the one decision about versions and repetitions that every store makes.

    the ids of the batch are        the stream is, or was, as expected     it is not
    all new                         append                                 Conflict
    all there, in a row             no-op                                  IdTaken
    partly there, or elsewhere      IdTaken                                IdTaken

For a batch that is all there, the question is how the stream was when it was appended: only then is
it a repetition. That is the matrix of EventStoreDB, with one id for one event in the whole store. Ids
alone are compared: an event that is encrypted twice has two bodies and is one event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from ..message import Message
from .protocol import Conflict, Expected, IdTaken

__all__ = ["Place", "check_batch", "check_reading", "place"]


class Place(NamedTuple):
    """Where an event is."""

    stream: str
    version: int
    position: int


def check_batch(stream: str, events: Sequence[Message], expected: int | Expected) -> None:
    """Raise ValueError for a batch that no stream can take, whatever its version."""
    if not isinstance(stream, str) or not stream:
        raise ValueError(f"the name of a stream is text and not empty, not {stream!r}")
    if not isinstance(expected, Expected) and expected < 0:
        raise ValueError(f"a stream has version 0, when it does not exist, or more; {expected} is none")
    if not events:
        raise ValueError("an append needs at least one event; when nothing has happened, append nothing")
    if len({event.id for event in events}) < len(events):
        raise ValueError("two events of one batch have the same id; each event needs its own")
    for event in events:
        if not event.type:
            raise ValueError(f"event {event.id} needs a type: a stable name, such as 'OrderPlaced'")
        if event.key not in (None, stream):
            raise ValueError(f"the key of an event is its stream, {stream!r}; event {event.id} has another")
        if event.deadline is not None:
            raise ValueError(f"event {event.id} has a deadline, but what has happened does not expire")


def check_reading(after: int, limit: int | None) -> None:
    """Raise ValueError for a place or a number of events that cannot be meant."""
    if after < 0:
        raise ValueError(f"reading begins after 0, which is before everything, or more, not after {after}")
    if limit is not None and limit < 1:
        raise ValueError(f"the limit must be at least 1 event, not {limit}")


def place(
    stream: str,
    ids: Sequence[str],
    expected: int | Expected,
    *,
    actual: int,
    known: Mapping[str, Place],
    strict: bool = False,
) -> Place | None:
    """None when the batch is to be appended to a stream at version `actual`; the place of its last
    event when it is there already. `known` says where those of the `ids` are that the store has.

    Raises `Conflict` and `IdTaken`; the latter for every repetition when `strict`.
    """
    if not known:
        if not _fits(expected, actual):
            raise Conflict(stream, expected, actual)
        return None
    places = [known.get(identity) for identity in ids]
    first, last = places[0], places[-1]
    here = [(stream, first.version + n) for n in range(len(ids))] if first else []
    in_a_row = [p and (p.stream, p.version) for p in places] == here
    if strict or first is None or not in_a_row or not _fits(expected, first.version - 1):
        taken = ", ".join(f"{identity} at version {p.version} of {p.stream}" for identity, p in known.items())
        raise IdTaken(stream, expected, actual, f"the store has already {taken}")
    return last


def _fits(expected: int | Expected, version: int) -> bool:
    """Whether a stream at this version is as expected."""
    if expected is Expected.ANY:
        return True
    if expected is Expected.EXISTS:
        return version > 0
    return version == (0 if expected is Expected.NO_STREAM else expected)
