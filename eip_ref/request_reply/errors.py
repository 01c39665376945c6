"""The ways in which a request can end without an answer: it did nothing, it may have, or the handler failed.

    RequestError
      NotDone       definite: this attempt was not carried out and never will be
      Indefinite    it may have been carried out, or may yet be
      RemoteError   definite: it was carried out, and failed over there

Retrying, compensating and counting failures all follow from which of the three it is.
"""

from __future__ import annotations

from typing import Any

import anyio

from ..message_queue import QueueClosed, QueueFull
from ..point_to_point import NotSent, ReceiverAway, ReceiverClosed


class RequestError(Exception):
    """A request ended without an answer."""


class NotDone(RequestError):
    """Definite: this attempt was not carried out and never will be."""


class NoResponder(NotDone):
    """Nobody is there to answer. Known at once, unlike a timeout."""


class NotDelivered(NotDone):
    """The way there certainly did not take the request."""


class TooManyWaiting(NotDone):
    """The requestor waits for as many answers as it may; nothing was sent."""


class RequestorClosed(NotDone):
    """The requestor was closed before; nothing was sent."""


class DeadlinePassed(NotDone):
    """The deadline had passed before the work began, so it was not begun."""


class Busy(NotDone):
    """The replier has as much work as it may have."""


class KeyReused(NotDone):
    """The idempotency key belongs to an operation that asked for something else."""


class Indefinite(RequestError):
    """The request may have been carried out, or may yet be."""


class TimedOut(Indefinite):
    """No answer came before the deadline: it may have happened, or may yet."""


class TransportError(Indefinite):
    """The way there or back broke down when the request may have arrived."""


class ClosedWhileWaiting(Indefinite):
    """The requestor was closed while this request waited for its answer."""


class InDoubt(Indefinite):
    """The replier answered that it does not know itself, since one of its own requests is indefinite."""


class RemoteError(RequestError):
    """Definite: the replier carried out the request, and failed with an error of the type `name`."""

    def __init__(self, name: str, words: str = "") -> None:
        super().__init__(f"{name}: {words}" if words else name)
        self.name = name


class UnwritableAnswer(TypeError):
    """A handler has answered with something that no wire can carry, such as a date or a NaN."""


class RemoteErrors:
    """The error types that keep their type from replier to requestor, registered by name.

    Both sides need the same types. An error of another type comes out as a `RemoteError` with its
    name, without its words: they may hold what is nobody else's business.
    """

    def __init__(self, *types: type[Exception]) -> None:
        self._types: dict[str, type[Exception]] = {}
        for kind in types:
            if issubclass(kind, RequestError):
                raise ValueError(
                    f"{kind.__name__} says how a request ended here; it cannot be a remote error"
                )
            if kind.__name__ in self._types:
                raise ValueError(f"two error types are named {kind.__name__}; one name, one type")
            self._types[kind.__name__] = kind

    def pack(self, error: Exception) -> tuple[str, list[Any]]:
        """The name and the arguments of an error; a subclass travels as its registered base."""
        if isinstance(error, UnwritableAnswer):
            return UnwritableAnswer.__name__, [str(error)]
        for kind in type(error).__mro__:
            if self._types.get(kind.__name__) is kind:
                plain = all(isinstance(arg, str | int | float | bool | None) for arg in error.args)
                return kind.__name__, list(error.args) if plain else [str(error)]
        return type(error).__name__, []

    def unpack(self, name: str, args: list[Any]) -> Exception:
        """The error of the registered type, else a `RemoteError`."""
        kind = self._types.get(name)
        words = RemoteError(name, ", ".join(map(str, args)))
        if kind is None:
            return words
        try:
            error = kind(*args)
        except Exception:  # made here with other arguments than over there
            return words
        error.__cause__ = words
        return error


_NOBODY = (ReceiverAway, ReceiverClosed, ConnectionRefusedError)
_NOT_TAKEN = (NotSent, QueueFull, QueueClosed, anyio.ClosedResourceError)


def why_not_sent(error: Exception) -> RequestError:
    """The request's error, for an error of `send`. Unless that is known to be definite, it is not."""
    if isinstance(error, RequestError):
        return error
    if isinstance(error, _NOBODY):
        return NoResponder(f"nobody is there to answer: {error}")
    if isinstance(error, _NOT_TAKEN):
        return NotDelivered(f"the request was not taken: {error}")
    return TransportError(f"the way to the replier broke down: {error!r}")
