"""Views: what projections make of the events, each kept together with the position that it shows.

A view holds JSON values under keys. It is written in transactions: the values, the position up to
which events have been taken in, and the events that were set aside are kept together, or not at all.

A projection that is rebuilt has a second *generation* of its view beside the live one; which of them
is live is one fact, changed in one transaction.

*Left out:* queries other than by key. A handler of an `SQLiteViews` may write tables of its own
through `view.database`, in the same transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any, NamedTuple, Protocol

__all__ = ["MemoryView", "MemoryViews", "Parked", "View", "Views", "generation_name"]


class Parked(NamedTuple):
    """An event that a view has set aside, and why."""

    position: int
    stream: str
    reason: str


class View(Protocol):
    """One generation of a view. It is changed only inside a transaction of its `Views`."""

    @property
    def position(self) -> int:
        """All events up to this position are in the view, or passed over on purpose."""
        ...

    def track(self, position: int) -> None:
        """The view shows everything up to here. Raises ValueError for a position further back."""
        ...

    def get(self, key: str, default: Any = None) -> Any: ...

    def set(self, key: str, value: Any) -> None:
        """Raises TypeError for what is not JSON."""
        ...

    def delete(self, key: str) -> None: ...

    def items(self) -> list[tuple[str, Any]]:
        """All keys with their values, in the order of the keys."""
        ...

    def park(self, event: Parked) -> None:
        """Set an event aside."""
        ...

    def unpark(self, position: int) -> None: ...

    @property
    def parked(self) -> list[Parked]:
        """What is set aside, in order of position."""
        ...


class Views(Protocol):
    """Where views live."""

    def transaction(self, view: str) -> AbstractContextManager[View]:
        """The view of this name, made when it is missing, to be changed. An exception undoes all."""
        ...

    def view(self, view: str) -> View:
        """The view of this name, to be read; an empty one when it is missing."""
        ...

    def query(self, name: str) -> View:
        """The live view of a projection, to be read."""
        ...

    def live(self, name: str) -> int:
        """The generation of the live view; 1 unless another has been swapped in."""
        ...

    def swap(self, name: str, generation: int) -> bool:
        """Make this generation the live one, if it has caught up with the one that is live now.

        False when it has not, and nothing is changed. Raises ValueError for an older generation.
        """
        ...

    def drop(self, view: str) -> None:
        """Forget a view with all that it holds."""
        ...


def generation_name(name: str, generation: int) -> str:
    """The name of one generation of the view of a projection, such as 'dashboard.2'."""
    return f"{name}.{generation}"


def check_tracking(view: str, was: int, now: int) -> None:
    """Raise ValueError for a step back."""
    if now < was:
        raise ValueError(f"{view} shows everything up to position {was} and cannot go back to {now}")


def may_swap(views: Views, name: str, generation: int, position: Mapping[str, int]) -> bool:
    """Whether this generation of the view is as far as the live one, by what `position` says of both."""
    live = views.live(name)
    if generation < live:
        raise ValueError(f"generation {live} of {name} is live; {generation} is older")
    return position[generation_name(name, generation)] >= position[generation_name(name, live)]


class MemoryView:
    """A view in memory. Changes are undone, the last one first, when the transaction fails."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._values: dict[str, str] = {}  # as JSON text: nobody shares what can change
        self._position = 0
        self._parked: dict[int, Parked] = {}
        self._undo: list[Callable[[], object]] | None = None  # a list inside a transaction

    @property
    def position(self) -> int:
        return self._position

    def track(self, position: int) -> None:
        was = self._position
        check_tracking(self._name, was, position)
        self._change(lambda: setattr(self, "_position", was))
        self._position = position

    def get(self, key: str, default: Any = None) -> Any:
        text = self._values.get(key)
        return default if text is None else json.loads(text)

    def set(self, key: str, value: Any) -> None:
        text = json.dumps(value, allow_nan=False)
        self._will_change(self._values, key)
        self._values[key] = text

    def delete(self, key: str) -> None:
        self._will_change(self._values, key)
        self._values.pop(key, None)

    def items(self) -> list[tuple[str, Any]]:
        return [(key, json.loads(self._values[key])) for key in sorted(self._values)]

    def park(self, event: Parked) -> None:
        self._will_change(self._parked, event.position)
        self._parked[event.position] = event

    def unpark(self, position: int) -> None:
        self._will_change(self._parked, position)
        self._parked.pop(position, None)

    @property
    def parked(self) -> list[Parked]:
        return [self._parked[position] for position in sorted(self._parked)]

    def _will_change(self, kept: dict[Any, Any], key: Any) -> None:
        if key in kept:
            was = kept[key]
            self._change(lambda: kept.update({key: was}))
        else:
            self._change(lambda: kept.pop(key, None))

    def _change(self, undo: Callable[[], object]) -> None:
        if self._undo is None:
            raise RuntimeError(f"{self._name} is changed by its projection, inside a transaction")
        self._undo.append(undo)

    @contextmanager
    def changing(self) -> Iterator[MemoryView]:
        """Changes inside are kept together or not at all."""
        undo = self._undo = []
        try:
            yield self
        except BaseException:
            while undo:
                undo.pop()()
            raise
        finally:
            self._undo = None


class MemoryViews:
    """Views that live as long as their process."""

    def __init__(self) -> None:
        self._views: dict[str, MemoryView] = {}
        self._live: dict[str, int] = {}

    def transaction(self, view: str) -> AbstractContextManager[View]:
        return self._views.setdefault(view, MemoryView(view)).changing()

    def view(self, view: str) -> MemoryView:
        return self._views.get(view, MemoryView(view))

    def query(self, name: str) -> View:
        return self.view(generation_name(name, self.live(name)))

    def live(self, name: str) -> int:
        return self._live.get(name, 1)

    def swap(self, name: str, generation: int) -> bool:
        names = (generation_name(name, n) for n in (generation, self.live(name)))
        if not may_swap(self, name, generation, {view: self.view(view).position for view in names}):
            return False
        self._live[name] = generation
        return True

    def drop(self, view: str) -> None:
        self._views.pop(view, None)
