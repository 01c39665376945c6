"""Errors: what a command or a read can meet, each named for the fact."""

from __future__ import annotations

__all__ = [
    "Conflict",
    "Invalid",
    "KeyReused",
    "NotYet",
    "OutOfOrder",
    "Rejected",
    "UnknownCommand",
    "UnknownEvent",
]


class UnknownCommand(LookupError):
    """No handler has this type."""


class Invalid(ValueError):
    """The command could not be valid whatever the state: its data are wrong."""


class Rejected(Exception):
    """The decision looked at the state and said no."""


class Conflict(Exception):
    """The aggregate is not at the version that the command expected; nothing was changed."""

    def __init__(self, target: str, expected: int, actual: int) -> None:
        super().__init__(
            f"{target} is at version {actual}, and not at {expected}; read it again and decide again"
        )
        self.target, self.expected, self.actual = target, expected, actual


class KeyReused(Exception):
    """An idempotency key came with another command than the first time; nothing was changed."""


class NotYet(Exception):
    """The view does not have the version that the reader asked for, and the time to wait is over."""

    def __init__(self, stream: str, wanted: int, version: int) -> None:
        super().__init__(f"the view has version {version} of {stream}, and not yet {wanted}")
        self.stream, self.wanted, self.version = stream, wanted, version


class UnknownEvent(LookupError):
    """An event of a type that nobody here handles came to an inbox that refuses those."""


class OutOfOrder(Exception):
    """More events wait for an earlier one than the projection may hold back."""
