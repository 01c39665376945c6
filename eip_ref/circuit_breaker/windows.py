"""Windows: over which calls a rate is taken. A ring of the last calls, or the last seconds."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from typing import NamedTuple, Protocol

__all__ = ["LastCalls", "LastSeconds", "Tally", "Window"]

_FINENESS = 1_000  # entries that a window over time keeps at most, however many calls there are


class Tally(NamedTuple):
    """The calls in a window, and how many of them speak against the dependency."""

    calls: int
    bad: int


class Counter(Protocol):
    """A window that fills."""

    def add(self, at: float, bad: bool) -> Tally: ...


class Window(Protocol):
    """A recipe for an empty window. It holds no state, so breakers can share it."""

    def start(self) -> Counter: ...


@dataclass(frozen=True, slots=True)
class LastCalls:
    """The last `size` calls, however long ago they were."""

    size: int

    def __post_init__(self) -> None:
        if self.size < 1:
            raise ValueError(f"a window must hold at least 1 call, not {self.size}")

    def start(self) -> Counter:
        return _Ring(self.size)


@dataclass(frozen=True, slots=True)
class LastSeconds:
    """The calls that settled at most `seconds` ago; a call leaves the window strictly after that.

    Calls within a thousandth of the window share an entry, so memory has a bound at any rate, and
    a call may leave early by that much.
    """

    seconds: float

    def __post_init__(self) -> None:
        if self.seconds <= 0:
            raise ValueError(f"a window must be longer than 0 seconds, not {self.seconds:g}")

    def start(self) -> Counter:
        return _Rolling(self.seconds)


class _Ring:
    def __init__(self, size: int) -> None:
        self._calls: deque[bool] = deque()
        self._size = size
        self._bad = 0

    def add(self, at: float, bad: bool) -> Tally:
        self._calls.append(bad)
        self._bad += bad
        if len(self._calls) > self._size:
            self._bad -= self._calls.popleft()
        return Tally(len(self._calls), self._bad)


@dataclass(slots=True)
class _Slice:
    at: float
    calls: int = 0
    bad: int = 0


class _Rolling:
    def __init__(self, seconds: float) -> None:
        self._slices: deque[_Slice] = deque()
        self._seconds = seconds
        self._calls = self._bad = 0

    def add(self, at: float, bad: bool) -> Tally:
        if not self._slices or at - self._slices[-1].at >= self._seconds / _FINENESS:
            self._slices.append(_Slice(at))
        self._count(self._slices[-1], 1, int(bad))
        while at - self._slices[0].at > self._seconds:
            old = self._slices.popleft()
            self._count(old, -old.calls, -old.bad)
        return Tally(self._calls, self._bad)

    def _count(self, piece: _Slice, calls: int, bad: int) -> None:
        piece.calls += calls
        piece.bad += bad
        self._calls += calls
        self._bad += bad
