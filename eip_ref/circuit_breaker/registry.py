"""The registry: one breaker per dependency, so that one sick service does not cut off the others."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from .breaker import CircuitBreaker

__all__ = ["Breakers"]


class Breakers:
    """The breakers of a program, by the name of the dependency; each is made when first asked for.

        breakers = Breakers(lambda name: CircuitBreaker(name, policy=ConsecutiveFailures(3)))
        await breakers["payments"].call(charge, order)

    `limit` is how many there may be: a name is that of a dependency, never that of a request.
    """

    def __init__(self, make: Callable[[str], CircuitBreaker], *, limit: int = 1_000) -> None:
        self._make = make
        self._limit = limit
        self._breakers: dict[str, CircuitBreaker] = {}

    def __getitem__(self, dependency: str) -> CircuitBreaker:
        """The breaker of this dependency: the same one, each time.

        Raises ValueError for one too many, and for a `make` that gives it another name.
        """
        found = self._breakers.get(dependency)
        return self._add(dependency) if found is None else found

    def _add(self, dependency: str) -> CircuitBreaker:
        if len(self._breakers) >= self._limit:
            raise ValueError(
                f"there are {self._limit} breakers already; name them after dependencies, not after requests"
            )
        made = self._make(dependency)
        if made.name != dependency:
            raise ValueError(f"the breaker of {dependency!r} must have that name, not {made.name!r}")
        self._breakers[dependency] = made
        return made

    def __iter__(self) -> Iterator[CircuitBreaker]:
        return iter(list(self._breakers.values()))

    def __len__(self) -> int:
        return len(self._breakers)
