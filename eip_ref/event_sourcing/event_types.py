"""Event types: what is stored has a stable name and a schema version, and old schemas are read for ever.

The name in the store is chosen once and is not that of a class, so a class can be renamed and moved.
Stored events are never rewritten. When a schema changes, its version goes up and an *upcaster* turns
the body of version n into that of n + 1; the chain of them reads any old event as one of today, and
old snapshots too. A version from the future, written by a newer program, is a clear error unless the
reader tolerates it: then it reads the fields that it knows.

*Left out:* upcasters that split an event in two or join two; schema registries.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from enum import StrEnum
from typing import Any, NamedTuple, TypeVar

from .. import values
from ..message import Message
from .shredding import Shredder
from .store import Recorded

Body = dict[str, Any]
C = TypeVar("C", bound=type)
Upcaster = Callable[[Body], Body]


class UnknownType(LookupError):
    """No class is registered under this name."""


class FutureVersion(ValueError):
    """The body was written by a newer program, with a schema that this one does not know."""


class NoUpcaster(LookupError):
    """Nobody has said how a body of this old version becomes one of the next."""


class Newer(StrEnum):
    """The policy of a reader for a schema version from the future."""

    REFUSE = "refuse"  #: raise `FutureVersion`
    TOLERATE = "tolerate"  #: read the fields that are known, and pass over the rest


class _Type(NamedTuple):
    name: str
    version: int
    cls: type
    personal: tuple[str, ...]
    subject: str


class EventTypes:
    """The names, versions and upcasters of the events and states of one program.

    `newer` says what to do with versions from the future. With a `shredder`, fields that are declared
    personal are encrypted when they are written and decrypted when they are read.
    """

    def __init__(self, *, newer: Newer | str = Newer.REFUSE, shredder: Shredder | None = None) -> None:
        self._newer = Newer(newer)
        self._shredder = shredder
        self._types: dict[str, _Type] = {}  # by every name that it has or had
        self._classes: dict[type, _Type] = {}
        self._upcasters: dict[tuple[str, int], Upcaster] = {}

    # Registering

    def register(
        self,
        name: str,
        version: int = 1,
        *,
        formerly: tuple[str, ...] = (),
        personal: tuple[str, ...] = (),
        subject: str = "",
    ) -> Callable[[C], C]:
        """A decorator: this dataclass is stored under `name`, in its newest schema, `version`.

        `formerly` are names that stored events of it may have. The fields that are `personal` belong
        to the person whose id is in the field `subject`. Raises ValueError for a name that is taken.
        """
        values.count("a schema version", version)
        if bool(personal) != bool(subject):
            raise ValueError(f"{name}: personal fields and the subject to whom they belong go together")

        def decorate(cls: C) -> C:
            kept = _Type(name, version, cls, personal, subject)
            if not dataclasses.is_dataclass(cls):
                raise TypeError(f"{cls.__name__} must be a dataclass: its fields are what is stored")
            if taken := {name, *formerly} & self._types.keys():
                raise ValueError(f"the names {', '.join(sorted(taken))} are taken; a name has one meaning")
            self._types |= dict.fromkeys((name, *formerly), kept)
            self._classes[cls] = kept
            return cls

        return decorate

    def upcaster(self, name: str, version: int) -> Callable[[Upcaster], Upcaster]:
        """A decorator: this function turns a body of `version` into a new body of `version + 1`."""
        values.count("a schema version", version)

        def decorate(upcast: Upcaster) -> Upcaster:
            values.must_not_be_async(f"the upcaster of {name}", upcast)
            if (name, version) in self._upcasters:
                raise ValueError(f"{name} has an upcaster from version {version} already")
            self._upcasters[name, version] = upcast
            return upcast

        return decorate

    # Writing

    def encode(self, value: Any, **envelope: Any) -> Message:
        """The event, or state, as a message to be stored; `envelope` are other fields of the message.

        Raises `UnknownType` for a class that is not registered.
        """
        if type(value) not in self._classes:
            raise UnknownType(
                f"{type(value).__name__} is not registered: give it a name that will not change"
            )
        kept = self._classes[type(value)]
        body = {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
        message = Message(body, type=kept.name, version=kept.version, **envelope)
        if not kept.personal:
            return message
        if self._shredder is None:
            raise ValueError(f"{kept.name} has personal fields, but these event types have no shredder")
        return self._shredder.seal(message, body[kept.subject], kept.personal)

    # Reading

    def upcast(self, message: Message) -> Message:
        """The message in today's name and schema, decrypted where that is still possible.

        The stored one stays as it is. Raises `UnknownType`, `NoUpcaster` and `FutureVersion`.
        """
        kept = self._types.get(message.type)
        if kept is None:
            raise UnknownType(
                f"no type {message.type!r} is registered; was its class renamed? see `formerly`"
            )
        if self._shredder is not None:
            message = self._shredder.open(message)
        if message.version > kept.version and self._newer is Newer.REFUSE:
            raise FutureVersion(
                f"{message.id} is {kept.name} version {message.version}, and this program knows versions up "
                f"to {kept.version}: update it, or tolerate newer versions"
            )
        if message.version == kept.version and message.type == kept.name:
            return message
        body, version = message.body, min(message.version, kept.version)
        while version < kept.version:
            body, version = self._step(kept.name, version)(dict(body)), version + 1
        return message.copy(type=kept.name, version=max(message.version, version), body=body)

    def decode(self, message: Message) -> Any:
        """The event, or state, as an object of its class. Raises what `upcast` raises.

        Raises TypeError when the body does not have the fields of the class.
        """
        message = self.upcast(message)
        kept, body = self._types[message.type], message.body
        if message.version > kept.version:
            body = {f.name: body[f.name] for f in dataclasses.fields(kept.cls) if f.name in body}
        return kept.cls(**body)

    def read(self, event: Recorded) -> Recorded:
        """The recorded event with its message upcast; one of a type that is not registered as it is."""
        known = event.message.type in self._types
        return event._replace(message=self.upcast(event.message)) if known else event

    def today(self, name: str) -> str:
        """Today's name of the type that is, or was, registered under this one; a name of no type as it is."""
        return self._types[name].name if name in self._types else name

    def _step(self, name: str, version: int) -> Upcaster:
        upcaster = self._upcasters.get((name, version))
        if upcaster is None:
            raise NoUpcaster(
                f"{name} has no upcaster from version {version}: register one, and keep it for ever"
            )
        return upcaster
