"""The append rules: the one decision about versions and repetitions that every store makes.

    the ids of the batch are        the stream is, or was, as expected     it is not
    all new                         append                                 WrongExpectedVersion
    all there, in a row             no-op                                  IdTaken
    partly there, or elsewhere      IdTaken                                IdTaken

For a batch that is all there, the question is how the stream was when it was appended: only then is
it a repetition. That is the matrix of EventStoreDB, with one id for one event in the whole store. Ids
alone are compared: an event that is encrypted twice has two bodies and is one event.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .. import values
from ..message import Message
from ..trace import Kind, record
from .store import Appended, Expected, IdTaken, Recorded, WrongExpectedVersion

FAR = 1e12  #: seconds; a file keeps microseconds, and a clock that is beyond counts something else


def check_batch(stream: str, events: Sequence[Message], expected: int | Expected) -> None:
    """Raise ValueError for a batch that no stream can take, and TypeError for one that is not JSON."""
    values.name("the name of a stream", stream)
    if not isinstance(expected, Expected):
        values.count("the expected version", expected, minimum=0)
    if not events:
        raise ValueError("an append needs at least one event; when nothing has happened, append nothing")
    if len({event.id for event in events}) < len(events):
        raise ValueError("two events of one batch have the same id; each event needs its own")
    for event in events:
        _check_event(stream, event)


def _check_event(stream: str, event: Message) -> None:
    if not event.type:
        raise ValueError(f"event {event.id} needs a type: a stable name, such as 'OrderPlaced'")
    if event.key not in (None, stream):
        raise ValueError(f"the key of an event is its stream, {stream!r}; event {event.id} has another")
    if event.deadline is not None:
        raise ValueError(f"event {event.id} has a deadline, but what has happened does not expire")
    values.name("the type of an event", event.type)
    values.count("the schema version of an event", event.version)
    what = f"event {event.id!r}"
    values.check_json(what, event.body)
    values.check_json(what, [event.correlation_id, event.causation_id, event.reply_to, event.created])
    if event.headers:
        values.check_json(what, dict(event.headers))
    if abs(event.created) >= FAR:
        raise TypeError(f"{what} was created at {event.created:g} s, which no file keeps: are these seconds?")


def check_reading(after: int, limit: int, stream: str = "any") -> None:
    """Raise ValueError for a stream, a place or a number of events that cannot be meant."""
    values.name("the name of a stream", stream)
    values.count("after", after, minimum=0)
    values.count("limit", limit)


def decide(
    stream: str,
    ids: Sequence[str],
    expected: int | Expected,
    *,
    actual: int,
    known: Mapping[str, Recorded],
    strict: bool = False,
) -> Appended | None:
    """None when the batch is to be appended to a stream at version `actual`; the answer when it is there.

    `known` are the events of these `ids` that the store has. Raises `WrongExpectedVersion` and
    `IdTaken`; the latter for every repetition when `strict`.
    """
    if not known:
        if not fits(expected, actual):
            raise WrongExpectedVersion(stream, expected, actual)
        return None
    places = [known.get(identity) for identity in ids]
    first, last = places[0], places[-1]
    here = [(stream, first.version + n) for n in range(len(ids))] if first else []
    in_a_row = [p and (p.stream, p.version) for p in places] == here
    if strict or first is None or last is None or not in_a_row or not fits(expected, first.version - 1):
        there = ((identity, known[identity]) for identity in ids if identity in known)
        taken = ", ".join(f"{identity} at version {p.version} of {p.stream}" for identity, p in there)
        raise IdTaken(stream, expected, actual, f"the store has already {taken}")
    return Appended(last.version, last.position, repeated=True)


def fits(expected: int | Expected, version: int) -> bool:
    """True when a stream at this version is as expected."""
    if expected is Expected.ANY:
        return True
    if expected is Expected.EXISTS:
        return version > 0
    return version == (0 if expected is Expected.NO_STREAM else expected)


# In the trace


def say_accepted(store: str, stream: str, event: str, version: int, position: int) -> None:
    """Record that the event is kept."""
    record(Kind.ACCEPTED, store, event, key=stream, stream=stream, version=version, position=position)


def say_repeated(store: str, events: Sequence[Message], stream: str, appended: Appended) -> None:
    """Record that these events were kept before."""
    for version, event in enumerate(events, appended.version - len(events) + 1):
        record(Kind.DUPLICATE, store, event.id, stream=stream, version=version)
