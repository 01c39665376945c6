"""A budget for calls that nobody asked for: retries and hedges, in all a small share of the first calls."""

from __future__ import annotations

__all__ = ["Budget"]


class Budget:
    """At most `spare` extra calls, and `share` more for each first call.

    A sick backend makes every call want to be repeated. Without a bound, what was a failure becomes a
    storm; with it, ten calls lead to at most one more when the share is 0.1. What is not used does
    not pile up beyond `spare`.
    """

    def __init__(self, *, share: float = 0.1, spare: int = 3) -> None:
        if not 0 <= share <= 1 or spare < 0 or (share and not spare):
            raise ValueError(
                f"a budget has a share from 0 to 1, and at least 1 spare call where the share is above 0; "
                f"not {share:g} and {spare}"
            )
        self.share = share
        self.spare = spare
        self._left = float(spare)

    def earn(self) -> None:
        """A first call is made."""
        self._left = min(self._left + self.share, self.spare)

    def spend(self) -> bool:
        """Whether there may be an extra call now; it is then paid for."""
        if self._left < 1 - 1e-9:  # ten times a tenth is a little less than one
            return False
        self._left -= 1
        return True
