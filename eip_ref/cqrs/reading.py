"""Read your writes: the client passes the version that its command was answered, and the read keeps to it.

The view is behind the write side, mostly by little. A read that names a version waits for it, up to
a deadline. Then it says that the view is not there yet: with what there is and a mark that it is
stale, or with `NotYet`, which HTTP calls 503. What it never does is to pass the old for the new.

*Left out:* sessions, which remember the versions for the client.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, NamedTuple

import anyio
import anyio.lowlevel

from ..trace import Kind, new_id, record
from .errors import NotYet
from .projection import Projection

__all__ = ["Late", "Reading", "read"]


class Late(StrEnum):
    """What to answer when the version has not come by the deadline."""

    STALE = "stale"  #: what there is, marked
    REFUSE = "refuse"  #: `NotYet`


class Reading(NamedTuple):
    """A row, and how far the view was when it was read."""

    row: Any  #: None when there is none
    versions: dict[str, int]  #: of the streams that were asked for
    stale: bool  #: whether one of them is older than was asked for


async def read(
    view: Projection,
    key: str,
    *,
    at_least: Mapping[str, int] | None = None,
    within: float = 2.0,
    late: Late | str = Late.STALE,
) -> Reading:
    """The row, as soon as the view has seen these versions of these streams, or after `within` seconds.

    Raises `NotYet` by policy, and ValueError for a version below 0.
    """
    wanted = dict(at_least or {})
    for stream, version in wanted.items():
        if version < 0:
            raise ValueError(f"a version is at least 0, not {version} for {stream}")
    await anyio.lowlevel.checkpoint()
    name = new_id("read ")
    record(Kind.STARTED, view.name, name, key=key, wanted=wanted)
    with anyio.move_on_after(within):
        while _behind(view, wanted):
            await view.changed.wait()
    behind = _behind(view, wanted)
    if behind:
        record(Kind.TIMED_OUT, view.name, name, after=within, **behind._asdict())
    if behind and Late(late) is Late.REFUSE:
        record(Kind.FAILED, view.name, name, error="NotYet")
        raise NotYet(*behind)
    versions = {stream: view.seen(stream) for stream in wanted}
    record(Kind.FINISHED, view.name, name, key=key, wanted=wanted, versions=versions, stale=bool(behind))
    return Reading(view.get(key), versions, stale=behind is not None)


class _Behind(NamedTuple):
    stream: str
    wanted: int
    version: int


def _behind(view: Projection, wanted: Mapping[str, int]) -> _Behind | None:
    """The first stream of which the view has not seen what is wanted."""
    for stream, version in wanted.items():
        if (seen := view.seen(stream)) < version:
            return _Behind(stream, version, seen)
    return None
