"""Routing: which handler a path leads to, and who may go there."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .errors import MethodNotAllowed, NotFound
from .request import Call, Identity

__all__ = ["Allow", "Handler", "Route", "find"]

Handler = Callable[[Call], Awaitable[Any]]
"""Answers a call: with an `Answer`, a `Response`, or plain JSON values."""

Allow = Callable[[Identity, Mapping[str, str]], bool]


def _anybody(identity: Identity, given: Mapping[str, str]) -> bool:
    return True


@dataclass(frozen=True, slots=True)
class Route:
    """`method` on paths like `/orders/{order}` goes to `handler`, for those whom `allow` lets.

    With `coalesce`, equal requests of one user share a call while it is in flight; for reading only.
    """

    method: str
    path: str
    handler: Handler
    allow: Allow = _anybody
    coalesce: bool = False

    def __post_init__(self) -> None:
        if not self.path.startswith("/") or self.method != self.method.upper():
            raise ValueError(
                f"a route is a method such as GET and a path from /, not {self.method} {self.path}"
            )
        if self.coalesce and self.method not in ("GET", "HEAD"):
            raise ValueError(f"only reading can be shared, and {self.method} {self.path} may do more")

    def match(self, path: str) -> dict[str, str] | None:
        """What stands in the places of a normalised path, or None when it is another path."""
        ours, theirs = self.path.strip("/").split("/"), path.strip("/").split("/")
        if len(ours) != len(theirs):
            return None
        pairs = list(zip(ours, theirs, strict=True))
        if any(mine != given for mine, given in pairs if not _is_place(mine)):
            return None
        return {mine[1:-1]: given for mine, given in pairs if _is_place(mine)}


def _is_place(segment: str) -> bool:
    return segment.startswith("{") and segment.endswith("}")


def find(routes: Sequence[Route], method: str, path: str) -> tuple[Route, dict[str, str]]:
    """The first route that fits a normalised path. Raises `NotFound` and `MethodNotAllowed`."""
    found = [(route, given) for route in routes if (given := route.match(path)) is not None]
    if not found:
        raise NotFound(f"no route leads to {path}")
    for route, given in found:
        if route.method == method:
            return route, given
    raise MethodNotAllowed(f"{path} is there, but not for {method}")
